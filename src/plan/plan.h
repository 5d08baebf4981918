// The plan: the difference between what is wanted and what is applied, as ordered waves of steps.
// A pure function of its inputs; the same inputs give the same plan, byte for byte.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "plan/access.h"
#include "plan/generation.h"
#include "plan/manifest.h"
#include "plan/target.h"

namespace consort::plan {

enum class Action : std::uint8_t {
  install,
  upgrade,
  reconfigure,
  restart,
  move,
  remove,
  drain,
  stop,
  resume,
  duty
};
[[nodiscard]] std::string_view action_name(Action action);

struct NeededService {
  std::string service;
  std::int64_t quorum = 1;
  friend bool operator==(const NeededService&, const NeededService&) = default;
};

// One change of one instance. A step is done when the agent reports `to` (and health, when
// running).
struct Step {
  int id = 0;
  Action action = Action::install;
  std::string service;
  std::string host;
  std::optional<InstanceState> from;
  std::optional<InstanceState> to;
  std::optional<Duty> duty;  // of Action::duty: done once, on this host
  std::string reason;
  bool disrupts = false;  // takes a running instance away: needs a budget slot
  std::vector<NeededService>
      needs;  // must have that many healthy instances when this one starts to run (I1)
  std::int64_t keep_healthy =
      0;  // so many other instances of the service must stay healthy (I2); 0: none needed
  friend bool operator==(const Step&, const Step&) = default;
};

struct Wave {
  std::string name;  // "dc1 · level 2 · batch 1 of 3"
  std::vector<int> steps;
  Duration soak{0};
  friend bool operator==(const Wave&, const Wave&) = default;
};

struct JointOutage {
  std::string provider;
  std::vector<std::string> dependents;  // services that are held meanwhile
  std::vector<std::string> affected;    // services that run on, but lose what they need
  std::string reason;
  bool needs_permission = true;
  friend bool operator==(const JointOutage&, const JointOutage&) = default;
};

// Why a plan may not be carried out as it is, and what an operator can say or do about it.
struct Need {
  std::string option;  // of `consort deploy`: "--allow-outage"; "" where no word is enough
  std::string reason;
  std::string hint;
  friend bool operator==(const Need&, const Need&) = default;
};

struct Change {
  std::string service;
  std::string path;  // inside the manifest: "resources.config.content"
  std::string diff;  // unified, or "before → after" in one line
  friend bool operator==(const Change&, const Change&) = default;
};

struct Plan {
  std::string site;
  std::uint64_t base = 0;   // the generation it starts from
  Digest inputs;            // of everything that it was computed from, for the services it touches
  bool backwards = false;   // a rollback: dependents first
  std::vector<Step> steps;  // steps[i].id == i
  std::vector<Wave> waves;
  std::vector<JointOutage> outages;
  std::vector<Need> needs;  // what is in the way of carrying it out
  std::vector<Change> changes;
  std::vector<AccessChange> access;   // who may reach what; needs no step
  std::vector<std::string> detached;  // instances left alone: "web3: nginx"
  // Hosts that no inventory names any more. A plan of the whole site forgets them.
  std::vector<std::string> leaving;
  std::vector<std::string>
      unreachable;  // hosts that the plan touches and that cannot be reached now
  // Instances of its services that are unhealthy now: "web@web1: why". They count against budgets.
  std::vector<std::string> sick;
  std::map<std::string, int> kept;  // service → instances that need nothing
  Policy policy;
  std::map<std::string, std::vector<std::string>> budgets;  // host → budgets whose slot it needs
  std::map<std::string, std::int64_t> class_sizes;

  [[nodiscard]] bool empty() const { return steps.empty() && access.empty() && leaving.empty(); }
  [[nodiscard]] std::set<std::string> services() const;
};

// What a host really runs, as far as is known.
struct ObservedHost {
  bool reachable = false;
  std::map<std::string, InstanceReport> instances;
  bool heard = true;  // by this leader: what an earlier one heard may be long past
};
using Observed = std::map<std::string, ObservedHost>;

struct PlanInput {
  const Generation* wanted = nullptr;
  const Generation* base = nullptr;  // null before the first deploy
  const Observed* observed = nullptr;
  const std::map<Digest, Manifest>* manifests =
      nullptr;  // every manifest that is wanted or applied
  const std::map<Digest, std::uint64_t>* first_deployed =
      nullptr;                 // manifest → number of its first generation
  std::set<std::string> only;  // empty: all services
  std::set<std::string> except;
  bool backwards = false;
  bool allow_outage = false;
  bool allow_unsafe_removal = false;
  bool access_in_doubt = false;  // what `base` says of access may not be what is in force
  bool access_left = false;      // and some host guards ports, by rules of a life that is lost
};

// Errors: invalid_input (cycle, conflicts), refused (policy order, no way down). What only wants
// the operator's word is no error: it is in Plan::needs.
[[nodiscard]] Result<Plan> make_plan(const PlanInput& input);

// Whether the plan may be carried out as it is. Error refused: what it needs, the first thing
// first.
[[nodiscard]] Status check_permitted(const Plan& plan);

// How many hosts each batch takes: of `total` hosts of a class, `changed` are to be changed.
// [1, 20 %, 100 %] of 10 → 1, 2, 7; 20 % of 11 → 2, 2, 2, 2, 2, 1. Percentages are of the class.
[[nodiscard]] std::vector<std::size_t> batch_sizes(const std::vector<budget::Amount>& batches,
                                                   std::int64_t total, std::size_t changed);

// "1 to install, 2 to upgrade, 3 kept; 2 waves; 1 joint outage"
[[nodiscard]] std::string plan_totals(const Plan& plan);

// The differences between two manifests, sorted by path.
[[nodiscard]] std::vector<Change> manifest_changes(const Manifest& before, const Manifest& after);
// One sentence: "own artifact app; parameter of need sql".
[[nodiscard]] std::string change_reason(const Manifest& before, const Manifest& after);

[[nodiscard]] Json step_to_json(const Step& step);
// `id` is the place of the step in its list.
[[nodiscard]] Result<Step> step_from_json(const Json& json, int id);
[[nodiscard]] Json wave_to_json(const Wave& wave);
// `step_count`: how many steps its plan has; the wave may name only those.
[[nodiscard]] Result<Wave> wave_from_json(const Json& json, std::size_t step_count,
                                          const std::string& path);
[[nodiscard]] Json plan_to_json(const Plan& plan);
[[nodiscard]] Result<Plan> plan_from_json(const Json& json);

}  // namespace consort::plan
