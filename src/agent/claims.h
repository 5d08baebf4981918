// Which paths the services of this host decide on: what one of them keeps is no litter to the purge
// of another. Thread-safe.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>

namespace consort::agent {

using PathSet = std::set<std::string>;

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
