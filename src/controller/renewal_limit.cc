#include "controller/renewal_limit.h"

#include <fmt/format.h>

#include <algorithm>

namespace consort::controller {
namespace {

constexpr std::size_t kLookAfter = 1000;  // those who have paid are looked for from here on

}  // namespace

Status RenewalLimit::take(const std::string& who, Instant now) {
  if (paid_until_.size() >= kLookAfter)
    std::erase_if(paid_until_, [now](const auto& entry) { return entry.second <= now; });
  const auto it = paid_until_.find(who);
  const Instant most = now + kEvery * kAtOnce;
  const Instant paid = it == paid_until_.end() ? now : std::clamp(it->second, now, most);
  if (paid + kEvery <= most) {
    paid_until_[who] = paid + kEvery;
    return {};
  }
  const auto wait = std::chrono::ceil<std::chrono::seconds>(paid + kEvery - most);
  it->second = paid;
  return fail(ErrorCode::unavailable,
              fmt::format("{} was given {} certificates in short time", who, kAtOnce))
      .hint(fmt::format("the last of them is valid; another can be had in {} s", wait.count()));
}

}  // namespace consort::controller
