// What a deploy really changes, for decide(): more than the services of its plan.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "access/decide.h"
#include "plan/generation.h"
#include "plan/plan.h"

namespace consort::access {

// The services of the plan, and those that the candidate changes without a step (owner, purpose,
// version, edges, who may reach them): a new generation takes those over, too. Sorted by name.
// `base` is the current generation, null before the first deploy; `candidate` is confined to what
// was asked for (plan::confined).
//
// So are services that lose their host class on a host that stays, and services whose ports others
// gain or lose by it (an inventory does that, too), unless all services that declare the port on
// these hosts are changed anyway.
//
// Joint outages and restarts of dependents are steps: who deploys a database that holds the
// services on it must be a deployer of those, too.
[[nodiscard]] std::vector<ServiceSubject> services_changed(const plan::Plan& plan,
                                                           const plan::Generation* base,
                                                           const plan::Generation& candidate);

// The same for names alone: of the steps of a rollout, say. Either generation may be null.
[[nodiscard]] std::vector<ServiceSubject> services_named(const std::set<std::string>& names,
                                                         const plan::Generation* before,
                                                         const plan::Generation* after);

// Does the candidate change what all rollouts share, the budgets (policy.maxUnavailable) and the
// site's name? Then the deploy needs Action::change_policy, too. The rest of a policy governs the
// deploy's own rollout.
[[nodiscard]] bool changes_shared_policy(const plan::Generation* base,
                                         const plan::Generation& candidate);

}  // namespace consort::access
