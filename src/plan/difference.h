// What differs between the site as it is and the site as it is wanted, instance by instance: the
// first step of a plan, before any order.
#pragma once

#include <ranges>

#include "plan/plan.h"

namespace consort::plan {

struct InstanceKey {
  std::string service;
  std::string host;
  auto operator<=>(const InstanceKey&) const = default;
};

template <class Value>
using ByInstance = std::map<InstanceKey, Value>;

// The entries of one service; logarithmic in the size of the map.
template <class Map>
[[nodiscard]] auto of_service(Map& map, const std::string& service) {
  const auto begin = map.lower_bound(InstanceKey{service, ""});
  auto end = begin;
  while (end != map.end() && end->first.service == service) ++end;
  return std::ranges::subrange(begin, end);
}

// What has to happen to one instance; `to` is empty where it goes away.
struct Draft {
  Action action = Action::install;
  std::optional<InstanceState> to;
  std::string reason;
};

struct Difference {
  ByInstance<InstanceState> now;  // what is applied on the hosts of the site
  ByInstance<Draft> drafts;
  // A sick instance runs, too: whether enough are healthy is looked at when a step begins.
  std::map<std::string, std::int64_t> running;  // service → instances that run now
  std::set<std::string> leaving;                // services that go away from a host
  std::set<std::string> moved;                  // services that go from one host to another
  std::map<std::string, int> kept;
  std::vector<Change> changes;
  std::vector<std::string> detached;

  [[nodiscard]] bool changes_service(const std::string& service) const {
    return !of_service(drafts, service).empty();
  }
};

// Null where the manifest is not known.
[[nodiscard]] const Manifest* known_manifest(const PlanInput& input, const Digest& digest);

// Errors: not_found (a name in `only` or `except`, a manifest), refused (all instances of a service
// that keeps data would go).
[[nodiscard]] Result<Difference> find_difference(const PlanInput& input);

}  // namespace consort::plan
