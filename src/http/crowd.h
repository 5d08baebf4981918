// Connections in groups (all of one address, all of one identity), by order of arrival: who makes
// room for whom. Private to this room. Pure; not thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>

namespace consort::http {

class Crowd {
 public:
  using Number = std::uint64_t;  // of a connection; later ones have higher numbers

  void enter(const std::string& group, Number number);
  void leave(const std::string& group, Number number);
  [[nodiscard]] std::size_t size_of(const std::string& group) const;
  [[nodiscard]] std::optional<Number> oldest_of(const std::string& group) const;
  // Of the group that has the most: whoever comes with many makes room for those who do not. Of
  // several such groups the one that has been here longest.
  [[nodiscard]] std::optional<Number> oldest_of_largest() const;

 private:
  struct Rank {
    std::size_t size = 0;
    Number oldest = 0;
    friend bool operator<(const Rank& a, const Rank& b) {
      return a.size != b.size ? a.size < b.size : a.oldest > b.oldest;
    }
  };
  using Groups = std::map<std::string, std::set<Number>>;
  [[nodiscard]] static Rank rank_of(const std::set<Number>& members) {
    return {members.size(), *members.begin()};
  }

  Groups groups_;
  std::set<Rank> ranks_;  // of all groups: no two have the same oldest
};

}  // namespace consort::http
