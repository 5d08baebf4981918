#include "state/memory_store.h"

#include "state/key_space.h"
#include "state/watch_list.h"

namespace consort::state {
namespace {

class MemoryStore final : public StateStore {
 public:
  explicit MemoryStore(const Clock& clock) : clock_(clock) {}

  Result<std::optional<Entry>> get(std::string_view key) override {
    const Entry* entry = keys_.find(key);
    return entry == nullptr ? std::optional<Entry>() : std::optional(*entry);
  }
  Result<std::vector<Entry>> range(std::string_view prefix, std::size_t limit,
                                   std::string_view after_key) override {
    return keys_.range(prefix, limit, after_key);
  }
  Result<Revision> revision() override { return keys_.revision(); }

  void commit_async(Transaction transaction, Committed done) override { done(apply(transaction)); }

  Result<LeaseId> grant(Duration ttl) override { return keys_.add_lease(ttl, clock_.now()); }
  Status keep_alive(LeaseId lease) override { return keys_.keep_alive(lease, clock_.now()); }
  Status revoke(LeaseId lease) override {
    Events events;
    const auto outcome = TRY(keys_.apply(keys_.ending(lease), events));
    keys_.forget_lease(lease);
    if (!events.empty()) watches_->publish(outcome.revision, std::move(events));
    return {};
  }
  Result<std::optional<Instant>> expire_leases() override {
    for (const LeaseId lease : keys_.over(clock_.now())) TRYV(revoke(lease));
    return keys_.next_end();
  }

  Result<Watch> watch(std::string prefix, Revision from, WatchCallback callback) override {
    return watches_->add(std::move(prefix), from, std::move(callback));
  }

 private:
  Result<CommitOutcome> apply(const Transaction& transaction) {
    TRYV(check_transaction(transaction));
    Events events;
    const auto outcome = TRY(keys_.apply(transaction, events));
    if (!events.empty()) watches_->publish(outcome.revision, std::move(events));
    return outcome;
  }

  const Clock& clock_;
  KeySpace keys_;
  std::shared_ptr<WatchList> watches_ = std::make_shared<WatchList>(Revision{0});
};

}  // namespace

std::unique_ptr<StateStore> make_memory_store(const Clock& clock) {
  return std::make_unique<MemoryStore>(clock);
}

}  // namespace consort::state
