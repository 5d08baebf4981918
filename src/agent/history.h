// What the agent did on this host, for `consort explain`: one JSON record a line,
// { at, kind, service, resource, text, diff, … }, in FILE and, when that has grown beyond 4 MiB,
// FILE.1. Not synced: it is a story, not state. Thread-safe.
#pragma once

#include <mutex>

#include "base/files.h"
#include "base/json.h"
#include "base/time.h"

namespace consort::agent {

class History {
 public:
  static constexpr std::uint64_t kMostBytes = 4U << 20U;
  explicit History(fs::path file) : file_(std::move(file)) {}
  void append(const Json& event);

 private:
  fs::path file_;
  std::mutex mutex_;
  Fd fd_;
  std::uint64_t size_ = 0;
};

// At most `limit` bytes of valid UTF-8: other bytes are shown as '?', the end of a long text is
// kept back.
[[nodiscard]] std::string presentable(std::string_view text, std::size_t limit);
// { at: now, kind, service, resource, text }.
[[nodiscard]] Json make_event(Instant now, std::string_view kind, std::string_view service,
                              std::string_view resource, std::string_view text);

}  // namespace consort::agent
