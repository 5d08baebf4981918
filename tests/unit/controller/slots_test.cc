// Whose slots are taken, how many there are, and for how long somebody holds one.
#include "unit/controller/core_fixture.h"

namespace consort::controller {
namespace {

using rollout::Result;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Not;
using tests::Model;

class Slots : public ControllerCore {
 protected:
  [[nodiscard]] std::set<std::string> away() const { return core->censuses().at("web").unhealthy; }
  [[nodiscard]] std::int64_t slots() const {
    return budget::amount_of(core->budgets().at("web").slots, 3);
  }
  [[nodiscard]] static Model site_with_slots(const std::string& version, std::int64_t slots) {
    Model out = site(version);
    out.generation.policy.max_unavailable = budget::Amount{slots, false};
    return out;
  }
  [[nodiscard]] std::string wanted_on(const std::string& host) const {
    const auto target = core->target_of(host);
    return manifests.at(target->instances.at("app").wanted->manifest).version;
  }
  void given_a_rollout_that_waits_for_w1() {
    given_v1_is_deployed();
    agents["w1"].down = true;
    const auto id = deploy(request(site("v2")));
    ASSERT_TRUE(id) << render_error(id.error());
    ASSERT_EQ(wanted_on("w1"), "v2");
    waits = *id;
  }

  std::string waits;
};

TEST_F(Slots, I4_WhoseHealthIsNotKnownIsAway) {
  given_v1_is_deployed();
  EXPECT_THAT(away(), IsEmpty());
  // As after its agent's start, or its machine's.
  agents["w1"].instances.at("app").health = plan::Health::unknown;
  report("w1");
  EXPECT_THAT(away(), ElementsAre("w1"));
}

TEST_F(Slots, I4_WhatAWayBackCouldNotStartAgainIsAway) {
  given_v1_is_deployed();
  plan::InstanceReport& left = agents["w1"].instances.at("app");
  left.applied->mode = plan::Mode::stopped;
  left.health = plan::Health::unknown;
  left.outcome->result = plan::Outcome::Result::inconsistent;
  report("w1");
  EXPECT_THAT(away(), ElementsAre("w1"));
}

TEST_F(Slots, ANewLeaderDoesNotBeginWithWhomItHasNotHeard) {
  given_v1_is_deployed();
  // Given a host that died while nobody listened, and a leader that has heard all others,
  agents["w2"].down = true;
  restart();
  for (const std::string host : {"w1", "w3", "d1"}) report(host);
  const auto id = deploy(request(site("v2")));
  ASSERT_TRUE(id) << render_error(id.error());
  settle();
  // then that host is told nothing, and nobody is taken away beside it.
  EXPECT_EQ(wanted_on("w2"), "v1");
  EXPECT_EQ(version_on("w1", "app"), "v1");
  EXPECT_EQ(version_on("w3", "app"), "v1");
  // When it comes, all go on.
  agents["w2"].down = false;
  settle();
  EXPECT_EQ(result_of(*id), Result::done);
}

TEST_F(Slots, WhoDeploysBesideSomebodyElseDoesNotWidenHisLimits) {
  given_a_rollout_that_waits_for_w1();
  ASSERT_EQ(slots(), 1);
  Model other = site_with_slots("v1", 3);
  other.service("cron", "db", "v2");
  DeployRequest cron = request(other);
  cron.only = {"cron"};
  const auto id = deploy(cron);
  ASSERT_TRUE(id) << render_error(id.error());
  EXPECT_EQ(slots(), 1);
  agents["w1"].down = false;
  settle();
  ASSERT_EQ(result_of(waits), Result::done);
}

TEST_F(Slots, WhatWasTakenBackLeavesNoLimitsBehind) {
  given_v1_is_deployed();
  agents["w1"].failing.insert("v2");
  const auto id = deploy(request(site_with_slots("v2", 2)));
  ASSERT_TRUE(id) << render_error(id.error());
  EXPECT_EQ(slots(), 2);
  settle();
  ASSERT_EQ(result_of(*id), Result::reverted);
  EXPECT_EQ(slots(), 1);
}

TEST_F(Slots, WhoWasToldAndDoesNotAnswerGoesBackWhenItReturnsAndHoldsItsSlotUntilThen) {
  given_a_rollout_that_waits_for_w1();
  take(core->on_silence("w1", now));
  time_passes(minutes(30));
  for (const std::string host : {"w2", "w3", "d1"}) report(host);
  settle();
  ASSERT_NE(result_of(waits), Result::open);
  EXPECT_EQ(wanted_on("w1"), "v1") << "nobody wants version 2 any more";
  EXPECT_TRUE(core->budgets().at("web").holders.contains("w1")) << "it may be at it";
  // Also for the next leader.
  restart();
  EXPECT_TRUE(core->budgets().at("web").holders.contains("w1"));
  agents["w1"].down = false;
  settle();
  EXPECT_EQ(version_on("w1", "app"), "v1");
  EXPECT_THAT(core->budgets().at("web").holders, IsEmpty());
  EXPECT_THAT(story, Contains("straggler app@w1"));
}

TEST_F(Slots, NobodyWaitsForTheSlotThatHisOwnHostKeptFromBefore) {
  given_a_rollout_that_waits_for_w1();
  take(core->on_silence("w1", now));
  time_passes(minutes(30));
  for (const std::string host : {"w2", "w3", "d1"}) report(host);
  settle();
  ASSERT_NE(result_of(waits), Result::open);
  ASSERT_TRUE(core->budgets().at("web").holders.contains("w1"));
  // Given a deploy that begins when the host is back and has not said yet how it is,
  agents["w1"].down = false;
  take(core->on_contact("w1", now));
  const auto again = deploy(request(site("v3")));
  ASSERT_TRUE(again) << render_error(again.error());
  settle();
  // then it goes through, and no slot is left behind.
  EXPECT_EQ(result_of(*again), Result::done);
  EXPECT_THAT(core->budgets().at("web").holders, IsEmpty());
}

TEST_F(Slots, WhatWasDoneBeforeItsHostFellSilentIsTakenBackWhenItIsThereAgain) {
  given_v1_is_deployed();
  agents["w3"].failing.insert("v2");
  const auto id = deploy(request(site("v2")));
  ASSERT_TRUE(id) << render_error(id.error());
  for (int i = 0; i < 50 && version_on("w2", "app") != "v2"; ++i) {
    now += seconds(1);
    agents_act();
  }
  // Given two that are done and are cut off, before a third one fails,
  for (const std::string host : {"w1", "w2"}) {
    agents[host].down = true;
    take(core->on_silence(host, now));
  }
  settle();
  time_passes(minutes(30));
  for (const std::string host : {"w3", "d1"}) report(host);
  settle();
  ASSERT_NE(result_of(*id), Result::open);
  // then nobody has told both to stop as soon as they are back:
  EXPECT_EQ(wanted_on("w1"), "v2");
  EXPECT_EQ(wanted_on("w2"), "v2");
  // one by one they go back.
  for (const std::string host : {"w1", "w2"}) agents[host].down = false;
  for (const std::string host : {"w1", "w2"}) take(core->on_contact(host, now));
  EXPECT_NE(wanted_on("w1"), wanted_on("w2"));
  settle();
  EXPECT_EQ(version_on("w1", "app"), "v1");
  EXPECT_EQ(version_on("w2", "app"), "v1");
  EXPECT_THAT(core->budgets().at("web").holders, IsEmpty());
}

TEST_F(Slots, WhatWasHaltedIsLeftAsItIs) {
  given_v1_is_deployed();
  agents["w2"].failing.insert("v2");
  Model v2 = site("v2");
  v2.generation.policy.on_failure = plan::OnFailure::halt;
  const auto id = deploy(request(v2));
  ASSERT_TRUE(id) << render_error(id.error());
  settle();
  ASSERT_EQ(result_of(*id), Result::inconsistent);
  EXPECT_EQ(version_on("w1", "app"), "v2");
  EXPECT_THAT(story, Not(Contains(::testing::StartsWith("straggler"))));
  for (const auto& [key, value] : store) EXPECT_FALSE(key.starts_with("tail/")) << key;
}

TEST_F(Slots, StragglersThatStillServeCatchUpBySlots) {
  given_v1_is_deployed(9);
  for (const std::string host : {"w1", "w2"}) {
    agents[host].down = true;
    take(core->on_silence(host, now));
  }
  Model v2 = site("v2", 9);
  v2.generation.policy.max_failures = {2, false};
  v2.generation.policy.max_unavailable = budget::Amount{3, false};
  const auto id = deploy(request(v2));
  ASSERT_TRUE(id) << render_error(id.error());
  settle();
  ASSERT_EQ(result_of(*id), Result::partial);
  Model narrow = v2;
  narrow.generation.policy.max_unavailable = budget::Amount{1, false};
  narrow.service("cron", "db", "v2");
  ASSERT_TRUE(deploy(request(narrow)));
  settle();
  // Given one slot, and two that come back with something sick beside a daemon that works,
  for (const std::string host : {"w1", "w2"}) {
    plan::InstanceReport& app = agents[host].instances.at("app");
    app.health = plan::Health::unhealthy;
    app.serves = true;
    report(host);
  }
  const auto is_told = [&](const std::string& host) { return wanted_on(host) == "v2"; };
  EXPECT_NE(is_told("w1"), is_told("w2"));
}

}  // namespace
}  // namespace consort::controller
