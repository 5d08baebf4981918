#include "http/crowd.h"

namespace consort::http {

void Crowd::enter(const std::string& group, Number number) {
  std::set<Number>& members = groups_[group];
  if (!members.empty()) ranks_.erase(rank_of(members));
  members.insert(number);
  ranks_.insert(rank_of(members));
}

void Crowd::leave(const std::string& group, Number number) {
  const auto it = groups_.find(group);
  if (it == groups_.end()) return;
  ranks_.erase(rank_of(it->second));
  it->second.erase(number);
  if (it->second.empty()) {
    groups_.erase(it);
  } else {
    ranks_.insert(rank_of(it->second));
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
  return ranks_.empty() ? std::nullopt : std::optional(ranks_.rbegin()->oldest);
}

}  // namespace consort::http
