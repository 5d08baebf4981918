#include "base/files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
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

Status check_private(const fs::path& path, std::string_view remedy) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0 || (info.st_mode & 077U) == 0) return {};
  return fail(ErrorCode::refused, fmt::format("{} can be read by others (mode {:04o})",
                                              path.string(), info.st_mode & 07777U))
      .hint(fmt::format("chmod 600 {}{}{}", path.string(), remedy.empty() ? "" : "; and ", remedy));
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

namespace {

fs::path folder_of(const fs::path& path) {
  return path.has_parent_path() ? path.parent_path() : fs::path(".");
}

constexpr std::string_view kTempSuffix = ".tmp";
std::string temp_prefix(const fs::path& path) { return "." + path.filename().string() + "."; }

enum class Replace : std::uint8_t { yes, never };

// Error conflict only with Replace::never.
Status give_name(const fs::path& temp, const fs::path& path, Replace replace) {
  if (replace == Replace::yes) {
    if (::rename(temp.c_str(), path.c_str()) == 0) return {};
    return fail_errno(errno, fmt::format("cannot replace {}", path.string()));
  }
  bool done = ::renameat2(AT_FDCWD, temp.c_str(), AT_FDCWD, path.c_str(), RENAME_NOREPLACE) == 0;
  // Not every file system and every container knows that one.
  if (!done && errno != EEXIST) {
    done = ::link(temp.c_str(), path.c_str()) == 0;
    if (done) ::unlink(temp.c_str());
  }
  if (done) return {};
  if (errno == EEXIST)
    return fail(ErrorCode::conflict, fmt::format("{} is there already", path.string()))
        .hint("somebody else has made it meanwhile; try again");
  return fail_errno(errno, fmt::format("cannot create {}", path.string()));
}

Status write_by_way_of_temp(const fs::path& path, std::string_view bytes, mode_t mode,
                            Durability durability, Replace replace) {
  static std::atomic<unsigned> counter{0};
  const fs::path parent = folder_of(path);
  const fs::path temp =
      parent / fmt::format("{}{}.{}{}", temp_prefix(path), ::getpid(), counter++, kTempSuffix);
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
    TRYV(give_name(temp, path, replace));
    return durability == Durability::fsync ? fsync_folder(parent) : Status();
  };
  Status status = finish();
  if (!status) ::unlink(temp.c_str());
  return status;
}

}  // namespace

Status write_file_atomic(const fs::path& path, std::string_view bytes, mode_t mode,
                         Durability durability) {
  return write_by_way_of_temp(path, bytes, mode, durability, Replace::yes);
}

Status write_new_file(const fs::path& path, std::string_view bytes, mode_t mode) {
  return write_by_way_of_temp(path, bytes, mode, Durability::fsync, Replace::never);
}

void remove_leftovers_of(const fs::path& path, Duration age) {
  const std::string prefix = temp_prefix(path);
  const auto youngest = fs::file_time_type::clock::now() - age;
  std::error_code ec;
  for (const auto& entry : fs::directory_iterator(folder_of(path), ec)) {
    const std::string name = entry.path().filename().string();
    // Between them: the number of a process and that of its file.
    if (!name.starts_with(prefix) || !name.ends_with(kTempSuffix) ||
        name.size() <= prefix.size() + kTempSuffix.size())
      continue;
    const std::string_view numbers = std::string_view(name).substr(
        prefix.size(), name.size() - prefix.size() - kTempSuffix.size());
    if (numbers.find_first_not_of("0123456789.") != std::string_view::npos) continue;
    std::error_code unknown;
    if (entry.last_write_time(unknown) <= youngest && !unknown) fs::remove(entry.path(), unknown);
  }
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

Result<std::vector<fs::path>> list_folder(const fs::path& folder) {
  std::vector<fs::path> out;
  std::error_code ec;
  fs::directory_iterator it(folder, ec);
  if (ec == std::errc::no_such_file_or_directory) return out;
  for (; !ec && it != fs::directory_iterator(); it.increment(ec)) out.push_back(it->path());
  if (ec) return fail_errno(ec.value(), fmt::format("cannot list {}", folder.string()));
  std::sort(out.begin(), out.end());
  return out;
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
