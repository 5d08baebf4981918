// Walks a path as somebody who may read everything, without being led by those who may not.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>
#include <list>

#include "base/files.h"
#include "base/open_file.h"

namespace consort {
namespace {

constexpr int kMostLinks = 40;  // as the kernel

bool is_ours(uid_t owner) { return owner == 0 || owner == ::geteuid(); }

class Walk {
 public:
  explicit Walk(const fs::path& path) : path_(path), left_(path.begin(), path.end()) {}

  Result<Fd> open() {
    TRYV(begin(path_.is_absolute() ? "/" : "."));
    while (!left_.empty()) {
      const fs::path name = std::move(left_.front());
      left_.pop_front();
      if (name.empty() || name == "." || name == "/") continue;
      struct stat info {};
      if (::fstatat(here_.get(), name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0)
        return cannot(errno);
      if (S_ISLNK(info.st_mode)) {
        TRYV(follow(name, info));
      } else if (S_ISDIR(info.st_mode)) {
        TRYV(enter(name));
      } else if (left_.empty()) {
        return open_last(name);
      } else {
        return cannot(ENOTDIR);
      }
    }
    return fail(ErrorCode::invalid_input,
                fmt::format("{} is a directory, not a file", path_.string()));
  }

 private:
  [[nodiscard]] Failure cannot(int error_number) const {
    return fail_errno(error_number, fmt::format("cannot open {}", path_.string()));
  }
  [[nodiscard]] Failure refuse(std::string_view why) const {
    return fail(ErrorCode::refused, fmt::format("{} is not read: {}", path_.string(), why))
        .hint("keep it in a folder that only root can write, such as one below /etc");
  }

  Status begin(const char* folder) {
    here_ = Fd(::open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!here_.valid()) return cannot(errno);
    return look_around();
  }

  // Once others could have put something in the way, nothing below is ours for certain.
  Status look_around() {
    struct stat info {};
    if (::fstat(here_.get(), &info) != 0) return cannot(errno);
    ours_ = ours_ && is_ours(info.st_uid);
    exclusive_ = (info.st_mode & (S_IWGRP | S_IWOTH)) == 0;
    // Others who write here cannot touch what is not theirs in a folder like /tmp.
    if (!exclusive_ && (info.st_mode & S_ISVTX) == 0) ours_ = false;
    return {};
  }

  Status enter(const fs::path& name) {
    if (name == ".." && !ours_) return refuse("it leads back out of a folder of another user");
    Fd next(::openat(here_.get(), name.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!next.valid()) return cannot(errno);
    here_ = std::move(next);
    return look_around();
  }

  Status follow(const fs::path& name, const struct stat& link) {
    if (!ours_ || !exclusive_ || !is_ours(link.st_uid))
      return refuse(
          fmt::format("'{}' in it is a symlink that another user can have made", name.string()));
    if (++links_ > kMostLinks) return cannot(ELOOP);
    std::array<char, PATH_MAX> text{};
    const ssize_t size = ::readlinkat(here_.get(), name.c_str(), text.data(), text.size());
    if (size < 0) return cannot(errno);
    const fs::path target(std::string(text.data(), static_cast<std::size_t>(size)));
    left_.insert(left_.begin(), target.begin(), target.end());
    return target.is_absolute() ? begin("/") : Status();
  }

  Result<Fd> open_last(const fs::path& name) const {
    Fd fd(::openat(here_.get(), name.c_str(),
                   O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
    const int error_number = errno;
    struct stat info {};
    const bool known =
        (fd.valid() ? ::fstat(fd.get(), &info)
                    : ::fstatat(here_.get(), name.c_str(), &info, AT_SYMLINK_NOFOLLOW)) == 0;
    if (known && !S_ISREG(info.st_mode))
      return fail(ErrorCode::invalid_input,
                  fmt::format("{} is a {}, not a file", path_.string(), file_kind(info.st_mode)));
    if (!fd.valid()) return cannot(error_number);
    // A second name of a file that is elsewhere; kernels allow that where
    // fs.protected_hardlinks is 0.
    if ((!ours_ || !exclusive_) && info.st_nlink > 1)
      return refuse("it has other names, and another user can have given it this one");
    return fd;
  }

  const fs::path& path_;
  std::list<fs::path> left_;
  Fd here_;
  bool ours_ = true;        // so far, only root and we ourselves decide what is found
  bool exclusive_ = false;  // nobody else can make anything in this folder
  int links_ = 0;
};

}  // namespace

Result<std::string> read_file_no_foreign_links(const fs::path& path, std::size_t limit) {
  const Fd fd = TRY(Walk(path).open());
  return read_fd(fd.get(), path.string(), limit);
}

}  // namespace consort
