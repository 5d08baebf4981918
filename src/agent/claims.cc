#include "agent/claims.h"

#include <algorithm>

namespace consort::agent {

PathSet::PathSet(std::vector<std::string> paths) {
  std::sort(paths.begin(), paths.end());
  paths.erase(std::unique(paths.begin(), paths.end()), paths.end());
  for (const std::string& path : paths) paths_.add(path);
  paths_.shrink_to_fit();
}

std::size_t PathSet::first_from(std::string_view path) const {
  std::size_t begin = 0;
  std::size_t end = paths_.size();
  while (begin < end) {
    const std::size_t middle = begin + (end - begin) / 2;
    if (paths_[middle] < path) {
      begin = middle + 1;
    } else {
      end = middle;
    }
  }
  return begin;
}

bool PathSet::contains(std::string_view path) const {
  const std::size_t i = first_from(path);
  return i < paths_.size() && paths_[i] == path;
}

// Not next to the path itself: "conf.d.readme" sorts between "conf.d" and "conf.d/site.conf".
std::vector<std::string_view> PathSet::below(const std::string& path) const {
  std::vector<std::string_view> out;
  const std::string prefix = path + "/";
  for (std::size_t i = first_from(prefix); i < paths_.size() && paths_[i].starts_with(prefix); ++i)
    out.push_back(paths_[i]);
  return out;
}

bool PathSet::has_below(const std::string& path) const {
  const std::string prefix = path + "/";
  const std::size_t i = first_from(prefix);
  return i < paths_.size() && paths_[i].starts_with(prefix);
}

bool touches(const PathSet& paths, const std::string& path) {
  return paths.contains(path) || paths.has_below(path);
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
