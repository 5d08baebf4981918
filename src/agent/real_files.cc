#include "agent/real_files.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <climits>

namespace consort::agent {
namespace {

int open_below(int root, const char* path, int flags) {
  open_how how{};
  how.flags = static_cast<std::uint64_t>(flags | O_CLOEXEC);
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
  return static_cast<int>(::syscall(SYS_openat2, root, path, &how, sizeof how));
}

std::string below(const std::string& path) {
  return path.size() <= 1 ? std::string(".") : path.substr(1);
}

Stamp stamp_of(const struct stat& info) {
  Stamp out;
  out.device = info.st_dev;
  out.inode = info.st_ino;
  out.size = static_cast<std::uint64_t>(info.st_size);
  out.modified =
      static_cast<std::int64_t>(info.st_mtim.tv_sec) * 1'000'000'000 + info.st_mtim.tv_nsec;
  out.changed =
      static_cast<std::int64_t>(info.st_ctim.tv_sec) * 1'000'000'000 + info.st_ctim.tv_nsec;
  out.mode = info.st_mode;
  out.uid = info.st_uid;
  out.gid = info.st_gid;
  return out;
}

EntryKind kind_of(mode_t mode) {
  if (S_ISREG(mode)) return EntryKind::file;
  if (S_ISDIR(mode)) return EntryKind::directory;
  if (S_ISLNK(mode)) return EntryKind::symlink;
  return EntryKind::other;
}

// The name is always the same, so a temp file that a killed agent left is overwritten by the next
// try.
std::string temp_name(const std::string& base) {
  if (base.size() > 200) return fmt::format(".{:016x}.consort-new", stable_hash(base));
  return fmt::format(".{}.consort-new", base);
}

// Owner before mode: chown clears the setuid and setgid bits.
Status apply_metadata(int fd, const Metadata& meta, const std::string& path) {
  if (meta.uid || meta.gid) {
    if (::fchown(fd, meta.uid.value_or(static_cast<uid_t>(-1)),
                 meta.gid.value_or(static_cast<gid_t>(-1))) != 0) {
      return fail_errno(errno, fmt::format("cannot set the owner of {}", path));
    }
  }
  if (meta.mode && ::fchmod(fd, *meta.mode) != 0)
    return fail_errno(errno, fmt::format("cannot set the mode of {}", path));
  return {};
}

// Access lists and other extended attributes live on; a file system that knows none is no error.
void copy_attributes(int from, int to) {
  std::array<char, 8192> names{};
  const ssize_t size = ::flistxattr(from, names.data(), names.size());
  for (ssize_t at = 0; at < size;) {
    const char* name = names.data() + at;
    std::array<char, 65536> value{};
    const ssize_t length = ::fgetxattr(from, name, value.data(), value.size());
    if (length >= 0) [[maybe_unused]]
      const int done = ::fsetxattr(to, name, value.data(), static_cast<std::size_t>(length), 0);
    at += static_cast<ssize_t>(std::string_view(name).size()) + 1;
  }
}

constexpr std::size_t kMostAttributeBytes = 64U << 10U;

std::string open_path(const Fd& fd) { return fmt::format("/proc/self/fd/{}", fd.get()); }

Result<Attributes> read_attributes(const std::string& open, const std::string& path) {
  std::string names(kMostAttributeBytes, '\0');
  const ssize_t size = ::listxattr(open.c_str(), names.data(), names.size());
  if (size < 0 && (errno == ENOTSUP || errno == EOPNOTSUPP)) return Attributes{};
  if (size < 0) return fail_errno(errno, fmt::format("cannot list the attributes of {}", path));
  Attributes out;
  std::size_t left = kMostAttributeBytes;
  for (std::size_t at = 0; at < static_cast<std::size_t>(size);) {
    const std::string name = names.c_str() + at;
    at += name.size() + 1;
    std::string value(left, '\0');
    const ssize_t length = ::getxattr(open.c_str(), name.c_str(), value.data(), value.size());
    if (length < 0 && errno == ENODATA) continue;
    if (length < 0 && errno == ERANGE)
      return fail(ErrorCode::too_large, fmt::format("the attributes of {} have more than {} bytes",
                                                    path, kMostAttributeBytes));
    if (length < 0)
      return fail_errno(errno, fmt::format("cannot read the attribute {} of {}", name, path));
    value.resize(static_cast<std::size_t>(length));
    left -= value.size();
    out.emplace(name, std::move(value));
  }
  return out;
}

// These and no others, but for those of security modules. After owner and mode: chown takes
// capabilities away, and an access list says the group's bits.
Status write_attributes(const std::string& open, const Metadata& meta, const std::string& path) {
  if (!meta.attributes) return {};
  for (const auto& [name, value] : TRY(read_attributes(open, path))) {
    const bool wanted = meta.attributes->contains(name) || name.starts_with("security.");
    if (!wanted && ::removexattr(open.c_str(), name.c_str()) != 0)
      return fail_errno(errno, fmt::format("cannot take the attribute {} from {}", name, path));
  }
  for (const auto& [name, value] : *meta.attributes) {
    if (::setxattr(open.c_str(), name.c_str(), value.data(), value.size(), 0) != 0)
      return fail_errno(errno, fmt::format("cannot set the attribute {} of {}", name, path));
  }
  return {};
}

Status copy_bytes(const fs::path& source, int to, const std::string& path) {
  const Fd from(::open(source.c_str(), O_RDONLY | O_CLOEXEC));
  if (!from.valid())
    return fail_errno(errno, fmt::format("cannot open the source {}", source.string()));
  std::string buffer(1U << 17U, '\0');
  while (true) {
    const ssize_t n = ::read(from.get(), buffer.data(), buffer.size());
    if (n == 0) return {};
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_errno(errno, fmt::format("cannot read the source {}", source.string()));
    TRYV(write_all(to, std::string_view(buffer.data(), static_cast<std::size_t>(n)), path));
  }
}

Status write_content(int fd, const Content& content, const std::string& path) {
  if (content.source.empty()) return write_all(fd, content.bytes, path);
  return copy_bytes(content.source, fd, path);
}

Status sync_directory(int path_fd, const std::string& path) {
  // Only a descriptor that was opened for reading can be synced itself.
  if (::fsync(path_fd) == 0) return {};
  const Fd fd(::openat(path_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid()) return fail_errno(errno, fmt::format("cannot open the directory of {}", path));
  if (::fsync(fd.get()) != 0 && errno != EINVAL)
    return fail_errno(errno, fmt::format("cannot sync the directory of {}", path));
  return {};
}

}  // namespace

Result<std::unique_ptr<RealFiles>> RealFiles::open(const fs::path& root, const fs::path& own) {
  Fd fd(::open(root.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid()) return fail_errno(errno, fmt::format("cannot open the root {}", root.string()));
  const Fd probe(open_below(fd.get(), ".", O_PATH | O_DIRECTORY));
  if (!probe.valid() && errno == ENOSYS) {
    return fail(ErrorCode::unsupported, "this kernel has no openat2")
        .hint("the agent needs Linux 5.6 or newer");
  }
  std::error_code ec;
  fs::path real = fs::canonical(root, ec);
  auto out = std::unique_ptr<RealFiles>(new RealFiles(ec ? root : real, std::move(fd)));
  if (own.empty() || out->root_ == "/") return out;
  out->machine_fd_ = Fd(::open("/", O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!out->machine_fd_.valid()) return fail_errno(errno, "cannot open /");
  out->own_ = own.string();
  return out;
}

bool RealFiles::is_own(const std::string& path) const {
  return !own_.empty() && path.starts_with(own_) &&
         (path.size() == own_.size() || path[own_.size()] == '/');
}

fs::path RealFiles::host_path(const std::string& path) const {
  return root_ == "/" || is_own(path) ? fs::path(path) : fs::path(root_.string() + path);
}

Result<Fd> RealFiles::open_directory(const std::string& path) const {
  Fd fd(open_below(base_fd(path), below(path).c_str(), O_PATH | O_DIRECTORY));
  if (fd.valid()) return fd;
  if (errno == ELOOP) {
    std::error_code ec;
    const fs::path real = fs::weakly_canonical(host_path(path), ec);
    return fail(ErrorCode::refused,
                fmt::format("{} is or leads through a symlink, and Consort does not follow links",
                            path))
        .hint(fmt::format("write the real path: {}", real.string()));
  }
  if (errno == ENOTDIR)
    return fail(ErrorCode::not_found, fmt::format("a part of {} is not a directory", path));
  return fail_errno(errno, fmt::format("cannot open the directory {}", path));
}

Result<Fd> RealFiles::open_directory_to_sync(const std::string& path) const {
  Fd fd(open_below(base_fd(path), below(path).c_str(), O_RDONLY | O_DIRECTORY));
  if (fd.valid()) return fd;
  return open_directory(path);  // it may be writable without being readable; or it says why not
}

Result<Fd> RealFiles::open_file(const std::string& path, int flags) const {
  Fd fd(open_below(base_fd(path), below(path).c_str(),
                   flags | O_NOFOLLOW | ((flags & O_PATH) != 0 ? 0 : O_NONBLOCK)));
  if (fd.valid()) return fd;
  if (errno == ELOOP)
    return fail(ErrorCode::refused, fmt::format("{} is or leads through a symlink", path))
        .hint("write the real path");
  return fail_errno(errno, fmt::format("cannot open {}", path));
}

Result<Entry> RealFiles::look(const std::string& path) const {
  auto parent = open_directory(parent_of(path));
  if (!parent) {
    if (parent.error().code() == ErrorCode::not_found) return Entry{};
    return tl::unexpected<Error>(std::move(parent).error());
  }
  struct stat info {};
  const std::string name = path == "/" ? std::string(".") : base_of(path);
  if (::fstatat(parent->get(), name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) {
    if (errno == ENOENT) return Entry{};
    return fail_errno(errno, fmt::format("cannot look at {}", path));
  }
  Entry out{kind_of(info.st_mode), stamp_of(info), {}};
  if (out.kind == EntryKind::symlink) {
    std::array<char, PATH_MAX> buffer{};
    const ssize_t n = ::readlinkat(parent->get(), name.c_str(), buffer.data(), buffer.size());
    if (n < 0) return fail_errno(errno, fmt::format("cannot read the link {}", path));
    out.target.assign(buffer.data(), static_cast<std::size_t>(n));
  }
  return out;
}

Stamp RealFiles::stamp(const std::string& path) const {
  struct stat info {};
  if (::fstatat(base_fd(path), path.size() <= 1 ? "." : path.c_str() + 1, &info,
                AT_SYMLINK_NOFOLLOW) != 0)
    return {};
  return stamp_of(info);
}

Result<std::string> RealFiles::read(const std::string& path, std::size_t limit) const {
  const Fd fd = TRY(open_file(path, O_RDONLY));
  return read_fd(fd.get(), path, limit);
}

Result<HostFiles::Sight> RealFiles::look_and_read(const std::string& path,
                                                  std::uint64_t size) const {
  // Opening something else than a regular file may have effects (devices), so it is asked first;
  // what is then read is told by the descriptor. Whatever is unusual goes the long way.
  const Stamp before = stamp(path);
  if (!S_ISREG(before.mode) || before.size != size || size >= kDefaultReadLimit)
    return HostFiles::look_and_read(path, size);
  const Fd fd(open_below(base_fd(path), below(path).c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK));
  struct stat info {};
  if (!fd.valid() || ::fstat(fd.get(), &info) != 0 || !S_ISREG(info.st_mode))
    return HostFiles::look_and_read(path, size);
  std::string bytes(size + 1, '\0');
  const ssize_t n = ::read(fd.get(), bytes.data(), bytes.size());
  const Stamp now = stamp_of(info);
  // Cut short, or it grows: both are seen by those who look again.
  if (n < 0 || static_cast<std::uint64_t>(n) != size || now.size != size)
    return HostFiles::look_and_read(path, size);
  bytes.resize(size);
  return Sight{{EntryKind::file, now, {}}, std::move(bytes)};
}

Result<Fd> RealFiles::open_for_reading(const std::string& path) const {
  Fd fd = TRY(open_file(path, O_RDONLY));
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0)
    return fail_errno(errno, fmt::format("cannot look at {}", path));
  if (!S_ISREG(info.st_mode))
    return fail(ErrorCode::refused, fmt::format("{} is not a regular file any more", path));
  return fd;
}

Result<Digest> RealFiles::digest(const std::string& path) const {
  const Fd fd = TRY(open_for_reading(path));
  Content content;
  content.source = open_path(fd);
  return content.digest();
}

Result<Attributes> RealFiles::attributes(const std::string& path) const {
  const Fd fd = TRY(open_file(path, O_PATH));
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0)
    return fail_errno(errno, fmt::format("cannot look at {}", path));
  if (!S_ISREG(info.st_mode) && !S_ISDIR(info.st_mode)) return Attributes{};
  return read_attributes(open_path(fd), path);
}

Result<std::vector<std::string>> RealFiles::list(const std::string& path) const {
  Fd fd = TRY(open_file(path, O_RDONLY | O_DIRECTORY));
  DIR* dir = ::fdopendir(fd.get());
  if (dir == nullptr) return fail_errno(errno, fmt::format("cannot list {}", path));
  [[maybe_unused]] const int owned_by_the_stream = fd.release();
  std::vector<std::string> out;
  while (const dirent* item =
             ::readdir(dir)) {  // NOLINT(concurrency-mt-unsafe): the stream is ours alone
    const std::string_view name(item->d_name);
    if (name != "." && name != "..") out.emplace_back(name);
  }
  ::closedir(dir);
  std::sort(out.begin(), out.end());
  return out;
}

Result<std::string> RealFiles::write(const std::string& path, const Content& content,
                                     const Metadata& meta, const Validate& validate) {
  const Fd parent = TRY(open_directory_to_sync(parent_of(path)));
  const std::string base = base_of(path);
  const std::string temp = temp_name(base);
  ++changes_;
  constexpr int kNew = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
  Fd fd(::openat(parent.get(), temp.c_str(), kNew, 0600));
  if (!fd.valid() && errno == EEXIST) {
    ::unlinkat(parent.get(), temp.c_str(), 0);
    fd = Fd(::openat(parent.get(), temp.c_str(), kNew, 0600));
  }
  if (!fd.valid())
    return fail_errno(errno, fmt::format("cannot create a file in {}", parent_of(path)));
  const auto finish = [&]() -> Result<std::string> {
    Metadata final_meta = meta;
    struct stat old {};
    const bool replaces = ::fstatat(parent.get(), base.c_str(), &old, AT_SYMLINK_NOFOLLOW) == 0 &&
                          S_ISREG(old.st_mode);
    if (replaces) {
      const Fd old_fd(
          ::openat(parent.get(), base.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
      // What somebody else's file permits is not taken over with its place.
      const bool stays = final_meta.uid.value_or(old.st_uid) == old.st_uid &&
                         final_meta.gid.value_or(old.st_gid) == old.st_gid;
      if (stays && old_fd.valid() && !meta.attributes) copy_attributes(old_fd.get(), fd.get());
      if (!final_meta.mode) final_meta.mode = old.st_mode & (stays ? 07777U : 0755U);
      if (!final_meta.uid && old.st_uid != ::geteuid()) final_meta.uid = old.st_uid;
      if (!final_meta.gid && old.st_gid != ::getegid()) final_meta.gid = old.st_gid;
    }
    if (!final_meta.mode) final_meta.mode = 0600;
    TRYV(write_content(fd.get(), content, path));
    TRYV(apply_metadata(fd.get(), final_meta, path));
    TRYV(write_attributes(open_path(fd), final_meta, path));
    if (::fsync(fd.get()) != 0) return fail_errno(errno, fmt::format("cannot sync {}", path));
    // Closed first: a program that runs the new file must not meet "text file busy".
    fd.reset();
    if (validate)
      TRYV(validate(host_path(parent_of(path) == "/" ? "/" + temp : parent_of(path) + "/" + temp)));
    if (::renameat(parent.get(), temp.c_str(), parent.get(), base.c_str()) != 0) {
      if (errno != EBUSY && errno != EXDEV)
        return fail_errno(errno, fmt::format("cannot replace {}", path));
      const Fd target(
          ::openat(parent.get(), base.c_str(), O_WRONLY | O_TRUNC | O_NOFOLLOW | O_CLOEXEC));
      if (!target.valid()) return fail_errno(errno, fmt::format("cannot write {} in place", path));
      TRYV(write_content(target.get(), content, path));
      TRYV(apply_metadata(target.get(), final_meta, path));
      TRYV(write_attributes(open_path(target), final_meta, path));
      if (::fsync(target.get()) != 0) return fail_errno(errno, fmt::format("cannot sync {}", path));
      ::unlinkat(parent.get(), temp.c_str(), 0);
      return std::string("written in place, not atomically: the path is a mount point");
    }
    TRYV(sync_directory(parent.get(), path));
    return std::string();
  };
  auto result = finish();
  if (!result) ::unlinkat(parent.get(), temp.c_str(), 0);
  return result;
}

Status RealFiles::make_directory(const std::string& path, const Metadata& meta) {
  const Fd parent = TRY(open_directory(parent_of(path)));
  ++changes_;
  const std::string base = base_of(path);
  if (::mkdirat(parent.get(), base.c_str(), 0700) != 0)
    return fail_errno(errno, fmt::format("cannot create the directory {}", path));
  Metadata final_meta = meta;
  if (!final_meta.mode) final_meta.mode = 0755;
  TRYV(set_metadata(path, final_meta));
  return sync_directory(parent.get(), path);
}

Status RealFiles::make_symlink(const std::string& path, const std::string& target) {
  const Fd parent = TRY(open_directory(parent_of(path)));
  ++changes_;
  const std::string base = base_of(path);
  const std::string temp = temp_name(base);
  ::unlinkat(parent.get(), temp.c_str(), 0);
  if (::symlinkat(target.c_str(), parent.get(), temp.c_str()) != 0)
    return fail_errno(errno, fmt::format("cannot create a link in {}", parent_of(path)));
  if (::renameat(parent.get(), temp.c_str(), parent.get(), base.c_str()) != 0) {
    const int error_number = errno;
    ::unlinkat(parent.get(), temp.c_str(), 0);
    return fail_errno(error_number, fmt::format("cannot replace {}", path));
  }
  return sync_directory(parent.get(), path);
}

Status RealFiles::set_metadata(const std::string& path, const Metadata& meta) {
  ++changes_;
  // O_PATH, because a mode such as 0146 keeps its own owner from reading.
  const Fd fd = TRY(open_file(path, O_PATH));
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0 || S_ISLNK(info.st_mode))
    return fail(ErrorCode::refused, fmt::format("{} is a symlink now", path));
  const bool owner = meta.uid || meta.gid;
  if (owner && ::fchownat(fd.get(), "", meta.uid.value_or(static_cast<uid_t>(-1)),
                          meta.gid.value_or(static_cast<gid_t>(-1)), AT_EMPTY_PATH) != 0) {
    return fail_errno(errno, fmt::format("cannot set the owner of {}", path));
  }
  const bool stays = meta.uid.value_or(info.st_uid) == info.st_uid &&
                     meta.gid.value_or(info.st_gid) == info.st_gid;
  const mode_t mode = meta.mode.value_or(info.st_mode & (stays ? 07777U : 0755U));
  if ((meta.mode || owner) && ::chmod(open_path(fd).c_str(), mode) != 0) {
    return fail_errno(errno, fmt::format("cannot set the mode of {}", path));
  }
  return write_attributes(open_path(fd), meta, path);
}

Status RealFiles::remove(const std::string& path) {
  auto parent = open_directory(parent_of(path));
  if (!parent) {
    if (parent.error().code() == ErrorCode::not_found) return {};
    return tl::unexpected<Error>(std::move(parent).error());
  }
  const std::string base = base_of(path);
  struct stat info {};
  if (::fstatat(parent->get(), base.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) return {};
  ++changes_;
  if (::unlinkat(parent->get(), base.c_str(), S_ISDIR(info.st_mode) ? AT_REMOVEDIR : 0) != 0 &&
      errno != ENOENT) {
    return fail_errno(errno, fmt::format("cannot remove {}", path));
  }
  return sync_directory(parent->get(), path);
}

Status RealFiles::rename(const std::string& from, const std::string& to) {
  const Fd parent = TRY(open_directory(parent_of(from)));
  if (parent_of(to) != parent_of(from))
    return fail(ErrorCode::invalid_input, fmt::format("{} and {} are not side by side", from, to));
  ++changes_;
  if (::renameat2(parent.get(), base_of(from).c_str(), parent.get(), base_of(to).c_str(),
                  RENAME_NOREPLACE) != 0)
    return fail_errno(errno, fmt::format("cannot move {} to {}", from, to));
  return sync_directory(parent.get(), from);
}

}  // namespace consort::agent
