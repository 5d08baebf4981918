#include "agent/reserve.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

namespace consort::agent {
namespace {

constexpr std::uint64_t kBytes = 1U << 20U;
constexpr std::uint64_t kPlenty = 32U << 20U;  // free bytes below which it is not taken

}  // namespace

void Reserve::hold() {
  if (held_) return;
  struct stat info {};
  held_ = ::stat(file_.c_str(), &info) == 0 && static_cast<std::uint64_t>(info.st_size) == kBytes;
  struct statvfs disk {};
  if (held_ || ::statvfs(file_.parent_path().c_str(), &disk) != 0 ||
      static_cast<std::uint64_t>(disk.f_bavail) * disk.f_frsize < kPlenty)
    return;
  const Fd fd(::open(file_.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  held_ = fd.valid() && ::posix_fallocate(fd.get(), 0, static_cast<off_t>(kBytes)) == 0;
  if (!held_) ::unlink(file_.c_str());
}

bool Reserve::release() {
  held_ = false;
  return ::unlink(file_.c_str()) == 0;
}

}  // namespace consort::agent
