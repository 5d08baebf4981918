// Soaking: how long a batch must be seen healthy before the next one.
#include "unit/rollout/rollout_fixture.h"

namespace consort::rollout {
namespace {

using plan::Health;

TEST_F(RolloutTest, SoakHoldsTheNextBatchUntilItHasPassed) {
  policy.batches = {{1, false}, {100, true}};
  policy.soak = minutes(2);
  policy.max_unavailable = budget::Amount{5, false};
  given_an_upgrade_of(3);
  answer();
  EXPECT_TRUE(sent.empty()) << "the canary soaks";
  now += minutes(1);
  go();
  EXPECT_TRUE(sent.empty());
  now += minutes(2);
  go();
  EXPECT_EQ(sent.size(), 2U);
}

TEST_F(RolloutTest, BecomingUnhealthyWhileSoakingIsAFailure) {
  policy.batches = {{1, false}, {100, true}};
  policy.soak = minutes(2);
  given_an_upgrade_of(3);
  answer();
  observed["w10"].instances["app"].health = Health::unhealthy;
  go();
  EXPECT_TRUE(rollout.reverting);
}

TEST_F(RolloutTest, ASoakOutOfSightBeginsAgainOrFails) {
  policy.batches = {{1, false}, {100, true}};
  policy.soak = minutes(2);
  given_an_upgrade_of(3);
  answer();
  observed["w10"].reachable = false;
  now += seconds(10);
  go();
  EXPECT_FALSE(rollout.reverting) << "a short silence is no failure";
  observed["w10"].reachable = true;
  now += seconds(1);
  go();
  now += minutes(1) + seconds(55);
  go();
  EXPECT_TRUE(sent.empty()) << "the soak has begun again";
  observed["w10"].reachable = false;
  now += minutes(1);
  go();
  now += kUnreachableGrace;
  go();
  EXPECT_TRUE(rollout.reverting) << "a canary that takes its host down is a failure";
}

TEST_F(RolloutTest, ASoakNeedsHealthThatIsKnown) {
  policy.batches = {{1, false}, {100, true}};
  policy.soak = minutes(2);
  given_an_upgrade_of(3);
  answer();
  observed["w10"].instances["app"].health = Health::unknown;
  now += minutes(3);
  go();
  EXPECT_TRUE(sent.empty());
  observed["w10"].instances["app"].health = Health::healthy;
  go();
  EXPECT_TRUE(sent.empty());
  now += minutes(2);
  go();
  EXPECT_EQ(sent.size(), 1U);
}

// A canary that was out of sight, was given up within the limit, and answers while the next batch
// is under way.
class LateAnswer : public RolloutTest {
 protected:
  void SetUp() override {
    policy.batches = {{1, false}, {100, true}};
    policy.soak = minutes(2);
    policy.max_failures = budget::Amount{1, false};
    policy.max_unavailable = budget::Amount{5, false};
    given_an_upgrade_of(3);
    late = sent;
    observed["w10"].reachable = false;
    go();
    now += kUnreachableGrace + seconds(1);
    go();
    ASSERT_EQ(rollout.forward.runs[0].phase, StepPhase::unreachable);
    ASSERT_EQ(rollout.forward.wave, 1U);
  }
  void the_canary_answers() {
    observed["w10"].reachable = true;
    const auto others = std::exchange(sent, late);
    answer();
    sent = others;
    ASSERT_EQ(rollout.forward.runs[0].phase, StepPhase::soaking);
  }

  std::map<std::pair<std::string, std::string>, plan::TargetEntry> late;
};

TEST_F(LateAnswer, SoaksAsLongAsItsOwnBatchHadTo) {
  rollout.forward.waves[1].soak = seconds(1);
  the_canary_answers();
  now += minutes(1);
  go();
  EXPECT_EQ(rollout.forward.runs[0].phase, StepPhase::soaking);
  now += minutes(1);
  go();
  EXPECT_EQ(rollout.forward.runs[0].phase, StepPhase::done);
}

TEST_F(LateAnswer, IsWaitedForByTheEndWhenItTurnsOutWell) {
  answer();  // the others begin to soak
  now += minutes(1);
  the_canary_answers();
  now += minutes(1);
  go();
  // All others have soaked; it has not, and is no reason to call anything left behind.
  EXPECT_EQ(rollout.result, Result::open);
  now += minutes(1);
  go();
  EXPECT_EQ(rollout.result, Result::done) << rollout.summary;
}

TEST_F(LateAnswer, ThatTurnsOutSickIsAFailureAsEver) {
  answer();
  now += minutes(1);
  the_canary_answers();
  now += minutes(1);
  go();
  observed["w10"].instances["app"].health = Health::unhealthy;
  go();
  EXPECT_EQ(rollout.result, Result::partial);
  EXPECT_THAT(rollout.summary, ::testing::HasSubstr("app@w10"));
}

}  // namespace
}  // namespace consort::rollout
