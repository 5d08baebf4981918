// Which paths the services of this host decide on: what one of them keeps is no litter to the purge
// of another. Thread-safe.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "agent/packed_texts.h"

namespace consort::agent {

class PathSet {
 public:
  PathSet() = default;
  explicit PathSet(std::vector<std::string> paths);
  [[nodiscard]] bool empty() const { return paths_.size() == 0; }
  [[nodiscard]] bool contains(std::string_view path) const;
  // Those below this one, of whatever depth.
  [[nodiscard]] std::vector<std::string_view> below(const std::string& path) const;
  [[nodiscard]] bool has_below(const std::string& path) const;

 private:
  // The number of the first one that does not sort before it.
  [[nodiscard]] std::size_t first_from(std::string_view path) const;

  PackedTexts paths_;  // sorted
};

// The path itself or something below it is in the set.
[[nodiscard]] bool touches(const PathSet& paths, const std::string& path);

class Claims {
 public:
  // Replaces what this service claims.
  void set(const std::string& service, std::shared_ptr<const PathSet> paths);
  [[nodiscard]] bool contain(const std::string& path) const;
  // As touches(), over all services.
  [[nodiscard]] bool touch(const std::string& path) const;

 private:
  mutable std::mutex mutex_;
  std::map<std::string, std::shared_ptr<const PathSet>> by_service_;
};

}  // namespace consort::agent
