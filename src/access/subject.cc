#include "access/subject.h"

#include <algorithm>

namespace consort::access {
namespace {

std::optional<std::string> owner_in(const plan::Generation* generation, const std::string& name) {
  if (generation == nullptr) return std::nullopt;
  const auto it = generation->services.find(name);
  return it == generation->services.end() ? std::nullopt : std::optional(it->second.owner);
}

// But for hosts that have left the inventory: that is nobody's word on the service.
bool says_the_same(const plan::ServiceRecord& before, plan::ServiceRecord after,
                   const plan::Generation& candidate) {
  if (before == after) return true;
  plan::ServiceRecord today = before;
  for (auto* record : {&today, &after})
    std::erase_if(record->hosts, [&](const auto& host) { return !candidate.hosts.contains(host); });
  return today == after;
}

bool runs_and_depends(const plan::Generation* generation, const std::string& service,
                      const std::string& host, const std::string& provider) {
  if (generation == nullptr) return false;
  const auto it = generation->services.find(service);
  if (it == generation->services.end()) return false;
  const auto& hosts = it->second.hosts;
  return std::find(hosts.begin(), hosts.end(), host) != hosts.end() &&
         std::any_of(it->second.edges.begin(), it->second.edges.end(),
                     [&](const plan::Edge& edge) { return edge.service == provider; });
}

// Whether those who gain or lose a port are hosts of services that are changed anyway, and that
// declare it. Whoever changes it otherwise, by an inventory, say, needs the provider's word.
bool is_own_doing(const plan::AccessChange& change, const std::set<std::string>& names,
                  const plan::Generation* base, const plan::Generation& candidate) {
  if (change.before != change.after) return false;
  for (const auto* list : {&change.gained, &change.lost}) {
    for (const std::string& who : *list) {
      const std::string host = who.substr(0, who.find(" ("));
      const bool own = std::any_of(names.begin(), names.end(), [&](const std::string& name) {
        return runs_and_depends(base, name, host, change.service) ||
               runs_and_depends(&candidate, name, host, change.service);
      });
      if (!own) return false;
    }
  }
  return true;
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
  if (base == nullptr) {
    for (const auto& [name, record] : candidate.services) names.insert(name);
  } else {
    for (const auto& [name, record] : candidate.services) {
      const auto it = base->services.find(name);
      if (it == base->services.end() || !says_the_same(it->second, record, candidate))
        names.insert(name);
    }
    for (const auto& [name, record] : base->services) {
      if (!candidate.services.contains(name)) names.insert(name);
    }
  }
  for (const plan::AccessChange& change : plan.access) {
    if (!is_own_doing(change, names, base, candidate)) names.insert(change.service);
  }
  return services_named(names, base, &candidate);
}

bool changes_shared_policy(const plan::Generation* base, const plan::Generation& candidate) {
  const plan::Policy before = base == nullptr ? plan::Policy{} : base->policy;
  return before.max_unavailable != candidate.policy.max_unavailable ||
         (base != nullptr && base->site != candidate.site);
}

}  // namespace consort::access
