// Notices a repair that somebody else keeps undoing, and backs off. Pure.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>

#include "base/time.h"

namespace consort::agent {

class Flapping {
 public:
  static constexpr std::size_t kRepairs = 5;
  static constexpr Duration kWithin = minutes(1);
  static constexpr Duration kFirstPause = seconds(2);
  static constexpr Duration kLongestPause = minutes(10);

  void repaired(Instant now) {
    // Calm for long enough: it starts from zero.
    if (is_calm(now)) pause_ = Duration(0);
    // The oldest of them makes room.
    std::shift_left(repairs_.begin(), repairs_.end(), 1);
    repairs_.back() = now;
    count_ = std::min(count_ + 1, kRepairs);
    const bool many = count_ == kRepairs && now - repairs_.front() <= kWithin;
    if (pause_.count() == 0 && !many) return;
    pause_ = pause_.count() == 0 ? kFirstPause : std::min(pause_ * 2, kLongestPause);
    until_ = now + pause_;
  }
  // Nothing of it matters any more.
  [[nodiscard]] bool is_calm(Instant now) const {
    return count_ == 0 || now - repairs_.back() > 2 * kLongestPause;
  }
  [[nodiscard]] bool backing_off(Instant now) const { return now < until_; }
  [[nodiscard]] bool flaps() const { return pause_.count() != 0; }
  [[nodiscard]] Instant until() const { return until_; }

 private:
  std::array<Instant, kRepairs> repairs_{};  // the newest last
  std::size_t count_ = 0;
  Duration pause_{0};
  Instant until_{};
};

}  // namespace consort::agent
