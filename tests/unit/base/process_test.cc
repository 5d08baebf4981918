// Programs that end, fail, hang, say too much or are not there.
#include "base/process.h"

#include <gmock/gmock.h>
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <csignal>

#include "base/files.h"

namespace consort {
namespace {

using ::testing::HasSubstr;

ProcessSpec shell(const std::string& script) {
  ProcessSpec out;
  out.argv = {"/bin/sh", "-c", script};
  return out;
}

TEST(Process, StreamsStatusAndInputAreKeptApart) {
  ProcessSpec spec = shell("cat; echo oops >&2; exit 3");
  spec.input = "hello";
  const auto outcome = run_process(spec);
  ASSERT_TRUE(outcome);
  EXPECT_EQ(outcome->output, "hello");
  EXPECT_EQ(outcome->errors, "oops\n");
  EXPECT_EQ(outcome->status, 3);
  EXPECT_FALSE(outcome->ok());
}

TEST(Process, AMissingProgramIsAnErrorThatNamesIt) {
  ProcessSpec spec;
  spec.argv = {"no-such-program-anywhere"};
  const auto missing = run_process(spec);
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code(), ErrorCode::not_found);
  EXPECT_THAT(missing.error().message(), HasSubstr("no-such-program-anywhere"));
  EXPECT_FALSE(run_process({}));
  ProcessSpec nowhere = shell("true");
  nowhere.folder = "/no/such/folder";
  EXPECT_FALSE(run_process(nowhere));
}

TEST(Process, ATimeLimitEndsTheWholeGroup) {
  // The grandchild outlives a signal to its parent alone; its pid is told before it hangs.
  ProcessSpec spec = shell("sleep 100 & echo $!; wait");
  spec.timeout = Duration{200};
  spec.grace = Duration{200};
  const auto outcome = run_process(spec);
  ASSERT_TRUE(outcome);
  EXPECT_TRUE(outcome->timed_out);
  EXPECT_FALSE(outcome->ok());
  EXPECT_LT(outcome->elapsed, seconds(20));
  const pid_t grandchild = std::stoi(outcome->output);
  // Killed is not yet gone; a pidfd is readable once it is.
  const Fd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, grandchild, 0)));
  pollfd gone{pidfd.get(), POLLIN, 0};
  if (pidfd.valid()) {
    EXPECT_EQ(::poll(&gone, 1, 20'000), 1);
  }
}

TEST(Process, AProgramThatIgnoresTheFirstSignalIsKilled) {
  ProcessSpec spec = shell("trap '' TERM; while :; do sleep 0.05; done");
  spec.timeout = Duration{100};
  spec.grace = Duration{100};
  const auto outcome = run_process(spec);
  ASSERT_TRUE(outcome);
  EXPECT_TRUE(outcome->timed_out);
  EXPECT_EQ(outcome->signal, SIGKILL);
  EXPECT_EQ(outcome->status, 128 + SIGKILL);
}

TEST(Process, TooMuchOutputLosesItsMiddle) {
  ProcessSpec spec = shell("echo begin; head -c 300000 /dev/zero | tr '\\0' x; echo; echo end");
  spec.output_limit = 1000;
  const auto outcome = run_process(spec);
  ASSERT_TRUE(outcome);
  EXPECT_EQ(outcome->status, 0) << "the program is not stopped for it";
  EXPECT_LT(outcome->output.size(), 1100U);
  EXPECT_TRUE(outcome->output.starts_with("begin\n"));
  EXPECT_TRUE(outcome->output.ends_with("end\n"));
  EXPECT_THAT(outcome->output, HasSubstr("[…]"));
}

TEST(Process, AChildThatStaysBehindDoesNotHoldUsUp) {
  ProcessSpec spec = shell("sleep 5 & echo started");
  pid_t group = 0;
  spec.on_start = [&](pid_t pid) { group = pid; };
  const auto outcome = run_process(spec);
  ::kill(-group, SIGKILL);
  ASSERT_TRUE(outcome);
  EXPECT_EQ(outcome->output, "started\n");
  EXPECT_LT(outcome->elapsed, seconds(4));
}

TEST(Process, AReaderThatClosesItsInputIsNoCrash) {
  ProcessSpec spec = shell("exec 0<&-; echo done");
  spec.input = std::string(1U << 20U, 'x');
  const auto outcome = run_process(spec);
  ASSERT_TRUE(outcome);
  EXPECT_EQ(outcome->output, "done\n");
}

TEST(Process, TheEnvironmentIsAddedOrReplaced) {
  ProcessSpec spec;
  spec.argv = {"/usr/bin/env"};
  spec.clear_environment = true;
  spec.environment = {{"ONLY", "this"}};
  EXPECT_EQ(run_process(spec)->output, "ONLY=this\n");
}

TEST(Process, NobodyElseKeepsOurGroups) {
  ProcessSpec spec = shell("id -u; id -g; id -G");
  spec.uid = 65534;
  const auto refused = run_process(spec);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), ErrorCode::invalid_input);
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  spec.gid = 65534;
  EXPECT_EQ(run_process(spec).value().output, "65534\n65534\n65534\n");
  spec.groups = {7, 9};
  EXPECT_EQ(run_process(spec).value().output, "65534\n65534\n65534 7 9\n");
}

TEST(Process, WordsAreQuotedForAShell) {
  EXPECT_EQ(quote_argv({"ls", "-l", "a b", "it's", ""}), "ls -l 'a b' 'it'\\''s' ''");
  EXPECT_EQ(quote_argv({"sh", "evil\nrun it? [y/N] \x1b[1A it's \\"}),
            "sh $'evil\\nrun it? [y/N] \\x1b[1A it\\'s \\\\'");
}

TEST(Process, AProgramThatAFileNamesStartsAtThatFile) {
  EXPECT_EQ(program_from("/site", {"./bin/list", "a"}).argv.front(), "/site/bin/list");
  EXPECT_EQ(program_from("/site", {"/bin/ls"}).argv.front(), "/bin/ls");
  EXPECT_EQ(program_from("/site", {"pass", "./x"}).argv, (std::vector<std::string>{"pass", "./x"}));
  EXPECT_EQ(program_from("/site", {"pass"}).folder, "/site");
}

}  // namespace
}  // namespace consort
