// A controller that dies and comes back, agents that know better, messages that come late.
#include "controller/commit_order.h"
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

TEST_F(ControllerRestart, I11_NobodyIsTakenAwayBesideHostsThatHaveNotCalledInYet) {
  given_v1_is_deployed();
  agents["w3"].down = true;  // for days, but a new leader does not know that
  restart();
  const auto id = deploy(request(site("v2")));
  ASSERT_TRUE(id) << render_error(id.error());
  agents_act();
  agents_act();
  for (const std::string host : {"w1", "w2"}) {
    EXPECT_FALSE(core->budgets().at("web").holders.contains(host)) << host;
    EXPECT_EQ(version_on(host, "app"), "v1");
  }
  agents["w3"].down = false;
  settle();
  EXPECT_EQ(result_of(*id), Result::done);
}

TEST_F(ControllerRestart, SlotsOfARolloutThatNeverCameToBeAreFree) {
  given_v1_is_deployed();
  const Store before = store;
  ASSERT_TRUE(deploy(request(site("v2"))));
  const std::string budgets = store.at("budgets");
  store = before;  // died after the first of its transactions
  store["budgets"] = budgets;
  ASSERT_THAT(budgets, HasSubstr("rollout:r000002"));
  restart();
  settle();
  EXPECT_TRUE(core->budgets().at("web").holders.empty());
  EXPECT_EQ(store.at("budgets").find("rollout:"), std::string::npos);
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

TEST_F(ControllerRestart, WhatEndedWhileNobodyListenedIsNotLate) {
  given_v1_is_deployed();
  const auto id = deploy(request(site("v2")));
  ASSERT_TRUE(id);
  agents_act();
  // Given a step that its host has ended, which nobody hears of for hours, longer than any step
  // may take: the controller is down, or its machine stands still.
  for (const bool stands_still : {false, true}) {
    ASSERT_EQ(result_of(*id), Result::open);
    now += hours(5);
    if (stands_still) {
      take(core->tick(now));
    } else {
      restart();
    }
    now += seconds(1);
    for (const auto& [host, agent] : agents) take(core->on_contact(host, now));
    EXPECT_FALSE(core->rollouts().at(*id).reverting) << stands_still;
    agents_act();
  }
  settle();
  EXPECT_EQ(result_of(*id), Result::done);
}

TEST_F(ControllerRestart, EveryNewLeaderHasAHigherEpochAndRolloutIdsAreNeverUsedAgain) {
  given_v1_is_deployed();
  const std::uint64_t before = core->epoch();
  restart();
  EXPECT_GT(core->epoch(), before);
  EXPECT_EQ(core->target_of("w1")->epoch, core->epoch());
  EXPECT_EQ(*deploy(request(site("v2"))), "r000002.e2");
  settle();
  restart();
  EXPECT_EQ(*deploy(request(site("v3"))), "r000003.e3");
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

class ControllerFromABackup : public ControllerRestart {
 protected:
  // v1 was deployed, then the store was copied, then v2 was deployed and the copy put back.
  void given_the_store_is_from_before_v2(int restarts_since = 0) {
    given_v1_is_deployed();
    backup = store;
    for (int i = 0; i < restarts_since; ++i) restart();
    const auto id = deploy(request(site("v2")));
    ASSERT_TRUE(id) << render_error(id.error());
    settle();
    ASSERT_EQ(result_of(*id), Result::done);
    go_back_to(backup);
  }

  void go_back_to(const Store& copy) {
    store = copy;
    story.clear();
    restart();
  }

  void expect_everywhere(const std::string& version) {
    for (const std::string host : {"w1", "w2", "w3"}) EXPECT_EQ(version_on(host, "app"), version);
  }

  Store backup;
};

TEST_F(ControllerFromABackup, HostsKeepWhatTheyRunAndTheOperatorIsTold) {
  for (const int restarts : {0, 1, 2, 5}) {
    store.clear();
    agents.clear();
    restart();
    given_the_store_is_from_before_v2(restarts);
    settle();
    expect_everywhere("v2");
    EXPECT_THAT(story, ::testing::Contains("store-behind@w1")) << restarts;
    for (const std::string host : {"w1", "w2", "w3"}) {
      const auto target = core->target_of(host);
      ASSERT_TRUE(target);
      EXPECT_GT(std::pair(target->epoch, target->seq),
                std::pair(std::uint64_t{1}, std::uint64_t{2}));
      ASSERT_TRUE(target->instances.contains("app")) << "its target is what it runs";
      const plan::TargetEntry& entry = target->instances.at("app");
      EXPECT_EQ(entry.wanted, agents[host].instances.at("app").applied);
      EXPECT_EQ(entry.attempt, agents[host].instances.at("app").outcome->attempt);
      EXPECT_FALSE(entry.duty);
    }
    restart();
    settle();
    expect_everywhere("v2");
  }
}

TEST_F(ControllerFromABackup, SecretsGetNumbersThatNoLostLifeHasGiven) {
  given_v1_is_deployed();
  restart();
  settle();
  EXPECT_EQ(core->secrets_above(), 0U) << "nothing is lost: versions are 1, 2, 3";
  backup = store;
  ASSERT_TRUE(deploy(request(site("v2"))));
  settle();
  go_back_to(backup);
  EXPECT_EQ(core->secrets_above(), 0U) << "no host has spoken yet";
  report("w1");
  const std::uint64_t first = core->secrets_above();
  EXPECT_GE(first, kSecretsOfALife);
  EXPECT_EQ(std::to_string(first), store.at("secrets-above"));
  settle();
  restart();
  settle();
  EXPECT_EQ(core->secrets_above(), first) << "it is told once";
  // The same backup again: the life since then is lost, too, and has given numbers above `first`.
  go_back_to(backup);
  for (const std::string host : {"w1", "w2", "w3"}) report(host);
  settle();
  EXPECT_GE(core->secrets_above(), first + kSecretsOfALife);
}

TEST_F(ControllerFromABackup, ThePlanShowsTheDifferenceAndADeployIsCarriedOut) {
  given_the_store_is_from_before_v2();
  settle();
  EXPECT_EQ(core->current()->number, 1U);
  const auto plan = core->plan(request(site("v1")));
  ASSERT_TRUE(plan);
  EXPECT_EQ(plan->steps.size(), 3U);
  const auto id = deploy(request(site("v1")));
  ASSERT_TRUE(id) << render_error(id.error());
  settle();
  EXPECT_EQ(result_of(*id), Result::done);
  expect_everywhere("v1");
}

TEST_F(ControllerFromABackup, AttemptsOfTheLostLifeAreNotTakenForNewOnes) {
  // Both lives begin their second rollout in the second epoch.
  given_v1_is_deployed();
  backup = store;
  restart();
  const auto lost = deploy(request(site("v2")));
  ASSERT_TRUE(lost);
  settle();
  go_back_to(backup);
  settle();
  const auto id = deploy(request(site("v3")));
  ASSERT_TRUE(id) << render_error(id.error());
  EXPECT_NE(*id, *lost);
  settle();
  EXPECT_EQ(result_of(*id), Result::done);
  expect_everywhere("v3");
}

TEST_F(ControllerFromABackup, AStoreThatIsGoneTakesTheHostsAsTheyAre) {
  given_the_store_is_from_before_v2(3);
  settle();
  go_back_to({});
  for (const std::string host : {"w1", "w2", "w3"}) report(host);
  settle();
  expect_everywhere("v2");
  EXPECT_THAT(story, ::testing::Contains("host-adopted@w1"));
  const auto id = deploy(request(site("v3")));
  ASSERT_TRUE(id) << render_error(id.error());
  settle();
  EXPECT_EQ(result_of(*id), Result::done);
  expect_everywhere("v3");
}

TEST_F(ControllerFromABackup, ARolloutOfTheCopyThatHostsHaveLeftBehindEnds) {
  given_v1_is_deployed();
  const auto id = deploy(request(site("v2")));
  ASSERT_TRUE(id);
  agents_act();
  backup = store;
  settle();
  ASSERT_TRUE(deploy(request(site("v3"))));
  settle();
  expect_everywhere("v3");
  go_back_to(backup);
  settle();
  EXPECT_EQ(result_of(*id), Result::inconsistent);
  EXPECT_THAT(core->rollouts().at(*id).summary, HasSubstr("older than what host"));
  EXPECT_TRUE(core->budgets().at("web").holders.empty());
  expect_everywhere("v3");
  restart();
  settle();
  expect_everywhere("v3");
}

TEST_F(ControllerFromABackup, ARolloutThatEndsForItTakesItsLimitsAlong) {
  given_v1_is_deployed();
  const auto slots = core->budgets().at("web").slots;
  Model wider = site("v2");
  wider.generation.policy.max_unavailable = budget::Amount{2, false};
  const auto id = deploy(request(wider));
  ASSERT_TRUE(id) << render_error(id.error());
  agents_act();
  backup = store;
  settle();
  ASSERT_TRUE(deploy(request(site("v3"))));
  settle();
  go_back_to(backup);
  ASSERT_EQ(result_of(*id), Result::open);
  ASSERT_FALSE(core->budgets().at("web").slots == slots);
  report("w1");
  ASSERT_EQ(result_of(*id), Result::inconsistent);
  EXPECT_TRUE(core->budgets().at("web").slots == slots) << "only generation 1 is in force";
}

TEST_F(ControllerFromABackup, AHostInTheMiddleOfAChangeEndsItInPeace) {
  given_v1_is_deployed();
  backup = store;
  ASSERT_TRUE(deploy(request(site("v2"))));
  agents_act();
  // w2 has begun; the copy comes back; then it has done it.
  Agent& w2 = agents["w2"];
  const plan::InstanceReport before = w2.instances.at("app");
  ++w2.seq;
  w2.instances.at("app").step = "switch";
  go_back_to(backup);
  report("w2");
  agents_act();
  EXPECT_TRUE(core->target_of("w2")->instances.empty()) << "nobody knows yet what becomes of it";
  w2.instances.at("app").step.clear();
  w2.instances.at("app").outcome->attempt = "r000002/1";
  w2.instances.at("app").applied->manifest = site("v2").generation.services.at("app").manifest;
  report("w2");
  settle();
  EXPECT_EQ(version_on("w2", "app"), "v2");
  EXPECT_EQ(core->target_of("w2")->instances.at("app").wanted, w2.instances.at("app").applied);
}

TEST_F(ControllerFromABackup, PositionsThatNobodyCanHaveGivenAreRefused) {
  const auto poll = Core::Telling::poll;
  const std::uint64_t most = core->epoch() - 1 + kEpochLead;
  EXPECT_TRUE(core->check_position("w1", most, kMostToldSeq, poll));
  for (const auto& [epoch, seq] :
       {std::pair<std::uint64_t, std::uint64_t>(9'000'000'000'000'000'000U, 0),
        {most + 1, 0},
        {0, kMostToldSeq + 1}}) {
    const Status status = core->check_position("w1", epoch, seq, poll);
    ASSERT_FALSE(status);
    EXPECT_EQ(status.error().code(), ErrorCode::invalid_input);
  }
  // What passes can be read again, and what comes of it is no reason to refuse the host later.
  report("w1");
  agents["w1"].epoch = most;
  agents["w1"].seq = kMostToldSeq;
  report("w1");
  EXPECT_TRUE(Core::restore(store));
  const plan::Target given = core->target_of("w1").value();
  EXPECT_GT(given.seq, kMostToldSeq);
  EXPECT_TRUE(core->check_position("w1", given.epoch, given.seq, poll));
  // Another host does not move the epoch further still.
  EXPECT_GT(core->epoch(), most);
  EXPECT_FALSE(core->check_position("w2", core->epoch() + 1, 0, poll));
  EXPECT_TRUE(core->check_position("w2", core->epoch(), 0, poll));
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
  time_passes(kSilence + seconds(1));
  EXPECT_FALSE(core->hosts().at("w1").reachable);
  EXPECT_THAT(story, ::testing::Contains("host-unreachable@w1"));
  take(core->on_contact("w1", now));
  EXPECT_TRUE(core->hosts().at("w1").reachable);
}

TEST_F(ControllerRestart, AControllerThatStoodStillBlamesNoHost) {
  given_v1_is_deployed();
  // Given a controller whose process is stopped for a minute: no tick, no message,
  now += minutes(1);
  story.clear();
  // when it runs again, then the connections that broke meanwhile count for nothing,
  take(core->on_silence("w1", now));
  take(core->tick(now));
  EXPECT_THAT(story, ::testing::ElementsAre("stalled"));
  for (const auto& [name, host] : core->hosts()) EXPECT_TRUE(host.reachable) << name;
  // whoever calls in stays, and only who is silent from then on is gone.
  time_passes(seconds(10));
  take(core->on_contact("w1", now));
  time_passes(seconds(6));
  EXPECT_TRUE(core->hosts().at("w1").reachable);
  EXPECT_FALSE(core->hosts().at("w2").reachable);
  EXPECT_THAT(story, ::testing::Contains("host-unreachable@w2"));
  EXPECT_THAT(story, ::testing::Not(::testing::Contains("host-unreachable@w1")));
}

TEST_F(ControllerRestart, AShortStallTakesNoPatienceFromARestart) {
  given_v1_is_deployed();
  const auto id = deploy(request(site("v2")));
  ASSERT_TRUE(id);
  restart();  // hosts that are at work have a while to be heard
  const Instant patient = core->rollouts().at(*id).patient_until;
  ASSERT_GT(patient, now);
  ASSERT_TRUE(core->wake());
  now = std::max(now, *core->wake()) + seconds(3);
  story.clear();
  take(core->tick(now));
  ASSERT_THAT(story, ::testing::Contains("stalled"));
  EXPECT_GE(core->rollouts().at(*id).patient_until, patient);
}

// What a step's end sets in motion is many writes, and a crash may fall between any two of them.
TEST_F(ControllerRestart, AfterACrashNoHostTakesASlotBesideTheOneThatGotIt) {
  const auto pair = [](const std::string& version) {
    Model model;
    model.host("w1", "web").host("w2", "web");
    model.service("app", "web", version).service("shop", "web", version, {"app"});
    return model;
  };
  hosts_join(pair("v1"));
  ASSERT_TRUE(deploy(request(pair("v1"))));
  settle();
  // Given the last step of a wave, on w2, which was heard of in the middle of it,
  ASSERT_TRUE(deploy(request(pair("v2"))));
  const auto is_told = [&] {
    const auto target = core->target_of("w2");
    return target->instances.at("app").wanted->manifest !=
           agents["w2"].instances.at("app").applied->manifest;
  };
  for (int i = 0; i < 20 && !is_told(); ++i) {
    now += seconds(1);
    agents_act();
  }
  ASSERT_TRUE(is_told());
  const plan::Target target = *core->target_of("w2");
  plan::HostReport report = report_of("w2");
  report.epoch = target.epoch;
  report.seq = target.seq;
  plan::InstanceReport& app = report.instances.at("app");
  app.step = "start";
  take(core->on_report(report, now));
  // when it has ended, and the controller dies while it writes what follows,
  ++report.number;
  app.step.clear();
  app.applied = target.instances.at("app").wanted;
  app.outcome.emplace();
  app.outcome->attempt = target.instances.at("app").attempt;
  const Output ended = core->on_report(report, now);
  const std::vector<Writes> parts = in_transactions(ended.writes, {1, 1'000'000});
  ASSERT_GT(parts.size(), 3U);
  for (std::size_t written = 0; written <= parts.size(); ++written) {
    Store left = store;
    for (std::size_t i = 0; i < written; ++i) apply_writes(left, parts[i]);
    auto next = Core::restore(left);
    ASSERT_TRUE(next) << render_error(next.error());
    const auto holders = [&] { return next->budgets().at("web").holders.size(); };
    next->start(now);
    EXPECT_LE(holders(), 1U) << "after " << written << " of " << parts.size();
    next->on_contact("w1", now);
    EXPECT_LE(holders(), 1U) << "after " << written << " of " << parts.size();
    ++report.number;
    next->on_report(report, now);
    EXPECT_EQ(holders(), 1U) << "after " << written << " of " << parts.size();
  }
}

TEST_F(ControllerRestart, AGenerationOfAVeryLargeFleetIsReadBack) {
  given_v1_is_deployed();
  plan::Generation generation = *core->current();
  // More bytes and more values than are taken from anybody else.
  generation.hosts.at("w1").labels["much"] = std::string(JsonLimits{}.max_bytes, 'm');
  store["generations/0000000001"] = plan::generation_to_json(generation).dump();
  restart();
  EXPECT_EQ(core->current()->hosts, generation.hosts);
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
