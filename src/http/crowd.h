// Connections in groups (all of one address, all of one identity), by order of arrival: who makes
// room for whom. Private to this room. Pure; not thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>

namespace consort::http {

class Crowd {
 public:
  using Number = std::uint64_t;  // of a connection; later ones have higher numbers

  void enter(const std::string& group, Number number);
  void leave(const std::string& group, Number number);
  [[nodiscard]] std::size_t size_of(const std::string& group) const;
  [[nodiscard]] std::optional<Number> oldest_of(const std::string& group) const;
  // Of the group that has the most: whoever comes with many makes room for those who do not.
  [[nodiscard]] std::optional<Number> oldest_of_largest() const;

 private:
  std::map<std::string, std::set<Number>> groups_;
  std::set<std::pair<std::size_t, std::string>> sizes_;
};

}  // namespace consort::http
