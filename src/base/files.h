// Files: bounded reads, atomic writes, folders that clean themselves up. All paths are host paths.
// Thread-safe. Errors: not_found, io, too_large, with the path in the message.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/time.h"

namespace consort {

namespace fs = std::filesystem;

// An owned file descriptor.
class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept;
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  ~Fd() { reset(); }
  [[nodiscard]] int get() const { return fd_; }
  [[nodiscard]] bool valid() const { return fd_ >= 0; }
  [[nodiscard]] int release() { return std::exchange(fd_, -1); }
  void reset();

 private:
  int fd_ = -1;
};

inline constexpr std::size_t kDefaultReadLimit = 64U << 20U;

[[nodiscard]] Result<std::string> read_file(const fs::path& path,
                                            std::size_t limit = kDefaultReadLimit);
// For a reader that may read more than those who can write in the path's folders: it cannot be led
// elsewhere by them. The path is walked folder by folder, and a symlink is followed only while root
// and this process's user alone decide: the link is theirs, and so is its folder and each before
// it, and others cannot write there (before it: or only as in /tmp, where nobody touches what is
// another's). Where others do write, a file with a second name (a hard link) is not read either.
// Error refused with the reason; invalid_input where it is no regular file.
[[nodiscard]] Result<std::string> read_file_no_foreign_links(const fs::path& path,
                                                             std::size_t limit = kDefaultReadLimit);
// Of a file with a secret: error refused when its group or others have any right to it. Absent is
// fine. `remedy`: what to do beside chmod; "": nothing.
[[nodiscard]] Status check_private(const fs::path& path, std::string_view remedy = {});
[[nodiscard]] Result<std::string> read_fd(int fd, std::string_view name,
                                          std::size_t limit = kDefaultReadLimit);
[[nodiscard]] Status write_all(int fd, std::string_view bytes, std::string_view name);

enum class Durability : std::uint8_t { fsync, cached };
// Old or new content, never anything between, whatever crashes: temp file in the same folder,
// fsync, rename, fsync of the folder. The folder must exist. `mode` is exact, whatever the umask.
[[nodiscard]] Status write_file_atomic(const fs::path& path, std::string_view bytes,
                                       mode_t mode = 0644,
                                       Durability durability = Durability::fsync);
// As above, for a file that is not there yet: never in place of another. Whoever finds it sees all
// of it. Error conflict when there is something of that name, which stays as it is.
[[nodiscard]] Status write_new_file(const fs::path& path, std::string_view bytes,
                                    mode_t mode = 0644);
// What writes of this file have left in its folder that were ended halfway: temporary files that
// nobody has written to for `age`, which may hold the same secrets. The best is done.
inline constexpr Duration kLeftoverAge = minutes(10);
void remove_leftovers_of(const fs::path& path, Duration age);
// mkdir -p. Folders that are made get `mode`.
[[nodiscard]] Status make_folders(const fs::path& path, mode_t mode = 0755);
[[nodiscard]] Status fsync_folder(const fs::path& path);
// What is in a folder, sorted; nothing where there is no folder. An error otherwise: a folder that
// cannot be read must not be taken for an empty one.
[[nodiscard]] Result<std::vector<fs::path>> list_folder(const fs::path& folder);
// Removes a file or a whole tree; absent is fine. Never follows symlinks.
[[nodiscard]] Status remove_tree(const fs::path& path);
// Renders inode, size, mtime and ctime: equal stamps mean unchanged for all that stat can tell.
[[nodiscard]] std::string file_stamp(const fs::path& path);

// A new folder (mode 0700) that is removed with all its content when this goes.
class TempFolder {
 public:
  // Below `parent`, or $TMPDIR, or /tmp.
  [[nodiscard]] static Result<TempFolder> create(std::string_view prefix,
                                                 const fs::path& parent = {});
  TempFolder(TempFolder&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  TempFolder& operator=(TempFolder&&) = delete;
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;
  ~TempFolder();
  [[nodiscard]] const fs::path& path() const { return path_; }

 private:
  explicit TempFolder(fs::path path) : path_(std::move(path)) {}
  fs::path path_;
};

// An exclusive advisory lock on a file (flock), held while this lives.
class FileLock {
 public:
  // Error locked when another process holds it; `what` names the thing in the message.
  [[nodiscard]] static Result<FileLock> acquire(const fs::path& path, std::string_view what);

 private:
  explicit FileLock(Fd fd) : fd_(std::move(fd)) {}
  Fd fd_;
};

}  // namespace consort
