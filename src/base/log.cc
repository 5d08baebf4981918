#include "base/log.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <cstdlib>
#include <memory>

#include "base/text.h"

namespace consort {
namespace {

spdlog::level::level_enum to_spdlog(LogLevel level) {
  switch (level) {
    case LogLevel::debug:
      return spdlog::level::debug;
    case LogLevel::info:
      return spdlog::level::info;
    case LogLevel::warn:
      return spdlog::level::warn;
    case LogLevel::error:
      return spdlog::level::err;
  }
  return spdlog::level::info;
}

bool under_journal() { return std::getenv("JOURNAL_STREAM") != nullptr; }

spdlog::logger& logger() {
  static const std::shared_ptr<spdlog::logger> instance = [] {
    auto out = std::make_shared<spdlog::logger>("consort",
                                                std::make_shared<spdlog::sinks::stderr_sink_mt>());
    out->set_pattern(under_journal() ? "%v" : "%Y-%m-%dT%H:%M:%S.%eZ %^%l%$ %v",
                     spdlog::pattern_time_type::utc);
    const char* wanted = std::getenv("CONSORT_LOG");
    out->set_level(wanted != nullptr ? spdlog::level::from_str(wanted) : spdlog::level::info);
    out->flush_on(spdlog::level::trace);
    return out;
  }();
  return *instance;
}

}  // namespace

void set_log_level(LogLevel level) { logger().set_level(to_spdlog(level)); }
bool log_enabled(LogLevel level) { return logger().should_log(to_spdlog(level)); }

void log_line(LogLevel level, std::string_view line) {
  // Much of it was sent by somebody: it shall write no lines of its own, and steer no terminal.
  const std::string text = printable(std::string(line), Lines::one);
  if (under_journal()) {
    // sd-daemon(3): "<N>" gives the line its syslog priority.
    const char* prefix = level == LogLevel::error  ? "<3>"
                         : level == LogLevel::warn ? "<4>"
                         : level == LogLevel::info ? "<6>"
                                                   : "<7>";
    logger().log(to_spdlog(level), "{}{}", prefix, text);
  } else {
    logger().log(to_spdlog(level), "{}", text);
  }
}

}  // namespace consort
