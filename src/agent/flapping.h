// Notices a repair that somebody else keeps undoing, and backs off. Pure.
#pragma once

#include <deque>

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
    if (!repairs_.empty() && now - repairs_.back() > 2 * kLongestPause) pause_ = Duration(0);
    repairs_.push_back(now);
    while (repairs_.size() > kRepairs) repairs_.pop_front();
    const bool many = repairs_.size() == kRepairs && now - repairs_.front() <= kWithin;
    if (pause_.count() == 0 && !many) return;
    pause_ = pause_.count() == 0 ? kFirstPause : std::min(pause_ * 2, kLongestPause);
    until_ = now + pause_;
  }
  [[nodiscard]] bool backing_off(Instant now) const { return now < until_; }
  [[nodiscard]] bool flaps() const { return pause_.count() != 0; }
  [[nodiscard]] Instant until() const { return until_; }

 private:
  std::deque<Instant> repairs_;
  Duration pause_{0};
  Instant until_{};
};

}  // namespace consort::agent
