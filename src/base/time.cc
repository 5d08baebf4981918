#include "base/time.h"

#include <fmt/format.h>

#include <array>
#include <ctime>

namespace consort {

Instant SystemClock::now() const {
  return std::chrono::time_point_cast<Duration>(std::chrono::system_clock::now());
}

std::string format_instant(Instant instant) {
  const auto whole = std::chrono::floor<std::chrono::seconds>(instant);
  // Not system_clock::to_time_t: its nanoseconds overflow outside the years 1678 to 2262.
  const auto t = static_cast<std::time_t>(whole.time_since_epoch().count());
  std::tm tm{};
  gmtime_r(&t, &tm);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z", tm.tm_year + 1900, tm.tm_mon + 1,
                     tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, (instant - whole).count());
}

namespace {

// Exactly as many digits as the pattern has 'n's, and its other characters as they are.
bool fits(std::string_view text, std::string_view pattern) {
  if (text.size() < pattern.size()) return false;
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    const bool digit = text[i] >= '0' && text[i] <= '9';
    if (pattern[i] == 'n' ? !digit : text[i] != pattern[i]) return false;
  }
  return true;
}

int number_at(std::string_view text, std::size_t at, std::size_t digits) {
  int out = 0;
  for (const char c : text.substr(at, digits)) out = out * 10 + (c - '0');
  return out;
}

}  // namespace

Result<Instant> parse_instant(std::string_view text) {
  constexpr std::string_view pattern = "nnnn-nn-nnTnn:nn:nn";
  constexpr std::size_t longest = 64;
  const auto bad = [&] {
    return fail(ErrorCode::invalid_input,
                fmt::format("'{}' is not a time (2026-01-31T12:00:00Z)", text.substr(0, longest)));
  };
  if (text.size() > longest || !fits(text, pattern)) return bad();
  const std::chrono::year_month_day date(
      std::chrono::year(number_at(text, 0, 4)),
      std::chrono::month(static_cast<unsigned>(number_at(text, 5, 2))),
      std::chrono::day(static_cast<unsigned>(number_at(text, 8, 2))));
  const int hour = number_at(text, 11, 2);
  const int minute = number_at(text, 14, 2);
  const int second = number_at(text, 17, 2);  // 60 is a leap second
  if (!date.ok() || hour > 23 || minute > 59 || second > 60) return bad();
  int millis = 0;
  std::string_view rest = text.substr(pattern.size());
  if (rest.starts_with('.')) {
    rest.remove_prefix(1);
    int digits = 0;
    for (; !rest.empty() && rest.front() >= '0' && rest.front() <= '9'; rest.remove_prefix(1)) {
      if (digits++ < 3) millis = millis * 10 + (rest.front() - '0');
    }
    if (digits == 0) return bad();
    for (; digits < 3; ++digits) millis *= 10;
  }
  if (rest != "Z")
    return fail(ErrorCode::invalid_input,
                fmt::format("'{}' is not a time in UTC (it must end in Z)", text));
  return Instant(std::chrono::sys_days(date)) + hours(hour) + minutes(minute) + seconds(second) +
         Duration(millis);
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
  if (s < 60) return fmt::format("{}.{} s", s, ms % 1000 / 100);
  if (s < 3600) return fmt::format("{} m {:02} s", s / 60, s % 60);
  if (s < 86400) return fmt::format("{} h {:02} m", s / 3600, s % 3600 / 60);
  return fmt::format("{} d", s / 86400);
}

}  // namespace consort
