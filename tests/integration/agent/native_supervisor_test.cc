#include <fcntl.h>
#include <gmock/gmock.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/inotify.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <climits>
#include <condition_variable>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <functional>
#include <mutex>
#include <thread>
#include <tuple>

#include "../../unit/agent/host_folder.h"
#include "agent/readiness.h"
#include "agent/supervisors/process_facts.h"
#include "base/text.h"
#include "fixtures/eventually.h"
#include "native_supervisor_fixture.h"

namespace consort::agent {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using tests::eventually;

// What happens in a folder, one file at a time: moments to do something at.
class FolderEvents {
 public:
  explicit FolderEvents(const fs::path& folder) : fd_(::inotify_init1(IN_CLOEXEC)) {
    EXPECT_GE(::inotify_add_watch(fd_.get(), folder.c_str(),
                                  IN_CREATE | IN_CLOSE_WRITE | IN_MOVED_TO | IN_DELETE),
              0);
  }
  // Waits for so many from now on. False: they did not come in time.
  bool wait_for(int count) {
    const auto end = std::chrono::steady_clock::now() + seconds(20);
    while (count > 0) {
      const auto left =
          std::chrono::duration_cast<Duration>(end - std::chrono::steady_clock::now());
      pollfd entry{fd_.get(), POLLIN, 0};
      if (left.count() <= 0 || ::poll(&entry, 1, static_cast<int>(left.count())) != 1) return false;
      // Room for one event at least, and not for many: what is not read yet comes next time.
      alignas(inotify_event) std::array<char, sizeof(inotify_event) + NAME_MAX + 1> buffer{};
      const ssize_t n = ::read(fd_.get(), buffer.data(), buffer.size());
      for (ssize_t at = 0; at < n; --count) {
        inotify_event event{};
        std::memcpy(&event, buffer.data() + at, sizeof event);
        at += static_cast<ssize_t>(sizeof event + event.len);
      }
    }
    return true;
  }

 private:
  Fd fd_;
};

constexpr std::size_t kLargestRegion = 256U << 20U;  // sanitizers have some of terabytes

// What a process can write; empty when this one may not look.
std::string memory_of(pid_t pid) {
  const fs::path proc = fs::path("/proc") / std::to_string(pid);
  const Fd memory(::open((proc / "mem").c_str(), O_RDONLY | O_CLOEXEC));
  std::string out;
  if (!memory.valid()) return out;
  for (const std::string& line : split(read_file(proc / "maps").value(), '\n')) {
    unsigned long begin = 0;
    unsigned long end = 0;
    std::array<char, 5> allowed{};
    if (std::sscanf(line.c_str(), "%lx-%lx %4s", &begin, &end, allowed.data()) != 3 ||
        allowed[1] != 'w' || end - begin > kLargestRegion)
      continue;
    const std::size_t have = out.size();
    out.resize(have + (end - begin));
    const ssize_t n =
        ::pread(memory.get(), out.data() + have, end - begin, static_cast<off_t>(begin));
    out.resize(have + static_cast<std::size_t>(std::max<ssize_t>(n, 0)));
  }
  return out;
}

TEST_F(NativeSupervisorTest, CredentialsAreThereAtEachStartAndGoWithTheDaemon) {
  const fs::path file = folder.path() / "password";
  ASSERT_TRUE(write_file_atomic(file, "first\n", 0600));
  DaemonSpec spec = shell("web",
                          "cat $CREDENTIALS_DIRECTORY/db; stat -c %a $CREDENTIALS_DIRECTORY/db; "
                          "echo $CREDENTIALS_DIRECTORY; exec sleep 1000");
  spec.credentials = {{"db", file.string()}};
  ASSERT_TRUE(supervisor->ensure(spec));
  ASSERT_TRUE(eventually([&] {
    return supervisor->log_tail("web", 9).starts_with("first\n400\n/");
  })) << supervisor->log_tail("web", 9);
  const fs::path place = std::string(trim(supervisor->log_tail("web", 1)));
  EXPECT_TRUE(fs::exists(place / "db"));
  ASSERT_TRUE(write_file_atomic(file, "second\n", 0600));
  spec.config_digest = Digest::of("another");
  ASSERT_TRUE(supervisor->ensure(spec));
  EXPECT_TRUE(
      eventually([&] { return supervisor->log_tail("web", 3).starts_with("second\n400\n"); }));
  ASSERT_TRUE(supervisor->stop("web", seconds(5)));
  EXPECT_FALSE(fs::exists(place));
  fs::remove(file);
  const auto failed = supervisor->ensure(spec);
  ASSERT_FALSE(failed);
  EXPECT_THAT(failed.error().message(), HasSubstr("credential db"));
}

TEST_F(NativeSupervisorTest, CredentialsOfAKilledShimGoWhenItsDaemonIsStoppedOrRemoved) {
  const fs::path file = folder.path() / "password";
  ASSERT_TRUE(write_file_atomic(file, "first\n", 0600));
  DaemonSpec spec = shell("web", "echo $CREDENTIALS_DIRECTORY; exec sleep 1000");
  spec.credentials = {{"db", file.string()}};
  // With another user they are below /run and not in the daemon's folder.
  if (::geteuid() == 0) std::tie(spec.uid, spec.gid) = std::pair<uid_t, gid_t>(65534, 65534);
  for (const bool remove : {false, true}) {
    ASSERT_TRUE(supervisor->ensure(spec));
    ASSERT_TRUE(eventually([&] { return supervisor->log_tail("web", 1).starts_with("/"); }));
    const fs::path place = std::string(trim(supervisor->log_tail("web", 1)));
    ASSERT_TRUE(fs::exists(place / "db"));
    const pid_t daemon = status().pid;
    ::kill(shim(), SIGKILL);
    ASSERT_TRUE(eventually([&] { return process_start_time(daemon) == 0; }));
    ASSERT_TRUE(fs::exists(place / "db")) << "nobody was there to take it away";
    ASSERT_TRUE(remove ? supervisor->remove("web") : supervisor->stop("web", seconds(5)));
    EXPECT_FALSE(fs::exists(place)) << remove;
  }
}

TEST_F(NativeSupervisorTest, ACredentialThatIsNotThereLeavesNoOther) {
  ASSERT_TRUE(write_file_atomic(folder.path() / "password", "first\n", 0600));
  DaemonSpec spec = shell("web", "exec sleep 1000");
  spec.credentials = {{"a", (folder.path() / "password").string()},
                      {"b", (folder.path() / "nowhere").string()}};
  ASSERT_FALSE(supervisor->ensure(spec));
  EXPECT_FALSE(fs::exists(folder.path() / "daemons/web/credentials"));
}

TEST_F(NativeSupervisorTest, CredentialsOfADaemonThatCannotBeRunGo) {
  ASSERT_TRUE(write_file_atomic(folder.path() / "password", "first\n", 0600));
  DaemonSpec spec = shell("web", "exec sleep 1000");
  spec.argv = {(folder.path() / "no-such-program").string()};
  spec.credentials = {{"db", (folder.path() / "password").string()}};
  const auto failed = supervisor->ensure(spec);
  ASSERT_FALSE(failed);
  EXPECT_THAT(failed.error().message(), HasSubstr("cannot run"));
  EXPECT_FALSE(fs::exists(folder.path() / "daemons/web/credentials"));
}

TEST_F(NativeSupervisorTest, TheShimKeepsNothingOfAnEnvironmentFileInItsMemory) {
  const std::string poison = "Poison-7d1e-" + std::string(30, 'x') + "-that-nobody-may-see";
  const fs::path file = folder.path() / "environment";
  ASSERT_TRUE(write_file_atomic(
      file, "PASSWORD='" + poison + "'\nKEY='first line\n" + poison + "'\n", 0600));
  DaemonSpec spec = shell("web", "test -n \"$PASSWORD$KEY\" && echo it is there; exec sleep 1000");
  spec.environment_file = file.string();
  ASSERT_TRUE(supervisor->ensure(spec));
  ASSERT_TRUE(eventually([&] { return supervisor->log_tail("web", 1) == "it is there"; }));
  const std::string memory = memory_of(shim());
  if (memory.empty()) GTEST_SKIP() << "only a privileged root may look";
  EXPECT_NE(memory.find(folder.path().string()), std::string::npos) << "all of it was read";
  EXPECT_EQ(memory.find(poison), std::string::npos);
}

TEST_F(NativeSupervisorTest, TheShimLeavesNoCoreDump) {
  const rlimit all{RLIM_INFINITY, RLIM_INFINITY};
  int how = 0;
  const pid_t plain = ::fork();
  if (plain == 0) {
    if (::chdir(folder.path().c_str()) == 0 && ::setrlimit(RLIMIT_CORE, &all) == 0) std::abort();
    ::_exit(1);
  }
  ASSERT_EQ(::waitpid(plain, &how, 0), plain);
  if (!WIFSIGNALED(how) || !WCOREDUMP(how)) GTEST_SKIP() << "this machine writes no core dumps";
  // The shim becomes our child, so that we are told how it ended.
  ASSERT_EQ(::prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), 0);
  ASSERT_TRUE(supervisor->ensure(shell("web", "exec sleep 1000")));
  const pid_t pid = shim();
  ASSERT_EQ(::prlimit(pid, RLIMIT_CORE, &all, nullptr), 0);
  ::kill(pid, SIGABRT);
  ASSERT_EQ(::waitpid(pid, &how, 0), pid);
  EXPECT_TRUE(WIFSIGNALED(how));
  EXPECT_FALSE(WCOREDUMP(how));
  ::prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0);
}

TEST_F(NativeSupervisorTest, AServiceCannotGetAFileOfRootsAsItsOwn) {
  // Given a daemon whose user can write in the folder that its files are in.
  const fs::path data = folder.path() / "data";
  fs::create_directories(data);
  ASSERT_EQ(::chmod(data.c_str(), 0777), 0);
  ASSERT_TRUE(write_file_atomic(folder.path() / "key.pem", "KEY=of-the-host\n", 0600));
  ASSERT_TRUE(write_file_atomic(data / "own", "KEY=its-own\n", 0600));
  DaemonSpec spec = shell("web", "exec sleep 1000");
  spec.credentials = {{"db", (data / "own").string()}};
  spec.environment_file = (data / "own").string();
  ASSERT_TRUE(supervisor->ensure(spec));
  ASSERT_TRUE(supervisor->stop("web", seconds(5)));
  // When it puts a link in the place of the file.
  fs::create_symlink(folder.path() / "key.pem", data / "link");
  DaemonSpec by_credential = shell("web", "cat $CREDENTIALS_DIRECTORY/db; exec sleep 1000");
  by_credential.credentials = {{"db", (data / "link").string()}};
  DaemonSpec by_environment = shell("web", "echo $KEY; exec sleep 1000");
  by_environment.environment_file = (data / "link").string();
  for (const DaemonSpec& greedy : {by_credential, by_environment}) {
    const auto outcome = supervisor->ensure(greedy);
    // Then the daemon is not started, and the message says why.
    ASSERT_FALSE(outcome);
    EXPECT_THAT(outcome.error().message(), HasSubstr("symlink"));
    EXPECT_THAT(supervisor->log_tail("web", 20), Not(HasSubstr("of-the-host")));
  }
}

TEST_F(NativeSupervisorTest, TheTailIsOfTheDaemonThatWasStartedLast) {
  ASSERT_TRUE(supervisor->ensure(shell("web", "echo of the old one; exec sleep 1000")));
  ASSERT_TRUE(eventually([&] { return supervisor->log_tail("web", 5) == "of the old one"; }));
  DaemonSpec spec = shell("web", "echo of the new one; exec sleep 1000");
  spec.config_digest = Digest::of("another");
  ASSERT_TRUE(supervisor->ensure(spec));
  ASSERT_TRUE(eventually([&] { return !supervisor->log_tail("web", 5).empty(); }));
  EXPECT_EQ(supervisor->log_tail("web", 5), "of the new one");
}

TEST_F(NativeSupervisorTest, StartsKeepsAndRestartsByConfigurationDigest) {
  DaemonSpec spec = shell("web", "echo hello; exec sleep 1000");
  EXPECT_EQ(supervisor->ensure(spec).value(), EnsureOutcome::started);
  const pid_t first = status().pid;
  EXPECT_GT(first, 1);
  EXPECT_EQ(supervisor->ensure(spec).value(), EnsureOutcome::kept);
  EXPECT_EQ(status().pid, first);
  EXPECT_TRUE(eventually([&] { return supervisor->log_tail("web", 5) == "hello"; }));
  spec.config_digest = Digest::of("new configuration");
  EXPECT_EQ(supervisor->ensure(spec).value(), EnsureOutcome::restarted);
  EXPECT_NE(status().pid, first);
  EXPECT_EQ(process_start_time(first), 0U);
  EXPECT_EQ(status().config_digest, spec.config_digest);
}

TEST_F(NativeSupervisorTest, AProgramThatIsNotThereIsSaidAtOnce) {
  DaemonSpec spec = shell("web", "");
  spec.argv = {"/no/such/program"};
  const auto outcome = supervisor->ensure(spec);
  ASSERT_FALSE(outcome);
  EXPECT_THAT(outcome.error().message(), HasSubstr("/no/such/program"));
  EXPECT_FALSE(status().running);
}

TEST_F(NativeSupervisorTest, AKilledDaemonComesBackAndOthersAreUntouched) {
  ASSERT_TRUE(supervisor->ensure(shell("web", "exec sleep 1000")));
  ASSERT_TRUE(supervisor->ensure(shell("other", "exec sleep 1000")));
  const pid_t other = status("other").pid;
  const pid_t first = status().pid;
  ::kill(first, SIGKILL);
  ASSERT_TRUE(eventually([&] {
    const DaemonStatus now = status();
    return now.running && now.pid != first;
  }));
  EXPECT_EQ(status().restarts, 1);
  EXPECT_EQ(status().exit_status, 128 + SIGKILL);
  EXPECT_EQ(status("other").pid, other);
}

TEST_F(NativeSupervisorTest, WhatTheDiskDidNotTakeIsWrittenOnceItDoes) {
  // Given a daemon whose state cannot be written for a while (as on a full disk),
  const fs::path pids = folder.path() / "pids";
  ASSERT_TRUE(
      supervisor->ensure(shell("web", "echo $$ >> " + pids.string() + "; exec sleep 1000")));
  const auto started = [&] { return split(trim(read_file(pids).value_or("")), '\n'); };
  ASSERT_TRUE(eventually([&] { return !started().front().empty(); }));
  const fs::path state = folder.path() / "daemons/web/state.json";
  const pid_t first = status().pid;
  ASSERT_TRUE(fs::remove(state) && fs::create_directory(state));
  // when it dies and comes back meanwhile,
  ASSERT_EQ(::kill(first, SIGKILL), 0);
  ASSERT_TRUE(eventually([&] { return started().size() == 2; }));
  ASSERT_TRUE(eventually([&] {
    const std::string log = read_file(folder.path() / "daemons/web/log").value_or("");
    return log.find("state.json") != log.rfind("state.json");
  })) << "neither its end nor its start could be written";
  // then the agent sees the new process as soon as there is room, and not the dead one.
  ASSERT_TRUE(fs::remove(state));
  const pid_t second = std::atoi(started().back().c_str());
  EXPECT_TRUE(eventually([&] { return status().running && status().pid == second; }));
}

TEST_F(NativeSupervisorTest, TellsWhenAStateChanges) {
  std::mutex mutex;
  std::condition_variable changed;
  std::set<std::string> seen;
  supervisor->on_state_change([&](const std::string& name) {
    const std::lock_guard lock(mutex);
    seen.insert(name);
    changed.notify_all();
  });
  ASSERT_TRUE(supervisor->ensure(shell("web", "exec sleep 1000")));
  std::unique_lock lock(mutex);
  EXPECT_TRUE(
      changed.wait_for(lock, std::chrono::seconds(10), [&] { return seen.contains("web"); }));
  seen.clear();
  ::kill(status().pid, SIGKILL);
  EXPECT_TRUE(
      changed.wait_for(lock, std::chrono::seconds(10), [&] { return seen.contains("web"); }));
  lock.unlock();
  supervisor->on_state_change(nullptr);
}

TEST_F(NativeSupervisorTest, ItsExitStatusIsKept) {
  DaemonSpec spec = shell("web", "exit 7");
  spec.restart = RestartPolicy::never;
  ASSERT_TRUE(supervisor->ensure(spec));
  ASSERT_TRUE(eventually([&] { return status().exit_status.has_value(); }));
  EXPECT_EQ(*status().exit_status, 7);
  open();
  EXPECT_EQ(*status().exit_status, 7) << "also for an agent that was not there";
}

TEST_F(NativeSupervisorTest, StopReachesAlsoWhatTheDaemonStarted) {
  DaemonSpec spec =
      shell("web", "trap '' TERM; (setpgid_child=1; exec sleep 1000) & echo $!; wait; sleep 1000");
  spec.stop_timeout = Duration(200);
  ASSERT_TRUE(supervisor->ensure(spec));
  ASSERT_TRUE(eventually([&] { return !supervisor->log_tail("web", 1).empty(); }));
  const pid_t grandchild = std::atoi(supervisor->log_tail("web", 1).c_str());
  ASSERT_TRUE(supervisor->stop("web", seconds(10)));
  EXPECT_FALSE(status().running);
  EXPECT_TRUE(eventually([&] { return process_start_time(grandchild) == 0; }));
}

TEST_F(NativeSupervisorTest, AKilledShimTakesItsDaemonAlongAndEnsureStartsBoth) {
  const DaemonSpec spec = shell("web", "exec sleep 1000");
  ASSERT_TRUE(supervisor->ensure(spec));
  const pid_t first = status().pid;
  ::kill(shim(), SIGKILL);
  ASSERT_TRUE(eventually([&] { return process_start_time(first) == 0; }));
  EXPECT_FALSE(status().running);
  EXPECT_TRUE(ended_unseen(status()));
  // Who waits for it now would wait for ever.
  const Status ready = wait_until_ready(*supervisor, spec);
  ASSERT_FALSE(ready);
  EXPECT_EQ(ready.error().code(), ErrorCode::unavailable);
  EXPECT_EQ(supervisor->ensure(spec).value(), EnsureOutcome::started);
  EXPECT_TRUE(status().running);
}

TEST_F(NativeSupervisorTest, AShimKilledWhileItPausesLeavesADaemonThatNobodyStarts) {
  // Given a daemon that ends at once, again and again, and therefore waits for its next start,
  ASSERT_TRUE(supervisor->ensure(shell("web", "exit 3")));
  ASSERT_TRUE(eventually([&] { return status().restarts >= 4 && !status().running; }));
  EXPECT_TRUE(status().supervised);
  EXPECT_FALSE(ended_unseen(status()));
  // when its shim is killed, then no old exit status hides that nobody is left to start it.
  const pid_t watcher = shim();
  ::kill(watcher, SIGKILL);
  ASSERT_TRUE(eventually([&] { return process_start_time(watcher) == 0; }));
  EXPECT_TRUE(ended_unseen(status()));
}

TEST_F(NativeSupervisorTest, ADaemonThatMayEndAndHasDoneItsWorkIsReady) {
  DaemonSpec spec = shell("web", "exit 0");
  spec.restart = RestartPolicy::on_failure;
  ASSERT_TRUE(supervisor->ensure(spec));
  ASSERT_TRUE(eventually([&] { return status().exit_status == 0; }));
  EXPECT_FALSE(ended_unseen(status()));
  EXPECT_TRUE(wait_until_ready(*supervisor, spec));
}

TEST_F(NativeSupervisorTest, ADaemonOutlivesAKilledAgentAndIsAdopted) {
  const DaemonSpec spec = shell("web", "exec sleep 1000");
  const pid_t agent = ::fork();
  if (agent == 0) {
    auto own = make_native_supervisor({folder.path() / "daemons", {CONSORT_SHIM}});
    if (!own || !(*own)->ensure(spec)) ::_exit(1);
    ::kill(::getpid(), SIGKILL);
  }
  int how = 0;
  ::waitpid(agent, &how, 0);
  ASSERT_TRUE(WIFSIGNALED(how));
  open();
  const pid_t first = status().pid;
  ASSERT_GT(first, 1);
  EXPECT_EQ(supervisor->ensure(spec).value(), EnsureOutcome::kept);
  EXPECT_EQ(status().pid, first);
  DaemonSpec changed = spec;
  changed.config_digest = Digest::of("while the agent was away");
  EXPECT_EQ(supervisor->ensure(changed).value(), EnsureOutcome::restarted);
}

TEST_F(NativeSupervisorTest, AnAgentKilledAtAnyMomentLeavesOneDaemonAtMost) {
  ASSERT_TRUE(supervisor->ensure(shell("web", "exec sleep 1000")));
  for (int round = 0; round < 25; ++round) {
    FolderEvents events(folder.path() / "daemons/web");
    const std::string mark = "consort-mark-" + std::to_string(::getpid());
    const pid_t agent = ::fork();
    if (agent == 0) {
      auto own = make_native_supervisor({folder.path() / "daemons", {CONSORT_SHIM}});
      for (int i = 0; own; ++i) {
        DaemonSpec spec = shell("web", "exec sleep 1000");
        spec.config_digest = Digest::of(std::to_string(round * 1000 + i));
        [[maybe_unused]] const auto outcome = (*own)->ensure(spec);
      }
      ::_exit(1);
    }
    // One restart writes about a dozen times: each round the agent dies one of them later.
    EXPECT_TRUE(events.wait_for(round + 1)) << round;
    ::kill(agent, SIGKILL);
    ::waitpid(agent, nullptr, 0);
    const DaemonSpec last = shell("web", "exec sleep 1000 # " + mark);
    ASSERT_TRUE(eventually([&] { return supervisor->ensure(last).has_value(); })) << round;
    EXPECT_TRUE(status().running);
    EXPECT_EQ(status().config_digest, last.config_digest);
  }
}

TEST_F(NativeSupervisorTest, ReadinessIsWaitedFor) {
  DaemonSpec spec = shell("web", "exec sleep 1000");
  const std::string flag = (folder.path() / "flag").string();
  spec.readiness.type = ReadinessSpec::Type::command;
  spec.readiness.argv = {"test", "-e", flag};
  spec.readiness.timeout = Duration(200);
  ASSERT_TRUE(supervisor->ensure(spec));
  const Status late = wait_until_ready(*supervisor, spec);
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code(), ErrorCode::timeout);
  ASSERT_TRUE(write_file_atomic(flag, ""));
  EXPECT_TRUE(wait_until_ready(*supervisor, spec));
}

TEST_F(NativeSupervisorTest, NotifyAndTcpReadiness) {
  DaemonSpec spec = shell("web", "exec perl -MIO::Socket::UNIX -e '");
  // A program that speaks sd_notify over the abstract socket it is given.
  spec.argv = {
      "perl", "-MSocket", "-e",
      "my $n = $ENV{NOTIFY_SOCKET}; $n =~ s/^@/\\0/; socket(my $s, AF_UNIX, SOCK_DGRAM, 0) or die; "
      "send($s, \"STATUS=up\\nREADY=1\", 0, pack('Sa*', AF_UNIX, $n)) or die $!; sleep 1000"};
  spec.readiness.type = ReadinessSpec::Type::notify;
  spec.readiness.timeout = seconds(20);
  ASSERT_TRUE(supervisor->ensure(spec));
  const Status ready = wait_until_ready(*supervisor, spec);
  EXPECT_TRUE(ready) << (ready ? "" : render_error(ready.error()));

  const Fd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  ASSERT_EQ(::bind(listener.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
  ASSERT_EQ(::getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &size), 0);
  ReadinessSpec tcp;
  tcp.type = ReadinessSpec::Type::tcp;
  tcp.port = ntohs(address.sin_port);
  EXPECT_FALSE(probe(tcp, seconds(1)));
  ASSERT_EQ(::listen(listener.get(), 1), 0);
  EXPECT_TRUE(probe(tcp, seconds(5)));
}

TEST_F(NativeSupervisorTest, AChangedFileRestartsTheDaemonThatReadsItAlsoAfterACrash) {
  HostFolder host;
  host.supervisor = supervisor.get();
  host.reopen();
  const auto specs = [&](const std::string& content) {
    return std::map<std::string, Json>{
        {"conf", file_spec("/etc/web.conf", content)},
        {"web", Json::object({{"type", "daemon"},
                              {"argv", Json::array_of(std::vector<std::string>{
                                           "/bin/sh", "-c", "exec sleep 1000",
                                           host.at("/etc/web.conf").string()})}})}};
  };
  host.twice(specs("one"));
  const pid_t first = status().pid;
  EXPECT_GT(first, 1);
  host.twice(specs("two"));
  const pid_t second = status().pid;
  EXPECT_NE(second, first);

  // The file was repaired and then the agent died before the restart.
  host.put("/etc/web.conf", "three");
  host.reopen();
  const auto report = host.twice(specs("three"));
  EXPECT_EQ(report.find("conf"), nullptr);
  ASSERT_NE(report.find("web"), nullptr);
  EXPECT_EQ(report.find("web")->outcome, Outcome::repaired);
  EXPECT_NE(status().pid, second);
}

}  // namespace
}  // namespace consort::agent
