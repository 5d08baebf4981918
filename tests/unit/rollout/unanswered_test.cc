// Hosts that were told something and have not answered: what becomes of their targets and slots
// when the rollout goes another way meanwhile, or ends.
#include "rollout/fleet_view.h"
#include "unit/rollout/rollout_fixture.h"

namespace consort::rollout {
namespace {

using plan::Health;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using tests::Model;

class Unanswered : public RolloutTest {
 protected:
  // w10 and w11 were told; w10 falls silent before it answers.
  void given_two_slots_and_a_host_that_falls_silent() {
    policy.max_unavailable = budget::Amount{2, false};
    policy.step_timeout = minutes(1);
    given_an_upgrade_of(3);
    ASSERT_TRUE(sent.contains({"app", "w10"}) && sent.contains({"app", "w11"}));
    told = sent.at({"app", "w10"});
    observed["w10"].reachable = false;
    now += seconds(1);
    go();
    ASSERT_EQ(rollout.forward.runs[0].phase, StepPhase::active);
  }
  void aborted() {
    rollout.paused = false;
    rollout.abort = true;
    go();
    ASSERT_TRUE(rollout.reverting);
  }
  // What a host says of the attempt, without any change of what it has.
  void answers(const std::string& host, const plan::TargetEntry& entry) {
    plan::InstanceReport& report = observed[host].instances["app"];
    report.outcome.emplace();
    report.outcome->attempt = entry.attempt;
    report.applied = entry.wanted;
    if (entry.wanted->mode == plan::Mode::running) report.health = Health::healthy;
    now += seconds(1);
    go();
  }
  [[nodiscard]] std::set<std::string> holders() const {
    std::set<std::string> out;
    for (const auto& [host, reasons] : budgets.at("web").holders) out.insert(host);
    return out;
  }
  [[nodiscard]] std::string word_for(const std::string& host) const {
    const auto it = sent.find({"app", host});
    return it == sent.end() ? "" : it->second.attempt;
  }

  plan::TargetEntry told;
};

TEST_F(Unanswered, WhoFellSilentJustBeforeAnotherFailedIsToldToStayAndKeepsItsSlot) {
  given_two_slots_and_a_host_that_falls_silent();
  // When the other one fails, before the silence counts as one,
  answer({"w11"});
  ASSERT_TRUE(rollout.reverting);
  answer();
  now += kUnreachableGrace + seconds(1);
  go();
  // then the silent host does not find its forward target when it returns,
  EXPECT_THAT(word_for("w10"), ::testing::EndsWith("/back"));
  EXPECT_EQ(sent.at({"app", "w10"}).wanted->manifest,
            before.generation.services.at("app").manifest);
  ASSERT_EQ(rollout.result, Result::inconsistent);
  // and nobody has given its slot away: it may be in the middle of it.
  EXPECT_THAT(unanswered(rollout), ::testing::Not(IsEmpty()));
  EXPECT_THAT(holders(), ElementsAre("w10"));
}

TEST_F(Unanswered, AlsoAfterAPauseInWhichSilenceIsNoFailure) {
  given_two_slots_and_a_host_that_falls_silent();
  rollout.paused = true;
  now += hours(1);
  go();
  ASSERT_EQ(rollout.forward.runs[0].phase, StepPhase::active);
  aborted();
  now += kUnreachableGrace + seconds(1);
  go();
  EXPECT_THAT(word_for("w10"), ::testing::EndsWith("/back"));
  while (rollout.result == Result::open) ASSERT_GT(answer(), 0);
  EXPECT_THAT(holders(), ElementsAre("w10"));
}

TEST_F(Unanswered, WhoIsStillAtItWhenAllGoBackKeepsItsSlotUntilItHasGoneBack) {
  policy.max_unavailable = budget::Amount{1, false};
  given_an_upgrade_of(3);
  const plan::TargetEntry forward = sent.at({"app", "w10"});
  aborted();
  ASSERT_THAT(word_for("w10"), ::testing::EndsWith("/back"));
  EXPECT_THAT(holders(), ElementsAre("w10"));
  // It ends the way forward first, and then goes back.
  const plan::TargetEntry back = sent.at({"app", "w10"});
  answers("w10", forward);
  EXPECT_TRUE(rollout.forward.runs[0].outcome) << "the record says how it ended";
  EXPECT_THAT(holders(), ElementsAre("w10"));
  answers("w10", back);
  EXPECT_EQ(rollout.result, Result::reverted);
  EXPECT_THAT(holders(), IsEmpty());
  EXPECT_THAT(unanswered(rollout), IsEmpty());
}

TEST_F(Unanswered, WhoAnswersOnlyToTheWayBackIsNotWaitedForAnyMore) {
  policy.max_unavailable = budget::Amount{1, false};
  given_an_upgrade_of(3);
  aborted();
  answer();
  EXPECT_EQ(rollout.result, Result::reverted);
  EXPECT_FALSE(rollout.forward.runs[0].outcome);
  EXPECT_THAT(unanswered(rollout), IsEmpty());
  EXPECT_THAT(holders(), IsEmpty());
}

TEST_F(Unanswered, WhatALateAnswerSaysIsLostIsToldOfTheWayBack) {
  policy.max_unavailable = budget::Amount{1, false};
  given_an_upgrade_of(1);
  const plan::TargetEntry forward = std::exchange(sent, {}).at({"app", "w10"});
  aborted();
  plan::InstanceReport& report = observed["w10"].instances["app"];
  report.outcome.emplace();
  report.outcome->attempt = forward.attempt;
  report.outcome->result = plan::Outcome::Result::reverted;
  report.outcome->lost = "/etc/x could not be brought back";
  go();
  answer();
  ASSERT_EQ(rollout.result, Result::reverted);
  EXPECT_THAT(rollout.summary, ::testing::HasSubstr("/etc/x"));
}

TEST_F(Unanswered, ASlotIsNotGivenBackWhileAnotherServiceOfTheHostStillGoesForward) {
  policy.max_unavailable = budget::Amount{1, false};
  policy.step_timeout = minutes(1);
  for (Model* model : {&before, &after}) model->host("d1", "db").host("w1", "web");
  before.service("db", "db", "v1").service("app", "web", "v1");
  before.service("side", "web", "v1", {"db"});
  after.service("db", "db", "v1").service("app", "web", "v2");
  after.service("side", "web", "v2", {"db"});
  observed = before.running();
  begin();
  // Given a host on which one service is done and another one hangs,
  while (!sent.contains({"side", "w1"})) ASSERT_GT(answer(), 0);
  sent.erase({"side", "w1"});
  observed["w1"].instances["side"].step = "start";
  if (!sent.empty()) answer();
  ASSERT_EQ(observed["w1"].instances["app"].applied->manifest,
            after.generation.services.at("app").manifest);
  // which cannot be told to go back, for what it needs is sick,
  observed["d1"].instances["db"].health = Health::unhealthy;
  aborted();
  for (int i = 0; i < 10 && rollout.result == Result::open; ++i) {
    ASSERT_FALSE(sent.contains({"side", "w1"}));
    answer();
    now += minutes(2);
    go();
  }
  // when the first one has gone back, then the host is still away.
  EXPECT_EQ(at_version(before), 1);
  EXPECT_THAT(unanswered(rollout), SizeIs(1));
  EXPECT_THAT(holders(), ElementsAre("w1"));
}

TEST_F(Unanswered, AHaltLeavesTheSlotToWhoMayBeAtIt) {
  policy.on_failure = plan::OnFailure::halt;
  given_two_slots_and_a_host_that_falls_silent();
  answer({"w11"});
  ASSERT_EQ(rollout.result, Result::inconsistent);
  EXPECT_THAT(unanswered(rollout), SizeIs(1));
  EXPECT_THAT(holders(), ElementsAre("w10"));
}

TEST_F(Unanswered, ANewLeaderRepeatsNoWordThatALaterOneHasOvertaken) {
  policy.allow_outage = true;
  policy.step_timeout = minutes(5);
  for (Model* model : {&before, &after})
    model->host("d1", "db").host("w1", "web").host("w2", "web");
  before.service("db", "db", "v1").service("app", "web", "v1", {"db"});
  after.service("db", "db", "v2").service("app", "web", "v2", {"db"});
  observed = before.running();
  begin();
  // Given a dependent that was held for its provider, is to go on, and falls silent then,
  const auto goes_on = [&] {
    const auto it = sent.find({"app", "w1"});
    return it != sent.end() && it->second.wanted->mode == plan::Mode::running;
  };
  while (!goes_on()) ASSERT_GT(answer(), 0);
  observed["w1"].reachable = false;
  aborted();
  // which gets two words on the way back: to be held again, and to run as it did,
  std::vector<plan::TargetEntry> words;
  while (words.size() < 2) {
    ASSERT_EQ(rollout.result, Result::open);
    const auto word = sent.find({"app", "w1"});
    if (word != sent.end() && word->second.attempt.ends_with("/back"))
      words.push_back(sent.extract(word).mapped());
    if (words.size() == 2) break;
    answer();
    now += kUnreachableGrace + seconds(1);
    go();
  }
  ASSERT_EQ(words.back().wanted->mode, plan::Mode::running);
  // when it is there again and has carried out the last one, while another one is still at it,
  observed["w1"].reachable = true;
  ASSERT_EQ(rollout.result, Result::open);
  answers("w1", words.back());
  ASSERT_EQ(rollout.result, Result::open);
  // then a new leader does not hold it once more.
  EXPECT_FALSE(open_targets(rollout).contains("w1"));
}

}  // namespace
}  // namespace consort::rollout
