// Needs systemd as process 1 and root; made to be run by hand or by the fleet tests inside a booted
// container.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <csignal>
#include <mutex>
#include <set>

#include "agent/facts.h"
#include "agent/supervisors/process_facts.h"
#include "agent/supervisors/systemd.h"
#include "base/process.h"
#include "fixtures/eventually.h"

namespace consort::agent {
namespace {

class SystemdSupervisorTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!systemd_is_running() || ::geteuid() != 0) GTEST_SKIP() << "systemd is not process 1 here";
    open();
  }
  void TearDown() override {
    if (!supervisor) return;
    EXPECT_TRUE(supervisor->remove(name()));
  }
  void open() {
    supervisor.reset();
    auto made = make_systemd_supervisor({folder.path(), "/etc/systemd/system"});
    ASSERT_TRUE(made) << render_error(made.error());
    supervisor = std::move(*made);
  }
  // Units are the machine's: tests that run side by side have one each.
  static std::string name() {
    return fmt::format("consort-test-{}",
                       ::testing::UnitTest::GetInstance()->current_test_info()->line());
  }
  static DaemonSpec sleeper() {
    DaemonSpec spec;
    spec.name = name();
    spec.argv = {"/bin/sh", "-c", "echo hello 100% $0; exec sleep 1000", "two words"};
    spec.config_digest = Digest::of("one");
    return spec;
  }
  [[nodiscard]] DaemonStatus status() const { return supervisor->status(name()).value(); }

  TempFolder folder = TempFolder::create("consort-systemd-").value();
  std::unique_ptr<Supervisor> supervisor;
};

std::string text_of(const Result<EnsureOutcome>& outcome) {
  return outcome ? "" : render_error(outcome.error());
}

TEST_F(SystemdSupervisorTest, StartsKeepsAndRestartsByConfigurationDigest) {
  DaemonSpec spec = sleeper();
  const auto started = supervisor->ensure(spec);
  ASSERT_TRUE(started) << text_of(started);
  EXPECT_EQ(*started, EnsureOutcome::started);
  const pid_t first = status().pid;
  EXPECT_TRUE(status().running);
  EXPECT_EQ(status().config_digest, spec.config_digest);
  open();
  EXPECT_EQ(supervisor->ensure(spec).value(), EnsureOutcome::kept);
  EXPECT_EQ(status().pid, first);
  spec.config_digest = Digest::of("two");
  EXPECT_EQ(supervisor->ensure(spec).value(), EnsureOutcome::restarted);
  EXPECT_NE(status().pid, first);
  EXPECT_EQ(status().config_digest, spec.config_digest);
  EXPECT_TRUE(fs::exists(
      fmt::format("/etc/systemd/system/multi-user.target.wants/consort-{}.service", name())));
}

TEST_F(SystemdSupervisorTest, TheTailIsOfTheDaemonThatWasStartedLast) {
  DaemonSpec spec = sleeper();
  const auto started = supervisor->ensure(spec);
  ASSERT_TRUE(started) << text_of(started);
  ASSERT_TRUE(tests::eventually([&] { return !supervisor->log_tail(name(), 5).empty(); }));
  spec.argv[2] = "echo of the new one; exec sleep 1000";
  spec.config_digest = Digest::of("two");
  ASSERT_TRUE(supervisor->ensure(spec));
  ASSERT_TRUE(tests::eventually([&] { return !supervisor->log_tail(name(), 5).empty(); }));
  EXPECT_EQ(supervisor->log_tail(name(), 5), "of the new one");
}

TEST_F(SystemdSupervisorTest, SystemdRestartsAndWeAreTold) {
  std::mutex mutex;
  std::condition_variable changed;
  std::set<std::string> seen;
  supervisor->on_state_change([&](const std::string& name) {
    const std::lock_guard lock(mutex);
    seen.insert(name);
    changed.notify_all();
  });
  ASSERT_TRUE(supervisor->ensure(sleeper()));
  const pid_t first = status().pid;
  {
    std::unique_lock lock(mutex);
    seen.clear();
    ::kill(first, SIGKILL);
    const auto came_back = [&] {
      const DaemonStatus now = status();
      return now.running && now.pid != first;
    };
    EXPECT_TRUE(changed.wait_for(lock, std::chrono::seconds(20),
                                 [&] { return seen.contains(name()) && came_back(); }));
  }
  EXPECT_TRUE(status().running);
  EXPECT_EQ(status().restarts, 1);
  EXPECT_EQ(status().config_digest, sleeper().config_digest)
      << "an unasked restart runs the same configuration";
  EXPECT_EQ(supervisor->ensure(sleeper()).value(), EnsureOutcome::kept);
  supervisor->on_state_change(nullptr);
}

TEST_F(SystemdSupervisorTest, AnAgentKilledBeforeTheRestartIsMadeGood) {
  DaemonSpec spec = sleeper();
  ASSERT_TRUE(supervisor->ensure(spec));
  // What is on the disk when the agent dies between writing the unit and reloading.
  ASSERT_TRUE(write_file_atomic(folder.path() / (name() + ".json"),
                                "{\"boot\":\"" + boot_id() + "\",\"loaded\":-1}"));
  open();
  EXPECT_TRUE(status().config_digest.is_none());
  EXPECT_EQ(supervisor->ensure(spec).value(), EnsureOutcome::restarted);
}

TEST_F(SystemdSupervisorTest, AFailedStartShowsTheLastOutput) {
  DaemonSpec spec = sleeper();
  spec.argv = {"/no/such/program"};
  const auto outcome = supervisor->ensure(spec);
  ASSERT_FALSE(outcome);
  EXPECT_FALSE(status().running);
}

// A unit that has been active once in this boot is believed, so what cannot be loaded comes first.
// The rules are none: the program only has to be there.
TEST_F(SystemdSupervisorTest, DaemonsBehindAGuardedPortWaitForTheRulesAtABootWhereTheyCanBeLoaded) {
  const fs::path units = "/etc/systemd/system";
  const auto drop_in = [&](const std::string& daemon) {
    return units / fmt::format("consort-{}.service.d", daemon) / kBootDropIn;
  };
  const std::string beside = name() + ".beside";
  if (fs::exists(units / kBootUnit)) GTEST_SKIP() << "an agent guards ports here";
  ASSERT_TRUE(supervisor->ensure(sleeper()));
  const pid_t first = status().pid;
  const fs::path rules = folder.path() / "access.nft";
  ASSERT_TRUE(write_file_atomic(rules, "", 0600));
  const bool was_active =
      supervisor->guard_boot(BootGuard{rules, "/bin/false", {{name(), true}}}).has_value();
  if (!was_active) {  // once in a boot
    EXPECT_THAT(read_file(drop_in(name())).value(), ::testing::HasSubstr("Wants="));
  }
  // No service's name leads elsewhere.
  const BootGuard guard{rules, "/bin/true", {{name(), true}, {"x/../ssh", true}}};
  const auto put = supervisor->guard_boot(guard);
  ASSERT_TRUE(put) << render_error(put.error());
  EXPECT_FALSE(fs::exists(units / "ssh.service.d" / kBootDropIn));
  EXPECT_TRUE(fs::is_symlink(units / "sysinit.target.wants" / kBootUnit));
  EXPECT_THAT(read_file(drop_in(name())).value(), ::testing::HasSubstr("Requires="));
  EXPECT_EQ(supervisor->ensure(sleeper()).value(), EnsureOutcome::kept);
  EXPECT_EQ(status().pid, first) << "access restarts nobody";
  // What comes beside it waits, too, at once and after the next word about access.
  DaemonSpec other = sleeper();
  other.name = beside;
  ASSERT_TRUE(supervisor->ensure(other));
  EXPECT_THAT(read_file(drop_in(beside)).value(), ::testing::HasSubstr("Requires="));
  ASSERT_TRUE(supervisor->guard_boot(guard));
  EXPECT_TRUE(fs::exists(drop_in(beside)));
  ASSERT_TRUE(supervisor->remove(beside));
  ASSERT_TRUE(supervisor->guard_boot(std::nullopt));
  EXPECT_FALSE(fs::exists(units / kBootUnit));
  EXPECT_FALSE(fs::exists(fs::symlink_status(units / "sysinit.target.wants" / kBootUnit)));
  for (const std::string& daemon : {name(), beside})
    EXPECT_FALSE(fs::exists(drop_in(daemon).parent_path()));
  EXPECT_EQ(status().pid, first);
}

// systemd leaves it so: whoever keeps it must not wait for a restart. A unit that nothing refers to
// is forgotten with how it ended.
TEST_F(SystemdSupervisorTest, WhatSomebodyStopsIsNotTakenForWhatIsStartedAgain) {
  const auto waits_for_nobody = [&] { return !status().stopped && !ended_unseen(status()); };
  ASSERT_TRUE(supervisor->ensure(sleeper()));
  EXPECT_TRUE(waits_for_nobody());
  ProcessSpec stop;
  stop.argv = {"systemctl", "stop", fmt::format("consort-{}.service", name())};
  stop.timeout = seconds(30);
  ASSERT_TRUE(run_process(stop).value().ok());
  EXPECT_TRUE(tests::eventually([&] { return !waits_for_nobody(); }));
  EXPECT_FALSE(status().running);
  ASSERT_TRUE(supervisor->ensure(sleeper()));
  EXPECT_TRUE(status().running);
  EXPECT_TRUE(waits_for_nobody());
}

TEST_F(SystemdSupervisorTest, StopEndsIt) {
  ASSERT_TRUE(supervisor->ensure(sleeper()));
  const pid_t first = status().pid;
  ASSERT_TRUE(supervisor->stop(name(), seconds(10)));
  EXPECT_FALSE(status().running);
  EXPECT_EQ(process_start_time(first), 0U);
}

}  // namespace
}  // namespace consort::agent
