#include "controller/event_shares.h"

#include <iterator>

namespace consort::controller {

EventShares::Rank EventShares::rank_of(const Share& share) {
  return {share.places, ~share.events.front().number};
}

std::vector<std::uint64_t> EventShares::add(std::uint64_t number, const std::string& host,
                                            std::size_t bytes) {
  const std::size_t places = 1 + bytes / kPlaceBytes;
  // What it takes counts already when it is asked who has the most.
  {
    Share& own = of_host_[host];
    if (!own.events.empty()) by_size_.erase(rank_of(own));
    own.places += places;
    if (!own.events.empty()) by_size_.emplace(rank_of(own), host);
  }
  size_ += places;
  std::vector<std::uint64_t> out;
  while (size_ > most_ && !by_size_.empty()) out.push_back(forget_one());
  Share& own = of_host_.at(host);
  if (!own.events.empty()) by_size_.erase(rank_of(own));
  own.events.push_back({number, places});
  by_size_.emplace(rank_of(own), host);
  return out;
}

std::uint64_t EventShares::forget_one() {
  const auto largest = std::prev(by_size_.end());
  const std::string host = largest->second;
  by_size_.erase(largest);
  const auto its = of_host_.find(host);
  Share& share = its->second;
  const Share::Kept out = share.events.front();
  share.events.pop_front();
  share.places -= out.places;
  size_ -= out.places;
  if (!share.events.empty()) {
    by_size_.emplace(rank_of(share), host);
  } else if (share.places == 0) {
    of_host_.erase(its);  // else it is about to get one
  }
  return out.number;
}

}  // namespace consort::controller
