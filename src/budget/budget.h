// The disruption budget: a counting semaphore with named holders. One slot per host, held by a set
// of reasons (rollout:<id>, reboot, repair, drain, operator). Pure values; the controller persists
// them.
//
// Available = slots − holders − unhealthy hosts that hold none. A host that is unhealthy already is
// away: taking it takes no other one away. But what works on it beside what is sick has to last, so
// of hosts where something is lost there are never more holders than slots. Nothing expires by
// itself.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "base/json.h"
#include "base/time.h"

namespace consort::budget {

// A number of hosts or a share of them. Percentages round down, at least 1 (unless 0 %).
struct Amount {
  std::int64_t value = 1;
  bool percent = false;
  friend bool operator==(const Amount&, const Amount&) = default;
};
// 3, "3" or "30%". Range: 0 to 1 000 000, 0 % to 100 %. Errors: invalid_input.
[[nodiscard]] Result<Amount> amount_from_json(const Json& json, const std::string& path);
[[nodiscard]] Json amount_to_json(const Amount& amount);
[[nodiscard]] std::int64_t amount_of(const Amount& amount, std::int64_t total);
// One host up to ten, 10 % above.
[[nodiscard]] Amount default_max_unavailable(std::int64_t hosts);

struct Reason {
  Instant since;
  std::string text;
  bool costs_nothing = false;  // see Claim
};

// A joint outage holds a whole budget for a set of hosts at once (DESIGN.md section 5).
struct Joint {
  std::string reason;
  Reason data;
  std::set<std::string> hosts;
};

struct Budget {
  Amount slots;
  bool paused = false;
  std::optional<Joint> joint;
  std::map<std::string, std::map<std::string, Reason>> holders;  // host → reason name → reason
};

// What is known of the hosts that a budget covers.
struct Census {
  std::int64_t hosts = 0;
  std::set<std::string> unhealthy;    // down, with an unhealthy instance, or in a transition
  std::set<std::string> unreachable;  // of these: that do not answer
};

// Who wants a slot, and what it costs.
struct Claim {
  std::string host;
  std::string reason;  // its name: rollout:<id>, reboot …
  std::string text;
  // What is taken away does not work anyway: such a claim is always granted, and keeps no other
  // from a slot of the hosts that are away.
  bool costs_nothing = false;
  // The joint outage that this reason holds names what is taken away: it needs no slot besides.
  bool in_outage = false;
};

struct Grant {
  bool granted = false;
  std::string why;  // when refused: who holds it, since when
};

using Budgets = std::map<std::string, Budget>;
using Censuses = std::map<std::string, Census>;

// Takes the host's slot in all named budgets, or in none. Idempotent per (host, reason). A host
// that already holds a slot always gets it. Unknown budgets are made with the default size.
[[nodiscard]] Grant acquire(Budgets& budgets, const std::vector<std::string>& names,
                            const Censuses& censuses, const Claim& claim, Instant now);
// Holders where something is lost: never more than slots (I11).
[[nodiscard]] std::int64_t paying_holders(const Budget& budget);
// A declared outage of many hosts: takes all named budgets as a whole, or none. Granted only while
// nobody else holds a slot of them; until it is released nobody else gets one. Idempotent.
[[nodiscard]] Grant acquire_jointly(
    Budgets& budgets, const std::map<std::string, std::vector<std::string>>& names_by_host,
    const Censuses& censuses, const std::string& reason, const std::string& text, Instant now);
// Gives the reason back everywhere; the slot is free when its last reason is gone. True if anything
// changed.
bool release(Budgets& budgets, const std::string& host, const std::string& reason);
// The host has left the joint outage of that reason; the last one frees the budget.
bool release_joint(Budgets& budgets, const std::string& host, const std::string& reason);
// The host is gone: everything that it holds, joint or not. True if anything changed.
bool forget_host(Budgets& budgets, const std::string& host);
// Everything that the reason holds, joint or not, save the slots of these hosts.
bool release_all(Budgets& budgets, const std::string& reason,
                 const std::set<std::string>& besides = {});
// Whatever slots the host has for one reason it has for this one, too. True if anything changed.
bool hold_for(Budgets& budgets, const std::string& host, const std::string& held,
              const std::string& reason, const std::string& text);

// All that hold anything.
[[nodiscard]] std::set<std::string> reasons(const Budgets& budgets);

[[nodiscard]] Json budgets_to_json(const Budgets& budgets);
[[nodiscard]] Result<Budgets> budgets_from_json(const Json& json);

}  // namespace consort::budget
