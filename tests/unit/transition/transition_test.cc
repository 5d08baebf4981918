// The transition engine (DESIGN.md section 7), walked by a small driver that answers each step.
#include "transition/transition.h"

#include <gmock/gmock.h>

namespace consort::transition {
namespace {

using plan::InstanceState;
using plan::Manifest;
using plan::Mode;
using plan::Outcome;
using ::testing::HasSubstr;

Manifest database(const std::string& version, std::int64_t data_version) {
  Manifest out;
  out.service = "db";
  out.version = version;
  out.data_version = data_version;
  out.daemon = Json::object({{"argv", Json::Array{"db", version}}});
  for (const std::string name :
       {"setup", "drain", "undrain", "backup", "restore", "migrate", "validate"})
    out.hooks[name].argv = {name};
  return out;
}

struct Walk {
  std::string steps;  // names in order, with the answer where it was not ok
  Ended end;
};

// Answers each step with what `answers` says (by step name), else ok.
Walk walk(Transition t, std::map<std::string, StepStatus> answers = {}) {
  Walk out;
  for (int i = 0; i < 100; ++i) {
    const Decision decision = decide(t);
    if (const auto* end = std::get_if<Ended>(&decision)) {
      out.end = *end;
      return out;
    }
    const auto& order = std::get<StepOrder>(decision);
    const std::string name(step_name(order.step));
    t = with_intent(std::move(t));
    // Whatever is journaled must be read back as it was.
    const auto again = transition_from_json(transition_to_json(t));
    EXPECT_TRUE(again);
    EXPECT_EQ(transition_to_json(*again).dump(), transition_to_json(t).dump());
    StepResult result;
    if (const auto it = answers.find(name); it != answers.end()) result.status = it->second;
    if (order.step == Step::backup || order.step == Step::backup_running)
      result.snapshot = "sha256:snapshot";
    if (result.status != StepStatus::ok) result.message = "did not work";
    out.steps += (out.steps.empty() ? "" : " ") + name;
    t = with_result(*again, result);
  }
  ADD_FAILURE() << "the transition never ends: " << out.steps;
  return out;
}

class TransitionTest : public ::testing::Test {
 protected:
  Begin upgrade() {
    Begin begin;
    begin.service = "db";
    begin.attempt = "r1/1";
    begin.from = InstanceState{Digest::of("v1"), Mode::running};
    begin.to = InstanceState{Digest::of("v2"), Mode::running};
    begin.old_manifest = &v1;
    begin.new_manifest = &v2;
    begin.has_data = true;
    return begin;
  }

  Manifest v1 = database("v1", 1);
  Manifest v2 = database("v2", 2);
};

TEST_F(TransitionTest, AnUpgradeOfDataTakesEveryStepInOrder) {
  const Walk done = walk(begin(upgrade()));
  EXPECT_EQ(
      done.steps,
      "fetch preflight drain stop backup migrate switch start validate confirm commit undrain");
  EXPECT_EQ(done.end.outcome.result, Outcome::Result::done);
  EXPECT_EQ(done.end.applied->manifest, Digest::of("v2"));
}

TEST_F(TransitionTest, I6_ASnapshotOfARunningServiceIsTakenBehindItsFenceOnly) {
  v1.hooks["backup"].while_running = true;
  EXPECT_THAT(walk(begin(upgrade())).steps, HasSubstr("drain backup_running stop migrate"));
  // Drained by hand, or before a restart: its fence is put up (again) before the snapshot,
  Begin drained = upgrade();
  drained.from->mode = Mode::drained;
  const Walk back = walk(begin(drained), {{"validate", StepStatus::failed}});
  EXPECT_THAT(back.steps, HasSubstr("drain backup_running stop migrate"));
  EXPECT_THAT(back.steps, ::testing::EndsWith("validate_old")) << "and stays up on the way back";
  // and without one, or with nothing that runs, the snapshot comes after the stop.
  Begin stopped = upgrade();
  stopped.from->mode = Mode::stopped;
  EXPECT_THAT(walk(begin(stopped)).steps, HasSubstr("preflight backup migrate"));
  v1.hooks.erase("drain");
  EXPECT_THAT(walk(begin(upgrade())).steps, HasSubstr("preflight stop backup migrate"));
  EXPECT_THAT(walk(begin(drained)).steps, HasSubstr("preflight stop backup migrate"));
}

TEST_F(TransitionTest, WithoutANewDataVersionNothingIsBackedUpOrMigrated) {
  v2.data_version = 1;
  EXPECT_EQ(walk(begin(upgrade())).steps,
            "fetch preflight drain stop switch start validate confirm commit undrain");
}

TEST_F(TransitionTest, AnotherValueOfTheHostIsAnotherVersionOfTheSameManifest) {
  Begin begin_input = upgrade();
  begin_input.to = begin_input.from;
  begin_input.new_manifest = &v1;
  begin_input.from->host["labels.rack"] = "a";
  begin_input.to->host["labels.rack"] = "b";
  const Walk done = walk(begin(begin_input));
  EXPECT_EQ(done.steps, "fetch preflight drain stop switch start validate confirm commit undrain");
  EXPECT_EQ(done.end.applied->host.at("labels.rack"), "b");
  const Walk back = walk(begin(begin_input), {{"validate", StepStatus::failed}});
  EXPECT_EQ(back.end.applied->host.at("labels.rack"), "a");
}

TEST_F(TransitionTest, S18_AFailedValidationAfterTheMigrationRestoresTheSnapshot) {
  const Walk back = walk(begin(upgrade()), {{"validate", StepStatus::failed}});
  EXPECT_EQ(back.steps,
            "fetch preflight drain stop backup migrate switch start validate stop_new restore "
            "switch_back start_old validate_old undrain_old");
  EXPECT_EQ(back.end.outcome.result, Outcome::Result::reverted);
  EXPECT_EQ(back.end.outcome.step, "validate");
  EXPECT_EQ(back.end.applied->manifest, Digest::of("v1"));
  EXPECT_EQ(back.end.applied->mode, Mode::running);
}

TEST_F(TransitionTest, ADirtyMigrationMustBeRestored) {
  EXPECT_EQ(walk(begin(upgrade()), {{"migrate", StepStatus::dirty}}).steps,
            "fetch preflight drain stop backup migrate restore start_old validate_old undrain_old");
}

TEST_F(TransitionTest, AMigrationThatFailedCleanlyHasTouchedNothing) {
  EXPECT_EQ(walk(begin(upgrade()), {{"migrate", StepStatus::failed}}).steps,
            "fetch preflight drain stop backup migrate start_old validate_old undrain_old");
}

TEST_F(TransitionTest, WithoutASnapshotTheNewVersionMigratesDown) {
  v1.hooks.erase("backup");
  const Transition t = begin(upgrade());
  EXPECT_EQ(walk(t, {{"validate", StepStatus::failed}}).steps,
            "fetch preflight drain stop migrate switch start validate stop_new migrate_back "
            "switch_back start_old validate_old undrain_old");
}

TEST_F(TransitionTest, ADrainThatMayFailIsPassedOverAndToldOf) {
  // The version that comes says so: else one whose hook is broken could not be left,
  v2.hooks["drain"].may_fail = true;
  const Walk on = walk(begin(upgrade()), {{"drain", StepStatus::dirty}});
  EXPECT_EQ(
      on.steps,
      "fetch preflight drain stop backup migrate switch start validate confirm commit undrain");
  EXPECT_EQ(on.end.outcome.result, Outcome::Result::done);
  EXPECT_EQ(on.end.outcome.message,
            "drain failed and was passed over, as onFailure says: did not work");
  // and a way back undrains what a half drain has left.
  const Walk back =
      walk(begin(upgrade()), {{"drain", StepStatus::failed}, {"validate", StepStatus::failed}});
  EXPECT_THAT(back.steps, ::testing::EndsWith("validate_old undrain_old"));
  EXPECT_EQ(back.end.outcome.step, "validate");
  // A snapshot of a running service relies on the fence, whatever is said,
  v1.hooks["backup"].while_running = true;
  EXPECT_EQ(walk(begin(upgrade()), {{"drain", StepStatus::failed}}).steps,
            "fetch preflight drain undrain_old");
  // and without the word nothing is passed over: not the hook of a service that goes for good.
  Begin removal = upgrade();
  removal.to.reset();
  removal.new_manifest = nullptr;
  EXPECT_EQ(walk(begin(removal), {{"drain", StepStatus::failed}}).steps, "drain undrain_old");
  v1.hooks["drain"].may_fail = true;
  EXPECT_EQ(walk(begin(removal), {{"drain", StepStatus::failed}}).steps,
            "drain stop remove commit");
  // Who is to be drained, and no more, is drained or is not: a joint outage relies on it.
  Begin hold = upgrade();
  hold.to = InstanceState{Digest::of("v1"), Mode::drained};
  hold.new_manifest = &v1;
  EXPECT_EQ(walk(begin(hold), {{"drain", StepStatus::failed}}).end.outcome.result,
            Outcome::Result::reverted);
  hold.to->mode = Mode::stopped;
  EXPECT_EQ(walk(begin(hold), {{"drain", StepStatus::failed}}).steps, "drain stop commit");
}

TEST_F(TransitionTest, AFailureBeforeAnythingWasTouchedNeedsNoWayBack) {
  const Walk back = walk(begin(upgrade()), {{"preflight", StepStatus::failed}});
  EXPECT_EQ(back.steps, "fetch preflight");
  EXPECT_EQ(back.end.outcome.result, Outcome::Result::reverted);
  EXPECT_EQ(back.end.applied->manifest, Digest::of("v1"));
}

TEST_F(TransitionTest, AfterCommitNothingIsRestored) {
  const Walk late = walk(begin(upgrade()), {{"undrain", StepStatus::failed}});
  EXPECT_THAT(late.steps, ::testing::EndsWith("commit undrain"));
  EXPECT_EQ(late.end.outcome.result, Outcome::Result::failed);
  EXPECT_EQ(late.end.applied->manifest, Digest::of("v2"));
  EXPECT_EQ(late.end.applied->mode, Mode::drained);
}

TEST_F(TransitionTest, AFailureOnTheWayBackIsInconsistentAndTellsTheTruth) {
  const Walk stuck =
      walk(begin(upgrade()), {{"validate", StepStatus::failed}, {"restore", StepStatus::failed}});
  EXPECT_THAT(stuck.steps, ::testing::EndsWith("stop_new restore"))
      << "the old version must not be started on broken data";
  EXPECT_EQ(stuck.end.outcome.result, Outcome::Result::inconsistent);
  EXPECT_EQ(stuck.end.applied->manifest, Digest::of("v2"));
  EXPECT_EQ(stuck.end.applied->mode, Mode::stopped);
}

// The journal as it stands when the walk has ended.
Transition journal_after(Transition t, const std::map<std::string, StepStatus>& answers) {
  while (true) {
    const Decision decision = decide(t);
    const auto* order = std::get_if<StepOrder>(&decision);
    if (order == nullptr) return t;
    StepResult result;
    if (const auto it = answers.find(std::string(step_name(order->step))); it != answers.end())
      result.status = it->second;
    if (order->step == Step::backup) result.snapshot = "sha256:snapshot";
    t = with_result(with_intent(std::move(t)), result);
  }
}

TEST_F(TransitionTest, I5_AWayBackThatBrokeOffIsOwedBeforeAnythingElse) {
  // Given a migration that left dirt and a snapshot that could not be restored,
  const Transition stuck = journal_after(
      begin(upgrade()), {{"migrate", StepStatus::dirty}, {"restore", StepStatus::failed}});
  const auto owed = owed_by(stuck);
  ASSERT_TRUE(owed);
  // then the next attempt first restores, and starts nothing by that.
  const Walk mended = walk(mend(*owed, "r2/1"));
  EXPECT_EQ(mended.steps, "restore");
  EXPECT_TRUE(mended.end.mended);
  EXPECT_EQ(mended.end.applied->manifest, Digest::of("v1"));
  EXPECT_EQ(mended.end.applied->mode, Mode::stopped);
  // When that fails again, the instance is as inconsistent as before, and owes the same.
  const Walk again = walk(mend(*owed, "r2/1"), {{"restore", StepStatus::failed}});
  EXPECT_EQ(again.end.outcome.result, Outcome::Result::inconsistent);
  EXPECT_EQ(again.end.outcome.attempt, "r2/1");
  EXPECT_EQ(again.end.outcome.step, "restore");
  const auto still = owed_by(journal_after(mend(*owed, "r2/1"), {{"restore", StepStatus::failed}}));
  ASSERT_TRUE(still);
  EXPECT_EQ(walk(mend(*still, "r3/1")).steps, "restore");
}

TEST_F(TransitionTest, AllOpenStepsOfTheWayBackAreOwedInTheirOrder) {
  const auto owed = owed_by(journal_after(
      begin(upgrade()), {{"validate", StepStatus::failed}, {"stop_new", StepStatus::failed}}));
  ASSERT_TRUE(owed);
  const Transition mending = mend(*owed, "r2/1");
  EXPECT_EQ(std::get<StepOrder>(decide(mending)).owner, Owner::new_manifest);
  EXPECT_EQ(std::get<StepOrder>(decide(mending)).token, "r2/1/db/stop_new/mend");
  EXPECT_EQ(walk(mending).steps, "stop_new restore switch_back");
  const Walk stuck = walk(mending, {{"restore", StepStatus::failed}});
  EXPECT_EQ(stuck.end.applied->manifest, Digest::of("v2")) << "the switch is not back yet";
}

TEST_F(TransitionTest, AnOldVersionThatDidNotValidateIsStoppedBeforeAnotherChange) {
  const auto owed = owed_by(journal_after(
      begin(upgrade()), {{"validate", StepStatus::failed}, {"validate_old", StepStatus::failed}}));
  ASSERT_TRUE(owed);
  EXPECT_EQ(walk(mend(*owed, "r2/1")).steps, "stop");
}

TEST_F(TransitionTest, AWayBackThatCameToItsEndOwesNothing) {
  EXPECT_FALSE(owed_by(journal_after(begin(upgrade()), {{"validate", StepStatus::failed}})));
  EXPECT_FALSE(owed_by(journal_after(begin(upgrade()), {})));
}

TEST_F(TransitionTest, S10_AFreshInstallThatFailsLeavesNothing) {
  Begin input = upgrade();
  input.from.reset();
  input.old_manifest = nullptr;
  input.has_data = false;
  const Walk back = walk(begin(input), {{"start", StepStatus::failed}});
  EXPECT_EQ(back.steps, "fetch preflight switch setup start stop_new switch_back");
  EXPECT_EQ(back.end.outcome.result, Outcome::Result::reverted);
  EXPECT_FALSE(back.end.applied);
}

TEST_F(TransitionTest, GoingDownTheNewerManifestMigrates) {
  Begin input = upgrade();
  std::swap(input.from, input.to);
  std::swap(input.old_manifest, input.new_manifest);
  input.downwards = true;
  Transition t = begin(input);
  while (true) {
    const Decision decision = decide(t);
    const auto* order = std::get_if<StepOrder>(&decision);
    ASSERT_NE(order, nullptr) << "no migrate step came";
    if (order->step == Step::migrate) {
      EXPECT_EQ(order->owner, Owner::old_manifest) << "the version that is left knows the way down";
      return;
    }
    t = with_result(with_intent(std::move(t)), {});
  }
}

TEST_F(TransitionTest, AHookMayAskToBeTriedAgainThreeTimes) {
  const Walk tired = walk(begin(upgrade()), {{"migrate", StepStatus::again}});
  EXPECT_EQ(tired.steps,
            "fetch preflight drain stop backup migrate migrate migrate migrate restore start_old "
            "validate_old undrain_old");
}

TEST_F(TransitionTest, AHookThatIsKilledOnTheWayBackIsTriedAgain) {
  // Given a way back whose validation is ended by a signal the first time it runs,
  Transition t = begin(upgrade());
  Ended end;
  std::string back;
  for (int kills = 0;;) {
    const Decision decision = decide(t);
    if (const auto* ended = std::get_if<Ended>(&decision)) {
      end = *ended;
      break;
    }
    const auto& order = std::get<StepOrder>(decision);
    t = with_intent(std::move(t));
    StepResult result;
    if (order.step == Step::backup) result.snapshot = "sha256:snapshot";
    if (order.step == Step::validate) result.status = StepStatus::failed;
    if (order.step == Step::validate_old) {
      EXPECT_EQ(order.again, kills > 0);
      if (kills++ == 0) result = {StepStatus::killed, 137, "was ended by signal 9", "", "", false};
    }
    if (t.walking_back) back += std::string(step_name(order.step)) + " ";
    t = with_result(std::move(t), result);
  }
  // then it runs once more, and the old version is back in service.
  EXPECT_EQ(back, "stop_new restore switch_back start_old validate_old validate_old undrain_old ");
  EXPECT_EQ(end.outcome.result, Outcome::Result::reverted);
  EXPECT_EQ(end.applied->mode, Mode::running);
}

TEST_F(TransitionTest, WhatTheWayBackCouldNotBringBackIsPartOfItsOutcome) {
  Transition t = begin(upgrade());
  for (int i = 0; i < 100; ++i) {
    const Decision decision = decide(t);
    if (std::holds_alternative<Ended>(decision)) break;
    const Step step = std::get<StepOrder>(decision).step;
    StepResult result;
    if (step == Step::validate) result = {StepStatus::failed, 1, "is broken", "", "", false};
    if (step == Step::switch_back) result.message = "/etc/x is lost";
    // It must survive a crash of the agent.
    t = *transition_from_json(transition_to_json(with_result(with_intent(std::move(t)), result)));
  }
  const auto end = std::get<Ended>(decide(t));
  EXPECT_EQ(end.outcome.result, Outcome::Result::reverted);
  EXPECT_EQ(end.outcome.message, "is broken; /etc/x is lost");
  EXPECT_EQ(end.outcome.lost, "/etc/x is lost");
}

TEST_F(TransitionTest, AHookThatIsKilledEachTimeIsGivenUp) {
  const Walk stuck = walk(begin(upgrade()),
                          {{"validate", StepStatus::failed}, {"validate_old", StepStatus::killed}});
  EXPECT_THAT(stuck.steps,
              HasSubstr("start_old validate_old validate_old validate_old validate_old"));
  EXPECT_EQ(stuck.end.outcome.result, Outcome::Result::inconsistent);
  // On the way forward the way back is the remedy, and a hook that must not run twice never does.
  EXPECT_THAT(walk(begin(upgrade()), {{"validate", StepStatus::killed}}).steps,
              HasSubstr("validate stop_new restore"));
  v1.hooks["restore"].idempotent = false;
  EXPECT_THAT(
      walk(begin(upgrade()), {{"validate", StepStatus::failed}, {"restore", StepStatus::killed}})
          .steps,
      ::testing::EndsWith("stop_new restore"));
}

TEST_F(TransitionTest, I7_AfterACrashAnIdempotentHookRunsAgainWithItsToken) {
  Transition t = with_intent(begin(upgrade()));
  const std::string token = std::get<StepOrder>(decide(t)).token;
  const Transition resumed = recover(*transition_from_json(transition_to_json(t)));
  const auto order = std::get<StepOrder>(decide(resumed));
  EXPECT_EQ(order.token, token);
  EXPECT_TRUE(order.again);
}

TEST_F(TransitionTest, I7_AfterACrashAHookThatIsNotIdempotentIsNeverRunAgain) {
  v2.hooks["migrate"].idempotent = false;
  Transition t = begin(upgrade());
  while (std::get<StepOrder>(decide(t)).step != Step::migrate) {
    StepResult ok;
    ok.snapshot = "sha256:snapshot";
    t = with_result(with_intent(std::move(t)), ok);
  }
  t = recover(with_intent(std::move(t)));
  const Walk rest = walk(std::move(t));
  EXPECT_EQ(rest.steps, "restore start_old validate_old undrain_old");
  EXPECT_THAT(rest.end.outcome.message, HasSubstr("idempotent: false"));
}

TEST_F(TransitionTest, AHookThatEndsItsAgentEachTimeIsGivenUp) {
  Transition t = begin(upgrade());
  while (std::get<StepOrder>(decide(t)).step != Step::start)
    t = with_result(with_intent(std::move(t)), {});
  int runs = 0;
  while (!t.walking_back && runs < 100) {
    t = recover(*transition_from_json(transition_to_json(with_intent(std::move(t)))));
    ++runs;
  }
  EXPECT_EQ(runs, kMostCrashes);
  EXPECT_THAT(t.failure->message, HasSubstr("its hook may be the cause"));
  EXPECT_EQ(std::get<StepOrder>(decide(t)).step, Step::stop_new);
}

TEST_F(TransitionTest, ACleanFailureOfTheSecondRunSaysNothingAboutTheFirst) {
  Transition t = begin(upgrade());
  while (std::get<StepOrder>(decide(t)).step != Step::migrate) {
    StepResult ok;
    ok.snapshot = "sha256:snapshot";
    t = with_result(with_intent(std::move(t)), ok);
  }
  t = recover(with_intent(std::move(t)));
  EXPECT_EQ(walk(std::move(t), {{"migrate", StepStatus::failed}}).steps,
            "migrate restore start_old validate_old undrain_old");
}

TEST_F(TransitionTest, DrainingAndResumingTouchNothingElse) {
  Begin input = upgrade();
  input.to = InstanceState{input.from->manifest, Mode::drained};
  input.new_manifest = &v1;
  EXPECT_EQ(walk(begin(input)).steps, "drain commit");
  std::swap(input.from, input.to);
  EXPECT_EQ(walk(begin(input)).steps, "commit undrain");
}

TEST_F(TransitionTest, LeavingStopsAndRemoves) {
  Begin input = upgrade();
  input.to.reset();
  input.new_manifest = nullptr;
  const Walk gone = walk(begin(input));
  EXPECT_EQ(gone.steps, "drain stop remove commit");
  EXPECT_FALSE(gone.end.applied);
}

TEST(ExitStatus, MeansWhatTheDesignSays) {
  EXPECT_EQ(status_of_exit(0, false), StepStatus::ok);
  EXPECT_EQ(status_of_exit(75, false), StepStatus::again);
  EXPECT_EQ(status_of_exit(70, false), StepStatus::dirty);
  EXPECT_EQ(status_of_exit(1, false), StepStatus::failed);
  EXPECT_EQ(status_of_exit(137, false), StepStatus::killed) << "half-way";
  EXPECT_EQ(status_of_exit(137, true), StepStatus::dirty) << "by us: it would hang again";
  EXPECT_EQ(status_of_exit(0, true), StepStatus::dirty);
}

}  // namespace
}  // namespace consort::transition
