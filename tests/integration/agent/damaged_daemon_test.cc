// What is known of a daemon is damaged while it runs: it is neither doubled nor called stopped.
#include <csignal>

#include "agent/supervisors/process_facts.h"
#include "fixtures/eventually.h"
#include "native_supervisor_fixture.h"

namespace consort::agent {
namespace {

using ::testing::HasSubstr;
using tests::eventually;

class DamagedDaemon : public NativeSupervisorTest {
 protected:
  void SetUp() override {
    NativeSupervisorTest::SetUp();
    ASSERT_TRUE(supervisor->ensure(shell("web", "exec sleep 1000")));
    ASSERT_TRUE(eventually([&] { return status().running; }));
    daemon = status().pid;
    start = process_start_time(daemon);
    keeper = shim();
  }
  [[nodiscard]] fs::path state() const { return folder.path() / "daemons/web/state.json"; }
  [[nodiscard]] bool runs() const { return process_start_time(daemon) == start; }
  void damage(const std::string& how) const {
    if (how == "truncated") {
      ASSERT_TRUE(write_file_atomic(state(), ""));
      return;
    }
    ASSERT_TRUE(fs::remove(state()));
    ASSERT_TRUE(how == "removed" || fs::create_directory(state()));
  }

  pid_t daemon = 0;
  std::uint64_t start = 0;
  pid_t keeper = 0;
};

class EveryDamage : public DamagedDaemon, public ::testing::WithParamInterface<const char*> {};

TEST_P(EveryDamage, I6_WhatIsCalledStoppedDoesNotRun) {
  damage(GetParam());
  ASSERT_TRUE(supervisor->stop("web", seconds(5)));
  EXPECT_FALSE(runs());
}

TEST_P(EveryDamage, IsMendedByTheNextStart) {
  damage(GetParam());
  open();  // another life of the agent
  ASSERT_TRUE(supervisor->ensure(shell("web", "exec sleep 1000")));
  EXPECT_TRUE(eventually([&] { return status().running && status().pid != daemon; }));
  EXPECT_FALSE(runs());
}

INSTANTIATE_TEST_SUITE_P(Damages, EveryDamage, ::testing::Values("truncated", "removed", "folder"));

TEST_F(DamagedDaemon, WhereNobodyCanTellWhichOneRunsNothingIsCalledStopped) {
  damage("removed");
  ASSERT_TRUE(fs::remove(folder.path() / "daemons/web/shim.json"));
  const Status stopped = supervisor->stop("web", seconds(5));
  ASSERT_FALSE(stopped);
  EXPECT_THAT(render_error(stopped.error()), HasSubstr("fuser -v"));
  EXPECT_TRUE(runs());
  // Who does what it says can go on.
  ASSERT_EQ(::kill(keeper, SIGTERM), 0);
  EXPECT_TRUE(eventually([&] { return supervisor->stop("web", seconds(5)).has_value(); }));
  EXPECT_FALSE(runs());
}

}  // namespace
}  // namespace consort::agent
