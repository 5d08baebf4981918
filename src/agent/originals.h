// What was there before a transition changed it first, so that its way back can put it there again:
// contents are objects of the backups, all else is in FOLDER, on the disk before anything changes:
//   FOLDER/paths.jsonl  { step }, then { path, before } of each path, { path, aside } of what was
//                       moved out of the way, { path, written } of what came in place of what was
//                       purged, { record, before } of each command's own record
//   FOLDER/ledger.jsonl the ledger as it was
// One transition at a time: begin() forgets an earlier one. Thread-safe.
#pragma once

#include <map>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "agent/resource.h"

namespace consort::agent {

class Originals {
 public:
  static constexpr std::uint64_t kMostBytes = std::uint64_t{1} << 30U;

  // `own`: a folder on this machine below which nothing is remembered, but for its subfolder `data`
  // (what is of one version alone needs no way back). `most_bytes`: of contents, all together. What
  // is beyond is changed all the same, and told by bring_back().
  Originals(fs::path folder, fs::path own, std::uint64_t most_bytes = kMostBytes)
      : folder_(std::move(folder)), own_(std::move(own)), most_bytes_(most_bytes) {}

  // From now on the originals are those of this step (its token); nothing when they are already.
  // `ledger`: the file. Errors: io.
  [[nodiscard]] Status begin(const std::string& step, const fs::path& ledger);
  // Errors: io.
  [[nodiscard]] Result<bool> belong_to(const std::string& step);
  [[nodiscard]] fs::path ledger() const { return folder_ / "ledger.jsonl"; }

  // Before these are changed in this way. Only the first time counts. What a purge removes comes
  // back only where there is nothing then, or what note_written() tells of. Errors: io; then
  // nothing may be changed.
  enum class Change : std::uint8_t { metadata, any, purge };
  [[nodiscard]] Status keep(const Context& context, const std::vector<std::string>& paths,
                            Change change);
  // The same for a daemon beside the service's own.
  [[nodiscard]] Status keep_daemon(const Context& context, const std::string& name);
  // The same for what a command remembers of its last run, a file of the agent's own.
  [[nodiscard]] Status keep_record(const fs::path& file);
  // Something comes to `path`: what a purge has removed there comes back in its place.
  [[nodiscard]] Status note_written(const std::string& path);
  // What is at `path` goes to `aside`, if that is there afterwards.
  [[nodiscard]] Status note_aside(const std::string& path, const std::string& aside);

  struct Lost {
    std::string path;  // or "daemon:NAME"
    std::string why;
  };
  // Puts everything (or `only` these) back to what it was; what could not be. Doing it again is
  // fine. Errors: io, corrupt (the file itself).
  [[nodiscard]] Result<std::vector<Lost>> bring_back(const Context& context,
                                                     const std::set<std::string>& only = {});
  [[nodiscard]] Status forget();
  // The backups that bring_back() will ask for. Errors: io.
  [[nodiscard]] static Result<std::set<Digest>> backups_of(const fs::path& folder);

 private:
  [[nodiscard]] static Result<std::vector<Json>> read(const fs::path& folder);
  Status load();
  [[nodiscard]] Result<Json> capture(const Context& context, const std::string& path, Change change,
                                     std::uint64_t& used) const;
  Status append(const std::vector<Json>& records);
  [[nodiscard]] bool is_own(const Context& context, const std::string& path) const;

  fs::path folder_;
  fs::path own_;
  std::uint64_t most_bytes_;
  std::mutex mutex_;
  // Guarded by it, as it is on the disk once that was read:
  bool loaded_ = false;
  std::string step_;
  std::map<std::string, Change> known_;
  std::uint64_t used_ = 0;
};

}  // namespace consort::agent
