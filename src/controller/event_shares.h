// Which events are kept when not all can be: where the room is too small, the host that has the
// most of it loses its oldest event. However much one of them tells, the others keep theirs. What
// concerns no host counts as one host, "". Pure; not thread-safe.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace consort::controller {

class EventShares {
 public:
  // An event takes one place for each of so many bytes of its text that it begins: what bounds
  // their number bounds their size.
  static constexpr std::size_t kPlaceBytes = 1024;

  // `most`: how many places there are, at least 1.
  explicit EventShares(std::size_t most) : most_(most) {}
  // Numbers grow from call to call; `bytes`: of its text. Returns the events that are to be
  // forgotten for it, never itself.
  std::vector<std::uint64_t> add(std::uint64_t number, const std::string& host, std::size_t bytes);

 private:
  struct Share {
    struct Kept {
      std::uint64_t number;
      std::size_t places;
    };
    std::deque<Kept> events;  // the oldest first
    std::size_t places = 0;
  };
  // (how many places, how far the oldest is from the end of all numbers): the last of them has the
  // most, and of those that have equally many the oldest event.
  using Rank = std::pair<std::size_t, std::uint64_t>;
  [[nodiscard]] static Rank rank_of(const Share& share);
  std::uint64_t forget_one();

  std::size_t most_;
  std::size_t size_ = 0;  // places
  std::map<std::string, Share> of_host_;
  std::map<Rank, std::string> by_size_;  // those that have events
};

}  // namespace consort::controller
