// Compilation: a Site on a Fleet becomes manifests (objects in the store) and a candidate
// generation.
#pragma once

#include <map>
#include <string>

#include "fleet/fleet.h"
#include "objects/store.h"
#include "plan/generation.h"
#include "plan/manifest.h"
#include "site/site.h"

namespace consort::plan {

struct Compiled {
  Generation generation;  // a candidate: number 0
  std::map<Digest, Manifest> manifests;
  std::map<std::string, Error> broken;  // service → why it was left out
};

// Puts artifacts, hooks and manifests into `store`. With `keep_going` a broken service is left out
// and recorded; otherwise its error is returned.
enum class OnBroken : std::uint8_t { refuse, leave_out };
[[nodiscard]] Result<Compiled> compile(const site::Site& site, const fleet::Fleet& fleet,
                                       const fleet::Placement& placement,
                                       const objects::ObjectStore& store, OnBroken on_broken);

}  // namespace consort::plan
