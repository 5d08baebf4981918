// The order of a plan: from what differs to steps in waves.
//
// Forward, level by level (providers first): hold the dependents of a provider that cannot keep
// them up, do what is done once, move away, change in batches, let the dependents go on. Removals
// come last, dependents first. Backwards (rollback) the levels run the other way round.
#pragma once

#include "plan/difference.h"
#include "plan/groups.h"
#include "plan/outages.h"

namespace consort::plan {

struct Order {
  const PlanInput& input;
  const Difference& difference;
  const Dependents& dependents;
  const Outages& outages;
  const Groups& groups;
  std::map<std::string, int> levels;       // of the wanted generation
  std::map<std::string, int> base_levels;  // of what ran before
};

struct StepsInWaves {
  std::vector<Step> steps;  // steps[i].id == i
  std::vector<Wave> waves;
};

[[nodiscard]] StepsInWaves make_waves(const Order& order);

}  // namespace consort::plan
