// When hosts are told whom to let in: with a rollout and without one.
#include "unit/controller/access_fixture.h"

namespace consort::controller {
namespace {

using rollout::Result;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using tests::Model;

TEST_F(ControllerAccess, HostsAreToldWithTheFirstDeployAndOnlyThoseWhoOffer) {
  given(site(2));
  EXPECT_THAT(let_in(), ElementsAre("10.0.0.1", "10.0.0.2"));
  EXPECT_THAT(let_in("w1"), ElementsAre("never told"));
  EXPECT_TRUE(core->plan(request(site(2))).value().empty());
}

TEST_F(ControllerAccess, AHostThatTellsANetworkOrLinesAsItsAddressIsNotBelieved) {
  Model model = site(2);
  model.generation.hosts.at("w2").address = "w2.example";
  given(model);
  for (const char* address : {"0.0.0.0/0", "10.0.0.2\nlet everybody in", ""}) {
    says_address("w2", address);
    EXPECT_FALSE(core->hosts().at("w2").report.facts.contains("address")) << address;
    EXPECT_THAT(let_in(), ElementsAre("10.0.0.1")) << address;
  }
}

TEST_F(ControllerAccess, ARollbackToNoGenerationIsRefused) {
  given(site(2));
  auto back = request(site(2, "v2"));
  back.candidate.rollback_of = 9999;
  const auto id = deploy(back);
  ASSERT_FALSE(id);
  EXPECT_EQ(id.error().code(), ErrorCode::not_found);
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
  for (int i = 0; i < 120 && result_of(*id) == Result::open; ++i) {
    time_passes(seconds(10));
    for (const std::string host : {"w1", "w2", "d1"}) report(host);
  }
  ASSERT_EQ(result_of(*id), Result::partial);
  EXPECT_THAT(let_in(), ElementsAre("10.0.0.1", "10.0.0.2", "10.0.0.3"))
      << "it may still run there";
  agents["w3"].down = false;
  settle();
  EXPECT_EQ(version_on("w3", "web"), "nothing");
  EXPECT_THAT(let_in(), ElementsAre("10.0.0.1", "10.0.0.2"));
}

TEST_F(ControllerAccess, AHostThatHasReportedItsInstanceGoneIsNotBelievedThatItIsBack) {
  given(site(3));
  Model without = site(3);
  without.service("web", "web", "v1", {"db"}, {"w1", "w2"});
  ASSERT_TRUE(deploy(request(without)));
  settle();
  ASSERT_EQ(version_on("w3", "web"), "nothing");
  ASSERT_THAT(let_in(), ElementsAre("10.0.0.1", "10.0.0.2"));
  agents["w3"].instances["web"] = agents["w1"].instances["web"];
  report("w3");
  EXPECT_THAT(let_in(), ElementsAre("10.0.0.1", "10.0.0.2"));
  restart();
  report("w3");
  EXPECT_THAT(let_in(), ElementsAre("10.0.0.1", "10.0.0.2")) << "the store remembers";
  // Where something places it, it counts like any other.
  agents["w3"].instances.erase("web");
  report("w3");
  ASSERT_TRUE(deploy(request(site(3))));
  settle();
  EXPECT_THAT(let_in(), ElementsAre("10.0.0.1", "10.0.0.2", "10.0.0.3"));
}

TEST_F(ControllerAccess, AHostThatJoinsIsNotBelievedThatItRunsWhatNobodyHasPlacedThere) {
  given(site(1));
  tests::Model grown = site(1);
  grown.host("x1", "rest");
  grown.generation.hosts.at("x1").address = "10.0.0.66";
  // Its first words.
  agents["x1"].instances["web"] = agents["w1"].instances.at("web");
  hosts_join(grown);
  ASSERT_TRUE(deploy(request(grown)));
  settle();
  ASSERT_TRUE(core->current()->hosts.contains("x1"));
  EXPECT_THAT(let_in(), ::testing::ElementsAre("10.0.0.1"));
}

TEST_F(ControllerAccess, AnAddressThatOnlyTheAgentKnowsIsFollowed) {
  Model model = site(2);
  model.generation.hosts.at("w2").address = "w2.example";
  given(model);
  EXPECT_THAT(let_in(), ElementsAre("10.0.0.1"));
  says_address("w2", "10.9.9.9");
  EXPECT_THAT(let_in(), ElementsAre("10.0.0.1", "10.9.9.9"));
}

}  // namespace
}  // namespace consort::controller
