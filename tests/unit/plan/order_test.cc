// In which order a plan changes what needs each other (the ids are those of the scenarios in
// docs/testing.md).
#include <gmock/gmock.h>

#include "plan/plan.h"
#include "unit/plan/two_hosts.h"

namespace consort::plan {
namespace {

using ::testing::HasSubstr;
using tests::Model;
using tests::Planning;
using tests::story;

TEST(Plan, S01_ChainStartsProvidersFirst) {
  Model site = two_hosts();
  site.service("s1", "a", "v1")
      .service("s2", "b", "v1", {"s1"})
      .service("s3", "b", "v1", {"s1", "s2"});
  const auto plan = Planning{.after = &site}.plan();
  ASSERT_TRUE(plan);
  EXPECT_EQ(story(*plan), "install s1@h1 | install s2@h2 | install s3@h2");
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
