#include "plan/groups.h"

#include <fmt/format.h>

#include <algorithm>

namespace consort::plan {

Result<Groups> Groups::find(const PlanInput& input, const Difference& difference) {
  Groups out(*input.wanted);
  std::set<std::string> names;
  for (const auto& [key, draft] : difference.drafts) {
    const std::string group = out.of(key.host);
    names.insert(group);
    if (!draft.to) continue;
    Range& range = out.ranges_.try_emplace(key.service, Range{group, group}).first->second;
    range.first = std::min(range.first, group);
    range.last = std::max(range.last, group);
  }
  if (names.empty()) names.insert("");
  out.all_.assign(names.begin(), names.end());
  TRYV(out.check_order(input.backwards));
  return out;
}

std::string Groups::of(const std::string& host) const {
  if (wanted_->policy.one_at_a_time.empty()) return "";
  const auto& labels = wanted_->hosts.at(host).labels;
  const auto it = labels.find(wanted_->policy.one_at_a_time);
  return it == labels.end() ? "" : it->second;
}

bool Groups::is_first(const std::string& group, const std::string& service) const {
  const auto range = ranges_.find(service);
  return range != ranges_.end() && range->second.first == group;
}

bool Groups::is_last(const std::string& group, const std::string& service) const {
  const auto range = ranges_.find(service);
  return range != ranges_.end() && range->second.last == group;
}

Status Groups::check_order(bool backwards) const {
  for (const auto& [service, record] : wanted_->services) {
    const auto own = ranges_.find(service);
    if (own == ranges_.end()) continue;
    for (const Edge& edge : record.edges) {
      const auto provider = ranges_.find(edge.service);
      if (!is_hard(edge) || provider == ranges_.end() || edge.service == service) continue;
      // Within the same groups each group changes its providers first.
      if (provider->second == own->second) continue;
      const bool early = backwards ? own->second.last > provider->second.first
                                   : own->second.first < provider->second.last;
      if (!early) continue;
      return fail(ErrorCode::refused,
                  fmt::format("policy oneAtATime '{}': {} would change in {} before {}, which it "
                              "needs, changes in {}",
                              wanted_->policy.one_at_a_time, service, own->second.first,
                              edge.service, provider->second.last))
          .hint(fmt::format("deploy the provider first: --only {}", edge.service));
    }
  }
  return {};
}

}  // namespace consort::plan
