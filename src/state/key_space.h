// The rules of a StateStore over an ordered map, without I/O: what conditions mean, what a
// transaction changes, which keys a lease takes with it. The whole of the memory store. Private to
// this room; not thread-safe.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "state/state_store.h"

namespace consort::state {

struct Lease {
  Duration ttl{};
  Instant ends;
};

class KeySpace {
 public:
  [[nodiscard]] const Entry* find(std::string_view key) const;
  [[nodiscard]] std::vector<Entry> range(std::string_view prefix, std::size_t limit,
                                         std::string_view after_key) const;
  [[nodiscard]] Revision revision() const { return revision_; }

  // Applies it, or says which condition does not hold. Error invalid_input on an unknown lease;
  // then and on a failed condition nothing is changed. `events` is what happened.
  [[nodiscard]] Result<CommitOutcome> apply(const Transaction& transaction, Events& events);

  [[nodiscard]] LeaseId add_lease(Duration ttl, Instant now);
  [[nodiscard]] Status keep_alive(LeaseId lease, Instant now);
  // The transaction that ends a lease: it erases its keys. Then call forget_lease().
  [[nodiscard]] Transaction ending(LeaseId lease) const;
  void forget_lease(LeaseId lease) { leases_.erase(lease); }
  [[nodiscard]] std::vector<LeaseId> over(Instant now) const;
  [[nodiscard]] std::optional<Instant> next_end() const;

 private:
  void put(const Write& write, Revision at, Events& events);
  void erase(const std::string& key, Revision at, Events& events);

  std::map<std::string, Entry, std::less<>> entries_;
  std::map<LeaseId, Lease> leases_;
  std::map<LeaseId, std::set<std::string>> keys_of_;
  Revision revision_{};
  LeaseId last_lease_{};
};

}  // namespace consort::state
