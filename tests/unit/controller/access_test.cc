// When hosts are told whom to let in: with a rollout, without one, after a restart, from a backup.
#include "unit/controller/stage.h"

namespace consort::controller {
namespace {

using rollout::Result;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using tests::Model;

class ControllerAccess : public tests::Stage {
 protected:
  // A database for the hosts of web, whatever their number.
  static Model site(int webs, const std::string& version = "v1",
                    plan::AccessMode mode = plan::AccessMode::enforce) {
    Model model;
    model.host("d1", "db");
    for (int i = 1; i <= webs; ++i) model.host("w" + std::to_string(i), "web");
    for (auto& [name, host] : model.generation.hosts)
      host.address = std::string("10.0.0.") + (name[0] == 'd' ? "1" : "") + name[1];
    model.service("db", "db", "v1").service("web", "web", version, {"db"});
    model.generation.services.at("db").endpoints["e"] = {5432, mode, {}};
    return model;
  }
  void given(const Model& model) {
    hosts_join(model);
    const auto id = deploy(request(model));
    ASSERT_TRUE(id) << render_error(id.error());
    settle();
    ASSERT_EQ(result_of(*id), Result::done);
  }
  std::vector<std::string> let_in(const std::string& host = "d1") {
    const auto target = core->target_of(host);
    if (!target || !target->admissions) return {"never told"};
    if (target->admissions->empty()) return {"open"};
    return target->admissions->front().sources;
  }
};

TEST_F(ControllerAccess, HostsAreToldWithTheFirstDeployAndOnlyThoseWhoOffer) {
  given(site(2));
  EXPECT_THAT(let_in(), ElementsAre("10.0.0.1", "10.0.0.2"));
  EXPECT_THAT(let_in("w1"), ElementsAre("never told"));
  EXPECT_TRUE(core->plan(request(site(2))).value().empty());
}

TEST_F(ControllerAccess, AnotherServiceDoesNotOpenAGuardedPortByClaimingItToo) {
  given(site(2));
  Model claimed = site(2);
  claimed.service("mine", "db", "v1");
  claimed.generation.services.at("mine").endpoints["x"] = {5432, plan::AccessMode::off, {}};
  const auto plan = core->plan(request(claimed)).value();
  ASSERT_FALSE(plan.needs.empty());
  EXPECT_THAT(plan.needs.back().reason, HasSubstr("db and mine both offer port 5432 on d1"));
  EXPECT_FALSE(deploy(request(claimed)));
}

TEST_F(ControllerAccess, AHostThatJoinsIsLetInAtOnceAndTheDatabaseIsNotTouched) {
  given(site(2));
  const auto before = agents["d1"].instances;
  const Model grown = site(3);
  hosts_join(grown);
  const auto plan = core->plan(request(grown)).value();
  EXPECT_EQ(tests::story(plan), "install web@w3");
  ASSERT_EQ(plan.access.size(), 1U);
  EXPECT_THAT(plan::access_change_text(plan.access[0]), HasSubstr("now also from w3"));
  ASSERT_TRUE(deploy(request(grown)));
  EXPECT_THAT(let_in(), ElementsAre("10.0.0.1", "10.0.0.2", "10.0.0.3"))
      << "before anything has happened on w3";
  settle();
  EXPECT_EQ(agents["d1"].instances, before);
}

TEST_F(ControllerAccess, NobodyIsCutOffBeforeTheRolloutThatEndsHisNeedHasEnded) {
  given(site(3));
  Model shrunk = site(3);
  shrunk.service("web", "web", "v1", {"db"}, {"w1", "w2"});
  const auto id = deploy(request(shrunk));
  ASSERT_TRUE(id) << render_error(id.error());
  EXPECT_THAT(let_in(), ElementsAre("10.0.0.1", "10.0.0.2", "10.0.0.3"));
  settle();
  EXPECT_EQ(result_of(*id), Result::done);
  EXPECT_THAT(let_in(), ElementsAre("10.0.0.1", "10.0.0.2"));
}

TEST_F(ControllerAccess, AFailedRolloutLeavesAccessAsItWas) {
  given(site(2));
  Model grown = site(3, "v2");
  hosts_join(grown);
  agents["w3"].failing.insert("v2");
  const auto id = deploy(request(grown));
  ASSERT_TRUE(id);
  settle();
  EXPECT_EQ(result_of(*id), Result::reverted);
  EXPECT_THAT(let_in(), ElementsAre("10.0.0.1", "10.0.0.2"));
}

TEST_F(ControllerAccess, WhoMayReachAPortChangesWithoutAStep) {
  given(site(2, "v1", plan::AccessMode::off));
  EXPECT_THAT(let_in(), ElementsAre("never told"));
  const auto attempt = core->target_of("d1")->instances.at("db").attempt;
  const auto id = deploy(request(site(2)));
  ASSERT_TRUE(id);
  ASSERT_FALSE(id->empty());
  settle();
  EXPECT_EQ(result_of(*id), Result::done);
  EXPECT_EQ(core->current()->number, 2U);
  EXPECT_THAT(let_in(), ElementsAre("10.0.0.1", "10.0.0.2"));
  EXPECT_EQ(core->target_of("d1")->instances.at("db").attempt, attempt) << "nothing was touched";
  EXPECT_TRUE(core->plan(request(site(2))).value().empty());
  // And off again; a rollback is the same way back.
  ASSERT_TRUE(deploy(request(site(2, "v1", plan::AccessMode::off))));
  settle();
  EXPECT_THAT(let_in(), ElementsAre("open"));
  controller::DeployRequest back;
  back.candidate = core->rollback_candidate(2).value();
  back.manifests = manifests;
  ASSERT_TRUE(deploy(back));
  settle();
  EXPECT_THAT(let_in(), ElementsAre("10.0.0.1", "10.0.0.2"));
}

TEST_F(ControllerAccess, AHostThatLeavesTheInventoryIsLetInNoMoreAlsoIfItStillRuns) {
  given(site(3));
  controller::DeployRequest smaller = request(site(2));
  smaller.allow_shrink = true;
  const auto plan = core->plan(smaller).value();
  EXPECT_TRUE(plan.steps.empty());
  EXPECT_THAT(plan.detached, ElementsAre("w3: web"));
  ASSERT_TRUE(deploy(smaller));
  settle();
  EXPECT_EQ(version_on("w3", "web"), "v1") << "left alone";
  EXPECT_THAT(let_in(), ElementsAre("10.0.0.1", "10.0.0.2"));
  // It returns: what it runs is what is wanted, and it is let in again.
  ASSERT_TRUE(deploy(request(site(3))));
  settle();
  EXPECT_THAT(let_in(), ElementsAre("10.0.0.1", "10.0.0.2", "10.0.0.3"));
}

TEST_F(ControllerAccess, AStragglerIsLetInUntilItIsGone) {
  given(site(3));
  agents["w3"].down = true;
  now += minutes(1);
  for (const std::string host : {"w1", "w2", "d1"}) report(host);
  take(core->tick(now));
  Model without = site(3);
  without.service("web", "web", "v1", {"db"}, {"w1", "w2"});
  without.generation.policy.max_failures = budget::Amount{1, false};
  const auto id = deploy(request(without));
  ASSERT_TRUE(id) << render_error(id.error());
  for (int i = 0; i < 20 && result_of(*id) == Result::open; ++i) {
    now += minutes(1);
    for (const std::string host : {"w1", "w2", "d1"}) report(host);
    take(core->tick(now));
  }
  ASSERT_EQ(result_of(*id), Result::partial);
  EXPECT_THAT(let_in(), ElementsAre("10.0.0.1", "10.0.0.2", "10.0.0.3"))
      << "it may still run there";
  agents["w3"].down = false;
  settle();
  EXPECT_EQ(version_on("w3", "web"), "nothing");
  EXPECT_THAT(let_in(), ElementsAre("10.0.0.1", "10.0.0.2"));
}

TEST_F(ControllerAccess, ARestartTellsTheSameAndFinishesWhatACrashLeftOpen) {
  given(site(2));
  restart();
  EXPECT_THAT(let_in(), ElementsAre("10.0.0.1", "10.0.0.2"));
  // Its predecessor died between the generation and the targets.
  plan::Target stale = *core->target_of("d1");
  stale.admissions->front().sources = {"10.0.0.1"};
  store["targets/d1"] = plan::target_to_json(stale).dump();
  restart();
  EXPECT_THAT(let_in(), ElementsAre("10.0.0.1", "10.0.0.2"));
}

TEST_F(ControllerAccess, AStoreThatIsOlderThanItsHostsCutsNobodyOff) {
  given(site(2));
  const Store copy = store;
  const Model grown = site(3);
  hosts_join(grown);
  ASSERT_TRUE(deploy(request(grown)));
  settle();
  ASSERT_THAT(let_in(), ElementsAre("10.0.0.1", "10.0.0.2", "10.0.0.3"));
  store = copy;
  restart();
  settle();
  EXPECT_FALSE(core->target_of("d1")->admissions.has_value()) << "the host keeps what it has";
  // Until the site is deployed again, also when nothing else is to be done.
  restart();
  EXPECT_FALSE(core->target_of("d1")->admissions.has_value());
  const auto id = deploy(request(grown));
  ASSERT_TRUE(id) << render_error(id.error());
  settle();
  EXPECT_THAT(let_in(), ElementsAre("10.0.0.1", "10.0.0.2", "10.0.0.3"));
  EXPECT_TRUE(core->plan(request(grown)).value().empty());
}

TEST_F(ControllerAccess, OnlyTheWholeSiteEndsTheDoubtThatABackupLeaves) {
  given(site(2));
  Model newer = site(2, "v2");
  ASSERT_TRUE(deploy(request(newer)));
  settle();
  const Store copy = store;
  const Model grown = site(3, "v2");
  hosts_join(grown);
  ASSERT_TRUE(deploy(request(grown)));
  settle();
  store = copy;
  restart();
  settle();
  ASSERT_FALSE(core->target_of("d1")->admissions.has_value());
  // Whoever asked for it knows of w3 as little as the copy does.
  controller::DeployRequest part = request(site(2, "v3"));
  part.only = {"web"};
  ASSERT_TRUE(deploy(part));
  settle();
  EXPECT_EQ(version_on("w1", "web"), "v3");
  EXPECT_FALSE(core->target_of("d1")->admissions.has_value()) << "w3 would be cut off";
  EXPECT_THAT(story, ::testing::Contains("access-in-doubt")) << "and the operator is told";
  controller::DeployRequest but_db = request(site(2, "v4"));
  but_db.except = {"db"};
  ASSERT_TRUE(deploy(but_db));
  settle();
  EXPECT_FALSE(core->target_of("d1")->admissions.has_value());
  controller::DeployRequest back;
  back.candidate = core->rollback_candidate(1).value();
  back.manifests = manifests;
  const auto rolled = deploy(back);
  ASSERT_TRUE(rolled) << render_error(rolled.error());
  settle();
  EXPECT_EQ(version_on("w1", "web"), "v1");
  EXPECT_FALSE(core->target_of("d1")->admissions.has_value());
  restart();
  EXPECT_FALSE(core->target_of("d1")->admissions.has_value());
  ASSERT_TRUE(deploy(request(grown)));
  settle();
  EXPECT_THAT(let_in(), ElementsAre("10.0.0.1", "10.0.0.2", "10.0.0.3"));
}

TEST_F(ControllerAccess, ADoubtThatArisesWhileARolloutIsUnderWayIsNotEndedByIt) {
  given(site(2));
  const Store copy = store;
  const Model grown = site(3);
  hosts_join(grown);
  ASSERT_TRUE(deploy(request(grown)));
  settle();
  store = copy;
  restart();
  // Nobody has called in yet, so the copy passes for the truth.
  const auto id = deploy(request(site(2, "v2")));
  ASSERT_TRUE(id) << render_error(id.error());
  settle();
  ASSERT_EQ(result_of(*id), Result::done);
  EXPECT_EQ(version_on("w1", "web"), "v2");
  EXPECT_FALSE(core->target_of("d1")->admissions.has_value()) << "w3 would be cut off";
  ASSERT_TRUE(deploy(request(site(3, "v2"))));
  settle();
  EXPECT_THAT(let_in(), ElementsAre("10.0.0.1", "10.0.0.2", "10.0.0.3"));
}

TEST_F(ControllerAccess, RulesOfALifeThatIsLostAreTakenAwayWhenTheSiteSaysSo) {
  const Model open = site(2, "v1", plan::AccessMode::off);
  given(open);
  const Store copy = store;
  ASSERT_TRUE(deploy(request(site(2))));
  settle();
  ASSERT_THAT(let_in(), ElementsAre("10.0.0.1", "10.0.0.2"));
  const Digest rules = plan::admissions_digest(*core->target_of("d1")->admissions);
  store = copy;
  restart();
  settle();
  EXPECT_TRUE(core->plan(request(open)).value().empty()) << "no host says that it guards anything";
  plan::HostReport guarding;
  guarding.host = "d1";
  guarding.boot_id = "boot";
  guarding.number = ++agents["d1"].reports;
  guarding.epoch = agents["d1"].epoch;
  guarding.seq = agents["d1"].seq;
  guarding.instances = agents["d1"].instances;
  guarding.access = plan::AccessReport{true, "", rules};
  take(core->on_report(guarding, now));
  ASSERT_TRUE(deploy(request(open)));
  settle();
  EXPECT_THAT(let_in(), ElementsAre("open"));
}

TEST_F(ControllerAccess, AnAddressThatOnlyTheAgentKnowsIsFollowed) {
  Model model = site(2);
  model.generation.hosts.at("w2").address = "w2.example";
  given(model);
  EXPECT_THAT(let_in(), ElementsAre("10.0.0.1"));
  plan::HostReport report;
  report.host = "w2";
  report.boot_id = "boot";
  report.number = ++agents["w2"].reports;
  report.epoch = agents["w2"].epoch;
  report.seq = agents["w2"].seq;
  report.instances = agents["w2"].instances;
  report.facts["address"] = "10.9.9.9";
  take(core->on_report(report, now));
  EXPECT_THAT(let_in(), ElementsAre("10.0.0.1", "10.9.9.9"));
}

class ControllerHoldback : public ControllerAccess {
 protected:
  void d1_says(const plan::AccessReport& access) {
    plan::HostReport report;
    report.host = "d1";
    report.boot_id = "boot";
    report.number = ++agents["d1"].reports;
    report.epoch = agents["d1"].epoch;
    report.seq = agents["d1"].seq;
    report.instances = agents["d1"].instances;
    report.facts["os.id"] = "debian";
    report.access = access;
    take(core->on_report(report, now));
  }
};

TEST_F(ControllerHoldback, ARolloutBeginsWhenThoseWhoMustLetItInDo) {
  given(site(2));
  d1_says({true, "", plan::admissions_digest(*core->target_of("d1")->admissions)});
  const Model grown = site(3);
  report("w3");
  ASSERT_TRUE(deploy(request(grown)));
  EXPECT_FALSE(core->target_of("w3").has_value()) << "d1 would not let it in yet";
  d1_says({true, "", plan::admissions_digest(*core->target_of("d1")->admissions)});
  ASSERT_TRUE(core->target_of("w3").has_value());
}

TEST_F(ControllerHoldback, ItWaitsForWhatTheTargetSaysNowNotForWhatItSaidThen) {
  Model model = site(2);
  model.generation.hosts.at("w2").address = "w2.example";
  given(model);
  d1_says({true, "", plan::admissions_digest(*core->target_of("d1")->admissions)});
  Model grown = site(3);
  grown.generation.hosts.at("w2").address = "w2.example";
  report("w3");
  const auto id = deploy(request(grown));
  ASSERT_TRUE(id);
  const Digest then = plan::admissions_digest(*core->target_of("d1")->admissions);
  plan::HostReport moved;
  moved.host = "w2";
  moved.boot_id = "boot";
  moved.number = ++agents["w2"].reports;
  moved.epoch = agents["w2"].epoch;
  moved.seq = agents["w2"].seq;
  moved.instances = agents["w2"].instances;
  moved.facts["address"] = "10.9.9.9";
  take(core->on_report(moved, now));
  ASSERT_THAT(let_in(), ElementsAre("10.0.0.1", "10.0.0.3", "10.9.9.9"));
  d1_says({true, "", then});
  EXPECT_FALSE(core->target_of("w3").has_value()) << "d1 is not there yet";
  d1_says({true, "", plan::admissions_digest(*core->target_of("d1")->admissions)});
  EXPECT_TRUE(core->target_of("w3").has_value());
}

TEST_F(ControllerHoldback, ItDoesNotWaitForEver) {
  given(site(2));
  d1_says({true, "", Digest()});
  const Model grown = site(3);
  report("w3");
  ASSERT_TRUE(deploy(request(grown)));
  ASSERT_TRUE(core->wake().has_value());
  now += seconds(11);
  take(core->tick(now));
  EXPECT_TRUE(core->target_of("w3").has_value());
}

// Two databases: one is upgraded while the other serves.
class ControllerSideBySide : public ControllerHoldback {
 protected:
  static Model pair(int webs, const std::string& database, plan::AccessMode mode) {
    Model model = site(webs);
    model.host("d2", "db");
    model.generation.hosts.at("d2").address = "10.0.0.12";
    model.service("db", "db", database);
    model.generation.services.at("db").endpoints["e"] = {5432, mode, {}};
    return model;
  }
};

TEST_F(ControllerSideBySide, WhoIsLetInIsNotChangedWhileSomebodyElseChangesTheService) {
  given(pair(2, "v1", plan::AccessMode::off));
  const auto upgrade = deploy(request(pair(2, "v2", plan::AccessMode::off)));
  ASSERT_TRUE(upgrade) << render_error(upgrade.error());
  const auto access = deploy(request(pair(2, "v1", plan::AccessMode::enforce)));
  ASSERT_FALSE(access) << "the upgrade would take it back when it ends";
  EXPECT_EQ(access.error().code(), ErrorCode::locked);
  EXPECT_THAT(render_error(access.error()), HasSubstr("service db is being changed by rollout"));
  settle();
  ASSERT_EQ(result_of(*upgrade), Result::done);
  ASSERT_TRUE(deploy(request(pair(2, "v2", plan::AccessMode::enforce))));
  settle();
  EXPECT_THAT(let_in(), ElementsAre("10.0.0.1", "10.0.0.2"));
}

TEST_F(ControllerSideBySide, AHostThatJoinsDoesNotWaitForTheUpgradeOfWhatItReaches) {
  given(pair(2, "v1", plan::AccessMode::enforce));
  const auto upgrade = deploy(request(pair(2, "v2", plan::AccessMode::enforce)));
  ASSERT_TRUE(upgrade) << render_error(upgrade.error());
  const Model grown = pair(3, "v1", plan::AccessMode::enforce);
  report("w3");
  ASSERT_EQ(result_of(*upgrade), Result::open);
  controller::DeployRequest join = request(grown);
  join.only = {"web"};
  const auto joined = deploy(join);
  ASSERT_TRUE(joined) << render_error(joined.error());
  settle();
  EXPECT_EQ(result_of(*upgrade), Result::done);
  EXPECT_EQ(result_of(*joined), Result::done);
  EXPECT_EQ(version_on("d1", "db"), "v2");
  EXPECT_THAT(let_in(), ElementsAre("10.0.0.1", "10.0.0.2", "10.0.0.3"));
}

TEST_F(ControllerHoldback, WhatAHostCannotEnforceIsRefusedBeforeAnythingIsTouched) {
  given(site(2, "v1", plan::AccessMode::off));
  d1_says({false, "there is no program nft on it", Digest()});
  const auto shown = core->plan(request(site(2)));
  ASSERT_TRUE(shown) << "it can be looked at all the same";
  ASSERT_EQ(shown->needs.size(), 1U);
  EXPECT_EQ(shown->needs[0].option, "") << "no word is enough";
  const Store before = store;
  const auto refused = deploy(request(site(2)));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), ErrorCode::refused);
  EXPECT_THAT(
      render_error(refused.error()),
      ::testing::AllOf(HasSubstr("host d1 cannot: there is no program nft"), HasSubstr("audit")));
  EXPECT_EQ(store, before);
  EXPECT_TRUE(core->plan(request(site(2, "v1", plan::AccessMode::audit)))->needs.empty());
  d1_says({true, "", Digest()});
  ASSERT_TRUE(deploy(request(site(2))));
  settle();
  // What was promised and is lost is a matter of health, and blocks no other deploy.
  d1_says({false, "there is no program nft on it", Digest()});
  EXPECT_TRUE(core->plan(request(site(2, "v2")))->needs.empty());
}

TEST_F(ControllerHoldback, AHostThatLeavesWhileOnlyOtherServicesAreDeployedIsLetInNoMore) {
  given(site(3));
  Model smaller = site(2);
  smaller.service("web", "web", "v2", {"db"});
  controller::DeployRequest only_db = request(smaller);
  only_db.only = {"db"};
  only_db.allow_shrink = true;
  const auto plan = core->plan(only_db).value();
  EXPECT_TRUE(plan.steps.empty());
  ASSERT_EQ(plan.access.size(), 1U);
  EXPECT_THAT(plan::access_change_text(plan.access[0]), HasSubstr("no longer from w3"));
  ASSERT_TRUE(deploy(only_db));
  settle();
  EXPECT_FALSE(core->current()->hosts.contains("w3"));
  EXPECT_THAT(core->current()->services.at("web").hosts, ElementsAre("w1", "w2"));
  EXPECT_EQ(core->current()->services.at("web").version, "v1") << "it was not asked for";
  EXPECT_THAT(let_in(), ElementsAre("10.0.0.1", "10.0.0.2"));
}

}  // namespace
}  // namespace consort::controller
