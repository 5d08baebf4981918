#include <gmock/gmock.h>

#include <deque>

#include "agent/supervisors/supervisor.h"
#include "host_folder.h"

namespace consort::agent {
namespace {

using ::testing::HasSubstr;

// Does what it was told beforehand: one outcome, and the state after it, for each ensure().
class ScriptedSupervisor final : public Supervisor {
 public:
  struct Act {
    EnsureOutcome outcome = EnsureOutcome::started;
    DaemonStatus then;
  };
  explicit ScriptedSupervisor(std::deque<Act> given) : acts(std::move(given)) {}

  Result<EnsureOutcome> ensure(const DaemonSpec& spec) override {
    const Act act = acts.front();
    if (acts.size() > 1) acts.pop_front();
    ++ensured;
    asked = spec;
    now_ = act.then;
    now_.config_digest = spec.config_digest;
    return act.outcome;
  }
  Status stop(const std::string& /*name*/, Duration /*timeout*/) override { return {}; }
  Result<DaemonStatus> status(const std::string& /*name*/) override { return now_; }
  Status remove(const std::string& /*name*/) override { return {}; }
  std::string log_tail(const std::string& /*name*/, std::size_t /*lines*/) override { return ""; }
  void on_state_change(StateChanged /*callback*/) override {}

  std::deque<Act> acts;
  int ensured = 0;
  DaemonSpec asked;  // the last time

 private:
  DaemonStatus now_;
};

DaemonStatus at_work() {
  DaemonStatus out;
  out.known = out.running = out.ready = out.supervised = true;
  return out;
}

DaemonStatus gone_unseen() {
  DaemonStatus out;
  out.known = true;
  return out;
}

PassReport pass_with(ScriptedSupervisor& supervisor) {
  HostFolder host;
  host.supervisor = &supervisor;
  host.reopen();
  return host.pass(
      {{"web", Json::object({{"type", "daemon"},
                             {"argv", Json::array_of(std::vector<std::string>{"/bin/sleep"})}})}});
}

TEST(Daemon, ThatWasJustEndingWhenItWasFoundAtWorkIsStartedAgain) {
  ScriptedSupervisor supervisor(
      {{EnsureOutcome::kept, gone_unseen()}, {EnsureOutcome::started, at_work()}});
  const PassReport report = pass_with(supervisor);
  EXPECT_EQ(report.repaired, 1U) << render_report(report);
  EXPECT_EQ(supervisor.ensured, 2);
}

TEST(Daemon, ThatEndsUnseenAgainAndAgainIsAFailure) {
  ScriptedSupervisor supervisor({{EnsureOutcome::started, gone_unseen()}});
  const PassReport report = pass_with(supervisor);
  EXPECT_EQ(report.failed, 1U);
  EXPECT_THAT(render_report(report), HasSubstr("together with what watched over it"));
  EXPECT_EQ(supervisor.ensured, 3);
}

TEST(Daemon, RunsWithTheGroupsOfItsUserAndNeverWithTheAgents) {
  ScriptedSupervisor supervisor({{EnsureOutcome::started, at_work()}});
  HostFolder host;
  host.put("/etc/passwd", "root:x:0:0::/:/bin/sh\nshop:x:4711:4712::/:/bin/false\n");
  host.put("/etc/group", "root:x:0:\nshopkeepers:x:4712:\nmail:x:8:postmaster,shop\n");
  host.supervisor = &supervisor;
  host.reopen();
  const auto run_as = [&](const std::string& user, const std::string& group) {
    Json spec = Json::object({{"type", "daemon"},
                              {"argv", Json::array_of(std::vector<std::string>{"/bin/sleep"})},
                              {"user", user}});
    if (!group.empty()) spec["group"] = group;
    return host.pass({{"web", spec}});
  };
  // By its name or by its number,
  for (const char* user : {"shop", "4711"}) {
    EXPECT_EQ(run_as(user, "").repaired, 1U);
    EXPECT_EQ(supervisor.asked.uid, 4711U);
    EXPECT_EQ(supervisor.asked.gid, 4712U);
    EXPECT_EQ(supervisor.asked.groups, std::vector<gid_t>{8});
  }
  EXPECT_EQ(run_as("shop", "mail").repaired, 1U);
  EXPECT_EQ(supervisor.asked.gid, 8U);
  // and a number that nobody knows needs a group beside it.
  const int before = supervisor.ensured;
  const PassReport refused = run_as("4713", "");
  EXPECT_EQ(refused.failed, 1U);
  EXPECT_THAT(render_report(refused), HasSubstr("say group as well"));
  EXPECT_EQ(supervisor.ensured, before);
  EXPECT_EQ(run_as("4713", "4714").repaired, 1U);
  EXPECT_EQ(supervisor.asked.uid, 4713U);
  EXPECT_EQ(supervisor.asked.gid, 4714U);
  EXPECT_TRUE(supervisor.asked.groups.empty());
}

}  // namespace
}  // namespace consort::agent
