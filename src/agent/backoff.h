// How long to wait before the next try: doubled each time, capped, and jittered so that a fleet
// does not ask in step. Not thread-safe.
#pragma once

#include <algorithm>
#include <optional>
#include <random>
#include <string_view>

#include "base/time.h"

namespace consort::agent {

class Backoff {
 public:
  Backoff(Duration first, Duration longest, std::uint64_t seed)
      : first_(first), longest_(longest), pause_(first), random_(seed) {}

  void reset() { pause_ = first_; }
  // `asked`: what the server said in Retry-After.
  [[nodiscard]] Duration next(std::optional<Duration> asked = std::nullopt) {
    const Duration base = pause_;
    pause_ = std::min(pause_ * 2, longest_);
    const Duration jittered(std::uniform_int_distribution<std::int64_t>(
        base.count() / 2, base.count() + base.count() / 2)(random_));
    return asked ? std::max(*asked + jittered / 4, jittered) : jittered;
  }

 private:
  Duration first_;
  Duration longest_;
  Duration pause_;
  std::mt19937_64 random_;
};

}  // namespace consort::agent
