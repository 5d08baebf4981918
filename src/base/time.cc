#include "base/time.h"

#include <fmt/format.h>

#include <array>
#include <cstdio>
#include <ctime>

namespace consort {

Instant SystemClock::now() const {
  return std::chrono::time_point_cast<Duration>(std::chrono::system_clock::now());
}

std::string format_instant(Instant instant) {
  const auto whole = std::chrono::floor<std::chrono::seconds>(instant);
  // Not to_time_t(): it goes by nanoseconds, which end in the year 2262.
  const std::time_t t = whole.time_since_epoch().count();
  std::tm tm{};
  gmtime_r(&t, &tm);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z", tm.tm_year + 1900, tm.tm_mon + 1,
                     tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, (instant - whole).count());
}

Result<Instant> parse_instant(std::string_view text) {
  int year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0, used = 0;
  const std::string copy(text.substr(0, 64));
  if (std::sscanf(copy.c_str(), "%4d-%2d-%2dT%2d:%2d:%2d%n", &year, &month, &day, &hour, &minute,
                  &second, &used) != 6 ||
      month < 1 || month > 12 || day < 1 || day > 31 || hour > 23 || minute > 59 || second > 60) {
    return fail(ErrorCode::invalid_input,
                fmt::format("'{}' is not a time (2026-01-31T12:00:00Z)", copy));
  }
  std::int64_t millis = 0;
  std::size_t at = static_cast<std::size_t>(used);
  if (at < copy.size() && copy[at] == '.') {
    int digits = 0;
    for (++at; at < copy.size() && copy[at] >= '0' && copy[at] <= '9'; ++at) {
      if (digits++ < 3) millis = millis * 10 + (copy[at] - '0');
    }
    for (; digits < 3; ++digits) millis *= 10;
  }
  if (copy.substr(at) != "Z")
    return fail(ErrorCode::invalid_input,
                fmt::format("'{}' is not a time in UTC (it must end in Z)", copy));
  std::tm tm{};
  tm.tm_year = year - 1900;
  tm.tm_mon = month - 1;
  tm.tm_mday = day;
  tm.tm_hour = hour;
  tm.tm_min = minute;
  tm.tm_sec = second;
  return from_millis(static_cast<std::int64_t>(timegm(&tm)) * 1000 + millis);
}

Result<Duration> parse_duration(std::string_view text) {
  struct Unit {
    std::string_view name;
    std::int64_t millis;
  };
  constexpr std::array units = {Unit{"ms", 1}, Unit{"s", 1000}, Unit{"m", 60'000},
                                Unit{"h", 3'600'000}, Unit{"d", 86'400'000}};
  constexpr std::int64_t limit = 3650LL * 86'400'000;
  const auto bad = [&] {
    return fail(ErrorCode::invalid_input, fmt::format("'{}' is not a duration", text.substr(0, 50)))
        .hint("write it like 500ms, 90s, 2m, 1h30m or 7d");
  };
  if (text.empty()) return bad();
  std::int64_t total = 0;
  std::string_view rest = text;
  while (!rest.empty()) {
    std::int64_t number = 0;
    std::size_t digits = 0;
    while (digits < rest.size() && digits < 13 && rest[digits] >= '0' && rest[digits] <= '9')
      number = number * 10 + (rest[digits++] - '0');
    if (digits == 0) return bad();
    rest.remove_prefix(digits);
    std::size_t letters = 0;
    while (letters < rest.size() && rest[letters] >= 'a' && rest[letters] <= 'z') ++letters;
    const std::string_view name = rest.substr(0, letters);
    rest.remove_prefix(letters);
    bool known = false;
    for (const Unit& unit : units) {
      if (unit.name != name) continue;
      if (number > limit / unit.millis) return bad();
      total += number * unit.millis;
      known = true;
    }
    if (!known || total > limit) return bad();
  }
  return Duration(total);
}

std::string format_duration(Duration duration) {
  if (duration.count() % 1000 == 0) return fmt::format("{}s", duration.count() / 1000);
  return fmt::format("{}ms", duration.count());
}

std::string human_duration(Duration duration) {
  const std::int64_t ms = duration.count();
  if (ms < 1000) return fmt::format("{} ms", ms);
  const std::int64_t s = ms / 1000;
  if (s < 60) return fmt::format("{:.1f} s", static_cast<double>(ms) / 1000.0);
  if (s < 3600) return fmt::format("{} m {:02} s", s / 60, s % 60);
  if (s < 86400) return fmt::format("{} h {:02} m", s / 3600, s % 3600 / 60);
  return fmt::format("{} d", s / 86400);
}

}  // namespace consort
