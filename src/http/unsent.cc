#include "http/unsent.h"

#include <algorithm>

namespace consort::http {

void Unsent::hold(const std::string& peer, Number number, std::size_t bytes) {
  const std::size_t before = of(peer, number);
  if (before == bytes) return;
  Peer& holder = peers_[peer];
  holder.bytes = holder.bytes - before + bytes;
  all_ = all_ - before + bytes;
  if (bytes > 0) {
    holder.connections[number] = bytes;
  } else {
    holder.connections.erase(number);
  }
  if (holder.connections.empty()) peers_.erase(peer);
}

std::size_t Unsent::of(const std::string& peer) const {
  const auto it = peers_.find(peer);
  return it == peers_.end() ? 0 : it->second.bytes;
}

std::size_t Unsent::of(const std::string& peer, Number number) const {
  const auto it = peers_.find(peer);
  if (it == peers_.end()) return 0;
  const auto connection = it->second.connections.find(number);
  return connection == it->second.connections.end() ? 0 : connection->second;
}

bool Unsent::fits_peer(const std::string& peer, std::size_t more) const {
  const std::size_t now = of(peer);
  return now == 0 || now + more <= per_peer_;
}

bool Unsent::fits_all(std::size_t more) const { return all_ == 0 || all_ + more <= in_all_; }

std::optional<Unsent::Number> Unsent::heavier_than(const std::string& peer,
                                                   std::size_t more) const {
  const auto heaviest = std::max_element(
      peers_.begin(), peers_.end(),
      [](const auto& a, const auto& b) { return a.second.bytes < b.second.bytes; });
  if (heaviest == peers_.end() || heaviest->second.bytes <= of(peer) + more) return std::nullopt;
  return heaviest->second.connections.begin()->first;
}

}  // namespace consort::http
