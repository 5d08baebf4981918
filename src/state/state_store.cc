#include "state/state_store.h"

#include <fmt/format.h>

#include <condition_variable>
#include <mutex>

namespace consort::state {
namespace {

Status check_key(std::string_view key, const StoreLimits& limits) {
  if (key.empty()) return fail(ErrorCode::invalid_input, "a key of the state store is empty");
  if (key.size() > limits.key_bytes)
    return fail(ErrorCode::too_large,
                fmt::format("a key of the state store has {} bytes; the limit is {}", key.size(),
                            limits.key_bytes));
  if (key.find('\0') != std::string_view::npos)
    return fail(ErrorCode::invalid_input, "a key of the state store contains a NUL byte");
  return {};
}

}  // namespace

Result<CommitOutcome> StateStore::commit(Transaction transaction) {
  std::mutex mutex;
  std::condition_variable ready;
  std::optional<Result<CommitOutcome>> result;
  commit_async(std::move(transaction), [&](Result<CommitOutcome> outcome) {
    // Notified under the lock: the waiter's stack goes as soon as it sees the result.
    const std::lock_guard lock(mutex);
    result = std::move(outcome);
    ready.notify_one();
  });
  std::unique_lock lock(mutex);
  ready.wait(lock, [&] { return result.has_value(); });
  return std::move(*result);
}

Status check_transaction(const Transaction& transaction, const StoreLimits& limits) {
  std::size_t bytes = 0;
  if (transaction.writes.size() > limits.transaction_writes ||
      transaction.conditions.size() > limits.transaction_writes) {
    return fail(ErrorCode::too_large,
                fmt::format("a transaction has more than {} conditions or writes",
                            limits.transaction_writes));
  }
  for (const Condition& condition : transaction.conditions) TRYV(check_key(condition.key, limits));
  for (const Write& write : transaction.writes) {
    // The empty prefix is everything: always a mistake here.
    TRYV(check_key(write.key, limits));
    if (write.value.size() > limits.value_bytes) {
      return fail(ErrorCode::too_large,
                  fmt::format("the value of {} has {} bytes; the limit is {}", write.key,
                              write.value.size(), limits.value_bytes))
          .hint("what is large belongs into the content store");
    }
    bytes += write.key.size() + write.value.size();
  }
  if (bytes > limits.transaction_bytes) {
    return fail(ErrorCode::too_large, fmt::format("a transaction has {} bytes; the limit is {}",
                                                  bytes, limits.transaction_bytes))
        .hint("split it, or put what is large into the content store");
  }
  return {};
}

}  // namespace consort::state
