// The rollout engine, told as situations. The fleet here is a table of reports; time is a number.
#include "rollout/rollout.h"

#include <gmock/gmock.h>

#include "fixtures/models.h"

namespace consort::rollout {
namespace {

using plan::Health;
using plan::Mode;
using ::testing::HasSubstr;
using tests::Model;
using tests::Planning;

class RolloutTest : public ::testing::Test {
 protected:
  // An upgrade of `hosts` hosts of one class from v1 to v2.
  void given_an_upgrade_of(int hosts) {
    for (int i = 0; i < hosts; ++i) {
      const std::string name = "w" + std::to_string(10 + i);
      before.host(name, "web");
      after.host(name, "web");
    }
    before.service("app", "web", "v1");
    after.service("app", "web", "v2");
    observed = before.running();
    begin();
  }

  void begin() {
    after.generation.policy = policy;
    auto plan = Planning{.before = before.generation.services.empty() ? nullptr : &before,
                         .after = &after,
                         .observed = observed}
                    .plan();
    ASSERT_TRUE(plan) << render_error(plan.error());
    rollout = rollout::begin("r1", std::move(*plan), 1, "me", "", now);
    for (const auto& [name, members] : after.generation.classes) {
      censuses[name].hosts = static_cast<std::int64_t>(members.size());
      budgets[name].slots =
          policy.max_unavailable.value_or(budget::default_max_unavailable(censuses[name].hosts));
    }
    go();
  }

  // Advances, and remembers which targets were set.
  void go() {
    for (auto& [name, census] : censuses) {
      census.unhealthy.clear();
      for (const std::string& host : after.generation.classes.at(name)) {
        const auto& seen = observed.at(host);
        const bool sick =
            !seen.reachable ||
            std::any_of(seen.instances.begin(), seen.instances.end(),
                        [](const auto& i) { return i.second.health == Health::unhealthy; });
        if (sick) census.unhealthy.insert(host);
      }
    }
    for (int i = 0; i < 100; ++i) {
      Effects effects = advance(rollout, observed, budgets, censuses, now);
      for (auto& [host, entries] : effects.targets) {
        for (auto& [service, entry] : entries) sent[{service, host}] = entry;
      }
      // Whatever is journaled must be read back as it was: a new leader goes on from it.
      const auto again = rollout_from_json(rollout_to_json(rollout));
      ASSERT_TRUE(again) << render_error(again.error());
      ASSERT_EQ(rollout_to_json(*again).dump(), rollout_to_json(rollout).dump());
      rollout = *again;
      if (!effects.changed) return;
    }
  }

  // Every target that was sent and not answered yet succeeds (or fails, for these hosts).
  int answer(const std::set<std::string>& failing = {}) {
    int answered = 0;
    for (auto& [key, entry] : std::exchange(sent, {})) {
      const auto& [service, host] = key;
      if (!observed.at(host).reachable) continue;
      plan::InstanceReport& report = observed[host].instances[service];
      plan::Outcome outcome;
      outcome.attempt = entry.attempt;
      if (failing.contains(host) && !rollout.reverting) {
        outcome.result = plan::Outcome::Result::reverted;
        outcome.step = "validate";
        outcome.message = "broken";
      } else if (!entry.duty) {
        report.applied = entry.wanted;
        report.health =
            entry.wanted && entry.wanted->mode == Mode::running ? Health::healthy : Health::unknown;
      }
      report.outcome = outcome;
      if (entry.duty) report.duties[entry.duty->token] = outcome;
      ++answered;
    }
    now += seconds(1);
    go();
    return answered;
  }

  [[nodiscard]] int at_version(const Model& model) const {
    int count = 0;
    for (const auto& [host, seen] : observed) {
      const auto it = seen.instances.find("app");
      if (it != seen.instances.end() && it->second.applied &&
          it->second.applied->manifest == model.generation.services.at("app").manifest)
        ++count;
    }
    return count;
  }

  Model before, after;
  plan::Policy policy;
  plan::Observed observed;
  budget::Budgets budgets;
  budget::Censuses censuses;
  Rollout rollout;
  Instant now = from_millis(1'700'000'000'000);
  std::map<std::pair<std::string, std::string>, plan::TargetEntry> sent;
};

TEST_F(RolloutTest, TakesNoMoreHostsAwayThanTheBudgetAllows) {
  policy.max_unavailable = budget::Amount{30, true};
  given_an_upgrade_of(10);
  EXPECT_EQ(sent.size(), 3U);
  while (rollout.result == Result::open) {
    EXPECT_LE(sent.size(), 3U);
    ASSERT_GT(answer(), 0);
  }
  EXPECT_EQ(rollout.result, Result::done);
  EXPECT_EQ(at_version(after), 10);
  EXPECT_TRUE(budgets.at("web").holders.empty());
}

TEST_F(RolloutTest, S21_ASickHostCountsAgainstTheBudget) {
  policy.max_unavailable = budget::Amount{30, true};
  for (int i = 0; i < 10; ++i) {
    const std::string name = "w" + std::to_string(10 + i);
    before.host(name, "web");
    after.host(name, "web");
  }
  before.service("app", "web", "v1").service("other", "web", "v1");
  after.service("app", "web", "v2").service("other", "web", "v1");
  observed = before.running();
  observed["w19"].instances["app"].health = Health::unhealthy;
  begin();
  // The sick one first (it costs nothing), and at most two more.
  EXPECT_TRUE(sent.contains({"app", "w19"}));
  EXPECT_EQ(sent.size(), 3U);
}

TEST_F(RolloutTest, S48_OneFailureBringsAllBackInReverseOrder) {
  policy.batches = {{1, false}, {100, true}};
  policy.max_unavailable = budget::Amount{5, false};
  given_an_upgrade_of(4);
  answer();
  EXPECT_EQ(at_version(after), 1);
  answer({"w12"});
  EXPECT_TRUE(rollout.reverting);
  while (rollout.result == Result::open) ASSERT_GT(answer(), 0);
  EXPECT_EQ(rollout.result, Result::reverted);
  EXPECT_EQ(at_version(before), 4);
}

TEST_F(RolloutTest, AWayBackThatLostSomethingDoesNotCallItselfComplete) {
  policy.max_unavailable = budget::Amount{5, false};
  given_an_upgrade_of(2);
  for (auto& [key, entry] : std::exchange(sent, {})) {
    plan::Outcome outcome;
    outcome.attempt = entry.attempt;
    outcome.result = plan::Outcome::Result::reverted;
    outcome.lost = "what purges have removed could not all be brought back: /etc/x (why)";
    observed[key.second].instances["app"].outcome = outcome;
  }
  go();
  while (rollout.result == Result::open) ASSERT_GT(answer(), 0);
  EXPECT_EQ(rollout.result, Result::reverted);
  EXPECT_THAT(rollout.summary, HasSubstr("but for app@w10: what purges have removed"));
}

TEST_F(RolloutTest, HaltStopsWhereItIs) {
  policy.on_failure = plan::OnFailure::halt;
  given_an_upgrade_of(3);
  answer({"w10"});
  EXPECT_EQ(rollout.result, Result::inconsistent);
  EXPECT_THAT(rollout.summary, HasSubstr("halt"));
  EXPECT_TRUE(budgets.at("web").holders.empty());
}

TEST_F(RolloutTest, S28_FailuresWithinTheLimitMakeItPartial) {
  policy.max_failures = budget::Amount{10, true};
  policy.max_unavailable = budget::Amount{10, false};
  given_an_upgrade_of(10);
  answer({"w13"});
  EXPECT_EQ(rollout.result, Result::partial);
  EXPECT_EQ(at_version(after), 9);
  EXPECT_EQ(open_tail(rollout).size(), 1U);
}

TEST_F(RolloutTest, S28_OneMoreStopsIt) {
  policy.max_failures = budget::Amount{10, true};
  policy.max_unavailable = budget::Amount{10, false};
  given_an_upgrade_of(10);
  answer({"w13", "w14"});
  EXPECT_TRUE(rollout.reverting);
}

TEST_F(RolloutTest, S14_AHostThatIsDownIsLeftBehind) {
  policy.max_failures = budget::Amount{1, false};
  policy.max_unavailable = budget::Amount{3, false};
  for (const std::string name : {"h1", "h2", "h3"}) {
    before.host(name, "web");
    after.host(name, "web");
  }
  before.service("app", "web", "v1");
  after.service("app", "web", "v2");
  observed = before.running();
  observed["h2"].reachable = false;
  begin();
  while (rollout.result == Result::open) ASSERT_GT(answer(), 0);
  EXPECT_EQ(rollout.result, Result::partial);
  EXPECT_THAT(rollout.summary, HasSubstr("app@h2"));
  EXPECT_EQ(at_version(after), 2);
}

TEST_F(RolloutTest, SoakHoldsTheNextBatchUntilItHasPassed) {
  policy.batches = {{1, false}, {100, true}};
  policy.soak = minutes(2);
  policy.max_unavailable = budget::Amount{5, false};
  given_an_upgrade_of(3);
  answer();
  EXPECT_TRUE(sent.empty()) << "the canary soaks";
  now += minutes(1);
  go();
  EXPECT_TRUE(sent.empty());
  now += minutes(2);
  go();
  EXPECT_EQ(sent.size(), 2U);
}

TEST_F(RolloutTest, BecomingUnhealthyWhileSoakingIsAFailure) {
  policy.batches = {{1, false}, {100, true}};
  policy.soak = minutes(2);
  given_an_upgrade_of(3);
  answer();
  observed["w10"].instances["app"].health = Health::unhealthy;
  go();
  EXPECT_TRUE(rollout.reverting);
}

TEST_F(RolloutTest, ASoakOutOfSightBeginsAgainOrFails) {
  policy.batches = {{1, false}, {100, true}};
  policy.soak = minutes(2);
  given_an_upgrade_of(3);
  answer();
  observed["w10"].reachable = false;
  now += seconds(10);
  go();
  EXPECT_FALSE(rollout.reverting) << "a short silence is no failure";
  observed["w10"].reachable = true;
  now += seconds(1);
  go();
  now += minutes(1) + seconds(55);
  go();
  EXPECT_TRUE(sent.empty()) << "the soak has begun again";
  observed["w10"].reachable = false;
  now += minutes(1);
  go();
  now += kUnreachableGrace;
  go();
  EXPECT_TRUE(rollout.reverting) << "a canary that takes its host down is a failure";
}

TEST_F(RolloutTest, ASoakNeedsHealthThatIsKnown) {
  policy.batches = {{1, false}, {100, true}};
  policy.soak = minutes(2);
  given_an_upgrade_of(3);
  answer();
  observed["w10"].instances["app"].health = Health::unknown;
  now += minutes(3);
  go();
  EXPECT_TRUE(sent.empty());
  observed["w10"].instances["app"].health = Health::healthy;
  go();
  EXPECT_TRUE(sent.empty());
  now += minutes(2);
  go();
  EXPECT_EQ(sent.size(), 1U);
}

TEST_F(RolloutTest, ALongWaveIsNotHeldToTheLimitOfOneStep) {
  policy.step_timeout = seconds(10);
  policy.max_unavailable = budget::Amount{1, false};
  for (Model* model : {&before, &after}) {
    for (const std::string host : {"d1", "d2", "d3", "d4", "d5"}) model->host(host, "db");
    model->host("w1", "web");
  }
  before.service("db", "db", "v1").service("app", "web", "v1", {"db"});
  after.service("db", "db", "v2").service("app", "web", "v1", {"db"});
  observed = before.running();
  begin();
  // Five hosts, one after another, eight seconds each; the last one fails, and all go back.
  for (int i = 0; i < 5; ++i) {
    now += seconds(7);
    ASSERT_EQ(answer({"d5"}), 1) << i;
  }
  ASSERT_TRUE(rollout.reverting);
  while (rollout.result == Result::open) {
    now += seconds(7);
    ASSERT_GT(answer(), 0);
  }
  EXPECT_EQ(rollout.result, Result::reverted) << rollout.summary;
}

TEST_F(RolloutTest, WhatWasNeverSentNeedsNoWayBack) {
  policy.step_timeout = seconds(10);
  policy.max_unavailable = budget::Amount{2, false};
  for (Model* model : {&before, &after}) model->host("d1", "db").host("d2", "db").host("w1", "web");
  before.service("db", "db", "v1").service("app", "web", "v1", {"db"});
  after.service("db", "db", "v2").service("app", "web", "v1", {"db"});
  observed = before.running();
  begin();
  answer();  // d1 is done; then it gets sick and stays so: d2 must not go
  sent.clear();
  observed["d1"].instances["db"].health = Health::unhealthy;
  observed["d2"].instances["db"].outcome.reset();
  rollout.forward.runs[1] = {};
  go();
  ASSERT_TRUE(sent.empty());
  now += minutes(1);
  go();
  ASSERT_EQ(rollout.forward.runs[1].phase, StepPhase::failed);
  EXPECT_THAT(rollout.forward.runs[1].waiting, HasSubstr("must stay healthy"));
  ASSERT_TRUE(rollout.reverting);
  EXPECT_EQ(rollout.back.steps.size(), 1U) << "only d1";
}

TEST_F(RolloutTest, DoneIsOnlyWhatRunsWhatWasWanted) {
  given_an_upgrade_of(1);
  const auto entry = sent.at({"app", "w10"});
  plan::InstanceReport& report = observed["w10"].instances["app"];
  report.outcome = plan::Outcome{};
  report.outcome->attempt = entry.attempt;  // from an earlier life of the store
  go();
  EXPECT_EQ(rollout.forward.runs[0].phase, StepPhase::failed);
  EXPECT_THAT(rollout.forward.runs[0].waiting, HasSubstr("runs something else"));
}

TEST_F(RolloutTest, APauseStopsTheLimits) {
  policy.step_timeout = minutes(1);
  given_an_upgrade_of(2);
  rollout.paused = true;
  observed["w10"].reachable = false;
  now += minutes(30);
  go();
  EXPECT_EQ(rollout.forward.runs[0].phase, StepPhase::active) << "silence is no failure in a pause";
  rollout.paused = false;
  rollout.resumed = now;
  go();
  EXPECT_EQ(rollout.forward.runs[0].phase, StepPhase::active) << "it gets its time again";
  observed["w10"].reachable = true;
  while (rollout.result == Result::open) ASSERT_GT(answer(), 0);
  EXPECT_EQ(rollout.result, Result::done);
}

TEST_F(RolloutTest, TheWayBackOfAnOutageComesToAnEndAlsoWithoutItsSlots) {
  policy.step_timeout = minutes(1);
  policy.allow_outage = true;
  for (Model* model : {&before, &after}) model->host("d1", "db").host("w1", "web");
  before.service("db", "db", "v1").service("app", "web", "v1", {"db"});
  after.service("db", "db", "v2").service("app", "web", "v2", {"db"});
  observed = before.running();
  begin();
  ASSERT_TRUE(sent.contains({"app", "w1"})) << "held";
  while (!rollout.reverting && rollout.result == Result::open) ASSERT_GT(answer({"w1"}), 0);
  // Somebody else has taken the budget of web meanwhile.
  budgets["web"].joint = budget::Joint{"reboot", {now, "kernel"}, {"w1"}};
  for (int i = 0; i < 20 && rollout.result == Result::open; ++i) {
    answer();
    now += minutes(1);
    go();
  }
  EXPECT_NE(rollout.result, Result::open) << "it says so instead of waiting for ever";
}

TEST_F(RolloutTest, ManyWaitersAreOneLineOfTheLog) {
  given_an_upgrade_of(10);
  int told = 0;
  for (int i = 0; i < 5; ++i) {
    budgets["web"].joint = budget::Joint{"reboot " + std::to_string(i), {now, "kernel"}, {}};
    const Effects effects = advance(rollout, observed, budgets, censuses, now);
    for (const Event& event : effects.events) told += event.kind == "step-waiting" ? 1 : 0;
    EXPECT_TRUE(effects.runs.empty()) << "nothing to journal";
  }
  EXPECT_EQ(told, 0) << "the first one was told before";
  EXPECT_THAT(rollout.forward.runs[9].waiting, HasSubstr("reboot 4"));
}

TEST_F(RolloutTest, I1_NothingStartsBeforeWhatItNeedsIsHealthy) {
  after.host("d1", "db").host("w1", "web");
  after.service("db", "db", "v1").service("app", "web", "v1", {"db"});
  observed = after.empty_hosts();
  begin();
  EXPECT_TRUE(sent.contains({"db", "d1"}));
  EXPECT_FALSE(sent.contains({"app", "w1"}));
  // db is there, but does not get healthy: app must not be started.
  sent.clear();
  plan::InstanceReport report;
  report.applied = plan::InstanceState{after.generation.services.at("db").manifest, Mode::running};
  report.health = Health::unhealthy;
  report.outcome = plan::Outcome{};
  report.outcome->attempt = "r1/0";
  observed["d1"].instances["db"] = report;
  go();
  EXPECT_TRUE(sent.empty());
  observed["d1"].instances["db"].health = Health::healthy;
  go();
  EXPECT_TRUE(sent.contains({"app", "w1"}));
}

TEST_F(RolloutTest, I2_TheLastHealthyProviderIsNotTakenAway) {
  policy.max_unavailable = budget::Amount{2, false};
  for (Model* model : {&before, &after}) model->host("d1", "db").host("d2", "db").host("w1", "web");
  before.service("db", "db", "v1").service("app", "web", "v1", {"db"});
  after.service("db", "db", "v2").service("app", "web", "v1", {"db"});
  observed = before.running();
  begin();
  EXPECT_EQ(sent.size(), 1U) << "the budget allows two, the dependent allows one";
  answer();
  EXPECT_EQ(sent.size(), 1U);
}

TEST_F(RolloutTest, APausedRolloutStartsNothing) {
  given_an_upgrade_of(3);
  rollout.paused = true;
  answer();
  EXPECT_TRUE(sent.empty());
  rollout.paused = false;
  go();
  EXPECT_EQ(sent.size(), 1U);
}

TEST_F(RolloutTest, AnAbortedRolloutGoesBack) {
  policy.max_unavailable = budget::Amount{1, false};
  given_an_upgrade_of(3);
  answer();
  rollout.abort = true;
  go();
  EXPECT_TRUE(rollout.reverting);
  while (rollout.result == Result::open) ASSERT_GT(answer(), 0);
  EXPECT_EQ(rollout.result, Result::reverted);
  EXPECT_EQ(at_version(before), 3);
}

TEST_F(RolloutTest, AStepThatNeverAnswersFailsAfterItsTime) {
  policy.step_timeout = minutes(1);
  given_an_upgrade_of(1);
  now += minutes(2);
  go();
  EXPECT_TRUE(rollout.reverting);
}

TEST_F(RolloutTest, AStepThatIsGivenUpGivesItsSlotBackWhenItsHostAnswers) {
  policy.step_timeout = minutes(1);
  policy.max_failures = budget::Amount{1, false};
  given_an_upgrade_of(3);
  const auto late = std::exchange(sent, {});
  now += minutes(2);
  go();
  ASSERT_EQ(rollout.forward.runs[0].phase, StepPhase::failed);
  EXPECT_TRUE(sent.empty()) << "its host may still be at it: no other one may be away";
  sent = late;
  answer();
  EXPECT_EQ(sent.size(), 1U) << "now the next one goes";
  while (rollout.result == Result::open) ASSERT_GT(answer(), 0);
  EXPECT_EQ(rollout.result, Result::partial);
}

TEST_F(RolloutTest, AnInstanceThatNeverGetsHealthyGivesItsSlotBack) {
  policy.step_timeout = minutes(1);
  policy.max_failures = budget::Amount{1, false};
  given_an_upgrade_of(3);
  plan::InstanceReport& report = observed["w10"].instances["app"];
  report.applied = sent.at({"app", "w10"}).wanted;
  report.outcome = plan::Outcome{};
  report.outcome->attempt = sent.at({"app", "w10"}).attempt;
  report.health = Health::unhealthy;
  sent.clear();
  now += minutes(2);
  go();
  ASSERT_EQ(rollout.forward.runs[0].phase, StepPhase::failed);
  EXPECT_TRUE(budgets.at("web").holders.empty()) << "it counts as sick, not as a holder";
  report.health = Health::healthy;
  go();
  EXPECT_EQ(sent.size(), 1U);
}

TEST_F(RolloutTest, ProvidersThatAreAllSickCanBeRepaired) {
  for (Model* model : {&before, &after}) model->host("d1", "db").host("d2", "db").host("w1", "web");
  before.service("db", "db", "v1").service("app", "web", "v1", {"db"});
  after.service("db", "db", "v2").service("app", "web", "v1", {"db"});
  observed = before.running();
  for (const std::string host : {"d1", "d2"})
    observed[host].instances["db"].health = Health::unhealthy;
  begin();
  EXPECT_EQ(sent.size(), 2U) << "there is nothing left that could be taken away";
}

TEST_F(RolloutTest, AStepThatWasGivenUpCountsAsAwayOnTheWayBack) {
  policy.step_timeout = minutes(1);
  policy.max_unavailable = budget::Amount{2, false};
  for (Model* model : {&before, &after}) model->host("d1", "db").host("d2", "db").host("w1", "web");
  before.service("db", "db", "v1").service("app", "web", "v1", {"db"});
  after.service("db", "db", "v2").service("app", "web", "v1", {"db"});
  observed = before.running();
  begin();
  answer();  // d1 is done, d2 was told and hangs
  sent.clear();
  now += minutes(2);
  go();
  ASSERT_TRUE(rollout.reverting);
  EXPECT_TRUE(sent.contains({"db", "d2"}));
  EXPECT_FALSE(sent.contains({"db", "d1"})) << "the only one that serves";
}

TEST_F(RolloutTest, S43_ADeclaredQuorumIsEnoughToStart) {
  policy.max_failures = budget::Amount{1, false};
  after.host("d1", "db").host("d2", "db").host("w1", "web");
  after.service("db", "db", "v1").service("app", "web", "v1", {"db"});
  after.generation.services.at("app").edges.front().quorum = 1;
  observed = after.empty_hosts();
  begin();
  answer({"d2"});
  EXPECT_TRUE(sent.contains({"app", "w1"}));
}

TEST_F(RolloutTest, S43_WithoutAQuorumTheFirstStartWaitsForAllInstances) {
  policy.max_failures = budget::Amount{1, false};
  after.host("d1", "db").host("d2", "db").host("w1", "web");
  after.service("db", "db", "v1").service("app", "web", "v1", {"db"});
  observed = after.empty_hosts();
  begin();
  answer({"d2"});
  EXPECT_FALSE(sent.contains({"app", "w1"}));
}

TEST_F(RolloutTest, S27_TheWayBackDoesNotSoak) {
  policy.batches = {{1, false}, {100, true}};
  policy.soak = minutes(10);
  policy.max_unavailable = budget::Amount{5, false};
  given_an_upgrade_of(3);
  answer();
  rollout.abort = true;
  go();
  const Instant turned = now;
  while (rollout.result == Result::open) ASSERT_GT(answer(), 0);
  EXPECT_EQ(rollout.result, Result::reverted);
  EXPECT_LT(now - turned, minutes(1));
}

}  // namespace
}  // namespace consort::rollout
