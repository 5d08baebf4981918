// What the agent did on this host, for `consort explain`: one JSON record a line,
// { n, at, kind, service, resource, text, diff, … }, in FILE and, when that has grown beyond 4 MiB,
// FILE.1. Not synced: it is a story, not state. Thread-safe.
#pragma once

#include <mutex>
#include <vector>

#include "base/files.h"
#include "base/json.h"
#include "base/time.h"

namespace consort::agent {

class History {
 public:
  static constexpr std::uint64_t kMostBytes = 4U << 20U;
  // `at_least`: numbers up to this one were given before, whatever the file says.
  explicit History(fs::path file, std::uint64_t at_least = 0);
  // Gives the event its number n, which grows also over restarts.
  void append(Json& event);
  // The newest events whose number is greater, oldest first; those marked local are left out.
  [[nodiscard]] std::vector<Json> after(std::uint64_t number, std::size_t most) const;

 private:
  void open();  // under the lock
  [[nodiscard]] fs::path older() const { return file_.string() + ".1"; }

  fs::path file_;
  mutable std::mutex mutex_;
  Fd fd_;
  std::uint64_t size_ = 0;
  std::uint64_t last_ = 0;
};

// At most `limit` bytes of valid UTF-8: other bytes are shown as '?', the end of a long text is
// kept back.
[[nodiscard]] std::string presentable(std::string_view text, std::size_t limit);
// { at: now, kind, service, resource, text }.
[[nodiscard]] Json make_event(Instant now, std::string_view kind, std::string_view service,
                              std::string_view resource, std::string_view text);

}  // namespace consort::agent
