// The planner, told as situations (the ids are those of the scenarios in docs/testing.md).
#include "plan/plan.h"

#include <gmock/gmock.h>

#include "fixtures/models.h"

namespace consort::plan {
namespace {

using ::testing::HasSubstr;
using tests::Model;
using tests::Planning;
using tests::story;

Model two_hosts() {
  Model model;
  model.host("h1", "a").host("h2", "b");
  return model;
}

TEST(Plan, S01_ChainStartsProvidersFirst) {
  Model site = two_hosts();
  site.service("s1", "a", "v1")
      .service("s2", "b", "v1", {"s1"})
      .service("s3", "b", "v1", {"s1", "s2"});
  const auto plan = Planning{.after = &site}.plan();
  ASSERT_TRUE(plan);
  EXPECT_EQ(story(*plan), "install s1@h1 | install s2@h2 | install s3@h2");
}

TEST(Plan, AChangedLabelReconfiguresOnlyWhatUsesIt) {
  const auto fleet = [](const std::string& rack) {
    Model site;
    site.host("h1", "a", {{"rack", rack}, {"unused", rack}}).host("h2", "a", {{"rack", "r1"}});
    site.service("uses", "a", "v1").service("ignores", "a", "v1");
    site.generation.services["uses"].host_values = {"labels.rack"};
    return site;
  };
  const Model before = fleet("r1");
  const Model after = fleet("r2");
  const auto plan = Planning{.before = &before, .after = &after}.plan();
  ASSERT_TRUE(plan) << render_error(plan.error());
  EXPECT_EQ(story(*plan), "reconfigure uses@h1");
  EXPECT_EQ(plan->steps[0].reason, "label rack of the host r1 → r2");
  EXPECT_EQ(plan->steps[0].from->host.at("labels.rack"), "r1");
  EXPECT_EQ(plan->steps[0].to->host.at("labels.rack"), "r2");
  EXPECT_TRUE(plan->steps[0].disrupts);
}

TEST(Plan, S34_RightAfterADeployThereIsNothingToDo) {
  Model site = two_hosts();
  site.service("s1", "a", "v1").service("s2", "b", "v1", {"s1"});
  const auto plan = Planning{.before = &site, .after = &site}.plan();
  ASSERT_TRUE(plan);
  EXPECT_TRUE(plan->empty());
  EXPECT_THAT(plan_totals(*plan), HasSubstr("nothing to do, 2 kept"));
}

TEST(Plan, S02_MovingOneStopsItsDependentsFirstAndLeavesTheOthersAlone) {
  Model before = two_hosts();
  before.service("s1", "a", "v1")
      .service("s2", "b", "v1", {"s1"})
      .service("s3", "b", "v1", {"s1", "s2"});
  Model after = two_hosts();
  after.service("s1", "a", "v1").service("s2", "a", "v1", {"s1"}, {"h1"});
  Manifest changed = after.manifest("s3", "v1");
  changed.provides["moved"] = "s2 is at h1 now";
  after.service(changed, "b", {"s1", "s2"});
  const auto plan = Planning{.before = &before, .after = &after, .allow_outage = false}.plan();
  ASSERT_TRUE(plan) << render_error(plan.error());
  EXPECT_EQ(story(*plan), "stop s3@h2 | stop s2@h2 | move s2@h1 | reconfigure s3@h2");
  EXPECT_FALSE(plan->services().contains("s1"));
}

TEST(Plan, S03_RebindingStartsTheNewProviderBeforeTheDependentAndRemovesTheOldOneLast) {
  Model before = two_hosts();
  before.service("s1", "a", "v1").service("s2", "a", "v1", {"s1"}).service("s3", "b", "v1", {"s2"});
  Model after = two_hosts();
  after.service("s1", "a", "v1")
      .service("s2B", "a", "v1", {"s1"})
      .service("s3", "b", "v1", {"s2B"});
  const auto plan = Planning{.before = &before, .after = &after}.plan();
  ASSERT_TRUE(plan);
  EXPECT_EQ(story(*plan), "install s2B@h1 | reconfigure s3@h2 | remove s2@h1");
}

TEST(Plan, S05_AHardCycleIsRefusedWithItsPath) {
  Model site = two_hosts();
  site.service("n1", "a", "v1", {"n2"})
      .service("n2", "a", "v1", {"n3"})
      .service("n3", "b", "v1", {"n4"})
      .service("n4", "b", "v1", {"n1"});
  const auto plan = Planning{.after = &site}.plan();
  ASSERT_FALSE(plan);
  EXPECT_THAT(plan.error().message(), HasSubstr("n1 → n2 → n3 → n4 → n1"));
}

TEST(Plan, S05_ASoftCycleDeploysAndAnUpdateRestartsOnlyTheUpdated) {
  const auto ring = [](const std::string& version_of_n2) {
    Model site = two_hosts();
    for (const std::string name : {"n1", "n2", "n3", "n4"}) {
      site.service(name, "a", name == "n2" ? version_of_n2 : "v1");
      auto& edges = site.generation.services[name].edges;
      edges.push_back({Edge::Kind::uses, "next",
                       name == "n4" ? "n1" : "n" + std::to_string(name[1] - '0' + 1), "e", 0});
    }
    return site;
  };
  const Model before = ring("v1");
  const Model after = ring("v2");
  ASSERT_TRUE(Planning{.after = &before}.plan());
  const auto plan = Planning{.before = &before, .after = &after}.plan();
  ASSERT_TRUE(plan);
  EXPECT_EQ(story(*plan), "upgrade n2@h1");
}

TEST(Plan, S06_AClassCycleIsNoCycle) {
  Model site;
  site.host("h1", "X").host("h2", "X").host("h3", "Y");
  site.service("A", "X", "v1", {"B"}).service("B", "Y", "v1", {"Z"}).service("Z", "X", "v1");
  const auto plan = Planning{.after = &site}.plan();
  ASSERT_TRUE(plan);
  EXPECT_EQ(story(*plan), "install Z@h1, install Z@h2 | install B@h3 | install A@h1, install A@h2");
}

TEST(Plan, S04_TwoServicesOnOnePortAreRefused) {
  Model site = two_hosts();
  Manifest one = site.manifest("one", "v1");
  one.provides["http"] = Json::object({{"port", 80}});
  Manifest two = site.manifest("two", "v1");
  two.provides["http"] = Json::object({{"port", 80}});
  site.service(one, "a").service(two, "a");
  const auto plan = Planning{.after = &site}.plan();
  ASSERT_FALSE(plan);
  EXPECT_THAT(plan.error().message(),
              HasSubstr("services.one and services.two both claim port 80 on host h1"));
}

TEST(Plan, S20_RemovingTheLastHolderOfDataIsRefused) {
  Model before = two_hosts();
  Manifest db = before.manifest("db", "v1");
  db.data_version = 1;
  before.service(db, "a").service("web", "b", "v1");
  Model after = two_hosts();
  after.service("web", "b", "v1");
  const auto shown = Planning{.before = &before, .after = &after}.plan();
  ASSERT_TRUE(shown);
  const Status refused = check_permitted(*shown);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), ErrorCode::refused);
  EXPECT_THAT(refused.error().hint_text(), HasSubstr("--allow-unsafe-removal"));
  EXPECT_EQ(
      story(*Planning{.before = &before, .after = &after, .allow_unsafe_removal = true}.plan()),
      "remove db@h1");
}

TEST(Plan, S29_OnlyTouchesWhatIsAskedFor) {
  Model before = two_hosts();
  before.service("a", "a", "v1").service("b", "a", "v1").service("c", "a", "v1");
  Model after = two_hosts();
  after.service("a", "a", "v2").service("b", "a", "v2").service("c", "a", "v2");
  const auto plan = Planning{.before = &before, .after = &after, .only = {"b"}}.plan();
  ASSERT_TRUE(plan);
  EXPECT_EQ(story(*plan), "upgrade b@h1");
}

TEST(Plan, OnlyAnUnknownServiceIsAnErrorWithAGuess) {
  Model site = two_hosts();
  site.service("shop", "a", "v1");
  const auto plan = Planning{.after = &site, .only = {"shpo"}}.plan();
  ASSERT_FALSE(plan);
  EXPECT_THAT(plan.error().hint_text(), HasSubstr("'shop'"));
}

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

TEST(Plan, AServiceWideMigrationComesOnceBeforeTheFirstInstanceAndBackwardsAfterTheLast) {
  const auto site = [](const std::string& version, std::int64_t data_version) {
    Model model;
    model.host("w1", "web").host("w2", "web");
    Manifest shop = model.manifest("shop", version);
    shop.data_version = data_version;
    shop.hooks["migrate"].argv = {"migrate"};
    shop.hooks["migrate"].scope = Hook::Scope::service;
    model.service(shop, "web");
    return model;
  };
  const Model v1 = site("v1", 1);
  const Model v2 = site("v2", 2);
  const auto up = Planning{.before = &v1, .after = &v2}.plan();
  ASSERT_TRUE(up);
  EXPECT_EQ(story(*up), "duty shop@w1 | upgrade shop@w1, upgrade shop@w2");
  EXPECT_EQ(up->steps[0].duty->direction, "up");
  EXPECT_EQ(up->steps[0].duty->owner, v2.generation.services.at("shop").manifest);
  const auto down = Planning{.before = &v2, .after = &v1, .backwards = true}.plan();
  ASSERT_TRUE(down);
  EXPECT_EQ(story(*down), "upgrade shop@w1, upgrade shop@w2 | duty shop@w1");
  EXPECT_EQ(down->steps[2].duty->direction, "down");
  EXPECT_EQ(down->steps[2].duty->owner, v2.generation.services.at("shop").manifest);
}

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
  EXPECT_TRUE(plan->empty());
  EXPECT_THAT(plan->detached, ::testing::ElementsAre("w2: nginx"));
}

TEST(Plan, OneDatacenterAtATimeIsTheOutermostOrder) {
  const auto site = [](const std::string& version) {
    Model model;
    model.host("w1", "web", {{"dc", "north"}})
        .host("w2", "web", {{"dc", "south"}})
        .host("w3", "web", {{"dc", "north"}});
    model.service("app", "web", version).service("edge", "web", version, {"app"});
    model.generation.policy.one_at_a_time = "dc";
    return model;
  };
  const Model before = site("v1");
  const Model after = site("v2");
  const auto plan = Planning{.before = &before, .after = &after}.plan();
  ASSERT_TRUE(plan) << render_error(plan.error());
  EXPECT_EQ(story(*plan),
            "upgrade app@w1, upgrade app@w3 | upgrade edge@w1, upgrade edge@w3 | upgrade app@w2 | "
            "upgrade edge@w2");
}

TEST(Plan, ADependentInAnEarlierGroupThanItsChangedProviderIsRefused) {
  const auto site = [](const std::string& version) {
    Model model;
    model.host("w1", "web", {{"dc", "north"}})
        .host("d1", "db", {{"dc", "south"}})
        .host("d2", "db", {{"dc", "south"}});
    model.service("db", "db", version).service("app", "web", version, {"db"});
    model.generation.policy.one_at_a_time = "dc";
    return model;
  };
  const Model before = site("v1");
  const Model after = site("v2");
  const auto plan = Planning{.before = &before, .after = &after}.plan();
  ASSERT_FALSE(plan);
  EXPECT_THAT(plan.error().message(), HasSubstr("app would change in north before db"));
}

TEST(Plan, S21_BatchesExactly) {
  using budget::Amount;
  const std::vector<Amount> twenty = {{20, true}};
  EXPECT_THAT(batch_sizes(twenty, 10, 10), ::testing::ElementsAre(2, 2, 2, 2, 2));
  EXPECT_THAT(batch_sizes({{1, false}, {20, true}, {100, true}}, 10, 10),
              ::testing::ElementsAre(1, 2, 7));
  EXPECT_THAT(batch_sizes(twenty, 3, 3), ::testing::ElementsAre(1, 1, 1));
  EXPECT_THAT(batch_sizes(twenty, 11, 11), ::testing::ElementsAre(2, 2, 2, 2, 2, 1));
}

TEST(Plan, ReadsBackWhatItWrites) {
  Model before = two_hosts();
  before.service("db", "a", "v1").service("web", "b", "v1", {"db"});
  Model after = two_hosts();
  after.service("db", "a", "v2").service("web", "b", "v2", {"db"});
  const auto plan = Planning{.before = &before, .after = &after}.plan();
  ASSERT_TRUE(plan);
  const Json json = plan_to_json(*plan);
  const auto again = plan_from_json(json);
  ASSERT_TRUE(again) << render_error(again.error());
  EXPECT_EQ(plan_to_json(*again).dump(), json.dump());
}

TEST(Plan, SensitiveContentIsNeverShown) {
  Model model = two_hosts();
  const auto with = [&](const std::string& secret) {
    Manifest m = model.manifest("s", "v1");
    m.resources["key"] =
        Json::object({{"type", "file"}, {"path", "/k"}, {"content", secret}, {"sensitive", true}});
    return m;
  };
  for (const Change& change : manifest_changes(with("poison-one"), with("poison-two"))) {
    EXPECT_THAT(change.diff, ::testing::Not(HasSubstr("poison")));
  }
  EXPECT_EQ(change_reason(with("poison-one"), with("poison-two")), "resource key");
}

TEST(ServiceLevels, AChainWithoutEndIsRefusedInsteadOfOverflowingTheStack) {
  std::map<std::string, ServiceRecord> services;
  for (int i = 0; i < 100'000; ++i) {
    ServiceRecord record;
    const std::string next = "s" + std::to_string(i + 1);
    record.edges.push_back({Edge::Kind::needs, next, next, "e", 0});
    services.emplace("s" + std::to_string(i), record);
  }
  const auto levels = service_levels(services);
  ASSERT_FALSE(levels);
  EXPECT_THAT(levels.error().message(), HasSubstr("a chain of more than 1000 services"));
}

TEST(Plan, S03_RebindingDeeperDownRestartsWhatIsBoundAndKeepsWhatOthersNeed) {
  const auto site = [](const std::string& provider_of_s2) {
    Model model = two_hosts();
    model.service("s1", "a", "v1").service("s1B", "a", "v1");
    model.service("s2", "a", "v1", {provider_of_s2});
    Manifest s3 = model.manifest("s3", "v1");
    s3.provides["bound"] = provider_of_s2;  // what it is told of s2 has changed
    model.service(s3, "b", {"s2", "s1"});
    return model;
  };
  const Model before = site("s1");
  const Model after = site("s1B");
  const auto plan = Planning{.before = &before, .after = &after}.plan();
  ASSERT_TRUE(plan);
  EXPECT_EQ(story(*plan), "stop s3@h2 | reconfigure s2@h1 | reconfigure s3@h2");
  EXPECT_FALSE(plan->services().contains("s1"));
  EXPECT_FALSE(plan->services().contains("s1B"));
}

TEST(Plan, S07_ThereAreAsManyWavesAsLevelsHoweverManyServices) {
  Model site = two_hosts();
  std::vector<std::string> services;
  for (const std::string n : {"1", "2", "3"}) {
    site.service("db" + n, "b", "v1").service("svc" + n, "a", "v1", {"db" + n});
    services.push_back("svc" + n);
  }
  site.service("svc4", "b", "v1", {"db1"});
  services.emplace_back("svc4");
  site.service("front", "b", "v1", services);
  const auto plan = Planning{.after = &site}.plan();
  ASSERT_TRUE(plan);
  EXPECT_EQ(plan->steps.size(), 8U);
  EXPECT_EQ(plan->waves.size(), 3U);
  Model without = two_hosts();
  for (const std::string n : {"1", "2", "3"})
    without.service("db" + n, "b", "v1").service("svc" + n, "a", "v1", {"db" + n});
  without.service("svc4", "b", "v1", {"db1"});
  EXPECT_EQ(story(*Planning{.before = &site, .after = &without}.plan()), "remove front@h2");
}

TEST(Plan, S20_RemovingOneOfSeveralHoldersOfDataIsNoLoss) {
  const auto site = [](std::vector<std::string> hosts) {
    Model model;
    model.host("d1", "db").host("d2", "db");
    Manifest db = model.manifest("db", "v1");
    db.data_version = 1;
    model.service(db, "db", {}, std::move(hosts));
    return model;
  };
  const Model before = site({"d1", "d2"});
  const Model after = site({"d1"});
  const auto plan = Planning{.before = &before, .after = &after}.plan();
  ASSERT_TRUE(plan) << render_error(plan.error());
  EXPECT_EQ(story(*plan), "remove db@d2");
}

TEST(Plan, S43_ADependentWaitsForAllInstancesAtFirstOrForTheDeclaredQuorum) {
  const auto site = [](std::int64_t quorum) {
    Model model;
    model.host("d1", "db").host("d2", "db").host("w1", "web");
    model.service("s1", "db", "v1")
        .service("s2", "db", "v1")
        .service("s3", "web", "v1", {"s1", "s2"});
    for (Edge& edge : model.generation.services.at("s3").edges) edge.quorum = quorum;
    return model;
  };
  const auto needs_of_s3 = [](const Plan& plan) { return plan.steps.back().needs; };
  const Model all = site(0);
  const auto first = Planning{.after = &all}.plan();
  ASSERT_TRUE(first);
  EXPECT_THAT(needs_of_s3(*first),
              ::testing::ElementsAre(NeededService{"s1", 2}, NeededService{"s2", 2}));
  const Model one = site(1);
  EXPECT_THAT(needs_of_s3(*Planning{.after = &one}.plan()),
              ::testing::ElementsAre(NeededService{"s1", 1}, NeededService{"s2", 1}));
}

// s3 needs s0 and s2, s2 needs s1; s0, s1 and s2 change. s3 must not go on when s0 is back: s2 is
// still away.
TEST(Plan, ADependentGoesOnOnlyWhenEverythingThatItNeedsIsBack) {
  const auto site = [](const std::string& version) {
    Model model = two_hosts();
    model.service("s0", "a", version)
        .service("s1", "a", version)
        .service("s2", "a", version, {"s1"})
        .service("s3", "b", "v1", {"s0", "s2"});
    return model;
  };
  const Model before = site("v1");
  const Model after = site("v2");
  const auto plan = Planning{.before = &before, .after = &after}.plan();
  ASSERT_TRUE(plan);
  EXPECT_EQ(
      story(*plan),
      "stop s3@h2 | stop s2@h1 | upgrade s0@h1, upgrade s1@h1 | upgrade s2@h1 | resume s3@h2");
}

TEST(Plan, AStoppedDependentTakesItsOwnDependentsAlong) {
  const auto site = [](const std::string& version) {
    Model model = two_hosts();
    model.service("db", "a", version)
        .service("api", "b", "v1", {"db"})
        .service("web", "b", "v1", {"api"});
    return model;
  };
  const Model before = site("v1");
  const Model after = site("v2");
  const auto plan = Planning{.before = &before, .after = &after}.plan();
  ASSERT_TRUE(plan);
  EXPECT_EQ(story(*plan),
            "stop web@h2 | stop api@h2 | upgrade db@h1 | resume api@h2 | resume web@h2");
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

TEST(Plan, DataGoesDownOnlyWhereTheNewerVersionKnowsTheWay) {
  const auto site = [](std::int64_t data_version, bool migrates) {
    Model model = two_hosts();
    plan::Manifest db = model.manifest("db", "v" + std::to_string(data_version));
    db.data_version = data_version;
    if (migrates) db.hooks["migrate"].argv = {"migrate"};
    model.service(std::move(db), "a");
    return model;
  };
  const Model older = site(1, true);
  const Model newer = site(2, false);
  for (const bool backwards : {false, true}) {
    const auto refused = Planning{.before = &newer, .after = &older, .backwards = backwards}.plan();
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code(), ErrorCode::refused);
    EXPECT_THAT(refused.error().message(), HasSubstr("from data version 2 to 1"));
    EXPECT_THAT(refused.error().hint_text(), HasSubstr("restore a backup"));
  }
  EXPECT_TRUE((Planning{.before = &older, .after = &newer}.plan())) << "up is another matter";
  const Model knows = site(2, true);
  EXPECT_TRUE((Planning{.before = &knows, .after = &older, .backwards = true}.plan()));
}

TEST(Plan, AFirstDeployOneDatacenterAtATimeDoesNotWaitForTheOthers) {
  Model site;
  site.host("w1", "web", {{"dc", "north"}}).host("w2", "web", {{"dc", "south"}});
  site.service("app", "web", "v1").service("edge", "web", "v1", {"app"});
  site.generation.policy.one_at_a_time = "dc";
  const auto plan = Planning{.after = &site}.plan();
  ASSERT_TRUE(plan);
  EXPECT_EQ(story(*plan), "install app@w1 | install edge@w1 | install app@w2 | install edge@w2");
  EXPECT_THAT(plan->steps[1].needs, ::testing::ElementsAre(NeededService{"app", 1}));
  EXPECT_THAT(plan->steps[3].needs, ::testing::ElementsAre(NeededService{"app", 2}));
}

}  // namespace
}  // namespace consort::plan
