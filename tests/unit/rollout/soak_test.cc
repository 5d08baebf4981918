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

}  // namespace
}  // namespace consort::rollout
