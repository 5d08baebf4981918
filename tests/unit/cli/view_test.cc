// What people see of plans, rollouts and events, at 60 columns and in a pipe.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/events.h"
#include "cli/plan_view.h"
#include "cli/rollout_view.h"
#include "fixtures/models.h"
#include "unit/cli/golden.h"

namespace consort::cli {
namespace {

using consort::tests::Model;
using consort::tests::Planning;

constexpr std::size_t kPipe = 0;
const Instant kNoon = parse_instant("2026-11-21T12:00:00Z").value();

// The only database of two web hosts is upgraded.
plan::Plan plan_with_outage() {
  const auto site = [](const std::string& version) {
    Model model;
    model.host("db1", "db").host("web1", "web").host("web2", "web");
    model.service("db", "db", version).service("shop", "web", "v1", {"db"});
    return model;
  };
  const Model before = site("v1");
  const Model after = site("v2");
  auto plan = Planning{.before = &before, .after = &after, .allow_outage = false}.plan();
  EXPECT_TRUE(plan) << render_error(plan.error());
  return *plan;
}

// web1 failed, and is back; web2 was never begun.
rollout::Rollout reverted() {
  rollout::Rollout out =
      rollout::begin("r000007", plan_with_outage(), 4, "operator@desk", "shop 2.1", kNoon);
  const auto end = [&](rollout::StepRun& run, rollout::StepPhase phase, int at) {
    run.phase = phase;
    run.sent = true;
    run.began = kNoon + seconds(at);
    run.since = kNoon + seconds(at + 2);
  };
  for (std::size_t i = 0; i < 2; ++i)
    end(out.forward.runs[i], rollout::StepPhase::done, static_cast<int>(i));
  rollout::StepRun& failed = out.forward.runs[2];
  end(failed, rollout::StepPhase::failed, 5);
  failed.outcome = plan::Outcome{};
  failed.outcome->result = plan::Outcome::Result::reverted;
  failed.outcome->step = "validate";
  failed.outcome->exit_status = 3;
  failed.outcome->message = "the validate hook failed";
  failed.outcome->tail = "connecting to 10.0.0.5:5432\nFATAL: the database system is starting up\n";
  out.back.steps = {out.forward.steps[2]};
  out.back.steps[0].id = 0;
  out.back.waves = {{"back · level 0", {0}}};
  out.back.runs.resize(1);
  end(out.back.runs[0], rollout::StepPhase::done, 8);
  out.reverting = true;
  out.result = rollout::Result::reverted;
  out.summary = "everything is as it was before";
  out.ended = kNoon + seconds(10);
  return out;
}

TEST(PlanView, APlanIsShownWholeWithWhatItNeeds) {
  const plan::Plan plan = plan_with_outage();
  EXPECT_EQ(missing_options(plan), std::vector<std::string>{"--allow-outage"});
  expect_golden("plan_pipe", render_plan(plan, Detail::normal, kPipe));
  expect_golden("plan_60", render_plan(plan, Detail::normal, 60));
}

TEST(PlanView, WhatNoWordPermitsIsNamedButNoOptionIs) {
  plan::Plan plan = plan_with_outage();
  plan.needs = {{"", "web2 cannot be reached", "bring it back"}};
  EXPECT_TRUE(missing_options(plan).empty());
  EXPECT_THAT(render_plan(plan, Detail::brief, kPipe),
              ::testing::HasSubstr("in the way: web2 cannot be reached\n  bring it back\n"));
}

TEST(RolloutView, ARevertedRolloutTellsEachStepAndWhyItFailed) {
  expect_golden("rollout_pipe", render_rollout(reverted(), kNoon, kPipe));
  expect_golden("rollout_60", render_rollout(reverted(), kNoon, 60));
}

TEST(RolloutView, AnOpenRolloutTellsWhyItWaitsAndHowToGoOn) {
  rollout::Rollout open =
      rollout::begin("r000008", plan_with_outage(), 4, "operator@desk", "", kNoon);
  open.paused = true;
  open.forward.runs[0].waiting = "budget web is used up: held by web9";
  expect_golden("rollout_open", render_rollout(open, kNoon + minutes(3), kPipe));
}

TEST(RolloutView, TheReasonOfAFailureIsOneLine) {
  EXPECT_THAT(rollout::first_failure(reverted()),
              ::testing::EndsWith(": the validate hook failed at step validate, exit status 3"));
  EXPECT_EQ(
      rollout::first_failure(rollout::begin("r1", plan_with_outage(), 1, "operator", "", kNoon)),
      "");
}

TEST(RolloutView, AHintStandsAtTheEndSoThatItCanBeCopied) {
  plan::Outcome outcome;
  outcome.step = "fetch";
  outcome.message = "version 2 is not sealed for web1; hint: consort secret reseal tls-key";
  EXPECT_EQ(rollout::outcome_text(outcome),
            "version 2 is not sealed for web1 at step fetch; hint: consort secret reseal tls-key");
}

TEST(RolloutView, TheRecordHasTimesAndNulls) {
  const Json record = rollout_record(reverted());
  const Json& failed = record.find("steps")->as_array()[2];
  EXPECT_EQ(failed.string_or("began"), "2026-11-21T12:00:05.000Z");
  EXPECT_TRUE(failed.find("waiting")->is_null());
  EXPECT_TRUE(record.find("steps")->as_array().back().find("began")->is_null());
}

Json event(const std::string& at, const std::string& kind, const std::string& service,
           const std::string& host, const std::string& text) {
  return Json::object(
      {{"at", at}, {"kind", kind}, {"service", service}, {"host", host}, {"text", text}});
}

std::string all_events(std::size_t width, Where where) {
  const std::vector<Json> events = {
      event("2026-11-20T23:59:58.000Z", "host-joined", "", "web1", "joined"),
      event("2026-11-21T00:00:01.000Z", "repaired", "shop", "web1",
            "page: content: 7 bytes → 19 bytes\n@@ -1 +1 @@\n-broken\n+good day from web1\n"),
      event("2026-11-21T00:00:02.000Z", "step-failed", "shop", "web1",
            "reverted at start: its daemon has ended and was started again 3 times")};
  EventPrinter printer(where, width);
  for (const Json& each : events) printer.measure(each);
  std::string out;
  for (const Json& each : events) out += printer.render(each);
  return out;
}

TEST(EventView, EventsAreOneLineEachInAPipeAndFitATerminal) {
  expect_golden("events_pipe", all_events(kPipe, Where::service_and_host));
  expect_golden("events_60", all_events(60, Where::service_and_host));
  expect_golden("events_of_a_host_60", all_events(60, Where::service));
}

}  // namespace
}  // namespace consort::cli
