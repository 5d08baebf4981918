// Declared access with real packets, by an agent and its controller.
#include "guarded_network.h"

namespace consort::agent {
namespace {

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
    given_version_1_runs();
  }
  void TearDown() override {
    kill_agent();
    ::unsetenv("CONSORT_TEST_FIREWALL");
    static_cast<void>(tool({"nft", "delete", "table", "inet", "consort"}));
  }
  // A service without a daemon that offers these ports; the tests themselves listen there.
  void offer(const plan::Admissions& admissions) {
    const std::size_t before = offered.size();
    for (const plan::Admission& admission : admissions) offered.insert(admission.port);
    if (offered.size() == before) return;
    plan::Manifest door;
    door.service = "door";
    door.host_class = "web";
    for (const std::int64_t port : offered)
      door.provides["p" + std::to_string(port)] = Json::object({{"port", port}});
    const std::string attempt = "door" + std::to_string(offered.size());
    static_cast<void>(install(door, attempt));
    ASSERT_TRUE(controller.outcome("door", attempt));
  }
  void admit(const plan::Admissions& admissions) {
    offer(admissions);
    controller.admit(admissions);
    const Digest wanted = plan::admissions_digest(admissions);
    ASSERT_TRUE(controller.wait([&](const plan::HostReport& report) {
      return report.access && report.access->admitted == wanted && report.access->problem.empty();
    }));
  }
  static plan::Admission shop(int port, std::vector<std::string> sources) {
    return {port, "shop", "http", plan::AccessMode::enforce, std::move(sources)};
  }
  static plan::Admission late_port() {
    plan::Admission out = shop(7777, {"10.77.0.2"});
    out.service = "late";
    return out;
  }
  // A service that keeps in data/seen what this nft says of its port when it starts.
  plan::InstanceState late_service(const std::string& nft) {
    plan::Manifest late = heart("1");
    late.service = "late";
    late.resources.clear();
    late.daemon.reset();
    late.hooks.clear();
    late.data_version = 0;
    late.provides["http"] = Json::object({{"port", 7777}});
    late.hooks["start"] =
        controller.script(nft + " list chain inet consort port_7777 > $CONSORT_DATA/seen 2>&1");
    late.hooks["stop"] = controller.script("true");
    return {controller.publish(late), plan::Mode::running};
  }
  std::set<std::int64_t> offered;
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
  controller.admit_with({late_port()}, "late", late_service("/usr/sbin/nft"), "l1");
  ASSERT_TRUE(controller.outcome("late", "l1"));
  EXPECT_THAT(text_of(service("late") / "data/seen"), HasSubstr("reject with tcp reset"));
}

TEST_F(AccessTest, APortThatNothingHereOffersStaysOpen) {
  const Client stranger(9);
  const Echo ssh, http;
  offer({shop(http.port(), {})});
  plan::Admissions both = {shop(ssh.port(), {}), shop(http.port(), {"10.77.0.2"})};
  if (ssh.port() > http.port()) std::swap(both[0], both[1]);
  controller.admit(both);
  const Digest wanted = plan::admissions_digest(both);
  ASSERT_TRUE(controller.wait([&](const plan::HostReport& report) {
    return report.access && report.access->admitted == wanted;
  }));
  EXPECT_FALSE(stranger.reaches(http.port()));
  EXPECT_TRUE(stranger.reaches(ssh.port()));
}

TEST_F(AccessTest, ALaterTargetDoesNotOvertakeTheRulesOfAnEarlierOne) {
  kill_agent();
  const StandInForNft slow("while [ -e hold ]; do sleep 0.02; done");
  if (!slow.placed()) GTEST_SKIP() << "mount namespaces are not permitted here";
  start_agent();
  offer({late_port()});
  const plan::InstanceState late = late_service(slow.real().string());
  const auto before = controller.wait([](const plan::HostReport&) { return true; });
  ASSERT_TRUE(before);
  ASSERT_TRUE(write_file_atomic(slow.folder() / "hold", "", 0600));
  // As a controller does that waits for the rules, but not for ever.
  controller.admit({late_port()});
  ASSERT_TRUE(controller.wait(
      [&](const plan::HostReport& report) { return report.seq == before->seq + 1; }));
  controller.admit_with({late_port()}, "late", late, "l1");
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
  offer({shop(7777, {})});
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
