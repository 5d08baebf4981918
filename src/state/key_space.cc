#include "state/key_space.h"

#include <fmt/format.h>

#include <algorithm>

namespace consort::state {

const Entry* KeySpace::find(std::string_view key) const {
  const auto it = entries_.find(key);
  return it == entries_.end() ? nullptr : &it->second;
}

std::vector<Entry> KeySpace::range(std::string_view prefix, std::size_t limit,
                                   std::string_view after_key) const {
  std::vector<Entry> out;
  auto it = after_key < prefix ? entries_.lower_bound(prefix) : entries_.upper_bound(after_key);
  if (after_key.empty() && prefix.empty()) it = entries_.begin();
  for (; it != entries_.end() && it->first.starts_with(prefix) && out.size() < limit; ++it)
    out.push_back(it->second);
  return out;
}

Result<CommitOutcome> KeySpace::apply(const Transaction& transaction, Events& events) {
  for (std::size_t i = 0; i < transaction.conditions.size(); ++i) {
    const Entry* entry = find(transaction.conditions[i].key);
    if ((entry == nullptr ? Revision{0} : entry->modified) != transaction.conditions[i].modified)
      return CommitOutcome{false, revision_, i};
  }
  for (const Write& write : transaction.writes) {
    if (write.lease != LeaseId{} && !leases_.contains(write.lease)) {
      return fail(ErrorCode::invalid_input,
                  fmt::format("the lease {} for {} has ended", number(write.lease), write.key))
          .hint("get a new lease and try again");
    }
  }
  const Revision at{number(revision_) + 1};
  for (const Write& write : transaction.writes) {
    if (write.kind == Write::Kind::put) put(write, at, events);
    if (write.kind == Write::Kind::erase) erase(write.key, at, events);
    if (write.kind == Write::Kind::erase_prefix) {
      for (const Entry& entry : range(write.key, entries_.size(), "")) erase(entry.key, at, events);
    }
  }
  if (!events.empty()) revision_ = at;
  return CommitOutcome{true, revision_, std::nullopt};
}

void KeySpace::put(const Write& write, Revision at, Events& events) {
  Entry& entry = entries_[write.key];
  if (entry.lease != LeaseId{}) keys_of_[entry.lease].erase(write.key);
  entry = Entry{write.key, write.value, at, write.lease};
  if (write.lease != LeaseId{}) keys_of_[write.lease].insert(write.key);
  events.push_back({Event::Kind::put, at, write.key, write.value});
}

void KeySpace::erase(const std::string& key, Revision at, Events& events) {
  const auto it = entries_.find(key);
  if (it == entries_.end()) return;
  if (it->second.lease != LeaseId{}) keys_of_[it->second.lease].erase(key);
  events.push_back({Event::Kind::erase, at, key, ""});
  entries_.erase(it);
}

LeaseId KeySpace::add_lease(Duration ttl, Instant now) {
  last_lease_ = LeaseId{number(last_lease_) + 1};
  leases_[last_lease_] = {ttl, now + ttl};
  return last_lease_;
}

Status KeySpace::keep_alive(LeaseId lease, Instant now) {
  const auto it = leases_.find(lease);
  if (it == leases_.end() || it->second.ends <= now) {
    return fail(ErrorCode::not_found, fmt::format("the lease {} has ended", number(lease)))
        .hint("get a new lease");
  }
  it->second.ends = now + it->second.ttl;
  return {};
}

Transaction KeySpace::ending(LeaseId lease) const {
  Transaction out;
  const auto it = keys_of_.find(lease);
  if (it == keys_of_.end()) return out;
  for (const std::string& key : it->second) out.writes.push_back(Write::erase(key));
  return out;
}

std::vector<LeaseId> KeySpace::over(Instant now) const {
  std::vector<LeaseId> out;
  for (const auto& [id, lease] : leases_) {
    if (lease.ends <= now) out.push_back(id);
  }
  return out;
}

std::optional<Instant> KeySpace::next_end() const {
  std::optional<Instant> next;
  for (const auto& [id, lease] : leases_) next = next ? std::min(*next, lease.ends) : lease.ends;
  return next;
}

}  // namespace consort::state
