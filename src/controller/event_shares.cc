#include "controller/event_shares.h"

#include <iterator>

namespace consort::controller {
namespace {

std::pair<std::size_t, std::uint64_t> rank_of(const std::deque<std::uint64_t>& numbers) {
  return {numbers.size(), ~numbers.front()};
}

}  // namespace

std::optional<std::uint64_t> EventShares::add(std::uint64_t number, const std::string& host) {
  auto& own = of_host_[host];
  if (!own.empty()) by_size_.erase(rank_of(own));
  own.push_back(number);
  by_size_.emplace(rank_of(own), host);
  if (++size_ <= most_) return std::nullopt;
  const auto largest = std::prev(by_size_.end());
  const std::string host_of_most = largest->second;
  by_size_.erase(largest);
  auto& numbers = of_host_.at(host_of_most);
  const std::uint64_t out = numbers.front();
  numbers.pop_front();
  --size_;
  if (numbers.empty()) {
    of_host_.erase(host_of_most);
  } else {
    by_size_.emplace(rank_of(numbers), host_of_most);
  }
  return out;
}

}  // namespace consort::controller
