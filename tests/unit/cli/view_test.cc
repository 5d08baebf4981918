// What people see of plans, rollouts and events, at 60 columns and in a pipe.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/audit_view.h"
#include "cli/events.h"
#include "cli/host_view.h"
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

TEST(PlanView, APlanOfHostsThatLeaveIsNotCalledNothing) {
  plan::Plan plan;
  plan.leaving = {"kv3", "kv4"};
  plan.detached = {"kv3: kv"};
  plan.kept["kv"] = 2;
  const std::string text = render_plan(plan, Detail::brief, kPipe);
  EXPECT_THAT(text, ::testing::HasSubstr("leave the inventory: kv3, kv4\n"));
  EXPECT_THAT(text, ::testing::HasSubstr("\n2 hosts leave the inventory, 2 kept, 1 detached\n"));
}

TEST(PlanView, WhatIsUnhealthyIsToldAndThoseBeyondAFewAreCounted) {
  plan::Plan plan;
  for (int i = 1; i <= 8; ++i) plan.sick.push_back(fmt::format("web@web{}: no answer", i));
  const std::string text = render_plan(plan, Detail::brief, kPipe);
  EXPECT_THAT(text, ::testing::HasSubstr("unhealthy now: web@web6: no answer\n"));
  EXPECT_THAT(text, ::testing::Not(::testing::HasSubstr("web7")));
  EXPECT_THAT(text, ::testing::HasSubstr("unhealthy now: 2 more\n"));
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
              ::testing::EndsWith(": the validate hook failed (at step validate, exit status 3)"));
  EXPECT_EQ(
      rollout::first_failure(rollout::begin("r1", plan_with_outage(), 1, "operator", "", kNoon)),
      "");
}

TEST(RolloutView, AnExitStatusThatTheMessageEndsWithIsToldOnce) {
  plan::Outcome outcome;
  outcome.step = "validate";
  outcome.exit_status = 7;
  outcome.message = "the hook validate ended with status 7";
  EXPECT_EQ(rollout::outcome_text(outcome),
            "the hook validate ended with status 7 (at step validate)");
}

TEST(RolloutView, WhatWasSaidAgainAndAgainStandsThereOnce) {
  rollout::Rollout open =
      rollout::begin("r000009", plan_with_outage(), 4, "operator@desk", "", kNoon);
  for (const std::size_t i : {std::size_t{0}, std::size_t{1}}) {
    rollout::StepRun& run = open.forward.runs[i];
    run.phase = rollout::StepPhase::failed;
    run.outcome = plan::Outcome{};
    run.outcome->step = "start";
    run.outcome->message = "shop ended with status 4; its last words: line 3 is bad";
    run.outcome->tail =
        "starting\noh no\nline 3 is bad\noh no\nline 3 is bad\noh no\nline 3 is bad\n";
  }
  EXPECT_EQ(render_failures(open, kPipe),
            "✗ shop@web1: shop ended with status 4 (at step start)\n"
            "  │ starting\n"
            "  │ oh no\n"
            "  │ line 3 is bad\n"
            "  │ (these 2 lines, 3 times in all)\n"
            "  next: consort explain web1 shop\n"
            "✗ shop@web2: shop ended with status 4 (at step start)\n"
            "  │ the same as shop@web1\n"
            "  next: consort explain web2 shop\n");
}

TEST(RolloutView, OnlyTheLastWordsThemselvesAreLeftToTheTail) {
  rollout::Rollout open =
      rollout::begin("r000009", plan_with_outage(), 4, "operator@desk", "", kNoon);
  rollout::StepRun& run = open.forward.runs[0];
  run.phase = rollout::StepPhase::failed;
  run.outcome = plan::Outcome{};
  run.outcome->result = plan::Outcome::Result::inconsistent;
  run.outcome->step = "start";
  // Given a way back that failed, too, with words of its own,
  run.outcome->message =
      "shop ended with status 4; its last words: bad; very bad; and the way back failed at stop: "
      "shop does not end; its last words: busy; its data are lost";
  run.outcome->tail = "bad\nbad; very bad\nbusy\n";
  // then all that the tail does not say is said.
  EXPECT_THAT(render_failures(open, kPipe),
              ::testing::HasSubstr("shop ended with status 4; and the way back failed at stop: "
                                   "shop does not end; its data are lost (at step start)\n"));
  // And words that the tail does not have stay.
  run.outcome->tail = "something else\n";
  EXPECT_THAT(render_failures(open, kPipe), ::testing::HasSubstr("its last words: bad; very bad"));
}

TEST(RolloutView, AHintStandsAtTheEndSoThatItCanBeCopied) {
  plan::Outcome outcome;
  outcome.step = "fetch";
  outcome.message = "version 2 is not sealed for web1; hint: consort secret reseal tls-key";
  EXPECT_EQ(
      rollout::outcome_text(outcome),
      "version 2 is not sealed for web1 (at step fetch); hint: consort secret reseal tls-key");
}

TEST(RolloutView, TheRecordHasTimesAndNulls) {
  const Json record = rollout_record(reverted());
  const Json& failed = record.find("steps")->as_array()[2];
  EXPECT_EQ(failed.string_or("began"), "2026-11-21T12:00:05.000Z");
  EXPECT_TRUE(failed.find("waiting")->is_null());
  EXPECT_TRUE(record.find("steps")->as_array().back().find("began")->is_null());
}

const char* const kHost =
    R"({"name": "web1", "reachable": true, "joined": "2026-11-20T12:00:00.000Z",
  "lastContact": "2026-11-21T11:59:58.000Z",
  "inventory": {"address": "10.0.0.7", "classes": ["all", "web"], "labels": {"rack": "a"}},
  "identity": {"state": "approved", "key": "sha256:ab", "decidedBy": "join token t1", "labels": {}, "rival": null,
    "certificate": "4e753a4d5f8db392c5d7", "expires": "2026-12-22T04:36:39.000Z"},
  "report": {"facts": {"arch": "amd64", "os.id": "debian", "os.version": "12", "cpus": "2", "memory.bytes": "25276514304"},
    "statement": 0, "untrusted": "", "access": null, "instances": {
      "shop": {"applied": {"manifest": "sha256:0c444beeb054dda61fe6e7d667f1349684839fbd6d461285a7a34321769bd42e", "mode": "running"},
               "health": "unhealthy", "healthReason": "its daemon does not run", "step": ""}}}})";

TEST(HostView, AHostIsACardWithoutWhatIsNotKnown) {
  EXPECT_EQ(render_host(parse_json(kHost).value(), kNoon, kPipe),
            "web1: up\n"
            "  address      10.0.0.7\n"
            "  classes      all, web\n"
            "  labels       rack=a\n"
            "  system       debian 12, amd64, 2 processors, 25.3 GB\n"
            "  joined       2026-11-20T12:00:00Z\n"
            "  last heard   2.0 s ago\n"
            "  let in by    join token t1\n"
            "  key          sha256:ab\n"
            "  certificate  4e753a4d5f8d until 2026-12-22T04:36:39Z\n"
            "SERVICE  STATE      MANIFEST      NOTE\n"
            "shop     unhealthy  0c444beeb054  its daemon does not run\n");
}

TEST(HostView, NoTextMakesItselfALineOfTheCard) {
  Json host = parse_json(kHost).value();
  host["inventory"]["labels"]["rack"] = "a\n  certificate  forged";
  host["report"]["instances"]["shop"]["healthReason"] = "ended\nshop  healthy";
  const std::string card = render_host(host, kNoon, kPipe);
  EXPECT_THAT(card, ::testing::HasSubstr("rack=a   certificate  forged\n"));
  EXPECT_THAT(card, ::testing::HasSubstr("ended shop  healthy\n"));
}

TEST(HostView, ARivalIsSeenInTheListAndMayBeTakenOrDismissed) {
  Json host = parse_json(kHost).value();
  EXPECT_EQ(host_state(host), "up");
  host["identity"]["rival"] = Json::object({{"key", "sha256:cd"}, {"address", "10.0.0.9"}});
  EXPECT_EQ(host_state(host), "up, has a rival");
  EXPECT_THAT(render_host(host, kNoon, kPipe),
              ::testing::HasSubstr(
                  "another machine at 10.0.0.9 claims the name; if it is the right one: consort "
                  "host approve web1 --key sha256:cd; to dismiss it: consort host approve web1 "
                  "--key sha256:ab"));
}

TEST(HostView, AHostThatWaitsSaysHowToLetItIn) {
  const Json host = parse_json(R"({"name": "web9", "reachable": false, "joined": null,
    "lastContact": null, "inventory": null, "identity": {"state": "pending", "rival": null},
    "report": {"facts": {}, "instances": {}}})")
                        .value();
  EXPECT_EQ(render_host(host, kNoon, kPipe),
            "web9: waits for approval\n"
            "  last heard  not since the controller started\n"
            "nothing runs there by Consort\n"
            "let it in with: consort host approve web9\n");
}

TEST(AuditView, AnEntryIsNotFoldedColumnByColumnOnANarrowTerminal) {
  access::AuditEntry entry;
  entry.number = 7;
  entry.note.at = kNoon;
  entry.note.who = "operator ann";
  entry.note.from = "10.0.0.9:53286";
  entry.note.action = "deploy";
  entry.note.subject = "db, web";
  entry.note.after = "rollout r000003";
  entry.note.reason = "shop 2.1";
  EXPECT_EQ(render_audit({entry}, 60),
            "7  2026-11-21T12:00:00Z  deploy  db, web\n"
            "    by operator ann from 10.0.0.9:53286: rollout r000003\n"
            "    (shop 2.1)\n");
  EXPECT_THAT(
      render_audit({entry}, kPipe),
      ::testing::HasSubstr("7  2026-11-21T12:00:00Z  operator ann  10.0.0.9:53286  deploy"));
}

TEST(AuditView, NoTextMakesItselfAnEntry) {
  access::AuditEntry entry;
  entry.number = 7;
  entry.note.at = kNoon;
  entry.note.who = "operator ann";
  entry.note.action = "deploy";
  entry.note.subject = "db\n8  2026-11-21T12:00:00Z  revoke  ben";
  for (const std::size_t width : {std::size_t{60}, kPipe})
    EXPECT_EQ(render_audit({entry}, width).find("\n8  "), std::string::npos) << width;
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
