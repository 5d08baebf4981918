// Declared access with real packets: this process moves into a network namespace of its own, which
// is the host that is guarded; clients live in namespaces of their own, behind one bridge. Skipped,
// and said so, only where the kernel does not permit namespaces.
#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include "agent/firewall.h"
#include "fixture.h"

namespace consort::agent {
namespace {

using ::testing::ElementsAre;

constexpr const char* kHost = "10.77.0.1";
constexpr const char* kHost6 = "fd77::1";

Status tool(const std::vector<std::string>& argv) {
  ProcessSpec spec;
  spec.argv = argv;
  const ProcessOutcome outcome = TRY(run_process(spec));
  if (outcome.ok()) return {};
  return fail(ErrorCode::io, quote_argv(argv) + ": " + outcome.errors);
}

// A namespace that lives as long as its process.
class Client {
 public:
  explicit Client(int number) : link_("c" + std::to_string(number)) {
    int ready[2];
    EXPECT_EQ(::pipe(ready), 0);
    pid_ = ::fork();
    if (pid_ == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      for (int fd = 3; fd < 1024; ++fd) {  // the controller's sockets are not the client's
        if (fd != ready[1]) ::close(fd);
      }
      const char word = ::unshare(CLONE_NEWNET) == 0 ? 'y' : 'n';
      static_cast<void>(::write(ready[1], &word, 1) == 1);
      while (true) ::pause();
    }
    char word = 'n';
    static_cast<void>(::read(ready[0], &word, 1) == 1);
    ::close(ready[0]);
    ::close(ready[1]);
    EXPECT_EQ(word, 'y');
    const std::string n = std::to_string(number);
    const std::string pid = std::to_string(pid_);
    const std::vector<std::string> inside = {"nsenter", "--net=/proc/" + pid + "/ns/net", "ip"};
    const auto in = [&](std::vector<std::string> words) {
      words.insert(words.begin(), inside.begin(), inside.end());
      return tool(words);
    };
    for (const Status& status : {tool({"ip", "link", "add", "c" + n, "type", "veth", "peer", "name",
                                       "eth0", "netns", pid}),
                                 tool({"ip", "link", "set", "c" + n, "master", "br0", "up"}),
                                 in({"addr", "add", "10.77.0." + n + "/24", "dev", "eth0"}),
                                 in({"addr", "add", "fd77::" + n + "/64", "dev", "eth0", "nodad"}),
                                 in({"link", "set", "eth0", "up"})})
      EXPECT_TRUE(status) << render_error(status.error());
  }
  ~Client() {
    // The kernel takes a namespace down some time after its last process.
    static_cast<void>(tool({"ip", "link", "delete", link_}));
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  // An open connection, or an invalid descriptor with errno. A refusal comes at once.
  Fd connect(int port, const std::string& address = kHost) const {
    Fd out;
    int problem = 0;
    std::thread([&] {
      const Fd space(::open(("/proc/" + std::to_string(pid_) + "/ns/net").c_str(), O_RDONLY));
      if (::setns(space.get(), CLONE_NEWNET) != 0) {
        problem = errno;
        return;
      }
      out = dial(port, address, problem);
    }).join();
    errno = problem;
    return out;
  }
  [[nodiscard]] bool reaches(int port, const std::string& address = kHost) const {
    return connect(port, address).valid();
  }

  static Fd dial(int port, const std::string& address, int& problem) {
    const bool v6 = address.find(':') != std::string::npos;
    sockaddr_storage to{};
    socklen_t size = 0;
    if (v6) {
      auto* in6 = reinterpret_cast<sockaddr_in6*>(&to);
      in6->sin6_family = AF_INET6;
      in6->sin6_port = htons(static_cast<std::uint16_t>(port));
      ::inet_pton(AF_INET6, address.c_str(), &in6->sin6_addr);
      size = sizeof *in6;
    } else {
      auto* in4 = reinterpret_cast<sockaddr_in*>(&to);
      in4->sin_family = AF_INET;
      in4->sin_port = htons(static_cast<std::uint16_t>(port));
      ::inet_pton(AF_INET, address.c_str(), &in4->sin_addr);
      size = sizeof *in4;
    }
    Fd fd(::socket(to.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const timeval limit{5, 0};
    ::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&to), size) == 0) return fd;
    problem = errno;
    return Fd();
  }

 private:
  std::string link_;
  pid_t pid_ = -1;
};

// Answers each byte with the same byte, on all addresses of the namespace.
class Echo {
 public:
  Echo() : fd_(::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in6 any{};
    any.sin6_family = AF_INET6;
    socklen_t size = sizeof any;
    EXPECT_EQ(::bind(fd_.get(), reinterpret_cast<sockaddr*>(&any), size), 0);
    EXPECT_EQ(::listen(fd_.get(), 16), 0);
    EXPECT_EQ(::getsockname(fd_.get(), reinterpret_cast<sockaddr*>(&any), &size), 0);
    port_ = ntohs(any.sin6_port);
    thread_ = std::jthread([this](const std::stop_token& stop) { serve(stop); });
  }
  [[nodiscard]] int port() const { return port_; }

 private:
  void serve(const std::stop_token& stop) {
    std::vector<Fd> open;
    while (!stop.stop_requested()) {
      std::vector<pollfd> fds = {{fd_.get(), POLLIN, 0}};
      for (const Fd& fd : open) fds.push_back({fd.get(), POLLIN, 0});
      if (::poll(fds.data(), fds.size(), 20) <= 0) continue;
      for (std::size_t i = 1; i < fds.size(); ++i) {
        char byte = 0;
        if ((fds[i].revents & POLLIN) != 0 && ::recv(fds[i].fd, &byte, 1, 0) == 1)
          static_cast<void>(::send(fds[i].fd, &byte, 1, MSG_NOSIGNAL) == 1);
      }
      if ((fds[0].revents & POLLIN) != 0) open.emplace_back(::accept(fd_.get(), nullptr, nullptr));
    }
  }
  Fd fd_;
  int port_ = 0;
  std::jthread thread_;
};

bool echoes(const Fd& fd) {
  const timeval limit{5, 0};
  ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  char byte = 'x';
  return ::send(fd.get(), &byte, 1, MSG_NOSIGNAL) == 1 && ::recv(fd.get(), &byte, 1, 0) == 1;
}

// True when this process is alone in a network now.
bool move_into_own_network() {
  static const bool moved = [] {
    if (::unshare(CLONE_NEWNET) != 0) return false;
    for (const std::vector<std::string>& argv : std::vector<std::vector<std::string>>{
             {"ip", "link", "set", "lo", "up"},
             {"ip", "link", "add", "br0", "type", "bridge"},
             {"ip", "addr", "add", std::string(kHost) + "/24", "dev", "br0"},
             {"ip", "addr", "add", std::string(kHost6) + "/64", "dev", "br0", "nodad"},
             {"ip", "link", "set", "br0", "up"}}) {
      const Status status = tool(argv);
      EXPECT_TRUE(status) << render_error(status.error());
    }
    return true;
  }();
  return moved;
}

plan::Admission admission(int port, std::vector<std::string> sources,
                          plan::AccessMode mode = plan::AccessMode::enforce) {
  return {port, "db", "sql", mode, std::move(sources)};
}

bool has_table() { return tool({"nft", "list", "table", "inet", "consort"}).has_value(); }

// In the place of nft(8), seen only from here and by agents that are started from here: a script
// that does what `before` says, then what it was asked for. $NFT is the real one.
class StandInForNft {
 public:
  explicit StandInForNft(const std::string& before) {
    std::error_code ec;
    place_ = fs::canonical("/usr/sbin/nft", ec);
    if (ec) return;
    const fs::path script = folder_.path() / "script";
    fs::copy_file(place_, real(), ec);
    if (ec ||
        !write_file_atomic(script,
                           "#!/bin/sh\nNFT=" + real().string() + "\ncd " + folder_.path().string() +
                               "\n" + before + "\nexec $NFT \"$@\"\n",
                           0755))
      return;
    placed_ = ::unshare(CLONE_NEWNS) == 0 &&
              ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
              ::mount(script.c_str(), place_.c_str(), nullptr, MS_BIND, nullptr) == 0;
  }
  ~StandInForNft() {
    if (placed_) ::umount2(place_.c_str(), MNT_DETACH);
  }
  StandInForNft(const StandInForNft&) = delete;
  StandInForNft& operator=(const StandInForNft&) = delete;
  [[nodiscard]] bool placed() const { return placed_; }
  [[nodiscard]] fs::path real() const { return folder_.path() / "nft"; }
  // `before` runs in this folder.
  [[nodiscard]] fs::path folder() const { return folder_.path(); }

 private:
  TempFolder folder_ = TempFolder::create("consort-nft-").value();
  fs::path place_;
  bool placed_ = false;
};

#define NEEDS_A_NETWORK() \
  if (!move_into_own_network()) GTEST_SKIP() << "network namespaces are not permitted here"

class FirewallTest : public ::testing::Test {
 protected:
  void SetUp() override { NEEDS_A_NETWORK(); }
  void TearDown() override {
    static_cast<void>(tool({"nft", "delete", "table", "inet", "consort"}));
  }
  Firewall firewall{FirewallChoice::automatic, "/"};
  const Instant now = from_millis(1'700'000'000'000);
};

TEST_F(FirewallTest, OnlyThoseDeclaredGetThroughAndOnlyAtDeclaredPorts) {
  const Client web(2), stranger(9);
  const Echo sql, other;
  ASSERT_TRUE(stranger.reaches(sql.port()));
  const plan::Admissions admitted = {admission(sql.port(), {"10.77.0.2", "fd77::2"})};
  const plan::AccessReport report = firewall.set(admitted);
  ASSERT_EQ(report.problem, "");
  EXPECT_TRUE(report.able);
  EXPECT_EQ(report.admitted, plan::admissions_digest(admitted));
  EXPECT_TRUE(web.reaches(sql.port()));
  EXPECT_TRUE(web.reaches(sql.port(), kHost6));
  EXPECT_FALSE(stranger.reaches(sql.port()));
  EXPECT_EQ(errno, ECONNREFUSED) << "at once, not after a time limit";
  EXPECT_FALSE(stranger.reaches(sql.port(), kHost6));
  EXPECT_TRUE(stranger.reaches(other.port())) << "a port that nobody declared is nobody's concern";
  int problem = 0;
  EXPECT_TRUE(Client::dial(sql.port(), "127.0.0.1", problem).valid()) << "the host itself";
  EXPECT_TRUE(Client::dial(sql.port(), kHost, problem).valid()) << "at its own address";
}

TEST_F(FirewallTest, ConnectionsThatStandAreNotCutWhateverChanges) {
  const Client web(2), stranger(9);
  const Echo sql;
  const Fd old = stranger.connect(sql.port());
  ASSERT_TRUE(echoes(old));
  ASSERT_EQ(firewall.set({admission(sql.port(), {"10.77.0.2"})}).problem, "");
  EXPECT_TRUE(echoes(old)) << "it was there first";
  EXPECT_FALSE(stranger.reaches(sql.port()));
  const Fd good = web.connect(sql.port());
  ASSERT_TRUE(echoes(good));
  ASSERT_EQ(firewall.set({admission(sql.port(), {"10.77.0.9"})}).problem, "");
  EXPECT_TRUE(echoes(good));
  EXPECT_FALSE(web.reaches(sql.port()));
  EXPECT_TRUE(stranger.reaches(sql.port()));
}

TEST_F(FirewallTest, AnAuditLetsStrangersThroughAndNamesThemOnce) {
  const Client web(2), stranger(9);
  const Echo sql;
  ASSERT_EQ(
      firewall.set({admission(sql.port(), {"10.77.0.0/29"}, plan::AccessMode::audit)}).problem, "");
  EXPECT_TRUE(web.reaches(sql.port()));
  EXPECT_TRUE(stranger.reaches(sql.port()));
  EXPECT_TRUE(stranger.reaches(sql.port(), kHost6));
  Firewall::Finding finding = firewall.check(now);
  EXPECT_EQ(finding.repaired, "") << "that somebody came is no drift";
  EXPECT_THAT(finding.strangers, ElementsAre(Stranger{"10.77.0.9", sql.port(), 1},
                                             Stranger{"fd77::9", sql.port(), 1}));
  EXPECT_TRUE(stranger.reaches(sql.port()));
  EXPECT_TRUE(firewall.check(now + minutes(1)).strangers.empty());
  EXPECT_EQ(firewall.check(now + minutes(90)).strangers.size(), 2U) << "and again after a while";
}

TEST_F(FirewallTest, WhatSomebodyChangesIsRepairedAndNamed) {
  const Client stranger(9);
  const Echo sql;
  ASSERT_EQ(firewall.set({admission(sql.port(), {"10.77.0.2"})}).problem, "");
  EXPECT_EQ(firewall.check(now).repaired, "");
  const std::string port = std::to_string(sql.port());
  ASSERT_TRUE(
      tool({"nft", "add", "element", "inet", "consort", "from_" + port + "_v4", "{ 10.77.0.9 }"}));
  ASSERT_TRUE(stranger.reaches(sql.port()));
  EXPECT_EQ(firewall.check(now).repaired, "not ours: 10.77.0.9 in set from_" + port + "_v4");
  EXPECT_FALSE(stranger.reaches(sql.port()));
  ASSERT_TRUE(tool({"nft", "flush", "ruleset"}));
  ASSERT_TRUE(stranger.reaches(sql.port()));
  EXPECT_EQ(firewall.check(now).repaired, "the whole table was gone");
  EXPECT_FALSE(stranger.reaches(sql.port()));
}

TEST_F(FirewallTest, WhatIsFlushedWhileItIsWrittenIsWrittenAgain) {
  const StandInForNft boot(
      "case \"$*\" in *list*) rm flush 2>/dev/null && $NFT flush ruleset;; esac");
  if (!boot.placed()) GTEST_SKIP() << "mount namespaces are not permitted here";
  const Client stranger(9);
  const Echo sql;
  ASSERT_TRUE(write_file_atomic(boot.folder() / "flush", "", 0600));
  const plan::Admissions admitted = {admission(sql.port(), {"10.77.0.2"})};
  const plan::AccessReport report = firewall.set(admitted);
  EXPECT_FALSE(fs::exists(boot.folder() / "flush")) << "it was flushed before it was listed";
  EXPECT_EQ(report.problem, "");
  EXPECT_EQ(report.admitted, plan::admissions_digest(admitted));
  EXPECT_FALSE(stranger.reaches(sql.port()));
}

TEST_F(FirewallTest, RulesThatDoNotStayAreNotSaidToBeInForce) {
  const Client stranger(9);
  const Echo sql;
  const plan::Admissions admitted = {admission(sql.port(), {"10.77.0.2"})};
  {
    const StandInForNft other("case \"$*\" in *list*) $NFT flush ruleset;; esac");
    if (!other.placed()) GTEST_SKIP() << "mount namespaces are not permitted here";
    const plan::AccessReport report = firewall.set(admitted);
    EXPECT_TRUE(report.able);
    EXPECT_TRUE(report.admitted.is_none());
    EXPECT_THAT(report.problem, HasSubstr("the whole table is not there"));
    EXPECT_THAT(firewall.check(now).report.problem, HasSubstr("the whole table is not there"));
  }
  const Firewall::Finding finding = firewall.check(now);
  EXPECT_EQ(finding.report.problem, "");
  EXPECT_EQ(finding.report.admitted, plan::admissions_digest(admitted));
  EXPECT_FALSE(stranger.reaches(sql.port()));
}

TEST_F(FirewallTest, WithoutAdmissionsNothingIsLeftAndOthersTablesAreNotOurs) {
  ASSERT_TRUE(tool({"nft", "add", "table", "inet", "others"}));
  ASSERT_EQ(firewall.set({admission(5432, {"0.0.0.0/0", "::/0"})}).problem, "");
  EXPECT_TRUE(has_table());
  EXPECT_TRUE(firewall.set({}).admitted.is_none());
  EXPECT_FALSE(has_table());
  EXPECT_EQ(firewall.check(now).repaired, "");
  EXPECT_TRUE(tool({"nft", "list", "table", "inet", "others"}));
  EXPECT_TRUE(tool({"nft", "delete", "table", "inet", "others"}));
}

TEST_F(FirewallTest, AnAgentThatKeepsAFolderTouchesNoFirewall) {
  Firewall folder(FirewallChoice::automatic, "/srv/image");
  const plan::AccessReport report = folder.set({admission(5432, {"10.77.0.2"})});
  EXPECT_FALSE(report.able);
  EXPECT_THAT(report.problem, HasSubstr("--root"));
  EXPECT_TRUE(report.admitted.is_none());
  EXPECT_FALSE(has_table());
}

TEST_F(FirewallTest, ManyAddressesAreOneTransaction) {
  plan::Admission many = admission(5432, {});
  for (int i = 0; i < 20'000; ++i)
    many.sources.push_back("10." + std::to_string(i / 65536) + "." + std::to_string(i / 256 % 256) +
                           "." + std::to_string(i % 256));
  ASSERT_EQ(firewall.set({many}).problem, "");
  EXPECT_EQ(firewall.check(now).repaired, "");
}

// --- the agent -----------------------------------------------------------------------------------

struct OwnNetwork {
  OwnNetwork() : moved(move_into_own_network()) {}
  bool moved;
};

// The controller of the fixture listens in the namespace: it is moved first.
class AccessTest : private OwnNetwork, public AgentShellTest {
 protected:
  void SetUp() override {
    NEEDS_A_NETWORK();
    ::setenv("CONSORT_TEST_FIREWALL", "1", 1);
    start_agent();
    static_cast<void>(install(heart("1"), "r1"));
    ASSERT_TRUE(controller.outcome("shop", "r1"));
  }
  void TearDown() override {
    kill_agent();
    ::unsetenv("CONSORT_TEST_FIREWALL");
    static_cast<void>(tool({"nft", "delete", "table", "inet", "consort"}));
  }
  void admit(const plan::Admissions& admissions) {
    controller.admit(admissions);
    const Digest wanted = plan::admissions_digest(admissions);
    ASSERT_TRUE(controller.wait([&](const plan::HostReport& report) {
      return report.access && report.access->admitted == wanted && report.access->problem.empty();
    }));
  }
  static plan::Admission shop(int port, std::vector<std::string> sources) {
    return {port, "shop", "http", plan::AccessMode::enforce, std::move(sources)};
  }
};

TEST_F(AccessTest, WhoJoinsGetsThroughAtOnceAndNothingElseMoves) {
  const Client web1(2), web2(3);
  const Echo http;
  admit({shop(http.port(), {"10.77.0.2"})});
  EXPECT_TRUE(web1.reaches(http.port()));
  EXPECT_FALSE(web2.reaches(http.port()));
  const std::size_t changes = controller.events("transition-began").size();
  const Fd old = web1.connect(http.port());
  admit({shop(http.port(), {"10.77.0.2", "10.77.0.3"})});
  EXPECT_TRUE(web2.reaches(http.port()));
  EXPECT_TRUE(echoes(old));
  EXPECT_EQ(controller.events("transition-began").size(), changes);
  admit({});
  EXPECT_FALSE(has_table());
}

TEST_F(AccessTest, AFlushedFirewallIsRepairedWithinMillisecondsAndTold) {
  const Client stranger(9);
  const Echo http;
  admit({shop(http.port(), {"10.77.0.2"})});
  ASSERT_TRUE(tool({"nft", "flush", "ruleset"}));
  ASSERT_TRUE(eventually([&] { return !stranger.reaches(http.port()); }, seconds(5)));
  ASSERT_TRUE(eventually([&] {
    return !controller.events("repaired").empty() &&
           controller.events("repaired").back().string_or("resource") == "access";
  }));
  const Json event = controller.events("repaired").back();
  EXPECT_THAT(event.string_or("text"), HasSubstr("the whole table was gone"));
  EXPECT_EQ(event.string_or("cause"), "corrective");
}

TEST_F(AccessTest, TheRulesOutliveTheAgentAndAreBackAfterABootWithoutAController) {
  const Client stranger(9);
  const Echo http;
  admit({shop(http.port(), {"10.77.0.2"})});
  kill_agent();
  EXPECT_FALSE(stranger.reaches(http.port())) << "the promise does not need its agent";
  ASSERT_TRUE(tool({"nft", "flush", "ruleset"}));  // as a reboot does
  controller.down();
  start_agent();
  EXPECT_TRUE(eventually([&] { return !stranger.reaches(http.port()); }));
  controller.up();
}

TEST_F(AccessTest, PortsAreGuardedBeforeTheirServiceStarts) {
  plan::Manifest late = heart("1");
  late.service = "late";
  late.resources.clear();
  late.daemon.reset();
  late.hooks.clear();
  late.data_version = 0;
  late.hooks["start"] = controller.script(
      "/usr/sbin/nft list chain inet consort port_7777 > $CONSORT_DATA/seen 2>&1");
  late.hooks["stop"] = controller.script("true");
  plan::Admission own = shop(7777, {"10.77.0.2"});
  own.service = "late";
  controller.admit_with({own}, "late",
                        plan::InstanceState{controller.publish(late), plan::Mode::running}, "l1");
  ASSERT_TRUE(controller.outcome("late", "l1"));
  EXPECT_THAT(text_of(service("late") / "data/seen"), HasSubstr("reject with tcp reset"));
}

TEST_F(AccessTest, ALaterTargetDoesNotOvertakeTheRulesOfAnEarlierOne) {
  kill_agent();
  const StandInForNft slow("while [ -e hold ]; do sleep 0.02; done");
  if (!slow.placed()) GTEST_SKIP() << "mount namespaces are not permitted here";
  start_agent();
  plan::Manifest late = heart("1");
  late.service = "late";
  late.resources.clear();
  late.daemon.reset();
  late.hooks.clear();
  late.data_version = 0;
  late.hooks["start"] = controller.script(
      slow.real().string() + " list chain inet consort port_7777 > $CONSORT_DATA/seen 2>&1");
  late.hooks["stop"] = controller.script("true");
  const Digest digest = controller.publish(late);
  plan::Admission own = shop(7777, {"10.77.0.2"});
  own.service = "late";
  const auto before = controller.wait([](const plan::HostReport&) { return true; });
  ASSERT_TRUE(before);
  ASSERT_TRUE(write_file_atomic(slow.folder() / "hold", "", 0600));
  // As a controller does that waits for the rules, but not for ever.
  controller.admit({own});
  ASSERT_TRUE(controller.wait(
      [&](const plan::HostReport& report) { return report.seq == before->seq + 1; }));
  controller.admit_with({own}, "late", plan::InstanceState{digest, plan::Mode::running}, "l1");
  ASSERT_TRUE(controller.wait(
      [&](const plan::HostReport& report) { return report.seq == before->seq + 2; }));
  EXPECT_FALSE(controller.outcome("late", "l1", seconds(2))) << "nft has not answered yet";
  fs::remove(slow.folder() / "hold");
  ASSERT_TRUE(controller.outcome("late", "l1"));
  EXPECT_THAT(text_of(service("late") / "data/seen"), HasSubstr("reject with tcp reset"));
}

TEST_F(AccessTest, APromiseThatCannotBeKeptIsToldByTheHealthOfItsService) {
  kill_agent();
  ::unsetenv("CONSORT_TEST_FIREWALL");  // now it keeps a folder, and no firewall
  start_agent();
  controller.admit({shop(7777, {"10.77.0.2"})});
  const auto report = controller.wait([](const plan::HostReport& r) {
    return r.access && !r.access->able && r.instances.at("shop").health == plan::Health::unhealthy;
  });
  ASSERT_TRUE(report);
  EXPECT_THAT(report->instances.at("shop").health_reason,
              HasSubstr("access to it is not enforced"));
  EXPECT_TRUE(eventually([&] { return controller.events("failed").size() == 1; }));
  controller.admit({});
  EXPECT_TRUE(controller.wait([](const plan::HostReport& r) {
    return r.instances.at("shop").health == plan::Health::healthy;
  }));
}

}  // namespace
}  // namespace consort::agent
