// What Consort owns on this host, and what was there before: the base of `onRemoval`. An
// append-only file (one JSON record a line, a torn last line is ignored), compacted when it is
// opened or flushed and most of it is outdated. Thread-safe.
#pragma once

#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "agent/resource.h"

namespace consort::agent {

class Ledger {
 public:
  static constexpr std::size_t kMostBytes = 1U << 30U;

  // Errors: io.
  [[nodiscard]] static Result<std::unique_ptr<Ledger>> open(const fs::path& path);
  // The backups that the ledger in this file needs to undo what it knows of; none without the file.
  // Errors: io.
  [[nodiscard]] static Result<std::set<Digest>> backups_of(const fs::path& path);

  struct Entry {
    std::string name;
    std::string type;
    std::string claim;  // the path, or "user:NAME"
    Digest wish;        // that was applied last; none: never completely
    OnRemoval on_removal = OnRemoval::keep;
    Json before;  // null: it was as wished when Consort first saw it
  };

  [[nodiscard]] const fs::path& path() const { return path_; }
  [[nodiscard]] bool has(const std::string& name) const;
  // Whether it is known by this name, but of another type or at another place.
  [[nodiscard]] bool is_elsewhere(const Resource& resource, const std::string& claim) const;
  // Whether this very wish was applied before: what differs now has drifted, it was not asked for.
  [[nodiscard]] bool applied(const Resource& resource) const;
  // Whether the state before the first change is still to be recorded.
  [[nodiscard]] bool lacks_before(const Resource& resource) const;
  // Before the first change; on the disk (not only in its cache) when the change is to be undone
  // later.
  [[nodiscard]] Status intend(const Resource& resource, const std::string& claim, Json before);
  // After success; buffered until flush(). An error (io) has recorded nothing: say it again later.
  [[nodiscard]] Status done(const Resource& resource, const std::string& claim);
  [[nodiscard]] Status flush();
  [[nodiscard]] Result<Entry> get(const std::string& name) const;
  [[nodiscard]] std::vector<std::string> names() const;
  // As it says, in place of what was known by its name; on the disk.
  [[nodiscard]] Status put(const Entry& entry);
  [[nodiscard]] Status forget(const std::string& name);

 private:
  // Kept small, for hosts with many resources: the rest is read back from the file.
  struct Known {
    std::string name;
    Digest wish;
    std::uint64_t place = 0;      // a hash of type and claim
    std::int64_t before_at = -1;  // offset of the line that tells what was before
    std::uint32_t before_length = 0;
    OnRemoval on_removal = OnRemoval::keep;
    bool before_is_null = true;
    bool forgotten = false;  // and gone with the next tidy()
  };
  static constexpr std::size_t kMostFresh = 1024;
  explicit Ledger(fs::path path) : path_(std::move(path)) {}
  Status load();
  Status compact_if_outdated();
  Status append(const std::string& text, std::size_t lines);
  Status append_with_pending(const std::string& line);
  [[nodiscard]] Result<Entry> read(const Known& known) const;
  [[nodiscard]] const Known* find(std::string_view name) const;
  [[nodiscard]] Known* find(std::string_view name);
  Known& add(const std::string& name);  // or the one there is; good until the next add()
  void tidy();

  fs::path path_;
  mutable std::mutex mutex_;
  Fd fd_;
  std::int64_t end_ = 0;
  std::size_t lines_ = 0;  // of the file
  std::string pending_;
  std::size_t pending_lines_ = 0;
  std::vector<Known> known_;  // sorted by name; not a map, which takes half as much again
  std::map<std::string, Known, std::less<>> fresh_;  // not yet among them: names come in any order
  bool has_forgotten_ = false;
};

}  // namespace consort::agent
