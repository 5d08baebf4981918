// Writers and a collection of one store, also of several processes, kept apart (private to this
// room): publishing and renewing hold it shared, the decision that an object is old together with
// its removal holds it exclusively. Held for moments only.
#pragma once

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>

#include <cerrno>

#include "base/files.h"

namespace consort::objects {

class StoreLock {
 public:
  [[nodiscard]] static Result<StoreLock> shared(const fs::path& root) {
    return take(root, LOCK_SH);
  }
  [[nodiscard]] static Result<StoreLock> exclusive(const fs::path& root) {
    return take(root, LOCK_EX);
  }

 private:
  explicit StoreLock(Fd fd) : fd_(std::move(fd)) {}
  [[nodiscard]] static Result<StoreLock> take(const fs::path& root, int operation) {
    const fs::path path = root / "lock";
    Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd.valid()) return fail_errno(errno, fmt::format("cannot open {}", path.string()));
    while (::flock(fd.get(), operation) != 0) {
      if (errno != EINTR) return fail_errno(errno, fmt::format("cannot lock {}", path.string()));
    }
    return StoreLock(std::move(fd));
  }
  Fd fd_;
};

}  // namespace consort::objects
