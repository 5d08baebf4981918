// Which events are kept when not all can be: where the room is too small, the host that has the
// most of it loses its oldest event. However much one of them tells, the others keep theirs. What
// concerns no host counts as one host, "". Pure; not thread-safe.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <utility>

namespace consort::controller {

class EventShares {
 public:
  // `most`: how many events there is room for, at least 1.
  explicit EventShares(std::size_t most) : most_(most) {}
  // Numbers grow from call to call. Returns the event that is to be forgotten for it.
  std::optional<std::uint64_t> add(std::uint64_t number, const std::string& host);

 private:
  std::size_t most_;
  std::size_t size_ = 0;
  std::map<std::string, std::deque<std::uint64_t>> of_host_;  // numbers, the oldest first
  // (how many, how far the oldest is from the end of all numbers) → whose: the last is whoever has
  // the most, and of those that have equally many whoever has the oldest.
  std::map<std::pair<std::size_t, std::uint64_t>, std::string> by_size_;
};

}  // namespace consort::controller
