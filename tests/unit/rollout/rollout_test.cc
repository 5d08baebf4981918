// The rollout engine, told as situations: what it starts, and when.
#include "unit/rollout/rollout_fixture.h"

namespace consort::rollout {
namespace {

using plan::Health;
using plan::Mode;
using ::testing::HasSubstr;
using tests::Model;

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

TEST_F(RolloutTest, OfManyFailuresTheFirstAreKeptInFull) {
  given_an_upgrade_of(10);
  const std::string much(1000, 'm');
  for (StepRun& run : rollout.forward.runs) {
    run.waiting = "failed at start: " + much;
    run.outcome = plan::Outcome();
    run.outcome->message = run.outcome->tail = run.outcome->lost = much;
  }
  rollout.forward.runs.back().outcome->message = "short";
  shorten_texts(rollout, 8500);
  for (int i = 0; i < 2; ++i)
    EXPECT_EQ(rollout.forward.runs[static_cast<std::size_t>(i)].outcome->tail, much);
  EXPECT_EQ(rollout.forward.runs[5].outcome->tail, "");
  EXPECT_THAT(rollout.forward.runs[5].waiting, ::testing::StartsWith("failed at start: mmm"));
  EXPECT_EQ(rollout.forward.runs[9].outcome->message, "short");
  EXPECT_LT(runs_to_json(rollout).dump().size(), 2 * 4100 + 8 * 700);
  // However many they are.
  rollout.forward.runs.resize(5000, rollout.forward.runs[5]);
  shorten_texts(rollout, 8500);
  EXPECT_LT(runs_to_json(rollout).dump().size(), 2 * 8500 + 5000 * 300);
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

}  // namespace
}  // namespace consort::rollout
