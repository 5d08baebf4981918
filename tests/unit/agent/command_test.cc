#include <gmock/gmock.h>
#include <sys/stat.h>

#include "agent/supervisors/process_facts.h"
#include "host_folder.h"

namespace consort::agent {
namespace {

using ::testing::HasSubstr;

Json shell_spec(const std::string& text) {
  return Json::object({{"type", "command"},
                       {"shell", true},
                       {"argv", Json::array_of(std::vector<std::string>{text})}});
}

TEST(Command, CreatesRunsUntilThePathIsThere) {
  HostFolder host;
  Json spec = shell_spec("echo x > $CONSORT_ROOT/etc/made");
  spec["creates"] = "/etc/made";
  EXPECT_EQ(host.twice({{"make", spec}}).repaired, 1U);
  fs::remove(host.at("/etc/made"));
  EXPECT_EQ(host.twice({{"make", spec}}).repaired, 1U);
}

// Keeps what it was asked to run, and runs nothing.
class AskedRunner final : public ProcessRunner {
 public:
  Result<ProcessOutcome> run(const ProcessSpec& spec) override {
    asked = spec;
    ProcessOutcome done;
    done.status = 0;
    return done;
  }
  ProcessSpec asked;
};

TEST(Command, RunsWithTheGroupsOfItsUserAndNeverWithTheAgents) {
  AskedRunner runner;
  HostFolder host;
  host.put("/etc/passwd", "root:x:0:0::/:/bin/sh\nshop:x:4711:4712::/:/bin/false\n");
  host.put("/etc/group", "root:x:0:\nshopkeepers:x:4712:\nmail:x:8:shop\n");
  host.runner = &runner;
  host.reopen();
  const auto run_as = [&](const std::string& user, const std::string& group) {
    Json spec = shell_spec("true");
    spec["user"] = user;
    if (!group.empty()) spec["group"] = group;
    return host.pass({{"make", spec}});
  };
  for (const char* user : {"shop", "4711"}) {
    EXPECT_EQ(run_as(user, "").repaired, 1U);
    EXPECT_EQ(runner.asked.uid, 4711U);
    EXPECT_EQ(runner.asked.gid, 4712U);
    EXPECT_EQ(runner.asked.groups, std::vector<gid_t>{8});
  }
  const PassReport refused = run_as("4713", "");
  EXPECT_EQ(refused.failed, 1U);
  EXPECT_THAT(render_report(refused), HasSubstr("say group as well"));
  EXPECT_EQ(run_as("4713", "4714").repaired, 1U);
  EXPECT_EQ(runner.asked.gid, 4714U);
}

TEST(Command, ThatDoesNotCreateWhatItShouldHasFailed) {
  HostFolder host;
  Json spec = shell_spec("true");
  spec["creates"] = "/etc/made";
  EXPECT_EQ(host.pass({{"make", spec}}).exit_status(), 4);
}

TEST(Command, GuardsDecide) {
  HostFolder host;
  Json spec = shell_spec("echo x >> $CONSORT_ROOT/etc/ran");
  spec["unless"] =
      Json::array_of(std::vector<std::string>{"test", "-e", host.at("/etc/ran").string()});
  EXPECT_EQ(host.twice({{"guarded", spec}}).repaired, 1U);
  EXPECT_EQ(host.get("/etc/ran"), "x\n");
  Json never = shell_spec("false");
  never["onlyIf"] = Json::array_of(std::vector<std::string>{"false"});
  EXPECT_EQ(host.twice({{"never", never}}).kept, 1U);
}

TEST(Command, WithoutAnyGuardRunsOncePerWish) {
  HostFolder host;
  host.twice({{"once", shell_spec("echo x >> $CONSORT_ROOT/etc/ran")}});
  host.reopen();
  host.twice({{"once", shell_spec("echo x >> $CONSORT_ROOT/etc/ran")}});
  EXPECT_EQ(host.get("/etc/ran"), "x\n");
}

TEST(Command, ExitStatusesMeanWhatTheSpecificationSays) {
  HostFolder host;
  Json spec = shell_spec("echo because >&2; exit 3");
  auto report = host.pass({{"c", spec}});
  EXPECT_EQ(report.exit_status(), 4);
  EXPECT_THAT(report.find("c")->reason, HasSubstr("because"));
  spec["keptExit"] = Json::array_of(std::vector<int>{3});
  EXPECT_EQ(host.pass({{"c", spec}}).exit_status(), 0);
  Json repaired = shell_spec("exit 7");
  repaired["repairedExit"] = Json::array_of(std::vector<int>{7});
  EXPECT_EQ(host.pass({{"d", repaired}}).exit_status(), 2);
}

TEST(Command, ATimeoutEndsTheWholeGroup) {
  HostFolder host;
  Json spec = shell_spec("sleep 100 & echo $! > $CONSORT_ROOT/etc/child; wait");
  spec["timeout"] = "200ms";
  const auto report = host.pass({{"slow", spec}});
  EXPECT_EQ(report.exit_status(), 4);
  EXPECT_THAT(report.find("slow")->reason, HasSubstr("process group was killed"));
  const pid_t child = std::atoi(host.get("/etc/child").c_str());
  ASSERT_GT(child, 1);
  // SIGKILL is on its way to it; the kernel takes a moment.
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (process_start_time(child) != 0) ASSERT_LT(std::chrono::steady_clock::now(), end);
}

class MakeRule : public ::testing::Test {
 protected:
  void SetUp() override {
    spec = shell_spec(
        "cat $CONSORT_ROOT/src/*.in > $CONSORT_ROOT/etc/out; echo x >> $CONSORT_ROOT/etc/log");
    spec["inputs"] = Json::array_of(std::vector<std::string>{"/src/*.in"});
    spec["outputs"] = Json::array_of(std::vector<std::string>{"/etc/out"});
  }
  [[nodiscard]] std::size_t builds() const {
    return host.get("/etc/log") == "(absent)" ? 0 : host.get("/etc/log").size() / 2;
  }
  HostFolder host;
  Json spec;
};

TEST_F(MakeRule, WaitsForItsInputsAndBuildsOncePerContent) {
  const auto waiting = host.pass({{"make", spec}});
  EXPECT_EQ(waiting.exit_status(), 0);
  EXPECT_THAT(waiting.find("make")->reason, HasSubstr("waiting for the input"));
  host.put("/src/a.in", "one\n");
  host.twice({{"make", spec}});
  EXPECT_EQ(builds(), 1U);
  host.put("/src/b.in", "two\n");
  host.twice({{"make", spec}});
  EXPECT_EQ(host.get("/etc/out"), "one\ntwo\n");
  EXPECT_EQ(builds(), 2U);
}

TEST_F(MakeRule, ATouchAloneDoesNotBuildAnOlderMtimeDoes) {
  host.put("/src/a.in", "one\n");
  host.twice({{"make", spec}});
  fs::last_write_time(host.at("/src/a.in"), fs::file_time_type::clock::now());
  host.twice({{"make", spec}});
  EXPECT_EQ(builds(), 1U);
  host.put("/src/a.in", "eno\n");
  fs::last_write_time(host.at("/src/a.in"),
                      fs::file_time_type::clock::now() - std::chrono::hours(1000));
  host.twice({{"make", spec}});
  EXPECT_EQ(builds(), 2U);
}

TEST_F(MakeRule, AChangedOutputIsMadeAgain) {
  host.put("/src/a.in", "one\n");
  host.twice({{"make", spec}});
  host.put("/etc/out", "tampered");
  host.twice({{"make", spec}});
  EXPECT_EQ(host.get("/etc/out"), "one\n");
}

}  // namespace
}  // namespace consort::agent
