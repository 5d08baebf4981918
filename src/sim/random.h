// A small seeded generator (SplitMix64, Steele et al. 2014): the same seed gives the same disaster
// on every machine and compiler, which std::distributions do not promise.
#pragma once

#include <cstdint>

namespace consort::sim {

class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}
  std::uint64_t next() {
    state_ += 0x9e3779b97f4a7c15ULL;
    std::uint64_t z = state_;
    z = (z ^ (z >> 30U)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27U)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31U);
  }
  // Uniform in [low, high].
  std::int64_t between(std::int64_t low, std::int64_t high) {
    return low + static_cast<std::int64_t>(next() % static_cast<std::uint64_t>(high - low + 1));
  }
  // True `percent` times of a hundred.
  bool chance(double percent) {
    return static_cast<double>(next() % 1'000'000) < percent * 10'000.0;
  }

 private:
  std::uint64_t state_;
};

}  // namespace consort::sim
