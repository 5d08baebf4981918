#include "http/log_limit.h"

#include <utility>

#include "base/log.h"

namespace consort::http {
namespace {

constexpr int kLines = 20;
constexpr std::chrono::seconds kSpan(10);

}  // namespace

void LogLimit::warn(std::string_view line) {
  int untold = 0;
  {
    const std::lock_guard lock(mutex_);
    if (const auto now = Clock::now(); now - began_ > kSpan) {
      began_ = now;
      lines_ = 0;
      untold = std::exchange(dropped_, 0);
    }
    if (++lines_ > kLines) {
      ++dropped_;
      return;
    }
  }
  if (untold > 0) log_warn("{} more {} were refused before", untold, things_);
  log_warn("{}", line);
}

}  // namespace consort::http
