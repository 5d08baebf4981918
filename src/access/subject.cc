#include "access/subject.h"

namespace consort::access {
namespace {

std::optional<std::string> owner_in(const plan::Generation* generation, const std::string& name) {
  if (generation == nullptr) return std::nullopt;
  const auto it = generation->services.find(name);
  return it == generation->services.end() ? std::nullopt : std::optional(it->second.owner);
}

}  // namespace

std::vector<ServiceSubject> services_named(const std::set<std::string>& names,
                                           const plan::Generation* before,
                                           const plan::Generation* after) {
  std::vector<ServiceSubject> out;
  for (const std::string& name : names)
    out.push_back({name, owner_in(before, name), owner_in(after, name)});
  return out;
}

std::vector<ServiceSubject> services_changed(const plan::Plan& plan, const plan::Generation* base,
                                             const plan::Generation& candidate) {
  std::set<std::string> names = plan.services();
  if (base != nullptr) {
    for (const auto& [name, record] : candidate.services) {
      const auto it = base->services.find(name);
      // Where manifest or hosts differ, too, and the plan has no step (`only`), all stays as it is.
      if (it != base->services.end() && it->second.manifest == record.manifest &&
          it->second.hosts == record.hosts && it->second != record)
        names.insert(name);
    }
  }
  return services_named(names, base, &candidate);
}

bool changes_shared_policy(const plan::Generation* base, const plan::Generation& candidate) {
  const plan::Policy before = base == nullptr ? plan::Policy{} : base->policy;
  return before.max_unavailable != candidate.policy.max_unavailable;
}

}  // namespace consort::access
