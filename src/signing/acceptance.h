// What a host with a trust list takes from its controller, and what not. Pure.
//
// Taken is a target of which every entry that would change something is wanted by the newest signed
// statement, or leads back: to the statement before, or to what ran here when the newest one came.
// The way back of a rollout needs that.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "plan/target.h"
#include "signing/trust_list.h"

namespace consort::signing {

// What is remembered between targets; to be durable before a target is acted upon.
struct Accepted {
  std::uint64_t sequence = 0;                      // of the newest statement; 0: none yet
  Digest head;                                     // its head_digest()
  std::map<std::string, plan::InstanceState> ran;  // when it came
  std::map<std::string, std::string> duties;       // done under it: what → token
  friend bool operator==(const Accepted&, const Accepted&) = default;
};
[[nodiscard]] Json accepted_to_json(const Accepted& accepted);
[[nodiscard]] Result<Accepted> accepted_from_json(const Json& json);

// One service of the host, as it is.
struct Present {
  std::optional<plan::InstanceState> applied;
  bool changing = false;  // a transition is under way
};

struct HostNow {
  std::string host;
  const plan::Target* held = nullptr;       // the target that was taken before
  std::map<std::string, Present> services;  // those not named are absent
};

// What is to be remembered from now on. Error forbidden: nothing of the target is to be done.
[[nodiscard]] Result<Accepted> accept(const TrustList& list, const Accepted& before,
                                      const HostNow& now, const plan::Target& target);
// Whether this entry, or any of the target's, would change something.
[[nodiscard]] bool changes_something(const HostNow& now, const std::string& service,
                                     const plan::TargetEntry& entry);
[[nodiscard]] bool changes_something(const HostNow& now, const plan::Target& target);

}  // namespace consort::signing
