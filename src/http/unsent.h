// What waits in memory until its readers take it, by peer and in all. Private to this room. Pure;
// not thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

namespace consort::http {

class Unsent {
 public:
  using Number = std::uint64_t;  // of a connection

  Unsent(std::size_t per_peer, std::size_t in_all) : per_peer_(per_peer), in_all_(in_all) {}

  // What this connection of the peer holds from now on; 0 forgets it.
  void hold(const std::string& peer, Number number, std::size_t bytes);
  [[nodiscard]] std::size_t of(const std::string& peer) const;
  [[nodiscard]] std::size_t of(const std::string& peer, Number number) const;
  // Whether there is room for so much more. Where nothing waits anything fits: one answer may be
  // larger than the bound.
  [[nodiscard]] bool fits_peer(const std::string& peer, std::size_t more) const;
  [[nodiscard]] bool fits_all(std::size_t more) const;
  // A connection of the peer that holds the most, if that is more than this peer would hold with
  // `more`: those who read keep getting answers, however many others do not.
  [[nodiscard]] std::optional<Number> heavier_than(const std::string& peer, std::size_t more) const;

 private:
  struct Peer {
    std::size_t bytes = 0;
    std::map<Number, std::size_t> connections;
  };
  std::size_t per_peer_;
  std::size_t in_all_;
  std::size_t all_ = 0;
  std::map<std::string, Peer> peers_;  // that hold something
};

}  // namespace consort::http
