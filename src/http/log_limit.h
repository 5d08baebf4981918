// Lines of the log that strangers can cause, as many of them as a log can bear. Private to this
// room. Thread-safe.
#pragma once

#include <chrono>
#include <mutex>
#include <string>
#include <string_view>

namespace consort::http {

class LogLimit {
 public:
  // What is counted, in the plural: "TLS connections".
  explicit LogLimit(std::string_view things) : things_(things) {}
  // At most 20 lines in 10 seconds; the next line after that tells how many there were.
  void warn(std::string_view line);

 private:
  using Clock = std::chrono::steady_clock;
  const std::string things_;
  std::mutex mutex_;
  Clock::time_point began_;  // guarded
  int lines_ = 0;            // guarded: since then
  int dropped_ = 0;          // guarded
};

}  // namespace consort::http
