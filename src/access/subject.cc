#include "access/subject.h"

#include <algorithm>

namespace consort::access {
namespace {

std::optional<std::string> owner_in(const plan::Generation* generation, const std::string& name) {
  const plan::ServiceRecord* record = plan::find_service(generation, name);
  return record == nullptr ? std::nullopt : std::optional(record->owner);
}

bool reaches(const plan::ServiceRecord& record, const plan::AccessChange& port,
             const std::string& host) {
  return std::find(record.hosts.begin(), record.hosts.end(), host) != record.hosts.end() &&
         std::any_of(record.edges.begin(), record.edges.end(), [&](const plan::Edge& edge) {
           return edge.kind != plan::Edge::Kind::after && edge.service == port.service &&
                  edge.endpoint == port.endpoint;
         });
}

// Whether the host reaches the port in this generation, and for services that are changed anyway
// only: what another service there has or gets by it is not theirs to give or take.
bool reaches_for(const std::set<std::string>& names, const plan::Generation* generation,
                 const plan::AccessChange& port, const std::string& host) {
  if (generation == nullptr) return false;
  bool any = false;
  for (const auto& [name, record] : generation->services) {
    if (!reaches(record, port, host)) continue;
    if (!names.contains(name)) return false;
    any = true;
  }
  return any;
}

// Whether those who gain or lose a port are hosts of services that are changed anyway, and that
// declare it: who gains it in the generation after, who loses it in the one before. Whoever changes
// it otherwise, by an inventory, say, needs the provider's word.
bool is_own_doing(const plan::AccessChange& change, const std::set<std::string>& names,
                  const plan::Generation* base, const plan::Generation& candidate) {
  const auto all_are_of = [&](const std::vector<plan::AccessSource>& sources,
                              const plan::Generation* generation) {
    return std::all_of(sources.begin(), sources.end(), [&](const plan::AccessSource& source) {
      return reaches_for(names, generation, change, source.host);
    });
  };
  return change.before == change.after && all_are_of(change.gained, &candidate) &&
         all_are_of(change.lost, base);
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

namespace {

bool is_of_class(const plan::Generation& generation, const std::string& host,
                 const std::string& host_class) {
  const auto it = generation.hosts.find(host);
  if (it == generation.hosts.end()) return false;
  const std::vector<std::string>& classes = it->second.classes;
  return std::find(classes.begin(), classes.end(), host_class) != classes.end();
}

// What is placed by a class that a host loses, although it stays: the budget that guards it there
// is not for others to take away.
bool loses_its_class(const plan::ServiceRecord& record, const plan::Generation& base,
                     const plan::Generation& candidate) {
  return std::any_of(record.hosts.begin(), record.hosts.end(), [&](const std::string& host) {
    return candidate.hosts.contains(host) && is_of_class(base, host, record.host_class) &&
           !is_of_class(candidate, host, record.host_class);
  });
}

}  // namespace

std::vector<ServiceSubject> services_changed(const plan::Plan& plan, const plan::Generation* base,
                                             const plan::Generation& candidate) {
  std::set<std::string> names = plan.services();
  names.merge(plan::services_that_differ(base, candidate));
  for (const plan::AccessChange& change : plan.access) {
    if (!is_own_doing(change, names, base, candidate)) names.insert(change.service);
  }
  if (base != nullptr) {
    for (const auto& [name, record] : base->services) {
      if (loses_its_class(record, *base, candidate)) names.insert(name);
    }
  }
  return services_named(names, base, &candidate);
}

bool changes_shared_policy(const plan::Generation* base, const plan::Generation& candidate) {
  const plan::Policy before = base == nullptr ? plan::Policy{} : base->policy;
  return before.max_unavailable != candidate.policy.max_unavailable ||
         (base != nullptr && base->site != candidate.site);
}

}  // namespace consort::access
