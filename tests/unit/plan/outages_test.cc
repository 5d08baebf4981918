// What a plan does to those who need what it changes: outages, and how they are avoided.
#include <gmock/gmock.h>

#include "plan/plan.h"
#include "unit/plan/two_hosts.h"

namespace consort::plan {
namespace {

using ::testing::HasSubstr;
using tests::Model;
using tests::Planning;
using tests::story;

TEST(Plan, AnOnlyProviderThatMustStopIsAJointOutageAndNeedsPermission) {
  Model before = two_hosts();
  before.service("db", "a", "v1");
  Manifest api = before.manifest("api", "v1");
  api.hooks["drain"].argv = {"leave"};
  before.service(api, "b", {"db"});
  Model after = two_hosts();
  after.service("db", "a", "v2").service(api, "b", {"db"});
  const auto shown = Planning{.before = &before, .after = &after, .allow_outage = false}.plan();
  ASSERT_TRUE(shown) << "a plan can always be looked at";
  ASSERT_EQ(shown->needs.size(), 1U);
  EXPECT_EQ(shown->needs[0].option, "--allow-outage");
  const Status refused = check_permitted(*shown);
  ASSERT_FALSE(refused);
  EXPECT_EQ(error_exit_status(refused.error().code()), 6);
  EXPECT_THAT(refused.error().message(), HasSubstr("db cannot keep api up"));
  EXPECT_EQ(plan_from_json(plan_to_json(*shown))->needs, shown->needs);
  const auto plan = Planning{.before = &before, .after = &after}.plan();
  ASSERT_TRUE(plan);
  EXPECT_TRUE(check_permitted(*plan));
  EXPECT_EQ(plan->inputs, shown->inputs) << "what was looked at is what is deployed";
  EXPECT_EQ(story(*plan), "drain api@h2 | upgrade db@h1 | resume api@h2");
}

TEST(Plan, AJointOutageHoldsAllInstancesOfADependentThatOthersNeed) {
  Manifest shop;
  shop.service = "shop";
  shop.daemon = Json::object({{"argv", Json::Array{"shop"}}});
  shop.hooks["drain"].argv = {"leave"};
  const auto site = [&](const std::string& version) {
    Model model;
    model.host("d1", "db").host("w1", "web").host("w2", "web").host("l1", "lb");
    model.service("db", "db", version)
        .service(shop, "web", {"db"})
        .service("proxy", "lb", "v1", {"shop"});
    return model;
  };
  const Model before = site("v1");
  const Model after = site("v2");
  const auto plan = Planning{.before = &before, .after = &after}.plan();
  ASSERT_TRUE(plan);
  EXPECT_EQ(story(*plan),
            "drain shop@w1, drain shop@w2 | upgrade db@d1 | resume shop@w1, resume shop@w2");
  for (const Step& step : plan->steps)
    EXPECT_EQ(step.keep_healthy, 0) << step.service << "@" << step.host << " would wait for ever";
  EXPECT_THAT(plan->outages.front().affected, ::testing::ElementsAre("proxy"));
}

TEST(Plan, AReplicatedProviderIsChangedWithoutHoldingItsDependents) {
  const auto site = [](const std::string& version) {
    Model model;
    model.host("d1", "db").host("d2", "db").host("w1", "web");
    model.service("db", "db", version).service("web", "web", "v1", {"db"});
    return model;
  };
  const Model before = site("v1");
  const Model after = site("v2");
  const auto plan = Planning{.before = &before, .after = &after, .allow_outage = false}.plan();
  ASSERT_TRUE(plan);
  EXPECT_EQ(story(*plan), "upgrade db@d1, upgrade db@d2");
  EXPECT_EQ(plan->steps[0].keep_healthy, 1);
}

}  // namespace
}  // namespace consort::plan
