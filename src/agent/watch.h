// Tells within milliseconds that resources may have drifted: one inotify instance for all paths,
// one thread. What is told may be nothing (also one's own writes are seen):
// examine again. Thread-safe; the callback runs on the watching thread and should only hand over.
// Not told, and left to the regular passes: what is written through a descriptor that stays open, a
// file system that is mounted over a folder, and what could not be watched for want of watches
// (that is told once, and tried again each minute).
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/files.h"

namespace consort::agent {

struct Drift {
  std::map<std::string, std::set<std::string>> resources;  // by service
  bool everything = false;  // events were lost or watches ran out: one full pass
  std::string warning;      // says why, when `everything`
};

class Watch {
 public:
  using Callback = std::function<void(const Drift&)>;
  // Errors: io (no inotify instance left: raise fs.inotify.max_user_instances).
  [[nodiscard]] static Result<std::unique_ptr<Watch>> create(Callback callback);
  ~Watch();
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;

  // Replaces what is watched for this service: resource → host paths. "dir/" means everything
  // directly inside. A path need not exist: its nearest folder is watched until it does. Folders
  // above it are followed too: one that is moved away, or made anew, is drift of all below it.
  // Returns when all is armed.
  void set(const std::string& service,
           const std::map<std::string, std::vector<std::string>>& paths);

 private:
  struct Impl;
  explicit Watch(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace consort::agent
