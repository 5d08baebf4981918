// What every StateStore must do. A store joins with
//   INSTANTIATE_TEST_SUITE_P(Name, StateStoreConformance, ::testing::Values(StoreKind{…}));
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <mutex>

#include "base/files.h"
#include "base/time.h"
#include "state/state_store.h"

namespace consort::state {

class HandClock final : public Clock {
 public:
  [[nodiscard]] Instant now() const override {
    const std::lock_guard lock(mutex_);
    return now_;
  }
  void advance(Duration by) {
    const std::lock_guard lock(mutex_);
    now_ += by;
  }

 private:
  mutable std::mutex mutex_;
  Instant now_ = from_millis(1'000'000);
};

struct StoreKind {
  const char* name;
  // Opens a new, empty store in a folder that is the test's own.
  std::function<std::unique_ptr<StateStore>(const fs::path& folder, const Clock& clock)> open;

  friend void PrintTo(const StoreKind& kind, std::ostream* out) { *out << kind.name; }
};

class StateStoreConformance : public ::testing::TestWithParam<StoreKind> {
 protected:
  TempFolder folder_ = TempFolder::create("state-test-").value();
  HandClock clock_;
  std::unique_ptr<StateStore> store_ = GetParam().open(folder_.path(), clock_);

  CommitOutcome commit(Transaction transaction) {
    return store_->commit(std::move(transaction)).value();
  }
  Revision put(const std::string& key, const std::string& value) {
    return commit({{}, {Write::put(key, value)}}).revision;
  }
  std::vector<std::string> keys(const std::string& prefix, std::size_t limit = 1000,
                                const std::string& after = "") {
    std::vector<std::string> out;
    const auto entries = store_->range(prefix, limit, after).value();
    for (const Entry& entry : entries) out.push_back(entry.key);
    return out;
  }
};

}  // namespace consort::state
