// Time: UTC inside, milliseconds, RFC 3339 outside. Engines get `now` as a value; only shells own a
// Clock.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.h"

namespace consort {

using Duration = std::chrono::milliseconds;
using Instant = std::chrono::time_point<std::chrono::system_clock, Duration>;
using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;

class Clock {
 public:
  Clock() = default;
  Clock(const Clock&) = delete;
  Clock& operator=(const Clock&) = delete;
  virtual ~Clock() = default;
  [[nodiscard]] virtual Instant now() const = 0;
};

class SystemClock final : public Clock {
 public:
  [[nodiscard]] Instant now() const override;
};

// "2026-01-31T12:00:00.123Z"
[[nodiscard]] std::string format_instant(Instant instant);
[[nodiscard]] Result<Instant> parse_instant(std::string_view text);
// Milliseconds since the epoch: the form in journals and stores.
[[nodiscard]] inline std::int64_t to_millis(Instant instant) {
  return instant.time_since_epoch().count();
}
[[nodiscard]] inline Instant from_millis(std::int64_t millis) { return Instant(Duration(millis)); }

// "500ms", "90s", "2m", "1h30m", "7d"; a bare number is refused. Range: 0 to 10 years.
[[nodiscard]] Result<Duration> parse_duration(std::string_view text);
// Shortest exact form in ms or s: "90s", "1500ms".
[[nodiscard]] std::string format_duration(Duration duration);
// For people: "450 ms", "3.2 s", "2 m 05 s", "3 h 10 m", "4 d".
[[nodiscard]] std::string human_duration(Duration duration);

}  // namespace consort
