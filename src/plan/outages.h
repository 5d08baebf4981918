// Joint outages: where a service cannot keep up those that need it while it changes, they are held
// (drained, or stopped) meanwhile, and the operator is asked before (docs/adr/0003).
#pragma once

#include "plan/difference.h"

namespace consort::plan {

// Provider → services whose running instances need it → the largest quorum they ask for. By the
// generation that runs, not by the one that is wanted.
using Dependents = std::map<std::string, std::map<std::string, std::int64_t>>;
[[nodiscard]] Dependents running_dependents(const PlanInput& input, const Difference& difference);

class Outages {
 public:
  // `levels`: of the wanted generation.
  [[nodiscard]] static Outages find(const PlanInput& input, const Difference& difference,
                                    const Dependents& dependents,
                                    const std::map<std::string, int>& levels);

  // Null where the service keeps its dependents up.
  [[nodiscard]] const JointOutage* of(const std::string& provider) const;
  // Held by stopping: an instance of it has no drain hook.
  [[nodiscard]] bool stops(const std::string& dependent) const {
    return stopped_.contains(dependent);
  }
  [[nodiscard]] const std::vector<JointOutage>& all() const { return all_; }
  // The permissions that neither the policy nor the operator has given.
  [[nodiscard]] std::vector<Need> needs(const PlanInput& input) const;

 private:
  std::vector<JointOutage> all_;
  std::map<std::string, std::size_t> by_provider_;
  std::set<std::string> stopped_;
};

}  // namespace consort::plan
