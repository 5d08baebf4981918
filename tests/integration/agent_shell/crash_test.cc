#include "fixture.h"

namespace consort::agent {
namespace {

using Result = plan::Outcome::Result;

// Killed at every step of an upgrade with data, just when its intent is in the journal or a moment
// later, the host ends on the old or the new version, whole.
class CrashTest : public AgentShellTest, public ::testing::WithParamInterface<std::string> {
 protected:
  // What the journal says that is being done; "" for nothing.
  [[nodiscard]] std::string intent() const {
    const auto record = parse_json(text_of(data() / "state/instances/shop.json"));
    const Json* journal = record ? record->find("transition") : nullptr;
    if (journal == nullptr || !journal->is_object()) return "";
    for (const char* list : {"forward", "back"}) {
      for (const Json& step : journal->find(list)->as_array()) {
        if (step.string_or("progress") == "intent") return step.string_or("step");
      }
    }
    return "";
  }
  bool ended() { return controller.outcome("shop", "r2", Duration(1)).has_value(); }

  // What is on the host besides, some of it written by hand, and a release that changes it all.
  void given_other_files() const {
    fs::create_directories(root() / "etc/shop.d");
    ASSERT_TRUE(write_file_atomic(root() / "etc/app.conf", "by hand\n", 0640));
    ASSERT_TRUE(write_file_atomic(root() / "etc/old.conf", "still of use\n", 0600));
  }
  static void change_other_files(plan::Manifest& release) {
    release.resources["app"] = file("/etc/app.conf", "by version 2\n");
    release.resources["new"] = file("/etc/shop.d/sub/new.conf", "by version 2\n");
    release.resources["sub"] =
        Json::object({{"type", "directory"}, {"path", "/etc/shop.d/sub"}, {"mode", "0700"}});
    release.resources["old"] =
        Json::object({{"type", "file"}, {"path", "/etc/old.conf"}, {"ensure", "absent"}});
  }
  void expect_other_files(bool changed) const {
    EXPECT_EQ(text_of(root() / "etc/app.conf"), changed ? "by version 2\n" : "by hand\n");
    EXPECT_EQ(fs::status(root() / "etc/app.conf").permissions(), fs::perms(0640));
    EXPECT_EQ(fs::exists(root() / "etc/shop.d/sub/new.conf"), changed);
    EXPECT_EQ(fs::exists(root() / "etc/shop.d/sub"), changed);
    EXPECT_TRUE(fs::exists(root() / "etc/shop.d"));
    EXPECT_EQ(text_of(root() / "etc/old.conf"), changed ? "" : "still of use\n");
  }
  static Json file(const std::string& path, const std::string& content) {
    return Json::object({{"type", "file"}, {"path", path}, {"content", content}});
  }
  // Killed when it does this, and in its next life at the step after it, and so on.
  void kill_from_here_on(std::string at) {
    ASSERT_TRUE(eventually([&] { return intent() == at || ended(); })) << at;
    for (int life = 0; life < 25 && !ended(); ++life) {
      kill_agent();
      start_agent();
      ASSERT_TRUE(eventually([&] { return (intent() != at && !intent().empty()) || ended(); }));
      at = intent();
    }
  }
};

TEST_P(CrashTest, EndsOldOrNewWhateverTheMoment) {
  given_version_1_runs();
  given_other_files();
  plan::Manifest two = heart("2", 2);
  change_other_files(two);
  // A migration that must not run twice, and shows it when it does.
  two.hooks["migrate"] = controller.script(
      "echo $CONSORT_DIRECTION >> $CONSORT_DATA/runs; sleep 0.05; echo 2 > $CONSORT_DATA/schema; "
      "sleep 0.05");
  two.hooks["migrate"].idempotent = false;
  static_cast<void>(install(two, "r2"));
  kill_from_here_on(GetParam());
  const auto report = controller.outcome("shop", "r2");
  ASSERT_TRUE(report);
  const bool is_new = report->outcome->result == Result::done;
  ASSERT_TRUE(is_new || report->outcome->result == Result::reverted)
      << plan::outcome_name(report->outcome->result) << ": " << report->outcome->message;
  EXPECT_EQ(schema(), is_new ? "2" : "1");
  EXPECT_TRUE(beats(is_new ? "2" : "1"));
  EXPECT_THAT(text_of(root() / "etc/shop.conf"), HasSubstr(is_new ? "version 2" : "version 1"));
  EXPECT_LE(split(text_of(service() / "data/runs"), '\n').size(), 2U)
      << "the migration ran once at most";
  expect_other_files(is_new);
}

INSTANTIATE_TEST_SUITE_P(Moments, CrashTest,
                         ::testing::Values("fetch", "preflight", "stop", "backup", "migrate",
                                           "switch", "start", "validate", "confirm", "commit"));

class CrashOnTheWayBackTest : public CrashTest {};

TEST_P(CrashOnTheWayBackTest, EverythingIsAsItWasBefore) {
  given_version_1_runs();
  given_other_files();
  plan::Manifest bad = heart("2", 2);
  change_other_files(bad);
  bad.hooks["validate"] = controller.script("exit 3");
  static_cast<void>(install(bad, "r2"));
  kill_from_here_on(GetParam());
  const auto report = controller.outcome("shop", "r2");
  ASSERT_TRUE(report);
  EXPECT_EQ(report->outcome->result, Result::reverted) << report->outcome->message;
  EXPECT_EQ(report->outcome->lost, "");
  EXPECT_EQ(schema(), "1");
  EXPECT_TRUE(beats("1"));
  EXPECT_THAT(text_of(root() / "etc/shop.conf"), HasSubstr("version 1"));
  expect_other_files(false);
}

INSTANTIATE_TEST_SUITE_P(Moments, CrashOnTheWayBackTest,
                         ::testing::Values("switch", "validate", "stop_new", "switch_back",
                                           "start_old"));

TEST_F(AgentShellTest, AHookOfAKilledAgentDoesNotRunBesideItsSecondTry) {
  given_version_1_runs();
  plan::Manifest two = heart("2", 2);
  two.hooks["migrate"] = controller.script(
      "mkdir $CONSORT_DATA/alone || { echo not alone; exit 1; }\n"
      "echo $$ >> $CONSORT_DATA/pids\n"
      "test -e $CONSORT_DATA/second || { touch $CONSORT_DATA/second; rmdir $CONSORT_DATA/alone; "
      "sleep 1000; }\n"
      "echo 2 > $CONSORT_DATA/schema; rmdir $CONSORT_DATA/alone");
  static_cast<void>(install(two, "r2"));
  ASSERT_TRUE(eventually([&] { return fs::exists(service() / "data/second"); }));
  const pid_t hook = std::stoi(text_of(service() / "data/pids"));
  kill_agent();
  start_agent();
  const auto report = controller.outcome("shop", "r2");
  ASSERT_TRUE(report);
  EXPECT_EQ(report->outcome->result, Result::done)
      << report->outcome->message << report->outcome->tail;
  EXPECT_TRUE(eventually([&] {
    return ::kill(hook, 0) != 0 ||
           text_of("/proc/" + std::to_string(hook) + "/stat").find(") Z") != std::string::npos;
  })) << "the first try was ended";
}

TEST_F(AgentShellTest, ADamagedTargetIsAskedForAnewAndNothingStopsMeanwhile) {
  given_version_1_runs();
  const fs::path target = data() / "state/target.json";
  const std::string aside = target.string() + ".damaged";
  for (const char* damage : {"", "{\"epoch\": 1, \"se", "folder"}) {
    SCOPED_TRACE(damage);
    // Given an agent that was killed, and whose target was damaged meanwhile,
    kill_agent();
    const std::size_t told = controller.events("damaged").size();
    if (std::string_view(damage) == "folder") {
      ASSERT_TRUE(fs::remove(target) && fs::create_directory(target));
    } else {
      ASSERT_TRUE(write_file_atomic(target, damage));
    }
    // when it starts, then its service runs on, it has the target again, and says what it found.
    start_agent();
    EXPECT_TRUE(eventually([&] {
      return plan::target_from_json(parse_json(text_of(target)).value_or(Json())).has_value();
    }));
    EXPECT_TRUE(beats("1"));
    EXPECT_TRUE(eventually([&] { return controller.events("damaged").size() > told; }));
    EXPECT_TRUE(fs::exists(aside));
  }
  static_cast<void>(install(heart("2", 1), "r2"));
  const auto report = controller.outcome("shop", "r2");
  ASSERT_TRUE(report);
  EXPECT_EQ(report->outcome->result, Result::done) << report->outcome->message;
}

TEST_F(AgentShellTest, ToldToStopInTheMiddleItGoesOnInItsNextLife) {
  given_version_1_runs();
  plan::Manifest two = heart("2", 2);
  two.hooks["migrate"] = controller.script(
      "echo try >> $CONSORT_DATA/tries; test $(wc -l < $CONSORT_DATA/tries) -ge 2 || sleep 1000; "
      "echo 2 > $CONSORT_DATA/schema");
  static_cast<void>(install(two, "r2"));
  ASSERT_TRUE(eventually([&] { return fs::exists(service() / "data/tries"); }));
  const auto begun = std::chrono::steady_clock::now();
  end_agent(SIGTERM);
  EXPECT_LT(std::chrono::steady_clock::now() - begun, seconds(5));
  start_agent();
  const auto report = controller.outcome("shop", "r2");
  ASSERT_TRUE(report);
  EXPECT_EQ(report->outcome->result, Result::done) << report->outcome->message;
  EXPECT_EQ(schema(), "2");
}

TEST_F(AgentShellTest, WhatEndsWhileItIsToldToStopIsDoneInItsNextLife) {
  given_version_1_runs();
  plan::Manifest two = heart("2", 2);
  two.hooks["migrate"] = controller.script(
      "echo run >> $CONSORT_DATA/runs; while ! test -e $CONSORT_DATA/go; do sleep 0.01; done; "
      "echo 2 > $CONSORT_DATA/schema");
  two.hooks["migrate"].idempotent = false;
  static_cast<void>(install(two, "r2"));
  ASSERT_TRUE(eventually([&] { return fs::exists(service() / "data/runs"); }));
  // Given a migration that ends after the agent was told to, and within its grace,
  ::kill(pid, SIGTERM);
  ASSERT_TRUE(eventually([&] {
    return text_of(folder.path() / "agent.log").find("its services go on") != std::string::npos;
  }));
  ASSERT_TRUE(write_file_atomic(service() / "data/go", ""));
  ::waitpid(pid, nullptr, 0);
  pid = -1;
  // then it counts: what may run only once has run once, and the upgrade goes on after it.
  start_agent();
  const auto report = controller.outcome("shop", "r2");
  ASSERT_TRUE(report);
  EXPECT_EQ(report->outcome->result, Result::done) << report->outcome->message;
  EXPECT_EQ(text_of(service() / "data/runs"), "run\n");
  EXPECT_TRUE(beats("2"));
}

TEST_F(AgentShellTest, AFullDiskForTheJournalStopsNothingHalfWay) {
  // Given a journal that cannot be written when the target comes,
  given_version_1_runs();
  fs::rename(data() / "state/instances", data() / "state/elsewhere");
  static_cast<void>(install(heart("2", 2), "r2"));
  ASSERT_TRUE(eventually([&] {
    return text_of(folder.path() / "agent.log").find("cannot be written") != std::string::npos;
  }));
  // then nothing is begun, the old version is kept, and all goes on when there is room again.
  EXPECT_TRUE(beats("1"));
  fs::rename(data() / "state/elsewhere", data() / "state/instances");
  const auto report = controller.outcome("shop", "r2");
  ASSERT_TRUE(report);
  EXPECT_EQ(report->outcome->result, Result::done) << report->outcome->message;
  EXPECT_TRUE(beats("2"));
}

}  // namespace
}  // namespace consort::agent
