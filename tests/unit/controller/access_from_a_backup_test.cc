// Whom hosts let in when the controller starts again: from its store, or from one that is older
// than they are.
#include "unit/controller/access_fixture.h"

namespace consort::controller {
namespace {

using rollout::Result;
using ::testing::ElementsAre;
using tests::Model;

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

// w3 has joined in a life of the store that is lost, and the whole site is deployed over the copy.
class ControllerAccessFromABackup : public ControllerAccess {
 protected:
  void given_the_store_is_from_before_w3() {
    given(site(2));
    const Store copy = store;
    hosts_join(site(3));
    ASSERT_TRUE(deploy(request(site(3))));
    settle();
    store = copy;
    restart();
    settle();
    ASSERT_FALSE(core->target_of("d1")->admissions.has_value());
  }
};

TEST_F(ControllerAccessFromABackup, AWholeSiteThatFailsLeavesTheDoubtAndCutsNobodyOff) {
  given_the_store_is_from_before_w3();
  agents["w1"].failing.insert("v2");
  const auto id = deploy(request(site(3, "v2")));
  ASSERT_TRUE(id) << render_error(id.error());
  settle();
  ASSERT_EQ(result_of(*id), Result::reverted);
  EXPECT_THAT(let_in(), ElementsAre("10.0.0.1", "10.0.0.2", "10.0.0.3"));
  EXPECT_THAT(story, ::testing::Contains("access-in-doubt")) << "and the operator is told";
  restart();
  settle();
  EXPECT_THAT(let_in(), ElementsAre("10.0.0.1", "10.0.0.2", "10.0.0.3"));
  ASSERT_TRUE(deploy(request(site(3))));
  settle();
  EXPECT_FALSE(store.contains("access-in-doubt"));
  EXPECT_THAT(let_in(), ElementsAre("10.0.0.1", "10.0.0.2", "10.0.0.3"));
}

TEST_F(ControllerAccessFromABackup, TheDoubtEndsWithTheRolloutAlsoUnderAnotherLeader) {
  given_the_store_is_from_before_w3();
  const auto id = deploy(request(site(3, "v2")));
  ASSERT_TRUE(id) << render_error(id.error());
  EXPECT_TRUE(store.contains("access-in-doubt")) << "nothing has succeeded yet";
  now += seconds(1);
  agents_act();
  ASSERT_EQ(result_of(*id), Result::open);
  restart();
  settle();
  ASSERT_EQ(result_of(*id), Result::done);
  EXPECT_FALSE(store.contains("access-in-doubt"));
  EXPECT_THAT(let_in(), ElementsAre("10.0.0.1", "10.0.0.2", "10.0.0.3"));
  // A crash may leave the key of a rollout that has succeeded.
  store["access-in-doubt"] = *id;
  restart();
  EXPECT_FALSE(store.contains("access-in-doubt"));
}

TEST_F(ControllerAccess, AHostThatHasToldWhatItHoldsCannotFreezeWhomOthersLetIn) {
  given(site(3));
  Model shrunk = site(3, "v2");
  shrunk.service("web", "web", "v2", {"db"}, {"w1", "w2"});
  const auto id = deploy(request(shrunk));
  ASSERT_TRUE(id) << render_error(id.error());
  // Root on w3, which is to lose its access, tells of a target that nobody has given it.
  for (const auto telling : {Core::Telling::report, Core::Telling::poll}) {
    const Status refused =
        core->check_position("w3", agents["w3"].epoch, core->target_of("w3")->seq + 1, telling);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code(), ErrorCode::invalid_input);
  }
  agents["w3"].seq = core->target_of("w3")->seq + 1;
  report("w3");
  take(core->on_poll("w3", agents["w3"].epoch, agents["w3"].seq, now));
  EXPECT_THAT(story, ::testing::Not(::testing::Contains("store-behind@w3")));
  EXPECT_EQ(result_of(*id), Result::open);
  agents["w3"].seq = 0;
  settle();
  EXPECT_EQ(result_of(*id), Result::done);
  EXPECT_THAT(let_in(), ElementsAre("10.0.0.1", "10.0.0.2"));
}

TEST_F(ControllerAccess, AHostThatOnlyReportsIsBelievedOnceToKnowMoreThanTheStore) {
  given(site(2));
  restart();
  EXPECT_TRUE(core->check_position("w2", agents["w2"].epoch, 1000, Core::Telling::report));
  agents["w2"].seq = 1000;
  report("w2");
  EXPECT_THAT(story, ::testing::Contains("store-behind@w2"));
  EXPECT_FALSE(core->check_position("w2", agents["w2"].epoch, 2000, Core::Telling::report));
  // A report may be older than the poll beside it: that one is believed once, too.
  EXPECT_TRUE(core->check_position("w2", agents["w2"].epoch, 2000, Core::Telling::poll));
  take(core->on_poll("w2", agents["w2"].epoch, 2000, now));
  EXPECT_GT(core->target_of("w2")->seq, 2000U);
  EXPECT_FALSE(core->check_position("w2", agents["w2"].epoch, 3000, Core::Telling::poll));
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
  plan::HostReport guarding = report_of("d1");
  guarding.access = plan::AccessReport{true, "", rules};
  take(core->on_report(guarding, now));
  ASSERT_TRUE(deploy(request(open)));
  settle();
  EXPECT_THAT(let_in(), ElementsAre("open"));
}

}  // namespace
}  // namespace consort::controller
