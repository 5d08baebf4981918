// Compilation: a Site on a Fleet becomes manifests (objects in the store) and a candidate
// generation.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "fleet/fleet.h"
#include "objects/store.h"
#include "plan/generation.h"
#include "plan/manifest.h"
#include "site/site.h"

namespace consort::plan {

struct Compiled {
  Generation generation;  // a candidate: number 0
  std::map<Digest, Manifest> manifests;
  std::map<std::string, Error> broken;              // service → why it was left out
  std::multimap<std::string, Error> more_mistakes;  // what else is wrong with these
};

// What a host would refuse of a manifest: all of it, in a stable order. `hosts` are those that get
// it.
using ManifestCheck = std::function<std::vector<Error>(const Manifest& manifest,
                                                       const std::vector<std::string>& hosts)>;

// What the controller knows of a secret.
struct KnownSecret {
  std::uint64_t version = 0;
  std::vector<std::string> services;  // that may use it, sorted
  std::vector<std::string> hosts;     // that can open it, sorted
  std::vector<std::string> revoked;   // hosts for which nothing is sealed any more, sorted
};
// nullopt: there is none of this name. Asked once for each name that a site uses.
using SecretLookup = std::function<Result<std::optional<KnownSecret>>(const std::string& name)>;

// Puts artifacts, hooks and manifests into `store`. With `keep_going` a broken service is left out
// and recorded; otherwise its error is returned. A manifest that `check` finds fault with makes its
// service a broken one; so does a secret that is not there, or not for it. Without `secrets`
// nothing is known of any: their versions are 0.
enum class OnBroken : std::uint8_t { refuse, leave_out };
[[nodiscard]] Result<Compiled> compile(const site::Site& site, const fleet::Fleet& fleet,
                                       const fleet::Placement& placement,
                                       const objects::ObjectStore& store, OnBroken on_broken,
                                       const ManifestCheck& check = nullptr,
                                       const SecretLookup& secrets = nullptr);

}  // namespace consort::plan
