#include "controller/telling_limits.h"

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

bool ToldFindings::take(const std::string& host, const std::string& text, Instant now) {
  Share& share = of_[host];
  if (share.texts.contains(text)) return false;
  if (share.texts.size() >= kOfHost) {
    if (!is_past(share.last, now, kShareOf)) return false;
    share.texts.clear();
  }
  share.texts.insert(text);
  share.last = now;
  return true;
}

}  // namespace consort::controller
