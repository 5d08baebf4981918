// The host's files as the agent sees and changes them. Paths are absolute inside the host's root
// ("/etc/x" with --root /mnt is /mnt/etc/x), normalised. No symlink is followed, neither in a
// parent nor at the end: a path through a link is the error `refused`, with the real path as hint.
// Two implementations: RealFiles changes the disk; OverlayFiles remembers the changes to come, so
// that plan and apply run the same code. Thread-safe.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/digest.h"
#include "base/files.h"

namespace consort::agent {

enum class EntryKind : std::uint8_t { absent, file, directory, symlink, other };
[[nodiscard]] std::string_view entry_kind_name(EntryKind kind);

// Everything that stat can tell about whether something was touched. Equal stamps: untouched.
struct Stamp {
  std::uint64_t device = 0;
  std::uint64_t inode = 0;
  std::uint64_t size = 0;
  std::int64_t modified = 0;  // ns
  std::int64_t changed = 0;   // ns
  mode_t mode = 0;            // with the file type; 0: absent
  uid_t uid = 0;
  gid_t gid = 0;
  friend bool operator==(const Stamp&, const Stamp&) = default;
};

struct Entry {
  EntryKind kind = EntryKind::absent;
  Stamp stamp;
  std::string target;  // of a symlink
  [[nodiscard]] mode_t mode() const { return stamp.mode & 07777U; }
};

// What a path was seen as when it was right; see HostFiles::trustworthy().
struct Evidence {
  std::string path;
  Stamp stamp;
};

// Bytes given directly, or a file of this machine (never below the root unless its path says so).
struct Content {
  std::string bytes;
  fs::path source;  // when not empty, the content is this file's
  // The content's digest and size, without reading a large source into memory.
  [[nodiscard]] Result<Digest> digest() const;
  [[nodiscard]] Result<std::uint64_t> size() const;
};

// Extended attributes of a file or directory: access lists, capabilities, what users put there.
using Attributes = std::map<std::string, std::string>;

struct Metadata {
  std::optional<mode_t> mode;  // permission bits incl. setuid, setgid, sticky
  std::optional<uid_t> uid;
  std::optional<gid_t> gid;
  std::optional<Attributes> attributes{};
};

class HostFiles {
 public:
  HostFiles() = default;
  HostFiles(const HostFiles&) = delete;
  HostFiles& operator=(const HostFiles&) = delete;
  virtual ~HostFiles() = default;

  // Absent (also: a parent is absent) is an Entry, not an error.
  [[nodiscard]] virtual Result<Entry> look(const std::string& path) const = 0;
  // One system call; follows links in parents, so it is good for comparing with Evidence only.
  [[nodiscard]] virtual Stamp stamp(const std::string& path) const = 0;
  [[nodiscard]] virtual Result<std::string> read(const std::string& path,
                                                 std::size_t limit = kDefaultReadLimit) const = 0;
  // look(), and of a regular file of exactly `size` bytes also the content, for fewer system calls.
  struct Sight {
    Entry entry;
    std::optional<std::string> bytes;
  };
  [[nodiscard]] virtual Result<Sight> look_and_read(const std::string& path,
                                                    std::uint64_t size) const;
  // A regular file, open for reading, however its folders are changed meanwhile. Errors: refused (a
  // link, or something else than a file), not_found, io.
  [[nodiscard]] virtual Result<Fd> open_for_reading(const std::string& path) const = 0;
  [[nodiscard]] virtual Result<Digest> digest(const std::string& path) const = 0;
  // Of a file or directory; else none. Error too_large: more than 64 KiB.
  [[nodiscard]] virtual Result<Attributes> attributes(const std::string& path) const = 0;
  // Names in a directory, sorted, without "." and "..".
  [[nodiscard]] virtual Result<std::vector<std::string>> list(const std::string& path) const = 0;

  // Called with the host path of the finished temp file, before it goes live.
  using Validate = std::function<Status(const fs::path& finished)>;
  // All or nothing: old or new content and metadata, whatever crashes. What `meta` leaves out is
  // taken from the file that is replaced (extended attributes too), or 0600 and the agent's own
  // ids. Returns "", or how it had to be done when a rename was impossible (a bind mount: written
  // in place).
  [[nodiscard]] virtual Result<std::string> write(const std::string& path, const Content& content,
                                                  const Metadata& meta,
                                                  const Validate& validate) = 0;
  // Default mode 0755. The parent must be there.
  [[nodiscard]] virtual Status make_directory(const std::string& path, const Metadata& meta) = 0;
  // Replaces a file or link atomically.
  [[nodiscard]] virtual Status make_symlink(const std::string& path, const std::string& target) = 0;
  // Of a file or directory, by descriptor; mtime and content stay.
  [[nodiscard]] virtual Status set_metadata(const std::string& path, const Metadata& meta) = 0;
  // A file, link or empty directory; absent is fine.
  [[nodiscard]] virtual Status remove(const std::string& path) = 0;
  // Renames what is in the way to a free name beside it; returns that path.
  [[nodiscard]] virtual Result<std::string> set_aside(const std::string& path);
  // Within one directory, whatever it is; never in place of something else.
  [[nodiscard]] virtual Status rename(const std::string& from, const std::string& to) = 0;

  // The path on this machine.
  [[nodiscard]] virtual fs::path host_path(const std::string& path) const = 0;
  // Whether a stamp taken now proves that nothing changes unseen: false while the last change is so
  // recent that another one would get the same time.
  [[nodiscard]] static bool trustworthy(const Stamp& stamp);
};

// Absolute, "." and doubled '/' taken out, ".." refused; a path that is already below `root` is
// made relative to it (so that placeholders may expand to host paths). Error: invalid_input.
[[nodiscard]] Result<std::string> normal_path(std::string_view path, const fs::path& root);
[[nodiscard]] std::string parent_of(const std::string& path);  // of "/": "/"
[[nodiscard]] std::string base_of(const std::string& path);
[[nodiscard]] std::string aside_of(const std::string& path);  // a free name beside it

}  // namespace consort::agent
