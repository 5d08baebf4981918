// Hosts that are away, come back, report late or leave.
#include "unit/controller/core_fixture.h"

namespace consort::controller {
namespace {

using rollout::Result;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;
using tests::Model;

// Version 2 has left w2 behind, which does not answer.
class LeftBehind : public ControllerCore {
 protected:
  void given_v2_has_left_w2_behind(int hosts = 3) {
    given_v1_is_deployed(hosts);
    agents["w2"].down = true;
    take(core->on_silence("w2", now));
    Model v2 = site("v2", hosts);
    v2.generation.policy.max_failures = {1, false};
    v2.generation.policy.max_unavailable = budget::Amount{2, false};
    const auto id = deploy(request(v2));
    ASSERT_TRUE(id) << render_error(id.error());
    settle();
    ASSERT_EQ(result_of(*id), Result::partial);
    left_behind_by = *id;
  }
  // Its inventory has lost w2.
  [[nodiscard]] DeployRequest without_w2(const std::string& version, int hosts) {
    Model without = site(version, hosts);
    without.generation.hosts.erase("w2");
    std::erase(without.generation.classes["web"], "w2");
    without.generation.services["app"].hosts = without.generation.classes["web"];
    DeployRequest smaller = request(without);
    smaller.allow_shrink = true;
    return smaller;
  }
  void deploy_v3_without_w2() {
    DeployRequest smaller = without_w2("v3", 9);
    smaller.candidate.policy.max_unavailable = budget::Amount{3, false};
    ASSERT_TRUE(deploy(smaller));
    settle();
  }
  void given_w2_has_died() {
    given_v1_is_deployed();
    agents["w2"].down = true;
    take(core->on_silence("w2", now));
  }

  std::string left_behind_by;
};

TEST_F(ControllerCore, ARolloutThatCouldOnlyWaitForAHostThatIsAwayIsRefused) {
  given_v1_is_deployed();
  for (int i = 0; i < 2; ++i) {
    time_passes(seconds(10));
    for (const std::string host : {"w1", "w2", "d1"}) report(host);
  }
  Model v2 = site("v2");
  v2.generation.policy.max_failures = budget::Amount{1, false};
  v2.generation.policy.max_unavailable = budget::Amount{1, false};
  const auto refused = deploy(request(v2));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), ErrorCode::refused);
  EXPECT_THAT(render_error(refused.error()),
              ::testing::AllOf(HasSubstr("w3 cannot be reached"), HasSubstr("maxUnavailable")));
  v2.generation.policy.max_unavailable = budget::Amount{2, false};
  EXPECT_TRUE(deploy(request(v2)));
}

TEST_F(ControllerCore, WhenAHostWasLastHeardIsKnownAlsoWhileItIsSilent) {
  given_v1_is_deployed();
  report("w1");
  const Instant then = now;
  time_passes(seconds(5));
  take(core->on_silence("w1", now));
  ASSERT_FALSE(core->hosts().at("w1").reachable);
  EXPECT_EQ(core->hosts().at("w1").heard, then);
  // A new leader has heard nobody yet.
  restart();
  EXPECT_EQ(core->hosts().at("w1").heard, std::nullopt);
  report("w1");
  EXPECT_EQ(core->hosts().at("w1").heard, now);
}

TEST_F(ControllerCore, WhatAHostTellsLateIsToldOnceWithItsOwnTime) {
  given_v1_is_deployed();
  const std::string then = format_instant(now - std::chrono::hours(2));
  const auto event = [](std::int64_t number, const std::string& at) {
    return Json::object({{"n", number}, {"at", at}, {"kind", "repaired"}, {"service", "app"}});
  };
  story.clear();
  told.clear();
  report("w1", {event(7, then)});
  report("w1", {event(7, then), event(8, "not a time")});  // the first answer was lost
  EXPECT_THAT(story, ::testing::ElementsAre("repaired app@w1", "repaired app@w1"));
  ASSERT_EQ(told.size(), 2U);
  EXPECT_EQ(format_instant(told[0]), then);
  EXPECT_EQ(told[1], now);
  // The data folder of the host was made anew: its numbers begin again.
  report("w1", {event(7, format_instant(now))});
  EXPECT_EQ(story.size(), 3U);
}

TEST_F(ControllerCore, WhatAHostTellsSteersNoTerminal) {
  given_v1_is_deployed();
  story.clear();
  report("w1", {Json::object({{"kind", "\x1b[31mEVIL"},
                              {"service", "../../x"},
                              {"resource", "a\rb"},
                              {"text", "clear \x1b[2J"}})});
  EXPECT_THAT(story, ::testing::ElementsAre("report@w1"));
  EXPECT_EQ(texts.back(), "a?b: clear ?[2J");
}

TEST_F(ControllerCore, S14_TooManyHostsDownRefusesBeforeAnythingIsTouched) {
  given_v1_is_deployed();
  agents["w2"].down = true;
  take(core->on_silence("w2", now));
  const auto refused = deploy(request(site("v2")));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), ErrorCode::refused);
  EXPECT_THAT(refused.error().message(), HasSubstr("w2"));
  settle();
  EXPECT_EQ(version_on("w1", "app"), "v1");
}

TEST_F(LeftBehind, S14_AHostThatReturnsConvergesByItself) {
  given_v2_has_left_w2_behind();
  const rollout::Rollout& partial = core->rollouts().at(left_behind_by);
  EXPECT_EQ(version_on("w2", "app"), "v1");
  EXPECT_FALSE(core->has_caught_up(partial));
  agents["w2"].down = false;
  settle();
  EXPECT_TRUE(core->has_caught_up(partial)) << "status need not tell of it";
  agents["w2"].instances.at("app").health = plan::Health::unhealthy;
  report("w2");
  EXPECT_TRUE(core->has_caught_up(partial)) << "what falls sick later is no news of that rollout";
  agents["w2"].instances.at("app").health = plan::Health::healthy;
  report("w2");
  EXPECT_EQ(version_on("w2", "app"), "v2");
  EXPECT_THAT(story, Contains("straggler app@w2"));
  EXPECT_TRUE(core->budgets().at("web").holders.empty());
}

TEST_F(LeftBehind, AStragglerGivesBackItsSlotAlsoWhenTheGenerationHasChangedMeanwhile) {
  given_v2_has_left_w2_behind();
  // It has been told and holds its slot; before it answers another generation comes.
  take(core->on_poll("w2", agents["w2"].epoch, agents["w2"].seq, now));
  ASSERT_TRUE(core->budgets().at("web").holders.contains("w2"));
  Model other = site("v2");
  other.generation.policy.max_failures = {1, false};
  other.generation.policy.max_unavailable = budget::Amount{2, false};
  other.service("cron", "db", "v2");
  DeployRequest cron = request(other);
  cron.only = {"cron"};
  ASSERT_TRUE(deploy(cron));
  settle();
  ASSERT_EQ(core->current()->number, 3U);
  agents["w2"].down = false;
  settle();
  EXPECT_EQ(version_on("w2", "app"), "v2");
  EXPECT_TRUE(core->budgets().at("web").holders.empty());
}

TEST_F(LeftBehind, AHostThatIsRemovedTakesItsSlotsAndItsPlaceInTheTailAlong) {
  given_v2_has_left_w2_behind(9);
  take(core->on_poll("w2", agents["w2"].epoch, agents["w2"].seq, now));
  take(core->on_silence("w2", now));
  ASSERT_TRUE(core->budgets().at("web").holders.contains("w2"));
  deploy_v3_without_w2();
  Output output;
  ASSERT_TRUE(core->remove_host("w2", now, output));
  take(output);
  EXPECT_TRUE(core->budgets().at("web").holders.empty());
  EXPECT_FALSE(store.contains("tail/w2/app"));
}

TEST_F(ControllerCore, AHostThatHasLeftTheInventoryStaysOutAlsoWhereItsServicesAreKept) {
  given_v1_is_deployed(9);
  const auto target_before = core->target_of("w2");
  // Given an inventory without w2, deployed with a change that concerns other services only,
  Model without;
  for (int i = 1; i <= 9; ++i) {
    if (i != 2) without.host("w" + std::to_string(i), "web");
  }
  without.host("d1", "db");
  without.service("app", "web", "v1").service("cron", "db", "v2");
  DeployRequest smaller = request(without);
  smaller.allow_shrink = true;
  const auto id = deploy(smaller);
  ASSERT_TRUE(id) << render_error(id.error());
  settle();
  ASSERT_EQ(result_of(*id), Result::done);
  // then the new generation does not know the host, which keeps what it runs,
  EXPECT_FALSE(core->current()->hosts.contains("w2"));
  EXPECT_THAT(core->current()->services.at("app").hosts, Not(Contains("w2")));
  EXPECT_EQ(core->target_of("w2"), target_before);
  EXPECT_EQ(version_on("w2", "app"), "v1");
  // and it can be forgotten once it is silent.
  agents["w2"].down = true;
  take(core->on_silence("w2", now));
  Output output;
  const Status removed = core->remove_host("w2", now, output);
  EXPECT_TRUE(removed) << render_error(removed.error());
  take(output);
  restart();
  EXPECT_FALSE(core->hosts().contains("w2"));
}

TEST_F(LeftBehind, ADeadHostThatIsTakenOutOfTheInventoryIsInNobodysWay) {
  given_w2_has_died();
  // Given one slot for the class, which the dead host takes as long as it is one of it,
  ASSERT_FALSE(deploy(request(site("v2"))));
  const auto id = deploy(without_w2("v2", 3));
  ASSERT_TRUE(id) << render_error(id.error());
  settle();
  EXPECT_EQ(result_of(*id), Result::done);
  EXPECT_EQ(version_on("w1", "app"), "v2");
  EXPECT_EQ(version_on("w3", "app"), "v2");
}

TEST_F(LeftBehind, AnInventoryThatOnlyLosesAHostIsDeployedToo) {
  given_w2_has_died();
  // Given nothing else that changes,
  const DeployRequest smaller = without_w2("v1", 3);
  const auto plan = core->plan(smaller);
  ASSERT_TRUE(plan);
  EXPECT_THAT(plan->leaving, ::testing::ElementsAre("w2"));
  EXPECT_THAT(plan_totals(*plan), HasSubstr("1 host leaves the inventory"));
  // then who asks for one service leaves the fleet as it is,
  DeployRequest one = smaller;
  one.only = {"cron"};
  EXPECT_EQ(deploy(one), "");
  // and the whole site forgets the host, which can be removed then.
  const auto id = deploy(smaller);
  ASSERT_TRUE(id) << render_error(id.error());
  EXPECT_EQ(result_of(*id), Result::done);
  EXPECT_FALSE(core->current()->hosts.contains("w2"));
  EXPECT_EQ(version_on("w2", "app"), "v1") << "it keeps what it runs";
  EXPECT_EQ(deploy(smaller), "");
  Output output;
  const Status removed = core->remove_host("w2", now, output);
  EXPECT_TRUE(removed) << render_error(removed.error());
}

TEST_F(ControllerCore, TheFleetsOfRolloutsThatRunSideBySideAreMerged) {
  given_v1_is_deployed(9);
  // Given a rollout that is under way, planned with the inventory of then,
  DeployRequest app = request(site("v2", 9));
  app.only = {"app"};
  const auto first = deploy(app);
  ASSERT_TRUE(first);
  ASSERT_TRUE(control(*first, Core::Control::pause));
  // and another one that ends before it, with an inventory that lacks w9 and has d2,
  Model other = site("v1", 8);
  other.host("d2", "db").service("cron", "db", "v2");
  take(core->on_contact("d2", now));
  report("d2");
  DeployRequest cron = request(other);
  cron.only = {"cron"};
  cron.allow_shrink = true;
  const auto second = deploy(cron);
  ASSERT_TRUE(second) << render_error(second.error());
  settle();
  ASSERT_EQ(result_of(*second), Result::done);
  ASSERT_TRUE(control(*first, Core::Control::resume));
  settle();
  ASSERT_EQ(result_of(*first), Result::done);
  // then the later commit neither brings w9 back nor forgets d2.
  const plan::Generation& now_current = *core->current();
  EXPECT_FALSE(now_current.hosts.contains("w9"));
  EXPECT_THAT(now_current.classes.at("web"), Not(Contains("w9")));
  EXPECT_THAT(now_current.services.at("app").hosts, Not(Contains("w9")));
  EXPECT_TRUE(now_current.hosts.contains("d2"));
  EXPECT_THAT(now_current.classes.at("db"), ::testing::ElementsAre("d1", "d2"));
  EXPECT_THAT(now_current.services.at("cron").hosts, ::testing::ElementsAre("d1", "d2"));
}

TEST_F(ControllerCore, AHostIsOfAllClassesThatRolloutsSideBySideGiveIt) {
  given_v1_is_deployed();
  const auto with_class = [&](Model model, const std::string& name) {
    model.generation.classes[name] = {"w1"};
    model.generation.hosts.at("w1").classes = {name, "web"};
    return model;
  };
  // Given a rollout that is under way, and another one that ends before it,
  DeployRequest app = request(with_class(site("v2"), "edge"));
  app.only = {"app"};
  const auto first = deploy(app);
  ASSERT_TRUE(first) << render_error(first.error());
  ASSERT_TRUE(control(*first, Core::Control::pause));
  Model other = with_class(site("v1"), "lab");
  other.service("cron", "db", "v2");
  DeployRequest cron = request(other);
  cron.only = {"cron"};
  const auto second = deploy(cron);
  ASSERT_TRUE(second) << render_error(second.error());
  settle();
  ASSERT_EQ(result_of(*second), Result::done);
  ASSERT_TRUE(control(*first, Core::Control::resume));
  settle();
  ASSERT_EQ(result_of(*first), Result::done);
  // then the host takes slots of both classes, and what comes next is built on that.
  EXPECT_THAT(core->current()->hosts.at("w1").classes,
              ::testing::ElementsAre("edge", "lab", "web"));
  const auto back = core->rollback_candidate(0);
  ASSERT_TRUE(back) << render_error(back.error());
  const Status agrees = plan::check_agreement(*back);
  EXPECT_TRUE(agrees) << render_error(agrees.error());
}

TEST_F(LeftBehind, AStragglerThatHasLeftTheInventoryIsLeftAlone) {
  given_v2_has_left_w2_behind(9);
  deploy_v3_without_w2();
  // When it comes back, it runs what it ran: nobody takes its services away.
  agents["w2"].down = false;
  settle();
  EXPECT_EQ(version_on("w2", "app"), "v1");
  EXPECT_FALSE(store.contains("tail/w2/app"));
}

// Thousands of hosts report every few seconds; what one says must not cost a look at all.
TEST_F(ControllerCore, AReportWhileNothingIsUnderWayWritesOnlyItsOwnHost) {
  constexpr int kHosts = 4000;
  for (int i = 0; i < kHosts; ++i) take(core->on_contact("h" + std::to_string(i), now));
  for (int i = 0; i < 1000; ++i) {
    plan::HostReport report;
    report.host = "h" + std::to_string(i);
    report.number = 1;
    const Output output = core->on_report(report, now);
    ASSERT_EQ(output.writes.size(), 1U);
    EXPECT_TRUE(output.writes.contains("hosts/" + report.host));
    EXPECT_TRUE(output.targets.empty());
  }
}

TEST_F(ControllerCore, AClassThatLosesManyHostsAtOnceIsNotBelieved) {
  given_v1_is_deployed(5);
  const auto refused = deploy(request(site("v1", 3)));
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message(), HasSubstr("web shrinks from 5 to 3 hosts (gone: w4, w5)"));
  EXPECT_THAT(refused.error().hint_text(), HasSubstr("--allow-shrink"));
  const auto shown = core->plan(request(site("v1", 3)));
  ASSERT_TRUE(shown) << "it can be looked at all the same";
  ASSERT_EQ(shown->needs.size(), 1U);
  EXPECT_EQ(shown->needs[0].option, "--allow-shrink");
}

TEST_F(ControllerCore, AnotherSiteTakesThePlaceOfTheOneThatIsDeployedOnlyOnPurpose) {
  given_v1_is_deployed();
  DeployRequest other = request(site("v2"));
  other.candidate.site = "blog";
  const auto refused = deploy(other);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message(), HasSubstr("the site blog takes the place of test"));
  EXPECT_THAT(refused.error().hint_text(), HasSubstr("--allow-rename"));
  other.allow_rename = true;
  ASSERT_TRUE(deploy(other));
  settle();
  ASSERT_EQ(core->current()->site, "blog");
  // The way back has its name from the history.
  other.candidate = *core->rollback_candidate(1);
  other.allow_rename = false;
  EXPECT_TRUE(deploy(other));
}

TEST_F(ControllerCore, AHostIsRemovedOnlyWhenItIsSilentAndOutOfTheInventory) {
  given_v1_is_deployed();
  Output output;
  EXPECT_THAT(core->remove_host("w1", now, output).error().message(), HasSubstr("is alive"));
  take(core->on_silence("w1", now));
  EXPECT_THAT(core->remove_host("w1", now, output).error().message(),
              HasSubstr("still in the inventory"));
  EXPECT_EQ(core->remove_host("w9", now, output).error().code(), ErrorCode::not_found);
}

}  // namespace
}  // namespace consort::controller
