// How long a rollout waits for a step, and what becomes of one that is given up.
#include "unit/rollout/rollout_fixture.h"

namespace consort::rollout {
namespace {

using plan::Health;
using tests::Model;

TEST_F(RolloutTest, ALongWaveIsNotHeldToTheLimitOfOneStep) {
  policy.step_timeout = seconds(10);
  policy.max_unavailable = budget::Amount{1, false};
  for (Model* model : {&before, &after}) {
    for (const std::string host : {"d1", "d2", "d3", "d4", "d5"}) model->host(host, "db");
    model->host("w1", "web");
  }
  before.service("db", "db", "v1").service("app", "web", "v1", {"db"});
  after.service("db", "db", "v2").service("app", "web", "v1", {"db"});
  observed = before.running();
  begin();
  // Five hosts, one after another, eight seconds each; the last one fails, and all go back.
  for (int i = 0; i < 5; ++i) {
    now += seconds(7);
    ASSERT_EQ(answer({"d5"}), 1) << i;
  }
  ASSERT_TRUE(rollout.reverting);
  while (rollout.result == Result::open) {
    now += seconds(7);
    ASSERT_GT(answer(), 0);
  }
  EXPECT_EQ(rollout.result, Result::reverted) << rollout.summary;
}

TEST_F(RolloutTest, APauseStopsTheLimits) {
  policy.step_timeout = minutes(1);
  given_an_upgrade_of(2);
  rollout.paused = true;
  observed["w10"].reachable = false;
  now += minutes(30);
  go();
  EXPECT_EQ(rollout.forward.runs[0].phase, StepPhase::active) << "silence is no failure in a pause";
  rollout.paused = false;
  rollout.resumed = now;
  go();
  EXPECT_EQ(rollout.forward.runs[0].phase, StepPhase::active) << "it gets its time again";
  observed["w10"].reachable = true;
  while (rollout.result == Result::open) ASSERT_GT(answer(), 0);
  EXPECT_EQ(rollout.result, Result::done);
}

TEST_F(RolloutTest, AStepThatNeverAnswersFailsAfterItsTime) {
  policy.step_timeout = minutes(1);
  given_an_upgrade_of(1);
  now += minutes(2);
  go();
  EXPECT_TRUE(rollout.reverting);
}

TEST_F(RolloutTest, AStepThatIsGivenUpGivesItsSlotBackWhenItsHostAnswers) {
  policy.step_timeout = minutes(1);
  policy.max_failures = budget::Amount{1, false};
  given_an_upgrade_of(3);
  const auto late = std::exchange(sent, {});
  now += minutes(2);
  go();
  ASSERT_EQ(rollout.forward.runs[0].phase, StepPhase::failed);
  EXPECT_TRUE(sent.empty()) << "its host may still be at it: no other one may be away";
  sent = late;
  answer();
  EXPECT_EQ(sent.size(), 1U) << "now the next one goes";
  while (rollout.result == Result::open) ASSERT_GT(answer(), 0);
  EXPECT_EQ(rollout.result, Result::partial);
}

TEST_F(RolloutTest, AnInstanceThatNeverGetsHealthyGivesItsSlotBack) {
  policy.step_timeout = minutes(1);
  policy.max_failures = budget::Amount{1, false};
  given_an_upgrade_of(3);
  plan::InstanceReport& report = observed["w10"].instances["app"];
  report.applied = sent.at({"app", "w10"}).wanted;
  report.outcome = plan::Outcome{};
  report.outcome->attempt = sent.at({"app", "w10"}).attempt;
  report.health = Health::unhealthy;
  sent.clear();
  now += minutes(2);
  go();
  ASSERT_EQ(rollout.forward.runs[0].phase, StepPhase::failed);
  EXPECT_TRUE(budgets.at("web").holders.empty()) << "it counts as sick, not as a holder";
  report.health = Health::healthy;
  go();
  EXPECT_EQ(sent.size(), 1U);
}

}  // namespace
}  // namespace consort::rollout
