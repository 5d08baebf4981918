#include "conformance.h"

#include <atomic>
#include <condition_variable>
#include <thread>

#include "state/memory_store.h"
#include "state/sqlite_store.h"

namespace consort::state {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST_P(StateStoreConformance, WhatIsPutIsReadWithItsRevision) {
  EXPECT_EQ(store_->revision().value(), Revision{0});
  EXPECT_EQ(store_->get("a").value(), std::nullopt);
  const std::string binary("\0\xFF value", 8);
  const Revision first = put("a", binary);
  const Revision second = put("b", "");
  EXPECT_LT(first, second);
  EXPECT_EQ(store_->get("a").value(), (Entry{"a", binary, first, {}}));
  EXPECT_EQ(store_->get("b").value()->value, "");
  EXPECT_EQ(store_->revision().value(), second);
}

TEST_P(StateStoreConformance, RangesAreByteOrderedPagesOfAPrefix) {
  for (const char* key :
       {"host/b", "host/a", "host", "host/\xC3\xA4", "host0", "hosu", "host/\xFF\xFF", "\xFF\xFF"})
    put(key, "x");
  EXPECT_THAT(keys("host/"), ElementsAre("host/a", "host/b", "host/\xC3\xA4", "host/\xFF\xFF"));
  EXPECT_THAT(keys("host/", 2), ElementsAre("host/a", "host/b"));
  EXPECT_THAT(keys("host/", 2, "host/b"), ElementsAre("host/\xC3\xA4", "host/\xFF\xFF"));
  EXPECT_THAT(keys("host/", 2, "host/aa"), ElementsAre("host/b", "host/\xC3\xA4"));
  EXPECT_THAT(keys("\xFF"), ElementsAre("\xFF\xFF"));
  EXPECT_EQ(keys("").size(), 8U);
  EXPECT_THAT(keys("nothing"), IsEmpty());
  EXPECT_THAT(keys("host/", 0), IsEmpty());
}

TEST_P(StateStoreConformance, ConditionsDecideAboutTheWholeTransaction) {
  const Revision a = put("a", "1");
  const auto won =
      commit({{{"a", a}, Condition::absent("b")}, {Write::put("a", "2"), Write::put("b", "1")}});
  EXPECT_TRUE(won.committed);
  EXPECT_EQ(store_->get("a").value()->modified, won.revision)
      << "all writes of a commit have its one revision";
  EXPECT_EQ(store_->get("b").value()->modified, won.revision);
  const auto lost =
      commit({{{"b", won.revision}, {"a", a}}, {Write::put("a", "3"), Write::erase("b")}});
  EXPECT_FALSE(lost.committed);
  EXPECT_EQ(lost.failed_condition, 1U);
  EXPECT_EQ(lost.revision, won.revision);
  EXPECT_EQ(store_->get("a").value()->value, "2");
  EXPECT_EQ(commit({{Condition::absent("a")}, {}}).failed_condition, 0U);
}

TEST_P(StateStoreConformance, WritesHappenInOrder) {
  put("dir/1", "x");
  put("dir/2", "x");
  put("dirt", "x");
  commit({{},
          {Write::erase_prefix("dir/"), Write::put("dir/3", "a"), Write::put("dir/3", "b"),
           Write::erase("absent")}});
  EXPECT_THAT(keys("dir"), ElementsAre("dir/3", "dirt"));
  EXPECT_EQ(store_->get("dir/3").value()->value, "b");
}

TEST_P(StateStoreConformance, ACommitThatChangesNothingTakesNoRevision) {
  const Revision before = put("a", "1");
  const auto outcome = commit({{}, {Write::erase("absent"), Write::erase_prefix("none/")}});
  EXPECT_TRUE(outcome.committed);
  EXPECT_EQ(outcome.revision, before);
  EXPECT_EQ(store_->revision().value(), before);
}

TEST_P(StateStoreConformance, LimitsAreErrors) {
  EXPECT_EQ(store_->commit({{}, {Write::put("", "x")}}).error().code(), ErrorCode::invalid_input);
  EXPECT_EQ(store_->commit({{}, {Write::erase_prefix("")}}).error().code(),
            ErrorCode::invalid_input);
  EXPECT_EQ(store_->commit({{}, {Write::put(std::string(2000, 'k'), "x")}}).error().code(),
            ErrorCode::too_large);
  EXPECT_EQ(store_->commit({{}, {Write::put("k", std::string(2U << 20U, 'x'))}}).error().code(),
            ErrorCode::too_large);
  EXPECT_EQ(store_->commit({{}, std::vector<Write>(1001, Write::put("k", "x"))}).error().code(),
            ErrorCode::too_large);
  EXPECT_EQ(store_->revision().value(), Revision{0});
}

TEST_P(StateStoreConformance, OfManyThatCompareTheSameOneWins) {
  const Revision start = put("counter", "0");
  std::mutex mutex;
  std::condition_variable ready;
  int answers = 0;
  std::vector<int> winners;
  for (int i = 0; i < 50; ++i) {
    store_->commit_async({{{"counter", start}}, {Write::put("counter", std::to_string(i))}},
                         [&, i](const Result<CommitOutcome>& result) {
                           const std::lock_guard lock(mutex);
                           if (result.value().committed) winners.push_back(i);
                           if (++answers == 50) ready.notify_one();
                         });
  }
  std::unique_lock lock(mutex);
  ASSERT_TRUE(ready.wait_for(lock, seconds(20), [&] { return answers == 50; }));
  EXPECT_THAT(winners, ElementsAre(0)) << "in the order of the calls";
  EXPECT_EQ(store_->get("counter").value()->value, "0");
}

TEST_P(StateStoreConformance, LeasesTakeTheirKeysWithThem) {
  const LeaseId lease = store_->grant(seconds(10)).value();
  const LeaseId other = store_->grant(seconds(100)).value();
  EXPECT_NE(lease, other);
  commit({{},
          {Write::put("leader", "me", lease), Write::put("agent", "x", lease),
           Write::put("kept", "x", other), Write::put("free", "x")}});
  EXPECT_EQ(store_->get("leader").value()->lease, lease);
  commit({{}, {Write::put("agent", "now without")}});

  clock_.advance(seconds(9));
  ASSERT_TRUE(store_->keep_alive(lease));
  clock_.advance(seconds(9));
  EXPECT_EQ(store_->expire_leases().value(), clock_.now() + seconds(1));
  EXPECT_TRUE(store_->get("leader").value());
  clock_.advance(seconds(1));
  EXPECT_EQ(store_->keep_alive(lease).error().code(), ErrorCode::not_found)
      << "over is over, also before it is noticed";
  ASSERT_TRUE(store_->expire_leases());
  EXPECT_THAT(keys(""), ElementsAre("agent", "free", "kept"));
  EXPECT_EQ(store_->commit({{}, {Write::put("before", "x"), Write::put("leader", "me", lease)}})
                .error()
                .code(),
            ErrorCode::invalid_input);
  EXPECT_FALSE(store_->get("before").value()) << "nothing of it happened";
  ASSERT_TRUE(store_->revoke(other));
  ASSERT_TRUE(store_->revoke(other));
  EXPECT_THAT(keys(""), ElementsAre("agent", "free"));
  EXPECT_EQ(store_->expire_leases().value(), std::nullopt);
}

// Gathers what a watch tells; waits for the last event of a key.
class Seen {
 public:
  StateStore::WatchCallback callback() {
    return [this](const Events& events) {
      const std::lock_guard lock(mutex_);
      for (const Event& event : events) {
        all_.push_back((event.kind == Event::Kind::put ? "+" : "-") + event.key + "=" +
                       event.value);
        revisions_.push_back(event.revision);
      }
      changed_.notify_all();
    };
  }
  std::vector<std::string> wait_for(std::size_t count) {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, seconds(20), [&] { return all_.size() >= count; });
    EXPECT_TRUE(std::is_sorted(revisions_.begin(), revisions_.end()));
    return all_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::string> all_;
  std::vector<Revision> revisions_;
};

TEST_P(StateStoreConformance, WatchesTellEachChangeOnceInOrder) {
  put("host/a", "0");
  const Revision from = put("host/a", "1");
  put("host/a", "2");
  Seen seen;
  const Watch watch = store_->watch("host/", from, seen.callback()).value();
  EXPECT_TRUE(watch.active());
  put("other", "x");
  commit({{}, {Write::put("host/b", "3"), Write::erase("host/a")}});
  const LeaseId lease = store_->grant(seconds(1)).value();
  commit({{}, {Write::put("host/c", "4", lease)}});
  ASSERT_TRUE(store_->revoke(lease));
  EXPECT_THAT(seen.wait_for(5),
              ElementsAre("+host/a=2", "+host/b=3", "-host/a=", "+host/c=4", "-host/c="));
}

TEST_P(StateStoreConformance, AStoppedWatchTellsNothingMore) {
  Seen stopped;
  Seen going;
  Watch first = store_->watch("", Revision{0}, stopped.callback()).value();
  const Watch second = store_->watch("", Revision{0}, going.callback()).value();
  put("a", "1");
  going.wait_for(1);
  first.stop();
  put("b", "2");
  EXPECT_EQ(going.wait_for(2).size(), 2U);
  EXPECT_EQ(stopped.wait_for(1).size(), 1U);
}

TEST_P(StateStoreConformance, AWatchThatMissedTooMuchIsStale) {
  for (int i = 0; i < 12; ++i) {
    std::vector<Write> writes;
    for (int k = 0; k < 4; ++k)
      writes.push_back(Write::put("k" + std::to_string(k), std::string(300'000, 'x')));
    for (int n = 0; n < 3; ++n) commit({{}, writes});
  }
  const auto watch = store_->watch("", Revision{0}, [](const Events&) {});
  ASSERT_FALSE(watch);
  EXPECT_EQ(watch.error().code(), ErrorCode::stale);
  EXPECT_TRUE(store_->watch("", store_->revision().value(), [](const Events&) {}));
}

TEST_P(StateStoreConformance, AWatchMayCommit) {
  Seen seen;
  const Watch echo =
      store_
          ->watch("ask", Revision{0},
                  [&](const Events& events) {
                    store_->commit_async(
                        {{}, {Write::put("answer", events.front().value)}},
                        [](const Result<CommitOutcome>& result) { EXPECT_TRUE(result); });
                  })
          .value();
  const Watch watch = store_->watch("", Revision{0}, seen.callback()).value();
  put("ask", "1");
  EXPECT_THAT(seen.wait_for(2), ElementsAre("+ask=1", "+answer=1"));
}

INSTANTIATE_TEST_SUITE_P(Memory, StateStoreConformance,
                         ::testing::Values(StoreKind{"memory",
                                                     [](const fs::path&, const Clock& clock) {
                                                       return make_memory_store(clock);
                                                     }}));
INSTANTIATE_TEST_SUITE_P(Sqlite, StateStoreConformance,
                         ::testing::Values(StoreKind{
                             "sqlite", [](const fs::path& folder, const Clock& clock) {
                               return open_sqlite_store(folder / "state.db", clock).value();
                             }}));

}  // namespace
}  // namespace consort::state
