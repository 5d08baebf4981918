// What differs between the site as it is and the site as it is wanted, instance by instance: the
// first step of a plan, before any order.
#pragma once

#include "plan/plan.h"

namespace consort::plan {

struct InstanceKey {
  std::string service;
  std::string host;
  auto operator<=>(const InstanceKey&) const = default;
};

template <class Value>
using ByInstance = std::map<InstanceKey, Value>;

template <class Iterator>
struct Entries {
  Iterator first;
  Iterator last;
  [[nodiscard]] Iterator begin() const { return first; }
  [[nodiscard]] Iterator end() const { return last; }
  [[nodiscard]] bool empty() const { return first == last; }
};

// The entries of one service.
template <class Map>
[[nodiscard]] auto of_service(Map& map, const std::string& service) {
  const auto first = map.lower_bound(InstanceKey{service, ""});
  auto last = first;
  while (last != map.end() && last->first.service == service) ++last;
  return Entries<decltype(last)>{first, last};
}

// What has to happen to one instance; `to` is empty where it goes away.
struct Draft {
  Action action = Action::install;
  std::optional<InstanceState> to;
  std::string reason;
};

struct Difference {
  std::vector<Need> needs;        // permissions to remove data
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
