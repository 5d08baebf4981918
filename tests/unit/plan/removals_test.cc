// How a plan takes services and hosts away.
#include <gmock/gmock.h>

#include "fixtures/models.h"
#include "plan/plan.h"

namespace consort::plan {
namespace {

using tests::Model;
using tests::Planning;
using tests::story;

TEST(Plan, HostsThatVanishedAreDetachedAndLeftAlone) {
  Model before;
  before.host("w1", "web").host("w2", "web");
  before.service("nginx", "web", "v1");
  Model after;
  after.host("w1", "web");
  after.service("nginx", "web", "v1");
  const auto plan =
      Planning{.before = &before, .after = &after, .observed = before.running()}.plan();
  ASSERT_TRUE(plan);
  EXPECT_TRUE(plan->steps.empty());
  EXPECT_THAT(plan->detached, ::testing::ElementsAre("w2: nginx"));
  EXPECT_THAT(plan->leaving, ::testing::ElementsAre("w2"));
}

TEST(Plan, RemovalsFollowWhatWasBoundBeforeNotWhatTheSiteSaysNow) {
  Model before;
  before.host("d1", "db").host("w1", "web").host("w2", "web");
  before.service("db", "db", "v1").service("app", "web", "v1", {"db"});
  Model after;
  after.host("d1", "db").host("w1", "web").host("w2", "web");
  after.service("app", "web", "v1", {}, {"w2"});
  const auto plan = Planning{.before = &before, .after = &after}.plan();
  ASSERT_TRUE(plan);
  EXPECT_EQ(story(*plan), "reconfigure app@w2 | remove app@w1 | remove db@d1");
}

TEST(Plan, ARemovalWhereOthersStayTakesASlotAndKeepsWhatIsNeeded) {
  const auto site = [](const std::vector<std::string>& hosts) {
    Model model;
    model.host("w1", "web").host("w2", "web").host("w3", "web").host("f1", "front");
    model.service("app", "web", "v1", {}, hosts).service("front", "front", "v1", {"app"});
    return model;
  };
  const Model before = site({"w1", "w2", "w3"});
  const Model after = site({"w3"});
  const auto plan = Planning{.before = &before, .after = &after}.plan();
  ASSERT_TRUE(plan) << render_error(plan.error());
  int removals = 0;
  for (const Step& step : plan->steps) {
    if (step.action != Action::remove) continue;
    ++removals;
    EXPECT_TRUE(step.disrupts) << step.host;
    EXPECT_EQ(step.keep_healthy, 1) << step.host;
  }
  EXPECT_EQ(removals, 2);
}

TEST(Plan, AServiceThatGoesAwayEverywhereNeedsNoSlots) {
  Model before;
  before.host("w1", "web").host("w2", "web");
  before.service("app", "web", "v1");
  Model after;
  after.host("w1", "web").host("w2", "web");
  const auto plan = Planning{.before = &before, .after = &after}.plan();
  ASSERT_TRUE(plan);
  ASSERT_EQ(plan->steps.size(), 2U);
  for (const Step& step : plan->steps) EXPECT_FALSE(step.disrupts) << step.host;
}

}  // namespace
}  // namespace consort::plan
