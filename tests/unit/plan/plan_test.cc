// What a plan is made of, and what it refuses (the ids are those of the scenarios in
// docs/testing.md).
#include "plan/plan.h"

#include <gmock/gmock.h>

#include "unit/plan/two_hosts.h"

namespace consort::plan {
namespace {

using ::testing::HasSubstr;
using tests::Model;
using tests::Planning;
using tests::story;

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

TEST(Plan, S04_TwoServicesOnOnePathAreRefusedHoweverTheySpellIt) {
  const auto planned = [](const std::string& path, const std::string& content) {
    Model site = two_hosts();
    Manifest one = site.manifest("one", "v1");
    one.resources["f"] =
        Json::object({{"type", "file"}, {"path", "/etc/shared"}, {"content", "of one"}});
    Manifest two = site.manifest("two", "v1");
    two.resources["f"] = Json::object({{"type", "file"}, {"path", path}, {"content", content}});
    site.service(one, "a").service(two, "a");
    return Planning{.after = &site}.plan();
  };
  for (const char* path : {"/etc/shared", "/etc//shared", "//etc/shared", "/etc/./shared/"}) {
    const auto plan = planned(path, "of two");
    ASSERT_FALSE(plan) << path;
    EXPECT_THAT(plan.error().message(), HasSubstr("both claim path /etc/shared on host h1"));
    EXPECT_TRUE(planned(path, "of one")) << "they want the same";
  }
  EXPECT_TRUE(planned("/etc/sharedx", "of two"));
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

TEST(Plan, TellsWhatIsUnhealthyNowAlsoWhereNothingChanges) {
  Model site = two_hosts();
  site.service("a", "a", "v1").service("b", "a", "v1");
  Planning planning{.before = &site, .after = &site, .observed = site.running()};
  EXPECT_THAT(planning.plan().value().sick, ::testing::IsEmpty());
  plan::Observed& observed = *planning.observed;
  for (const char* service : {"a", "b"}) {
    observed.at("h1").instances.at(service).health = Health::unhealthy;
    observed.at("h1").instances.at(service).health_reason = "its daemon does not run";
  }
  const std::vector<std::string> both = {"a@h1: its daemon does not run",
                                         "b@h1: its daemon does not run"};
  const Plan plan = planning.plan().value();
  EXPECT_TRUE(plan.empty());
  EXPECT_EQ(plan.sick, both);
  EXPECT_EQ(plan_from_json(plan_to_json(plan)).value().sick, both);
  planning.only = {"b"};
  EXPECT_EQ(planning.plan().value().sick, std::vector<std::string>{both[1]});
  // What a host said that does not answer now is no news.
  observed.at("h1").reachable = false;
  EXPECT_THAT(planning.plan().value().sick, ::testing::IsEmpty());
}

TEST(Plan, OnlyAnUnknownServiceIsAnErrorWithAGuess) {
  Model site = two_hosts();
  site.service("shop", "a", "v1");
  const auto plan = Planning{.after = &site, .only = {"shpo"}}.plan();
  ASSERT_FALSE(plan);
  EXPECT_THAT(plan.error().hint_text(), HasSubstr("'shop'"));
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

TEST(Plan, WhatIsUnhealthyIsInTheFirstBatch) {
  const auto site = [](const std::string& version) {
    Model model;
    for (const char* host : {"w1", "w2", "w3", "w4"}) model.host(host, "web");
    model.service("shop", "web", version);
    model.generation.policy.batches = {{1, false}, {100, true}};
    return model;
  };
  const Model before = site("v1");
  const Model after = site("v2");
  Planning planning{.before = &before, .after = &after, .observed = before.running()};
  EXPECT_EQ(story(planning.plan().value()),
            "upgrade shop@w1 | upgrade shop@w2, upgrade shop@w3, upgrade shop@w4");
  const Digest inputs = planning.plan().value().inputs;
  planning.observed->at("w3").instances.at("shop").health = Health::unhealthy;
  EXPECT_EQ(planning.plan().value().inputs, inputs) << "what is to be done is the same";
  EXPECT_EQ(story(planning.plan().value()),
            "upgrade shop@w3 | upgrade shop@w1, upgrade shop@w2, upgrade shop@w4");
  // Of one that does not answer nothing is known, and it would hold up the first batch.
  planning.observed->at("w3").reachable = false;
  EXPECT_EQ(story(planning.plan().value()),
            "upgrade shop@w1 | upgrade shop@w2, upgrade shop@w3, upgrade shop@w4");
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

TEST(Plan, WhatASensitiveResourceSaysIsNeverShown) {
  const Model model = two_hosts();
  const auto with = [&](Json::Object spec, bool sensitive = true) {
    Manifest m = model.manifest("s", "v1");
    if (sensitive) spec["sensitive"] = true;
    m.resources["key"] = Json(std::move(spec));
    return m;
  };
  const auto specs = [](const std::string& secret) {
    const Json words = Json::array_of(std::vector<std::string>{"/bin/login", "-p", secret});
    return std::vector<Json::Object>{
        {{"type", "file"}, {"path", "/k"}, {"content", secret}},
        {{"type", "file"}, {"path", "/k"}, {"lines", words}},
        {{"type", "command"}, {"argv", words}},
        {{"type", "command"}, {"environment", Json::object({{"PASSWORD", secret}})}},
        {{"type", "symlink"}, {"path", "/k"}, {"target", "/spool/" + secret}},
    };
  };
  const auto before = specs("poison-one");
  const auto after = specs("poison-two");
  for (std::size_t i = 0; i < before.size(); ++i) {
    SCOPED_TRACE(Json(before[i]).dump());
    // Also where it becomes sensitive by this very change, or is so no more.
    for (const auto& [was, is] : {std::pair(true, true), {false, true}, {true, false}}) {
      const auto changes = manifest_changes(with(before[i], was), with(after[i], is));
      EXPECT_FALSE(changes.empty());
      for (const Change& change : changes) {
        EXPECT_THAT(change.diff, ::testing::Not(HasSubstr("poison")));
        EXPECT_THAT(change.path, HasSubstr("resources.key"));
      }
    }
    EXPECT_EQ(change_reason(with(before[i]), with(after[i])), "resource key");
  }
  // Where it is can be seen.
  const auto moved = manifest_changes(with({{"type", "file"}, {"path", "/k"}}),
                                      with({{"type", "file"}, {"path", "/elsewhere"}}));
  EXPECT_THAT(moved, ::testing::Contains(::testing::Field(&Change::diff, "/k → /elsewhere")));
}

TEST(ManifestChanges, OfLongTextsThePlacesAreShownWhereTheyDiffer) {
  Manifest before;
  before.service = "app";
  const std::string long_word(200, 'x');
  before.daemon = Json::object(
      {{"argv", Json::array_of(std::vector<std::string>{"/bin/app", long_word, "7001"})}});
  Manifest after = before;
  (*after.daemon)["argv"] = Json::array_of(std::vector<std::string>{"/bin/app", long_word, "7002"});
  const std::vector<Change> changes = manifest_changes(before, after);
  ASSERT_EQ(changes.size(), 1U);
  EXPECT_EQ(changes[0].path, "daemon.argv");
  EXPECT_EQ(changes[0].diff, "…" + std::string(14, 'x') + "\",\"7001\"] → …" +
                                 std::string(14, 'x') + "\",\"7002\"]");
}

}  // namespace
}  // namespace consort::plan
