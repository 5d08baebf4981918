#include "controller/commit_order.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace consort::controller {
namespace {

using ::testing::ElementsAre;
using ::testing::SizeIs;

std::vector<std::string> keys(const Writes& writes) {
  std::vector<std::string> out;
  for (const auto& [key, value] : writes) out.push_back(key);
  return out;
}

// The order in which single writes are made.
std::vector<std::string> order(Writes writes) {
  std::vector<std::string> out;
  for (const Writes& transaction : in_transactions(std::move(writes), {1, 1'000'000})) {
    for (const std::string& key : keys(transaction)) out.push_back(key);
  }
  return out;
}

TEST(CommitOrder, WhatIsSmallStaysOneTransaction) {
  EXPECT_THAT(in_transactions({{"budgets", "{}"}, {"targets/a", "{}"}, {"tail/a/b", {}}}, {}),
              SizeIs(1));
  EXPECT_THAT(in_transactions({}, {}), SizeIs(0));
}

TEST(CommitOrder, ASlotIsTakenBeforeTheStepAndTheStepBeforeItsTarget) {
  EXPECT_THAT(
      order({{"targets/web1", "t"},
             {"rollouts/r000001/runs/f3", "active"},
             {"budgets", "held"},
             {"log/000000000001", "told"}}),
      ElementsAre("budgets", "rollouts/r000001/runs/f3", "targets/web1", "log/000000000001"));
}

TEST(CommitOrder, WhatAHostHasSaidComesBeforeWhatWasDecidedUponIt) {
  EXPECT_THAT(order({{"budgets", "given to the next"},
                     {"rollouts/r000001/runs/f3", "done"},
                     {"rollouts/r000001", "the next wave"},
                     {"hosts/web1", "has ended its step"}}),
              ElementsAre("hosts/web1", "budgets", "rollouts/r000001/runs/f3", "rollouts/r000001"));
}

TEST(CommitOrder, NothingIsErasedBeforeTheHeadSaysThatItIsNeedless) {
  EXPECT_THAT(order({{"candidates/r000001", {}},
                     {"rollouts/r000001/runs/", {}},
                     {"rollouts/r000001/runs", "all"},
                     {"generations/0000000002", "two"},
                     {"rollouts/r000001", "done"}}),
              ElementsAre("generations/0000000002", "rollouts/r000001/runs", "rollouts/r000001",
                          "candidates/r000001", "rollouts/r000001/runs/"));
}

TEST(CommitOrder, TheHeadAndTheCurrentGenerationAreNeverParted) {
  const auto transactions = in_transactions({{"current", "2"},
                                             {"rollouts/r000001", "done"},
                                             {"generations/0000000002", "two"},
                                             {"targets/a", "t"}},
                                            {1, 1'000'000});
  ASSERT_THAT(transactions, SizeIs(3));
  EXPECT_THAT(keys(transactions[1]), ElementsAre("current", "rollouts/r000001"));
}

TEST(CommitOrder, EachTransactionStaysWithinTheLimits) {
  Writes writes;
  for (int i = 0; i < 2500; ++i)
    writes.emplace("targets/h" + std::to_string(i), std::string(900, 'x'));
  const auto transactions = in_transactions(std::move(writes), {1000, 500'000});
  std::size_t count = 0;
  for (const Writes& transaction : transactions) {
    EXPECT_LE(transaction.size() * 900, 500'000U);
    count += transaction.size();
  }
  EXPECT_EQ(count, 2500U);
}

TEST(ApplyWrites, AKeyThatEndsInASlashErasesAllBelowIt) {
  Store store = {{"a", "1"}, {"a/b", "2"}, {"a/c", "3"}, {"ab", "4"}};
  apply_writes(store, {{"a/", std::nullopt}, {"d", "5"}});
  EXPECT_EQ(store, (Store{{"a", "1"}, {"ab", "4"}, {"d", "5"}}));
}

}  // namespace
}  // namespace consort::controller
