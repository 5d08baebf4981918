#include "plan/outages.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"

namespace consort::plan {
namespace {

const std::map<std::string, std::int64_t>& dependents_of(const Dependents& dependents,
                                                         const std::string& provider) {
  static const std::map<std::string, std::int64_t> none;
  const auto it = dependents.find(provider);
  return it == dependents.end() ? none : it->second;
}

bool drains(const PlanInput& input, const Difference& difference, const std::string& service) {
  const auto instances = of_service(difference.now, service);
  return std::all_of(instances.begin(), instances.end(), [&](const auto& instance) {
    const Manifest* m = known_manifest(input, instance.second.manifest);
    return m != nullptr && m->hook("drain") != nullptr;
  });
}

// Why the service has fewer than `quorum` instances up at some moment of this plan, or "".
std::string interruption(const PlanInput& input, const Difference& difference,
                         const std::string& service, std::int64_t quorum) {
  if (difference.moved.contains(service)) return "it moves to another host";
  bool disrupted = false;
  for (const auto& [key, draft] : of_service(difference.drafts, service)) {
    const auto current = difference.now.find(key);
    if (!draft.to || current == difference.now.end()) continue;
    const Manifest* m = known_manifest(input, current->second.manifest);
    disrupted =
        disrupted || (current->second.mode == Mode::running &&
                      !same_version(current->second, *draft.to) && (m == nullptr || m->runs()));
  }
  const auto running = difference.running.find(service);
  const std::int64_t have = running == difference.running.end() ? 0 : running->second;
  if (!disrupted || have - 1 >= quorum) return "";
  return have == 1 ? "its only instance must stop"
                   : fmt::format("{} instances run and {} must stay", have, quorum);
}

// Services that go on running meanwhile, but lose what they need: dependents of the dependents.
std::vector<std::string> affected_by(const JointOutage& outage, const Dependents& dependents,
                                     const std::set<std::string>& held) {
  std::set<std::string> seen(outage.dependents.begin(), outage.dependents.end());
  std::set<std::string> out;
  std::vector<std::string> open = outage.dependents;
  while (!open.empty()) {
    const std::string provider = std::move(open.back());
    open.pop_back();
    for (const auto& [name, quorum] : dependents_of(dependents, provider)) {
      if (!seen.insert(name).second) continue;
      if (!held.contains(name)) out.insert(name);
      open.push_back(name);
    }
  }
  return {out.begin(), out.end()};
}

}  // namespace

Dependents running_dependents(const PlanInput& input, const Difference& difference) {
  Dependents out;
  const Generation& runs = input.base != nullptr ? *input.base : *input.wanted;
  for (const auto& [name, record] : runs.services) {
    if (!difference.running.contains(name)) continue;
    for (const Edge& edge : record.edges) {
      if (edge.kind != Edge::Kind::needs) continue;
      auto& quorum = out[edge.service][name];
      quorum = std::max({quorum, edge.quorum, std::int64_t{1}});
    }
  }
  return out;
}

Outages Outages::find(const PlanInput& input, const Difference& difference,
                      const Dependents& dependents, const std::map<std::string, int>& levels) {
  Outages out;
  std::set<std::pair<int, std::string>> order;  // providers first
  for (const auto& [service, level] : levels) order.emplace(level, service);
  for (const auto& [level, service] : order) {
    const auto& bound = dependents_of(dependents, service);
    if (bound.empty()) continue;
    std::int64_t quorum = 0;
    for (const auto& [name, q] : bound) quorum = std::max(quorum, q);
    const std::string why = out.stops(service) ? "it is stopped, because what it needs is away"
                                               : interruption(input, difference, service, quorum);
    if (why.empty()) continue;
    JointOutage outage{service, {}, {}, why, !difference.moved.contains(service)};
    for (const auto& [name, q] : bound) {
      outage.dependents.push_back(name);
      if (!difference.changes_service(name)) outage.needs_permission = true;
      if (!drains(input, difference, name)) out.stopped_.insert(name);
    }
    out.by_provider_.emplace(service, out.all_.size());
    out.all_.push_back(std::move(outage));
  }
  std::set<std::string> held;
  for (const JointOutage& outage : out.all_)
    held.insert(outage.dependents.begin(), outage.dependents.end());
  for (JointOutage& outage : out.all_) outage.affected = affected_by(outage, dependents, held);
  return out;
}

std::vector<Need> Outages::needs(const PlanInput& input) const {
  std::vector<Need> out;
  if (input.allow_outage || input.wanted->policy.allow_outage) return out;
  for (const JointOutage& outage : all_) {
    if (!outage.needs_permission) continue;
    out.push_back(
        {"--allow-outage",
         fmt::format("a joint outage: {} cannot keep {} up ({})", outage.provider,
                     join(outage.dependents, ", "), outage.reason),
         "allow it once with --allow-outage, or for good with policy: { allowOutage: true }"});
  }
  return out;
}

const JointOutage* Outages::of(const std::string& provider) const {
  const auto it = by_provider_.find(provider);
  return it == by_provider_.end() ? nullptr : &all_[it->second];
}

}  // namespace consort::plan
