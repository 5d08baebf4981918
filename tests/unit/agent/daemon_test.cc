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

}  // namespace
}  // namespace consort::agent
