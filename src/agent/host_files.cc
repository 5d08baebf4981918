#include "agent/host_files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>
#include <chrono>

#include <array>
#include <cerrno>
#include <ctime>

#include "base/text.h"

namespace consort::agent {

std::string_view entry_kind_name(EntryKind kind) {
  switch (kind) {
    case EntryKind::absent:
      return "absent";
    case EntryKind::file:
      return "file";
    case EntryKind::directory:
      return "directory";
    case EntryKind::symlink:
      return "symlink";
    case EntryKind::other:
      return "device, socket or pipe";
  }
  return "?";
}

Result<Digest> Content::digest() const {
  if (source.empty()) return Digest::of(bytes);
  const Fd fd(::open(source.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid())
    return fail_errno(errno, fmt::format("cannot open the source {}", source.string()));
  Hasher hasher;
  std::string buffer(1U << 17U, '\0');
  while (true) {
    const ssize_t n = ::read(fd.get(), buffer.data(), buffer.size());
    if (n == 0) return hasher.finish();
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_errno(errno, fmt::format("cannot read the source {}", source.string()));
    hasher.update(std::string_view(buffer.data(), static_cast<std::size_t>(n)));
  }
}

Result<std::uint64_t> Content::size() const {
  if (source.empty()) return static_cast<std::uint64_t>(bytes.size());
  struct stat info {};
  if (::stat(source.c_str(), &info) != 0)
    return fail_errno(errno, fmt::format("cannot look at the source {}", source.string()));
  if (!S_ISREG(info.st_mode))
    return fail(ErrorCode::invalid_input,
                fmt::format("the source {} is not a regular file", source.string()));
  return static_cast<std::uint64_t>(info.st_size);
}

Result<HostFiles::Sight> HostFiles::look_and_read(const std::string& path,
                                                  std::uint64_t size) const {
  Sight out{TRY(look(path)), std::nullopt};
  if (out.entry.kind == EntryKind::file && out.entry.stamp.size == size &&
      size <= kDefaultReadLimit)
    out.bytes = TRY(read(path, kDefaultReadLimit));
  return out;
}

bool HostFiles::trustworthy(const Stamp& stamp) {
  if (stamp.mode == 0) return true;
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME_COARSE, &now);
  // Kernel time stamps advance in ticks of up to 10 ms; two ticks are safe.
  constexpr std::int64_t kMargin = 20'000'000;
  const std::int64_t nanos = static_cast<std::int64_t>(now.tv_sec) * 1'000'000'000 + now.tv_nsec;
  return stamp.changed + kMargin < nanos && stamp.modified + kMargin < nanos;
}

Result<std::string> normal_path(std::string_view path, const fs::path& root) {
  if (path.empty() || path.front() != '/') {
    return fail(ErrorCode::invalid_input, fmt::format("'{}' is not an absolute path", path))
        .hint("paths of resources start with '/'");
  }
  if (path.size() > 4000 || path.find('\0') != std::string_view::npos)
    return fail(ErrorCode::invalid_input, "a path is too long or holds a NUL byte");
  std::string out = plain_path(path);
  if ((out + '/').find("/../") != std::string::npos)
    return fail(ErrorCode::invalid_input, fmt::format("'{}' contains '..'", path))
        .hint("write the path that is meant");
  const std::string prefix = root.string();
  if (prefix.size() > 1 && out.size() > prefix.size() && out.starts_with(prefix) &&
      out[prefix.size()] == '/')
    out.erase(0, prefix.size());
  return out;
}

std::string parent_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  return slash == 0 || slash == std::string::npos ? std::string("/") : path.substr(0, slash);
}

std::string base_of(const std::string& path) { return path.substr(path.rfind('/') + 1); }

std::string aside_of(const std::string& path) {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return fmt::format("{}.consort-aside-{}", path,
                     std::chrono::duration_cast<std::chrono::milliseconds>(now).count());
}

Result<std::string> HostFiles::set_aside(const std::string& path) {
  std::string aside = aside_of(path);
  TRYV(rename(path, aside));
  return aside;
}

}  // namespace consort::agent
