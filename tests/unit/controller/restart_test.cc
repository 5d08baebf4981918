// A controller that dies and comes back, agents that know better, messages that come late.
#include "unit/controller/stage.h"

namespace consort::controller {
namespace {

using rollout::Result;
using ::testing::HasSubstr;
using tests::Model;

class ControllerRestart : public tests::Stage {
 protected:
  static Model site(const std::string& version) {
    Model model;
    model.host("w1", "web").host("w2", "web").host("w3", "web");
    model.service("app", "web", version);
    return model;
  }

  void given_v1_is_deployed() {
    const Model v1 = site("v1");
    hosts_join(v1);
    const auto id = deploy(request(v1));
    ASSERT_TRUE(id) << render_error(id.error());
    settle();
    ASSERT_EQ(result_of(*id), Result::done);
  }
};

TEST_F(ControllerRestart, S13_AnOpenRolloutGoesOnFromTheJournalAfterEachStep) {
  given_v1_is_deployed();
  const auto id = deploy(request(site("v2")));
  ASSERT_TRUE(id);
  for (int i = 0; i < 20 && result_of(*id) == Result::open; ++i) {
    restart();
    now += seconds(1);
    agents_act();
  }
  EXPECT_EQ(result_of(*id), Result::done);
  for (const std::string host : {"w1", "w2", "w3"}) EXPECT_EQ(version_on(host, "app"), "v2");
  EXPECT_EQ(core->current()->number, 2U);
}

TEST_F(ControllerRestart, ARestartRemembersLocksPauseAndTheWayBack) {
  given_v1_is_deployed();
  const auto id = deploy(request(site("v2")));
  ASSERT_TRUE(id);
  agents_act();
  ASSERT_TRUE(control(*id, Core::Control::pause));
  restart();
  settle();
  EXPECT_EQ(result_of(*id), Result::open);
  EXPECT_EQ(deploy(request(site("v3"))).error().code(), ErrorCode::locked);
  ASSERT_TRUE(control(*id, Core::Control::abort));
  restart();
  settle();
  EXPECT_EQ(result_of(*id), Result::reverted);
  EXPECT_EQ(version_on("w1", "app"), "v1");
}

TEST_F(ControllerRestart, EveryNewLeaderHasAHigherEpochAndRolloutIdsAreNeverUsedAgain) {
  given_v1_is_deployed();
  const std::uint64_t before = core->epoch();
  restart();
  EXPECT_GT(core->epoch(), before);
  EXPECT_EQ(core->target_of("w1")->epoch, core->epoch());
  EXPECT_EQ(*deploy(request(site("v2"))), "r000002");
}

TEST_F(ControllerRestart, I12_AStoreFromABackupGoesBeyondTheEpochOfItsAgents) {
  given_v1_is_deployed();
  const Store backup = store;
  for (int i = 0; i < 5; ++i) restart();
  settle();
  const std::uint64_t highest = agents["w1"].epoch;
  store = backup;
  restart();
  ASSERT_LT(core->epoch(), highest);
  report("w1");
  EXPECT_GT(core->epoch(), highest);
  EXPECT_EQ(std::to_string(core->epoch()), store.at("epoch")) << "durable before it is used";
  for (const std::string host : {"w1", "w2", "w3"})
    EXPECT_EQ(core->target_of(host)->epoch, core->epoch()) << host;
}

TEST_F(ControllerRestart, AReportThatWasOvertakenIsIgnored) {
  given_v1_is_deployed();
  plan::HostReport late;
  late.host = "w1";
  late.boot_id = "boot";
  late.number = 1;  // from before the instance was there
  take(core->on_report(late, now));
  const auto& instances = core->hosts().at("w1").report.instances;
  ASSERT_TRUE(instances.contains("app"));
  EXPECT_TRUE(instances.at("app").applied.has_value());
}

TEST_F(ControllerRestart, ReportsCountAnewAfterAReboot) {
  given_v1_is_deployed();
  plan::HostReport fresh;
  fresh.host = "w1";
  fresh.boot_id = "another boot";
  fresh.number = 1;
  take(core->on_report(fresh, now));
  EXPECT_TRUE(core->hosts().at("w1").report.instances.empty());
}

TEST_F(ControllerRestart, AnAnswerToAnEarlierAttemptIsNoAnswer) {
  given_v1_is_deployed();
  const auto id = deploy(request(site("v2")));
  ASSERT_TRUE(id);
  // w1 has been told, but still reports how the first deploy ended.
  report("w1");
  EXPECT_EQ(result_of(*id), Result::open);
  EXPECT_EQ(core->rollouts().at(*id).forward.runs.front().phase, rollout::StepPhase::active);
}

TEST_F(ControllerRestart, AHostIsUnreachableAfterItsSilenceAndBackWithItsNextCall) {
  given_v1_is_deployed();
  now += kSilence + seconds(1);
  take(core->tick(now));
  EXPECT_FALSE(core->hosts().at("w1").reachable);
  EXPECT_THAT(story, ::testing::Contains("host-unreachable@w1"));
  take(core->on_contact("w1", now));
  EXPECT_TRUE(core->hosts().at("w1").reachable);
}

TEST_F(ControllerRestart, ADamagedStoreNamesTheKey) {
  given_v1_is_deployed();
  store["targets/w2"] = "{";
  const auto broken = Core::restore(store);
  ASSERT_FALSE(broken);
  EXPECT_THAT(render_error(broken.error()), HasSubstr("targets/w2"));
}

}  // namespace
}  // namespace consort::controller
