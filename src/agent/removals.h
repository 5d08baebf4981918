// What purges have removed while a way back is still open, so that the way back can bring it back:
// one JSON record a line ({ path, before }), on the disk before anything is removed; contents are
// objects of the backups. keep() and bring_back() may be called by several threads.
#pragma once

#include <mutex>
#include <string>
#include <vector>

#include "agent/resource.h"

namespace consort::agent {

class Removals {
 public:
  static constexpr std::uint64_t kMostBytes = std::uint64_t{1} << 30U;

  // `most_bytes`: of contents, all together. What is beyond is removed all the same, and told by
  // bring_back().
  explicit Removals(fs::path file, std::uint64_t most_bytes = kMostBytes)
      : file_(std::move(file)), most_bytes_(most_bytes) {}

  // Before these paths are removed. Errors: io; then nothing may be removed.
  [[nodiscard]] Status keep(const Context& context, const std::vector<std::string>& paths);
  // Puts everything back that is still absent; what could not be, and why. Doing it again is fine.
  // Errors: io, corrupt (the file itself).
  [[nodiscard]] Result<std::vector<std::string>> bring_back(const Context& context);
  [[nodiscard]] Status forget();

 private:
  [[nodiscard]] Result<std::vector<Json>> read() const;
  [[nodiscard]] Result<Json> capture(const Context& context, const std::string& path,
                                     std::uint64_t& used) const;

  fs::path file_;
  std::uint64_t most_bytes_;
  std::mutex mutex_;
};

}  // namespace consort::agent
