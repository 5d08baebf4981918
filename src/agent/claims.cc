#include "agent/claims.h"

#include <algorithm>

namespace consort::agent {

bool touches(const PathSet& paths, const std::string& path) {
  if (paths.contains(path)) return true;
  // Not next to the path itself: "conf.d.readme" sorts between "conf.d" and "conf.d/site.conf".
  const std::string below = path + "/";
  const auto it = paths.lower_bound(below);
  return it != paths.end() && it->starts_with(below);
}

void Claims::set(const std::string& service, std::shared_ptr<const PathSet> paths) {
  const std::lock_guard lock(mutex_);
  if (paths == nullptr || paths->empty()) {
    by_service_.erase(service);
  } else {
    by_service_.insert_or_assign(service, std::move(paths));
  }
}

bool Claims::contain(const std::string& path) const {
  const std::lock_guard lock(mutex_);
  return std::any_of(by_service_.begin(), by_service_.end(),
                     [&](const auto& item) { return item.second->contains(path); });
}

bool Claims::touch(const std::string& path) const {
  const std::lock_guard lock(mutex_);
  return std::any_of(by_service_.begin(), by_service_.end(),
                     [&](const auto& item) { return touches(*item.second, path); });
}

}  // namespace consort::agent
