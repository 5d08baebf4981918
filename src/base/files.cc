#include "base/files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>

#include "base/open_file.h"

namespace consort {

Fd& Fd::operator=(Fd&& other) noexcept {
  if (this != &other) {
    reset();
    fd_ = std::exchange(other.fd_, -1);
  }
  return *this;
}

void Fd::reset() {
  if (fd_ >= 0) ::close(std::exchange(fd_, -1));
}

Result<std::string> read_fd(int fd, std::string_view name, std::size_t limit) {
  std::string out;
  struct stat info {};
  std::size_t chunk = 65536;
  const bool regular = ::fstat(fd, &info) == 0 && S_ISREG(info.st_mode);
  if (regular) {
    if (static_cast<std::size_t>(info.st_size) > limit) {
      return fail(ErrorCode::too_large,
                  fmt::format("{} has {} bytes; the limit is {}", name, info.st_size, limit));
    }
    // Files of /proc have no size, and those of /proc/sys give all at the first read or never.
    chunk = info.st_size > 0 ? static_cast<std::size_t>(info.st_size) + 1 : 4096;
  }
  while (true) {
    const std::size_t have = out.size();
    out.resize(have + chunk);
    const ssize_t n = ::read(fd, out.data() + have, chunk);
    out.resize(have + static_cast<std::size_t>(n > 0 ? n : 0));
    if (n == 0) return out;
    if (n < 0 && errno != EINTR) return fail_errno(errno, fmt::format("cannot read {}", name));
    if (out.size() > limit)
      return fail(ErrorCode::too_large, fmt::format("{} is larger than {} bytes", name, limit));
    // Of a file that has a size, a short read is its end. (Files of /proc have none.)
    if (regular && info.st_size > 0 && n > 0 && static_cast<std::size_t>(n) < chunk) return out;
    chunk = 65536;
  }
}

std::string_view file_kind(mode_t mode) {
  if (S_ISREG(mode)) return "file";
  if (S_ISDIR(mode)) return "directory";
  if (S_ISLNK(mode)) return "symlink";
  if (S_ISFIFO(mode)) return "FIFO";
  if (S_ISSOCK(mode)) return "socket";
  return S_ISCHR(mode) || S_ISBLK(mode) ? "device" : "special file";
}

Result<Fd> open_file(const fs::path& path) {
  // Without O_NONBLOCK, opening a FIFO waits for its writer.
  Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  const int error = errno;
  struct stat info {};
  const bool known = (fd.valid() ? ::fstat(fd.get(), &info) : ::stat(path.c_str(), &info)) == 0;
  if (known && !S_ISREG(info.st_mode)) {
    return fail(ErrorCode::invalid_input,
                fmt::format("{} is a {}, not a file", path.string(), file_kind(info.st_mode)));
  }
  if (!fd.valid()) return fail_errno(error, fmt::format("cannot open {}", path.string()));
  return fd;
}

Result<std::string> read_file(const fs::path& path, std::size_t limit) {
  const Fd fd = TRY(open_file(path));
  return read_fd(fd.get(), path.string(), limit);
}

Status write_all(int fd, std::string_view bytes, std::string_view name) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_errno(errno, fmt::format("cannot write {}", name));
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
  return {};
}

Status fsync_folder(const fs::path& path) {
  const Fd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid()) return fail_errno(errno, fmt::format("cannot open {}", path.string()));
  if (::fsync(fd.get()) != 0 && errno != EINVAL)
    return fail_errno(errno, fmt::format("cannot sync {}", path.string()));
  return {};
}

Status write_file_atomic(const fs::path& path, std::string_view bytes, mode_t mode,
                         Durability durability) {
  static std::atomic<unsigned> counter{0};
  const fs::path parent = path.has_parent_path() ? path.parent_path() : fs::path(".");
  const fs::path temp =
      parent / fmt::format(".{}.{}.{}.tmp", path.filename().string(), ::getpid(), counter++);
  Fd fd(::open(temp.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!fd.valid())
    return fail_errno(errno, fmt::format("cannot create a file in {}", parent.string()));
  const auto finish = [&]() -> Status {
    TRYV(write_all(fd.get(), bytes, path.string()));
    if (::fchmod(fd.get(), mode) != 0)
      return fail_errno(errno, fmt::format("cannot set the mode of {}", path.string()));
    if (durability == Durability::fsync && ::fsync(fd.get()) != 0)
      return fail_errno(errno, fmt::format("cannot sync {}", path.string()));
    fd.reset();
    if (::rename(temp.c_str(), path.c_str()) != 0)
      return fail_errno(errno, fmt::format("cannot replace {}", path.string()));
    return durability == Durability::fsync ? fsync_folder(parent) : Status();
  };
  Status status = finish();
  if (!status) ::unlink(temp.c_str());
  return status;
}

Status make_folders(const fs::path& path, mode_t mode) {
  if (path.empty()) return {};
  struct stat info {};
  if (::stat(path.c_str(), &info) == 0) {
    if (S_ISDIR(info.st_mode)) return {};
    return fail(ErrorCode::io,
                fmt::format("{} is in the way: it is not a directory", path.string()));
  }
  if (path.has_parent_path() && path.parent_path() != path)
    TRYV(make_folders(path.parent_path(), mode));
  if (::mkdir(path.c_str(), mode) != 0 && errno != EEXIST)
    return fail_errno(errno, fmt::format("cannot create the directory {}", path.string()));
  return {};
}

Status remove_tree(const fs::path& path) {
  std::error_code ec;
  fs::remove_all(path, ec);
  if (ec) return fail_errno(ec.value(), fmt::format("cannot remove {}", path.string()));
  return {};
}

std::string file_stamp(const fs::path& path) {
  struct stat info {};
  if (::lstat(path.c_str(), &info) != 0) return "absent";
  return fmt::format("{}:{}:{}.{}:{}.{}", info.st_ino, info.st_size, info.st_mtim.tv_sec,
                     info.st_mtim.tv_nsec, info.st_ctim.tv_sec, info.st_ctim.tv_nsec);
}

Result<TempFolder> TempFolder::create(std::string_view prefix, const fs::path& parent) {
  fs::path base = parent;
  if (base.empty()) {
    const char* tmp = std::getenv("TMPDIR");
    base = tmp != nullptr && *tmp != '\0' ? tmp : "/tmp";
  }
  std::string pattern = (base / fmt::format("{}XXXXXX", prefix)).string();
  if (::mkdtemp(pattern.data()) == nullptr)
    return fail_errno(errno, fmt::format("cannot create a directory in {}", base.string()));
  return TempFolder(fs::path(pattern));
}

TempFolder::~TempFolder() {
  if (path_.empty()) return;
  std::error_code ec;
  fs::remove_all(path_, ec);
}

Result<FileLock> FileLock::acquire(const fs::path& path, std::string_view what) {
  Fd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!fd.valid()) return fail_errno(errno, fmt::format("cannot open the lock {}", path.string()));
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK)
      return fail(ErrorCode::locked, fmt::format("{} is in use by another process", what))
          .hint(fmt::format("see who holds it: fuser {}", path.string()));
    return fail_errno(errno, fmt::format("cannot lock {}", path.string()));
  }
  return FileLock(std::move(fd));
}

}  // namespace consort
