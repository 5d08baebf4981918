#include "agent/claims.h"

#include <algorithm>

namespace consort::agent {

PathSet::PathSet(std::vector<std::string> paths) {
  std::sort(paths.begin(), paths.end());
  paths.erase(std::unique(paths.begin(), paths.end()), paths.end());
  std::size_t size = 0;
  for (const std::string& path : paths) size += path.size() + 1;
  text_.reserve(size);
  begins_.reserve(paths.size());
  for (const std::string& path : paths) {
    begins_.push_back(static_cast<std::uint32_t>(text_.size()));
    text_.append(path).push_back('\0');
  }
}

std::vector<std::uint32_t>::const_iterator PathSet::first_from(std::string_view path) const {
  return std::ranges::lower_bound(begins_, path, {},
                                  [&](std::uint32_t begin) { return at(begin); });
}

bool PathSet::contains(std::string_view path) const {
  const auto it = first_from(path);
  return it != begins_.end() && at(*it) == path;
}

// Not next to the path itself: "conf.d.readme" sorts between "conf.d" and "conf.d/site.conf".
std::vector<std::string_view> PathSet::below(const std::string& path) const {
  std::vector<std::string_view> out;
  const std::string prefix = path + "/";
  for (auto it = first_from(prefix); it != begins_.end() && at(*it).starts_with(prefix); ++it)
    out.push_back(at(*it));
  return out;
}

bool PathSet::has_below(const std::string& path) const {
  const std::string prefix = path + "/";
  const auto it = first_from(prefix);
  return it != begins_.end() && at(*it).starts_with(prefix);
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
