// What the controller decides for its operators: deploys, locks, stale plans, the way back.
#include "unit/controller/stage.h"

namespace consort::controller {
namespace {

using rollout::Result;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;
using tests::Model;

class ControllerCore : public tests::Stage {
 protected:
  static Model site(const std::string& version, int hosts = 3) {
    Model model;
    for (int i = 1; i <= hosts; ++i) model.host("w" + std::to_string(i), "web");
    model.host("d1", "db");
    model.service("app", "web", version).service("cron", "db", "v1");
    return model;
  }

  void given_v1_is_deployed(int hosts = 3) {
    const Model v1 = site("v1", hosts);
    hosts_join(v1);
    const auto id = deploy(request(v1));
    ASSERT_TRUE(id) << render_error(id.error());
    settle();
    ASSERT_EQ(result_of(*id), Result::done);
  }
};

TEST_F(ControllerCore, ADeployBringsEveryHostToTheNewGeneration) {
  given_v1_is_deployed();
  EXPECT_EQ(version_on("w3", "app"), "v1");
  ASSERT_NE(core->current(), nullptr);
  EXPECT_EQ(core->current()->number, 1U);
  EXPECT_EQ(core->current()->by, "ada");
  EXPECT_TRUE(core->budgets().at("web").holders.empty());
}

TEST_F(ControllerCore, S34_DeployingTheSameAgainStartsNoRolloutAndNoGeneration) {
  given_v1_is_deployed();
  const auto again = deploy(request(site("v1")));
  ASSERT_TRUE(again);
  EXPECT_EQ(*again, "");
  EXPECT_EQ(core->generations().size(), 1U);
  EXPECT_EQ(core->rollouts().size(), 1U);
}

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

TEST_F(ControllerCore, S32_AStalePlanIsRefusedAndSaysWhatCameBetween) {
  given_v1_is_deployed();
  DeployRequest mine = request(site("v2"));
  const auto seen = core->plan(mine);
  ASSERT_TRUE(seen);
  mine.expect = seen->inputs;
  ASSERT_TRUE(deploy(request(site("v3"))));
  settle();
  const auto refused = deploy(mine);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), ErrorCode::stale);
  EXPECT_THAT(refused.error().message(), HasSubstr("generation 2, deployed by ada"));
  EXPECT_EQ(version_on("w1", "app"), "v3");
}

TEST_F(ControllerCore, S32_APlanStaysFreshWhenSomethingElseWasDeployed) {
  given_v1_is_deployed();
  DeployRequest mine = request(site("v2"));
  mine.only = {"app"};
  mine.expect = core->plan(mine)->inputs;
  Model other = site("v1");
  other.service("cron", "db", "v2");
  ASSERT_TRUE(deploy(request(other)));
  settle();
  const auto id = deploy(mine);
  ASSERT_TRUE(id) << render_error(id.error());
  settle();
  EXPECT_EQ(version_on("w1", "app"), "v2");
  EXPECT_EQ(version_on("d1", "cron"), "v2") << "what others deployed stays";
}

TEST_F(ControllerCore, S33_ASecondDeployOfTheSameServiceSaysWhoHoldsIt) {
  given_v1_is_deployed();
  ASSERT_TRUE(deploy(request(site("v2"))));
  const auto second = deploy(request(site("v3")));
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code(), ErrorCode::locked);
  EXPECT_THAT(second.error().message(),
              HasSubstr("app is being changed by rollout r000002 of ada"));
  EXPECT_THAT(second.error().message(), HasSubstr("since 2023-11-14"));
  EXPECT_THAT(second.error().message(), HasSubstr("(for the test)"));
  EXPECT_THAT(second.error().hint_text(), HasSubstr("consort rollout abort r000002"));
}

TEST_F(ControllerCore, RolloutsOfDifferentServicesRunSideBySide) {
  given_v1_is_deployed();
  DeployRequest app = request(site("v2"));
  app.only = {"app"};
  const auto first = deploy(app);
  ASSERT_TRUE(first);
  Model other = site("v1");
  other.service("cron", "db", "v2");
  DeployRequest cron = request(other);
  cron.only = {"cron"};
  const auto second = deploy(cron);
  ASSERT_TRUE(second) << render_error(second.error());
  settle();
  EXPECT_EQ(result_of(*first), Result::done);
  EXPECT_EQ(result_of(*second), Result::done);
  EXPECT_EQ(version_on("w2", "app"), "v2");
  EXPECT_EQ(version_on("d1", "cron"), "v2");
}

TEST_F(ControllerCore, WhilePausedNothingIsStartedAndResumingGoesOn) {
  given_v1_is_deployed();
  const auto id = deploy(request(site("v2")));
  ASSERT_TRUE(id);
  ASSERT_TRUE(control(*id, Core::Control::pause));
  settle();
  EXPECT_EQ(result_of(*id), Result::open);
  EXPECT_EQ(version_on("w3", "app"), "v1");
  ASSERT_TRUE(control(*id, Core::Control::resume));
  settle();
  EXPECT_EQ(result_of(*id), Result::done);
}

TEST_F(ControllerCore, AnAbortedRolloutGoesBackAndChangesNoGeneration) {
  given_v1_is_deployed();
  const auto id = deploy(request(site("v2")));
  ASSERT_TRUE(id);
  agents_act();
  EXPECT_EQ(version_on("w1", "app"), "v2");
  ASSERT_TRUE(control(*id, Core::Control::abort));
  settle();
  EXPECT_EQ(result_of(*id), Result::reverted);
  EXPECT_EQ(version_on("w1", "app"), "v1");
  EXPECT_EQ(core->current()->number, 1U);
  const auto again = control(*id, Core::Control::abort);
  ASSERT_FALSE(again);
  EXPECT_THAT(again.error().message(), HasSubstr("has ended already: reverted"));
}

TEST_F(ControllerCore, S10_AFailingUpgradeIsRevertedAndTheGenerationStays) {
  given_v1_is_deployed();
  agents["w2"].failing = {"v2"};
  const auto id = deploy(request(site("v2")));
  ASSERT_TRUE(id);
  settle();
  EXPECT_EQ(result_of(*id), Result::reverted);
  for (const std::string host : {"w1", "w2", "w3"}) EXPECT_EQ(version_on(host, "app"), "v1");
  EXPECT_EQ(core->current()->number, 1U);
  EXPECT_TRUE(core->budgets().at("web").holders.empty());
}

TEST_F(ControllerCore, S10_AFailingFirstInstallLeavesNothingAndRecordsNothing) {
  const Model v1 = site("v1");
  hosts_join(v1);
  agents["w2"].failing = {"v1"};
  const auto id = deploy(request(v1));
  ASSERT_TRUE(id);
  settle();
  EXPECT_EQ(result_of(*id), Result::reverted);
  EXPECT_EQ(version_on("w1", "app"), "nothing");
  EXPECT_EQ(core->current(), nullptr);
}

TEST_F(ControllerCore, I9_ARollbackGoesToWhatRanBeforeNotToWhatTheSiteSaysNow) {
  given_v1_is_deployed();
  ASSERT_TRUE(deploy(request(site("v2"))));
  settle();
  const auto target = core->rollback_candidate(0);
  ASSERT_TRUE(target);
  EXPECT_EQ(target->rollback_of, 1U);
  EXPECT_EQ(target->services.at("app").manifest, site("v1").generation.services.at("app").manifest);
  Model back = site("v1");
  DeployRequest request_back = request(back);
  request_back.candidate = *target;
  ASSERT_TRUE(deploy(request_back));
  settle();
  EXPECT_EQ(version_on("w1", "app"), "v1");
  EXPECT_EQ(core->current()->number, 3U) << "history is never rewritten";
  EXPECT_EQ(core->current()->rollback_of, 1U);
}

TEST_F(ControllerCore, S27_ARollbackHasNoCanaryAndNoSoak) {
  Model v1 = site("v1");
  v1.generation.policy.batches = {{1, false}, {100, true}};
  v1.generation.policy.soak = minutes(30);
  hosts_join(v1);
  ASSERT_TRUE(deploy(request(v1)));
  settle();
  Model v2 = v1;
  v2.service("app", "web", "v2").generation.policy.soak = Duration{0};
  ASSERT_TRUE(deploy(request(v2)));
  settle();
  DeployRequest back = request(v1);
  back.candidate = *core->rollback_candidate(0);
  const auto plan = core->plan(back);
  ASSERT_TRUE(plan);
  EXPECT_EQ(tests::story(*plan), "upgrade app@w1, upgrade app@w2, upgrade app@w3");
  for (const plan::Wave& wave : plan->waves) EXPECT_EQ(wave.soak, Duration{0});
}

TEST_F(ControllerCore, NothingToRollBackToIsAClearError) {
  EXPECT_EQ(core->rollback_candidate(0).error().code(), ErrorCode::not_found);
  given_v1_is_deployed();
  EXPECT_THAT(core->rollback_candidate(0).error().message(),
              HasSubstr("no generation before the current one"));
  EXPECT_THAT(core->rollback_candidate(9).error().message(), HasSubstr("no generation 9"));
}

TEST_F(ControllerCore, AfterAnInconsistentEndThereIsAWayBackToTheCurrentGeneration) {
  given_v1_is_deployed();
  agents["w2"].failing = {"v2"};
  Model v2 = site("v2");
  v2.generation.policy.on_failure = plan::OnFailure::halt;
  const auto id = deploy(request(v2));
  ASSERT_TRUE(id);
  settle();
  ASSERT_EQ(result_of(*id), Result::inconsistent);
  ASSERT_EQ(version_on("w1", "app"), "v2");
  ASSERT_EQ(core->current()->number, 1U);
  EXPECT_EQ(core->rollouts().at(*id).generation, 1U) << "what the advice names";
  DeployRequest back = request(site("v1"));
  const auto candidate = core->rollback_candidate(1);
  ASSERT_TRUE(candidate) << render_error(candidate.error());
  back.candidate = *candidate;
  const auto again = deploy(back);
  ASSERT_TRUE(again) << render_error(again.error());
  settle();
  EXPECT_EQ(result_of(*again), Result::done);
  for (const std::string host : {"w1", "w2", "w3"}) EXPECT_EQ(version_on(host, "app"), "v1");
}

TEST_F(ControllerCore, ARollbackTakesHostsAlongThatHaveJoinedSince) {
  given_v1_is_deployed(2);
  Model v2 = site("v2", 4);
  hosts_join(v2);
  ASSERT_TRUE(deploy(request(v2)));
  settle();
  DeployRequest back = request(v2);
  back.candidate = *core->rollback_candidate(0);
  EXPECT_EQ(back.candidate.services.at("app").hosts,
            (std::vector<std::string>{"w1", "w2", "w3", "w4"}));
  ASSERT_TRUE(deploy(back));
  settle();
  for (const std::string host : {"w1", "w4"}) EXPECT_EQ(version_on(host, "app"), "v1") << host;
}

TEST_F(ControllerCore, ARollbackKeepsTheChoiceOfHostsAndLeavesOutThoseThatAreGone) {
  const auto chosen = [](const std::string& version, const std::vector<std::string>& hosts,
                         const std::vector<std::string>& all) {
    Model model;
    for (const std::string& host : all) model.host(host, "web");
    model.service("app", "web", version, {}, hosts);
    return model;
  };
  const Model v1 = chosen("v1", {"w1", "w2"}, {"w1", "w2", "w3"});
  hosts_join(v1);
  ASSERT_TRUE(deploy(request(v1)));
  settle();
  const Model v2 = chosen("v2", {"w2", "w4"}, {"w2", "w3", "w4"});
  hosts_join(v2);
  DeployRequest next = request(v2);
  next.allow_shrink = true;
  ASSERT_TRUE(deploy(next));
  settle();
  const auto back = core->rollback_candidate(0);
  ASSERT_TRUE(back);
  EXPECT_EQ(back->services.at("app").hosts, (std::vector<std::string>{"w2", "w4"}));
  EXPECT_FALSE(back->hosts.contains("w1"));
}

TEST_F(ControllerCore, ARollbackBringsAGivenUpClassBackOrSaysThatItsHostsAreGone) {
  given_v1_is_deployed(2);
  Model renamed;
  renamed.host("w1", "front").host("w2", "front").host("d1", "db");
  renamed.service("app", "front", "v2").service("cron", "db", "v1");
  ASSERT_TRUE(deploy(request(renamed)));
  settle();
  const auto back = core->rollback_candidate(0);
  ASSERT_TRUE(back) << render_error(back.error());
  EXPECT_EQ(back->classes.at("web"), (std::vector<std::string>{"w1", "w2"}));
  EXPECT_EQ(back->hosts.at("w1").classes, (std::vector<std::string>{"front", "web"}));
  Model elsewhere;
  elsewhere.host("x1", "front").host("d1", "db");
  elsewhere.service("app", "front", "v2").service("cron", "db", "v1");
  hosts_join(elsewhere);
  DeployRequest moved = request(elsewhere);
  moved.allow_shrink = true;
  ASSERT_TRUE(deploy(moved));
  settle();
  const auto gone = core->rollback_candidate(1);
  ASSERT_FALSE(gone);
  EXPECT_EQ(gone.error().code(), ErrorCode::refused);
  EXPECT_THAT(gone.error().message(), HasSubstr("the host class web, of which no host is left"));
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

TEST_F(ControllerCore, S14_AHostThatReturnsConvergesByItself) {
  given_v1_is_deployed();
  agents["w2"].down = true;
  take(core->on_silence("w2", now));
  Model v2 = site("v2");
  v2.generation.policy.max_failures = {1, false};
  v2.generation.policy.max_unavailable = budget::Amount{2, false};
  const auto id = deploy(request(v2));
  ASSERT_TRUE(id) << render_error(id.error());
  settle();
  EXPECT_EQ(result_of(*id), Result::partial);
  EXPECT_EQ(version_on("w2", "app"), "v1");
  agents["w2"].down = false;
  settle();
  EXPECT_EQ(version_on("w2", "app"), "v2");
  EXPECT_THAT(story, Contains("straggler app@w2"));
  EXPECT_TRUE(core->budgets().at("web").holders.empty());
}

TEST_F(ControllerCore, AStragglerGivesBackItsSlotAlsoWhenTheGenerationHasChangedMeanwhile) {
  given_v1_is_deployed();
  agents["w2"].down = true;
  take(core->on_silence("w2", now));
  Model v2 = site("v2");
  v2.generation.policy.max_failures = {1, false};
  v2.generation.policy.max_unavailable = budget::Amount{2, false};
  ASSERT_TRUE(deploy(request(v2)));
  settle();
  // It has been told and holds its slot; before it answers another generation comes.
  take(core->on_poll("w2", agents["w2"].epoch, agents["w2"].seq, now));
  ASSERT_TRUE(core->budgets().at("web").holders.contains("w2"));
  Model other = v2;
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

TEST_F(ControllerCore, AHostThatIsRemovedTakesItsSlotsAndItsPlaceInTheTailAlong) {
  given_v1_is_deployed(9);
  agents["w2"].down = true;
  take(core->on_silence("w2", now));
  Model v2 = site("v2", 9);
  v2.generation.policy.max_failures = {1, false};
  v2.generation.policy.max_unavailable = budget::Amount{2, false};
  ASSERT_TRUE(deploy(request(v2)));
  settle();
  take(core->on_poll("w2", agents["w2"].epoch, agents["w2"].seq, now));
  take(core->on_silence("w2", now));
  ASSERT_TRUE(core->budgets().at("web").holders.contains("w2"));
  Model without = site("v3", 9);
  without.generation.hosts.erase("w2");
  auto& web = without.generation.classes["web"];
  std::erase(web, "w2");
  without.generation.services["app"].hosts = web;
  without.generation.policy.max_unavailable = budget::Amount{3, false};
  DeployRequest smaller = request(without);
  smaller.allow_shrink = true;
  ASSERT_TRUE(deploy(smaller));
  settle();
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

TEST_F(ControllerCore, AStragglerThatHasLeftTheInventoryIsLeftAlone) {
  given_v1_is_deployed(9);
  agents["w2"].down = true;
  take(core->on_silence("w2", now));
  Model v2 = site("v2", 9);
  v2.generation.policy.max_failures = {1, false};
  v2.generation.policy.max_unavailable = budget::Amount{2, false};
  ASSERT_TRUE(deploy(request(v2)));
  settle();
  Model without = site("v3", 9);
  without.generation.hosts.erase("w2");
  std::erase(without.generation.classes["web"], "w2");
  without.generation.services["app"].hosts = without.generation.classes["web"];
  without.generation.policy.max_unavailable = budget::Amount{3, false};
  DeployRequest smaller = request(without);
  smaller.allow_shrink = true;
  ASSERT_TRUE(deploy(smaller));
  settle();
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
  const auto begun = std::chrono::steady_clock::now();
  for (int i = 0; i < 1000; ++i) {
    plan::HostReport report;
    report.host = "h" + std::to_string(i);
    report.number = 1;
    const Output output = core->on_report(report, now);
    ASSERT_EQ(output.writes.size(), 1U);
    EXPECT_TRUE(output.writes.contains("hosts/" + report.host));
    EXPECT_TRUE(output.targets.empty());
  }
  const auto took = std::chrono::duration_cast<Duration>(std::chrono::steady_clock::now() - begun);
  RecordProperty("milliseconds", static_cast<int>(took.count()));
  EXPECT_LT(took, seconds(5)) << "a look at all hosts for each report takes many times as long";
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
