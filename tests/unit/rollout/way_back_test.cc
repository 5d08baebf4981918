// What a rollout does when something fails or an operator stops it: the way back, a halt, failures
// that are allowed.
#include "unit/rollout/rollout_fixture.h"

namespace consort::rollout {
namespace {

using plan::Health;
using ::testing::HasSubstr;
using tests::Model;

TEST_F(RolloutTest, S48_OneFailureBringsAllBackInReverseOrder) {
  policy.batches = {{1, false}, {100, true}};
  policy.max_unavailable = budget::Amount{5, false};
  given_an_upgrade_of(4);
  answer();
  EXPECT_EQ(at_version(after), 1);
  answer({"w12"});
  EXPECT_TRUE(rollout.reverting);
  while (rollout.result == Result::open) ASSERT_GT(answer(), 0);
  EXPECT_EQ(rollout.result, Result::reverted);
  EXPECT_EQ(at_version(before), 4);
}

TEST_F(RolloutTest, AWayBackThatLostSomethingDoesNotCallItselfComplete) {
  policy.max_unavailable = budget::Amount{5, false};
  given_an_upgrade_of(2);
  for (auto& [key, entry] : std::exchange(sent, {})) {
    plan::Outcome outcome;
    outcome.attempt = entry.attempt;
    outcome.result = plan::Outcome::Result::reverted;
    outcome.lost = "what purges have removed could not all be brought back: /etc/x (why)";
    observed[key.second].instances["app"].outcome = outcome;
  }
  go();
  while (rollout.result == Result::open) ASSERT_GT(answer(), 0);
  EXPECT_EQ(rollout.result, Result::reverted);
  EXPECT_THAT(rollout.summary, HasSubstr("but for app@w10: what purges have removed"));
}

TEST_F(RolloutTest, HaltStopsWhereItIs) {
  policy.on_failure = plan::OnFailure::halt;
  given_an_upgrade_of(3);
  answer({"w10"});
  EXPECT_EQ(rollout.result, Result::inconsistent);
  EXPECT_THAT(rollout.summary, HasSubstr("halt"));
  EXPECT_TRUE(budgets.at("web").holders.empty());
}

TEST_F(RolloutTest, S28_FailuresWithinTheLimitMakeItPartial) {
  policy.max_failures = budget::Amount{10, true};
  policy.max_unavailable = budget::Amount{10, false};
  given_an_upgrade_of(10);
  answer({"w13"});
  EXPECT_EQ(rollout.result, Result::partial);
  EXPECT_EQ(at_version(after), 9);
  EXPECT_EQ(open_tail(rollout).size(), 1U);
}

TEST_F(RolloutTest, S28_OneMoreStopsIt) {
  policy.max_failures = budget::Amount{10, true};
  policy.max_unavailable = budget::Amount{10, false};
  given_an_upgrade_of(10);
  answer({"w13", "w14"});
  EXPECT_TRUE(rollout.reverting);
}

TEST_F(RolloutTest, WhatWasNeverSentNeedsNoWayBack) {
  policy.step_timeout = seconds(10);
  given_an_upgrade_of_both_providers();
  answer();  // d1 is done; then it gets sick and stays so: d2 must not go
  sent.clear();
  observed["d1"].instances["db"].health = Health::unhealthy;
  observed["d2"].instances["db"].outcome.reset();
  rollout.forward.runs[1] = {};
  go();
  ASSERT_TRUE(sent.empty());
  now += minutes(1);
  go();
  ASSERT_EQ(rollout.forward.runs[1].phase, StepPhase::failed);
  EXPECT_THAT(rollout.forward.runs[1].waiting, HasSubstr("must stay healthy"));
  ASSERT_TRUE(rollout.reverting);
  EXPECT_EQ(rollout.back.steps.size(), 1U) << "only d1";
}

TEST_F(RolloutTest, TheWayBackOfAnOutageComesToAnEndAlsoWithoutItsSlots) {
  policy.step_timeout = minutes(1);
  policy.allow_outage = true;
  for (Model* model : {&before, &after}) model->host("d1", "db").host("w1", "web");
  before.service("db", "db", "v1").service("app", "web", "v1", {"db"});
  after.service("db", "db", "v2").service("app", "web", "v2", {"db"});
  observed = before.running();
  begin();
  ASSERT_TRUE(sent.contains({"app", "w1"})) << "held";
  while (!rollout.reverting && rollout.result == Result::open) ASSERT_GT(answer({"w1"}), 0);
  // Somebody else has taken the budget of web meanwhile.
  budgets["web"].joint = budget::Joint{"reboot", {now, "kernel"}, {"w1"}};
  for (int i = 0; i < 20 && rollout.result == Result::open; ++i) {
    answer();
    now += minutes(1);
    go();
  }
  EXPECT_NE(rollout.result, Result::open) << "it says so instead of waiting for ever";
}

TEST_F(RolloutTest, AnAbortedRolloutGoesBack) {
  policy.max_unavailable = budget::Amount{1, false};
  given_an_upgrade_of(3);
  answer();
  rollout.abort = true;
  go();
  EXPECT_TRUE(rollout.reverting);
  while (rollout.result == Result::open) ASSERT_GT(answer(), 0);
  EXPECT_EQ(rollout.result, Result::reverted);
  EXPECT_EQ(at_version(before), 3);
}

TEST_F(RolloutTest, AStepThatWasGivenUpCountsAsAwayOnTheWayBack) {
  policy.step_timeout = minutes(1);
  given_an_upgrade_of_both_providers();
  answer();  // d1 is done, d2 was told and hangs
  sent.clear();
  now += minutes(2);
  go();
  ASSERT_TRUE(rollout.reverting);
  EXPECT_TRUE(sent.contains({"db", "d2"}));
  EXPECT_FALSE(sent.contains({"db", "d1"})) << "the only one that serves";
}

TEST_F(RolloutTest, S27_TheWayBackDoesNotSoak) {
  policy.batches = {{1, false}, {100, true}};
  policy.soak = minutes(10);
  policy.max_unavailable = budget::Amount{5, false};
  given_an_upgrade_of(3);
  answer();
  rollout.abort = true;
  go();
  const Instant turned = now;
  while (rollout.result == Result::open) ASSERT_GT(answer(), 0);
  EXPECT_EQ(rollout.result, Result::reverted);
  EXPECT_LT(now - turned, minutes(1));
}

}  // namespace
}  // namespace consort::rollout
