#include "budget/budget.h"

#include <gmock/gmock.h>

namespace consort::budget {
namespace {

using ::testing::HasSubstr;

const Instant kNow = from_millis(1'700'000'000'000);

class BudgetTest : public ::testing::Test {
 protected:
  Grant take(const std::string& host, const std::string& reason = "rollout:r1") {
    return acquire(budgets, {"web"}, censuses, {host, reason, "upgrade"}, kNow);
  }
  // What is changed there does not work anyway.
  Grant take_broken(const std::string& host) {
    return acquire(budgets, {"web"}, censuses, {host, "rollout:r1", "upgrade", true}, kNow);
  }

  Budgets budgets{{"web", {{2, false}, false, std::nullopt, {}}}};
  Censuses censuses{{"web", {10, {}, {}}}};
};

TEST_F(BudgetTest, GrantsUpToItsSlotsAndSaysWhoHoldsThem) {
  EXPECT_TRUE(take("w1").granted);
  EXPECT_TRUE(take("w2").granted);
  const Grant third = take("w3");
  EXPECT_FALSE(third.granted);
  EXPECT_THAT(third.why, HasSubstr("w1 (rollout:r1 since 2023-11-14"));
}

TEST_F(BudgetTest, AHostNeedsNoSecondSlotForASecondReason) {
  ASSERT_TRUE(take("w1").granted);
  ASSERT_TRUE(take("w2").granted);
  EXPECT_TRUE(take("w1", "reboot").granted);
  EXPECT_EQ(budgets.at("web").holders.size(), 2U);
  release(budgets, "w1", "rollout:r1");
  EXPECT_EQ(budgets.at("web").holders.size(), 2U) << "the reboot still holds it";
  release(budgets, "w1", "reboot");
  EXPECT_EQ(budgets.at("web").holders.size(), 1U);
}

TEST_F(BudgetTest, SickHostsCountAgainstIt) {
  censuses["web"].unhealthy = {"w8"};
  EXPECT_TRUE(take("w1").granted);
  const Grant second = take("w2");
  EXPECT_FALSE(second.granted);
  EXPECT_THAT(second.why, HasSubstr("not healthy: w8"));
}

TEST_F(BudgetTest, WhatIsBrokenAlwaysGetsItsSlot) {
  ASSERT_TRUE(take("w1").granted);
  ASSERT_TRUE(take("w2").granted);
  censuses["web"].unhealthy = {"w3"};
  EXPECT_TRUE(take_broken("w3").granted);
  budgets.at("web").paused = true;
  EXPECT_TRUE(take_broken("w4").granted);
}

TEST_F(BudgetTest, AHostThatIsAwayTakesNoOtherOneAway) {
  // Given more sick hosts than slots,
  censuses["web"].unhealthy = {"w1", "w2", "w3"};
  // when what works on them is to be changed, too, then a healthy host has to wait,
  EXPECT_FALSE(take("w9").granted);
  // a sick one has not: it is away already.
  EXPECT_TRUE(take("w1").granted);
}

TEST_F(BudgetTest, WhatWorksOnSickHostsIsNotTakenAwayEverywhereAtOnce) {
  // Given hosts on all of which something is sick (an agent of the monitoring, say),
  censuses["web"].unhealthy = {"w1", "w2", "w3", "w4"};
  // when something that works there is upgraded, then by its slots as ever,
  EXPECT_TRUE(take("w1").granted);
  EXPECT_TRUE(take("w2").granted);
  EXPECT_THAT(take("w3").why, HasSubstr("used up"));
  // also where a slot is held already for what is broken.
  ASSERT_TRUE(take_broken("w4").granted);
  EXPECT_FALSE(take("w4", "reboot").granted);
  EXPECT_FALSE(take("w4").granted);
  release(budgets, "w1", "rollout:r1");
  EXPECT_TRUE(take("w4").granted);
  EXPECT_EQ(paying_holders(budgets.at("web")), 2);
}

TEST_F(BudgetTest, HostsThatDoNotAnswerCountAlsoForOneThatIsSickOtherwise) {
  budgets.at("web").slots = {1, false};
  censuses["web"].unhealthy = {"w1", "w9"};
  censuses["web"].unreachable = {"w9"};
  // What works on w1 beside what is sick there would be away together with w9.
  EXPECT_THAT(take("w1").why, HasSubstr("not healthy: w1, w9"));
  censuses["web"].unhealthy = {"w1"};
  censuses["web"].unreachable = {};
  EXPECT_TRUE(take("w1").granted);
}

TEST_F(BudgetTest, IsTakenInAllBudgetsOrInNone) {
  budgets["db"].slots = {0, false};
  censuses["db"].hosts = 1;
  EXPECT_FALSE(acquire(budgets, {"web", "db"}, censuses, {"w1", "reboot", ""}, kNow).granted);
  EXPECT_TRUE(budgets.at("web").holders.empty());
}

TEST_F(BudgetTest, AcquireAndReleaseAreIdempotent) {
  EXPECT_TRUE(take("w1").granted);
  EXPECT_TRUE(take("w1").granted);
  EXPECT_EQ(budgets.at("web").holders.size(), 1U);
  EXPECT_TRUE(release(budgets, "w1", "rollout:r1"));
  EXPECT_FALSE(release(budgets, "w1", "rollout:r1"));
}

TEST_F(BudgetTest, PausedGrantsNothingButKeepsItsHolders) {
  ASSERT_TRUE(take("w1").granted);
  budgets.at("web").paused = true;
  EXPECT_TRUE(take("w1").granted);
  EXPECT_THAT(take("w2").why, HasSubstr("paused"));
}

TEST_F(BudgetTest, AJointOutageTakesTheWholeBudgetOrNothing) {
  const std::map<std::string, std::vector<std::string>> hosts = {
      {"w1", {"web"}}, {"w2", {"web"}}, {"w3", {"web"}}};
  ASSERT_TRUE(take("w9", "reboot").granted);
  EXPECT_FALSE(acquire_jointly(budgets, hosts, censuses, "rollout:r2", "db is away", kNow).granted);
  release(budgets, "w9", "reboot");
  ASSERT_TRUE(acquire_jointly(budgets, hosts, censuses, "rollout:r2", "db is away", kNow).granted);
  EXPECT_THAT(take("w9", "reboot").why, HasSubstr("held as a whole by rollout:r2"));
  for (const std::string host : {"w1", "w2", "w3"}) release_joint(budgets, host, "rollout:r2");
  EXPECT_TRUE(take("w9", "reboot").granted);
}

TEST_F(BudgetTest, WhoHoldsItAsAWholeDoesNotWaitForItself) {
  ASSERT_TRUE(
      acquire_jointly(budgets, {{"w1", {"web"}}}, censuses, "rollout:r2", "db is away", kNow)
          .granted);
  EXPECT_TRUE(take("w2", "rollout:r2").granted) << "a host beside the outage, an ordinary slot";
  EXPECT_FALSE(take("w3", "rollout:r3").granted);
}

TEST_F(BudgetTest, AnOutageCoversWhatItNamesAndNothingElseOnItsHosts) {
  const std::map<std::string, std::vector<std::string>> hosts = {
      {"w1", {"web"}}, {"w2", {"web"}}, {"w3", {"web"}}};
  ASSERT_TRUE(acquire_jointly(budgets, hosts, censuses, "rollout:r2", "db is away", kNow).granted);
  censuses["web"].unhealthy = {"w1", "w2", "w3"};
  for (const std::string host : {"w1", "w2", "w3"}) {
    const Claim named{host, "rollout:r2", "upgrade app", false, true};
    EXPECT_TRUE(acquire(budgets, {"web"}, censuses, named, kNow).granted);
  }
  EXPECT_TRUE(budgets.at("web").holders.empty()) << "the outage holds it for them";
  EXPECT_TRUE(take("w1", "rollout:r2").granted);
  EXPECT_TRUE(take("w2", "rollout:r2").granted);
  EXPECT_FALSE(take("w3", "rollout:r2").granted) << "two slots";
}

TEST_F(BudgetTest, TheHostsOfAnOutageKeepItsRolloutFromNoOtherHost) {
  ASSERT_TRUE(acquire_jointly(budgets, {{"w1", {"web"}}, {"w2", {"web"}}}, censuses, "rollout:r2",
                              "db is away", kNow)
                  .granted);
  censuses["web"].unhealthy = {"w1", "w2"};
  EXPECT_TRUE(take("w8", "rollout:r2").granted) << "or it would wait for itself";
}

TEST_F(BudgetTest, AnOutageDoesNotWaitForHostsThatAreSickBesides) {
  budgets.at("web").slots = {1, false};
  ASSERT_TRUE(
      acquire_jointly(budgets, {{"w1", {"web"}}}, censuses, "rollout:r2", "db is away", kNow)
          .granted);
  censuses["web"].unhealthy = {"w4"};
  EXPECT_TRUE(take("w1", "rollout:r2").granted) << "w1 is away as declared";
  EXPECT_FALSE(take("w2", "rollout:r2").granted);
}

TEST_F(BudgetTest, NobodyGetsInWhereAnOutageIsOn) {
  ASSERT_TRUE(
      acquire_jointly(budgets, {{"w1", {"web"}}}, censuses, "rollout:r2", "db is away", kNow)
          .granted);
  ASSERT_TRUE(take("w1", "rollout:r2").granted);
  EXPECT_FALSE(take("w1", "reboot").granted) << "though the host has a slot";
}

TEST(Amount, RoundsDownButNeverToNothing) {
  EXPECT_EQ(amount_of({30, true}, 10), 3);
  EXPECT_EQ(amount_of({30, true}, 2), 1);
  EXPECT_EQ(amount_of({0, true}, 100), 0);
  EXPECT_EQ(default_max_unavailable(10), (Amount{1, false}));
  EXPECT_EQ(amount_of(default_max_unavailable(100), 100), 10);
}

TEST(Amount, RefusesWhatIsNoAmount) {
  for (const Json& bad : std::vector<Json>{Json("30 %"), Json("-1"), Json("101%"), Json(-1),
                                           Json(2.5), Json(""), Json("%"), Json("9999999")}) {
    EXPECT_FALSE(amount_from_json(bad, "policy.maxUnavailable")) << bad.dump();
  }
  EXPECT_EQ(*amount_from_json("30%", "p"), (Amount{30, true}));
}

TEST(Budgets, ReadBackWhatTheyWrite) {
  Budgets budgets{{"web",
                   {{30, true},
                    true,
                    Joint{"rollout:r1", {kNow, "why"}, {"w1", "w2"}},
                    {{"w3", {{"reboot", {kNow, "kernel"}}}},
                     {"w4", {{"rollout:r1", {kNow, "upgrade app", true}}}}}}}};
  const Json json = budgets_to_json(budgets);
  const auto again = budgets_from_json(json);
  ASSERT_TRUE(again);
  EXPECT_EQ(budgets_to_json(*again).dump(), json.dump());
}

}  // namespace
}  // namespace consort::budget
