// The durable state of a controller: ordered keys, one global revision, compare-and-commit
// transactions, leases, watches. Implementations: SQLite (sqlite_store.h), memory (memory_store.h);
// one conformance suite (tests/unit/state/conformance.h) says what each must do. The words are
// etcd's, whose API this fits: https://etcd.io/docs/v3.4/learning/api/
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/time.h"

namespace consort::state {

// Counts commits that changed something, from 1; 0 is the empty store. Never goes back.
enum class Revision : std::int64_t {};
// 0 is no lease.
enum class LeaseId : std::int64_t {};

[[nodiscard]] inline std::int64_t number(Revision revision) {
  return static_cast<std::int64_t>(revision);
}
[[nodiscard]] inline std::int64_t number(LeaseId lease) { return static_cast<std::int64_t>(lease); }

struct Entry {
  std::string key;
  std::string value;
  Revision modified{};  // the revision of the last put
  LeaseId lease{};
  friend bool operator==(const Entry&, const Entry&) = default;
};

struct Condition {
  std::string key;
  Revision
      modified{};  // the key's last put was at this revision; Revision{0}: the key must be absent
  [[nodiscard]] static Condition absent(std::string key) { return {std::move(key), Revision{0}}; }
  [[nodiscard]] static Condition unchanged(const Entry& entry) {
    return {entry.key, entry.modified};
  }
};

struct Write {
  enum class Kind : std::uint8_t { put, erase, erase_prefix };
  Kind kind = Kind::put;
  std::string key;  // or the prefix
  std::string value{};
  LeaseId lease{};
  [[nodiscard]] static Write put(std::string key, std::string value, LeaseId lease = {}) {
    return {Kind::put, std::move(key), std::move(value), lease};
  }
  [[nodiscard]] static Write erase(std::string key) { return {Kind::erase, std::move(key)}; }
  [[nodiscard]] static Write erase_prefix(std::string prefix) {
    return {Kind::erase_prefix, std::move(prefix)};
  }
};

// All conditions hold and all writes happen, in order, or nothing does.
struct Transaction {
  std::vector<Condition> conditions;
  std::vector<Write> writes;
};

struct CommitOutcome {
  bool committed = false;
  Revision revision{};  // of this commit; when it changed nothing, or was not made: the store's
  std::optional<std::size_t>
      failed_condition;  // the first that does not hold, when it was not committed
};

struct Event {
  enum class Kind : std::uint8_t { put, erase };
  Kind kind = Kind::put;
  Revision revision{};
  std::string key;
  std::string value;  // of a put
  friend bool operator==(const Event&, const Event&) = default;
};

// The changes of one commit that a watch is for: never empty, never split.
using Events = std::vector<Event>;

// Stops its watch when it goes; after that the callback is not running and runs no more (unless it
// is the callback itself that drops it).
class Watch {
 public:
  Watch() = default;
  explicit Watch(std::shared_ptr<void> token) : token_(std::move(token)) {}
  void stop() { token_.reset(); }
  [[nodiscard]] bool active() const { return token_ != nullptr; }

 private:
  std::shared_ptr<void> token_;
};

struct StoreLimits {
  std::size_t key_bytes = 1024;
  std::size_t value_bytes = 1U << 20U;
  std::size_t transaction_writes = 1000;
  std::size_t transaction_bytes = 1'500'000;  // as etcd; larger things are objects
};

class StateStore {
 public:
  using Committed = std::function<void(Result<CommitOutcome>)>;

  StateStore() = default;
  StateStore(const StateStore&) = delete;
  StateStore& operator=(const StateStore&) = delete;
  virtual ~StateStore() = default;

  // Reads see every commit that was acknowledged before they began. Errors of all: io, corrupt,
  // unavailable.
  [[nodiscard]] virtual Result<std::optional<Entry>> get(std::string_view key) = 0;
  // Keys that start with `prefix`, in byte order, those after `after_key` (empty: from the first),
  // at most `limit`.
  [[nodiscard]] virtual Result<std::vector<Entry>> range(std::string_view prefix, std::size_t limit,
                                                         std::string_view after_key) = 0;
  [[nodiscard]] virtual Result<Revision> revision() = 0;

  // Durable when it returns. A condition that does not hold is an outcome, not an error.
  // Errors: invalid_input (limits, an unknown lease), too_large, io (full disk: nothing was
  // changed).
  [[nodiscard]] Result<CommitOutcome> commit(Transaction transaction);
  // Calls back once it is durable or refused, in the order of the calls, on a thread of the store
  // (or before it returns, in stores without threads). The callback must not block and may start
  // other asynchronous commits.
  virtual void commit_async(Transaction transaction, Committed done) = 0;

  // Keys put under a lease vanish when it ends: it was revoked, or `ttl` passed since grant or
  // keep_alive. Erasing them is a commit like any other. Leases last over restarts of the store,
  // where each begins its time anew: keep_alive is not written down, and a lease never ends early.
  [[nodiscard]] virtual Result<LeaseId> grant(Duration ttl) = 0;
  // Error not_found when the lease has ended.
  [[nodiscard]] virtual Status keep_alive(LeaseId lease) = 0;
  // An ended lease is fine.
  [[nodiscard]] virtual Status revoke(LeaseId lease) = 0;
  // Ends the leases whose time is over by the store's clock and says when the next will end, if
  // any. Whoever owns the store calls it then. Blocks like commit().
  [[nodiscard]] virtual Result<std::optional<Instant>> expire_leases() = 0;

  using WatchCallback = std::function<void(const Events&)>;
  // The commits after `from` that touch keys with this prefix: each once, in order; those of the
  // past before this returns, later ones on a thread of the store (or inside the commit, in stores
  // without threads). The callback must not block on the store; it may start asynchronous commits.
  // Error stale when the store no longer knows what happened since `from` (it keeps the events of
  // its last commits, and none over a restart): read anew with range(), then watch from the
  // revision() that was read *before* the range.
  [[nodiscard]] virtual Result<Watch> watch(std::string prefix, Revision from,
                                            WatchCallback callback) = 0;
};

// The one check of a transaction against the limits. Errors: invalid_input, too_large.
[[nodiscard]] Status check_transaction(const Transaction& transaction,
                                       const StoreLimits& limits = {});

}  // namespace consort::state
