#include "http/crowd.h"

namespace consort::http {

void Crowd::enter(const std::string& group, Number number) {
  std::set<Number>& members = groups_[group];
  sizes_.erase({members.size(), group});
  members.insert(number);
  sizes_.emplace(members.size(), group);
}

void Crowd::leave(const std::string& group, Number number) {
  const auto it = groups_.find(group);
  if (it == groups_.end()) return;
  sizes_.erase({it->second.size(), group});
  it->second.erase(number);
  if (it->second.empty()) {
    groups_.erase(it);
  } else {
    sizes_.emplace(it->second.size(), group);
  }
}

std::size_t Crowd::size_of(const std::string& group) const {
  const auto it = groups_.find(group);
  return it == groups_.end() ? 0 : it->second.size();
}

std::optional<Crowd::Number> Crowd::oldest_of(const std::string& group) const {
  const auto it = groups_.find(group);
  return it == groups_.end() ? std::nullopt : std::optional(*it->second.begin());
}

std::optional<Crowd::Number> Crowd::oldest_of_largest() const {
  return sizes_.empty() ? std::nullopt : oldest_of(sizes_.rbegin()->second);
}

}  // namespace consort::http
