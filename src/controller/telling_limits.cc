#include "controller/telling_limits.h"

#include <algorithm>
#include <cstdint>

namespace consort::controller {
namespace {

constexpr std::size_t kLookAfter = 1000;  // what is long past is looked for from here on
constexpr std::size_t kMost = 100'000;

bool is_past(Instant then, Instant now, Duration grain) {
  return now < then || now - then >= grain;
}

}  // namespace

bool OnceAMinute::take(const std::string& what, Instant now) {
  if (told_.size() >= kLookAfter)
    std::erase_if(told_, [&](const auto& past) { return is_past(past.second, now, kGrain); });
  const auto it = told_.find(what);
  if (it != told_.end() && !is_past(it->second, now, kGrain)) return false;
  if (it == told_.end() && told_.size() >= kMost) return false;
  told_[what] = now;
  return true;
}

bool ReportPace::take(const std::string& host, std::size_t bytes, Instant now) {
  Share& share = of_[host];
  const auto passed = now <= share.as_of ? std::uint64_t{0}
                                         : static_cast<std::uint64_t>((now - share.as_of).count());
  const std::uint64_t regained =
      passed > 1000 * kAtOnce / kEachSecond ? kAtOnce : passed * kEachSecond / 1000;
  const std::size_t used = share.used > regained ? share.used - regained : 0;
  if (used > 0 && used + bytes > kAtOnce) return false;
  share = {used + bytes, now};
  return true;
}

bool ToldFindings::take(const std::string& host, const std::string& text, Instant now) {
  Share& share = of_[host];
  if (std::find(share.texts.begin(), share.texts.end(), text) != share.texts.end()) return false;
  if (share.texts.size() >= kOfHost) {
    if (!is_past(share.last, now, kShareOf)) return false;
    share.texts.pop_front();
  }
  share.texts.push_back(text);
  share.last = now;
  return true;
}

}  // namespace consort::controller
