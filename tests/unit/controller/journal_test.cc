#include "controller/journal.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>

#include "state/memory_store.h"

namespace consort::controller {
namespace {

using ::testing::ElementsAre;

// A store whose commits happen when the test says so.
class HeldStore final : public state::StateStore {
 public:
  explicit HeldStore(const Clock& clock) : inner_(state::make_memory_store(clock)) {}

  void release() {
    auto [transaction, done] = std::move(held_.front());
    held_.pop_front();
    inner_->commit_async(std::move(transaction), done);
  }
  void refuse() {
    const Committed done = std::move(held_.front().second);
    held_.pop_front();
    done(fail(ErrorCode::io, "no space left on device"));
  }
  [[nodiscard]] std::size_t held() const { return held_.size(); }
  [[nodiscard]] std::string value(const std::string& key) {
    const auto entry = inner_->get(key).value();
    return entry ? entry->value : "(absent)";
  }

  Result<std::optional<state::Entry>> get(std::string_view key) override {
    return inner_->get(key);
  }
  Result<std::vector<state::Entry>> range(std::string_view prefix, std::size_t limit,
                                          std::string_view after) override {
    return inner_->range(prefix, limit, after);
  }
  Result<state::Revision> revision() override { return inner_->revision(); }
  void commit_async(state::Transaction transaction, Committed done) override {
    held_.emplace_back(std::move(transaction), std::move(done));
  }
  Result<state::LeaseId> grant(Duration ttl) override { return inner_->grant(ttl); }
  Status keep_alive(state::LeaseId lease) override { return inner_->keep_alive(lease); }
  Status revoke(state::LeaseId lease) override { return inner_->revoke(lease); }
  Result<std::optional<Instant>> expire_leases() override { return inner_->expire_leases(); }
  Result<state::Watch> watch(std::string prefix, state::Revision from,
                             WatchCallback callback) override {
    return inner_->watch(std::move(prefix), from, std::move(callback));
  }

 private:
  std::unique_ptr<state::StateStore> inner_;
  std::deque<std::pair<state::Transaction, Committed>> held_;
};

class JournalTest : public ::testing::Test {
 protected:
  Journal::Done note(const std::string& name) {
    return [this, name](const Status& status) {
      told_.push_back(name + (status ? " is durable" : ": " + status.error().message()));
    };
  }

  TempFolder folder_ = TempFolder::create("journal-test-").value();
  SystemClock clock_;
  HeldStore store_{clock_};
  objects::ObjectStore objects_ = objects::ObjectStore::open(folder_.path()).value();
  Journal journal_{store_, objects_, [](std::function<void()> act) { act(); }};
  std::vector<std::string> told_;
};

TEST_F(JournalTest, WhatComesWhileAWriteIsUnderWayIsGatheredIntoTheNext) {
  journal_.commit({{"a", "1"}}, note("first"));
  journal_.commit({{"a", "2"}, {"b", "2"}}, note("second"));
  journal_.commit({{"b", "3"}}, note("third"));
  ASSERT_EQ(store_.held(), 1U);
  store_.release();
  EXPECT_THAT(told_, ElementsAre("first is durable"));
  EXPECT_EQ(store_.value("a"), "1");
  ASSERT_EQ(store_.held(), 1U) << "both in one";
  store_.release();
  EXPECT_THAT(told_, ElementsAre("first is durable", "second is durable", "third is durable"));
  EXPECT_EQ(store_.value("a"), "2");
  EXPECT_EQ(store_.value("b"), "3");
}

TEST_F(JournalTest, AfterARefusedWriteNothingThatCameLaterIsWritten) {
  journal_.commit({{"a", "1"}}, note("first"));
  journal_.commit({{"b", "2"}}, note("second"));
  store_.refuse();
  EXPECT_THAT(told_,
              ElementsAre("first: no space left on device", "second: no space left on device"));
  EXPECT_EQ(store_.held(), 0U);
  EXPECT_EQ(store_.value("b"), "(absent)");
  journal_.commit({{"c", "3"}}, note("third"));
  store_.release();
  EXPECT_EQ(store_.value("c"), "3");
}

TEST_F(JournalTest, ALargeGroupIsSeveralTransactionsAndDurableWithTheLast) {
  Journal journal{store_, objects_, [](std::function<void()> act) { act(); }, {2, 1'000'000}};
  journal.commit({{"budgets", "b"}, {"current", "2"}, {"epoch", "1"}, {"targets/x", "t"}},
                 note("all"));
  store_.release();
  EXPECT_EQ(store_.value("epoch"), "1");
  EXPECT_EQ(store_.value("targets/x"), "(absent)");
  EXPECT_THAT(told_, ElementsAre());
  store_.release();
  EXPECT_EQ(store_.value("targets/x"), "t");
  EXPECT_THAT(told_, ElementsAre("all is durable"));
}

TEST_F(JournalTest, ALargeValueIsKeptAsAnObjectAndReadBackWhole) {
  const std::string large(3U << 20U, 'g');
  journal_.commit({{"generations/0000000001", large}, {"current", "1"}}, note("both"));
  store_.release();
  EXPECT_EQ(store_.value("generations/0000000001"), "@" + Digest::of(large).str());
  Journal again{store_, objects_, [](std::function<void()> act) { act(); }};
  const Store loaded = again.load().value();
  EXPECT_EQ(loaded.at("generations/0000000001"), large);
  EXPECT_EQ(loaded.at("current"), "1");
  EXPECT_THAT(again.objects_in_use(), ElementsAre(Digest::of(large)));
}

TEST_F(JournalTest, WhateverIsWrittenCanBeReadAndWhatCouldNotBeIsNotWritten) {
  // More than anybody else reads at once; what a plan of a very large fleet may become.
  const std::string large(kDefaultReadLimit + 1, 'g');
  journal_.commit({{"rollouts/r000001/plan", large}}, note("large"));
  store_.release();
  Journal again{store_, objects_, [](std::function<void()> act) { act(); }};
  const auto loaded = again.load();
  ASSERT_TRUE(loaded) << render_error(loaded.error());
  EXPECT_EQ(loaded->at("rollouts/r000001/plan").size(), large.size());
  told_.clear();
  journal_.commit({{"current", "2"}, {"x", std::string(kMostValueBytes + 1, 'g')}}, note("all"));
  EXPECT_EQ(store_.held(), 0U);
  ASSERT_EQ(told_.size(), 1U);
  EXPECT_THAT(told_[0], ::testing::HasSubstr("x would be 268 MB"));
}

TEST_F(JournalTest, AnObjectIsARootAsLongAsARecordNamesIt) {
  const std::string large(1U << 20U, 'g');
  journal_.commit({{"x/1", large}, {"x/2", large + "2"}}, note("put"));
  store_.release();
  EXPECT_EQ(journal_.objects_in_use().size(), 2U);
  journal_.commit({{"x/2", "small now"}}, note("smaller"));
  store_.release();
  EXPECT_THAT(journal_.objects_in_use(), ElementsAre(Digest::of(large)));
  journal_.commit({{"x/", std::nullopt}}, note("erased"));
  store_.release();
  EXPECT_TRUE(journal_.objects_in_use().empty());
}

// A host reports again and again.
TEST_F(JournalTest, TheRecordOfAHostLeavesNoObjectBehind) {
  const std::string record(400U << 10U, 'g');
  journal_.commit({{"hosts/w1", record}}, note("record"));
  store_.release();
  EXPECT_EQ(store_.value("hosts/w1"), record);
  EXPECT_TRUE(journal_.objects_in_use().empty());
  EXPECT_FALSE(objects_.has(Digest::of(record)));
}

TEST_F(JournalTest, ALostObjectIsAnErrorThatNamesItsRecord) {
  const std::string large(1U << 20U, 'g');
  journal_.commit({{"candidates/r000001", large}}, note("put"));
  store_.release();
  ASSERT_TRUE(objects_.discard(Digest::of(large)));
  const auto loaded = journal_.load();
  ASSERT_FALSE(loaded);
  EXPECT_NE(render_error(loaded.error()).find("candidates/r000001"), std::string::npos);
}

}  // namespace
}  // namespace consort::controller
