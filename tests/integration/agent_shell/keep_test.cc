#include <fcntl.h>

#include <algorithm>
#include <cstdio>
#include <fstream>

#include "fixture.h"

namespace consort::agent {
namespace {

using Result = plan::Outcome::Result;

class KeepTest : public AgentShellTest {
 protected:
  void SetUp() override { given_version_1_runs(); }
  [[nodiscard]] pid_t daemon() const {
    return static_cast<pid_t>(
        parse_json(text_of(data() / "daemons/shop/state.json")).value_or(Json()).int_or("pid"));
  }
  [[nodiscard]] bool healthy(plan::Health wanted) {
    return controller
        .wait([&](const plan::HostReport& r) { return r.instances.at("shop").health == wanted; })
        .has_value();
  }
};

TEST_F(KeepTest, RepairsDriftWithinMillisecondsAndTellsIt) {
  // The first look after the transition arms the watch; it is over when an edit is repaired.
  const fs::path config = root() / "etc/shop.conf";
  const auto edit = [&] {
    ASSERT_TRUE(write_file_atomic(config, "edited by hand\n", 0644, Durability::cached));
    ASSERT_TRUE(eventually([&] { return text_of(config).starts_with("version 1"); }));
  };
  edit();
  const auto begun = std::chrono::steady_clock::now();
  edit();
  EXPECT_LT(std::chrono::steady_clock::now() - begun, std::chrono::milliseconds(500));
  ASSERT_TRUE(eventually([&] { return controller.events("repaired").size() >= 2; }));
  EXPECT_FALSE(controller.events("changed").empty()) << "the install changed it";
  const Json event = controller.events("repaired").back();
  EXPECT_EQ(event.string_or("resource"), "config");
  EXPECT_EQ(event.string_or("cause"), "corrective");
  EXPECT_THAT(event.string_or("diff"), HasSubstr("-edited by hand"));
  EXPECT_THAT(text_of(data() / "history.jsonl"), HasSubstr("edited by hand"));
}

TEST_F(KeepTest, AKilledDaemonComesBackAlsoTogetherWithItsShim) {
  const pid_t first = daemon();
  ASSERT_GT(first, 1);
  ::kill(first, SIGKILL);
  ASSERT_TRUE(eventually([&] { return daemon() > 1 && daemon() != first; }));
  ASSERT_TRUE(beats("1"));
  const auto shim = static_cast<pid_t>(
      parse_json(text_of(data() / "daemons/shop/state.json")).value().int_or("shim"));
  ::kill(shim, SIGKILL);
  ASSERT_TRUE(beats("1"));
  EXPECT_TRUE(eventually([&] {
    return !controller.events("restarted").empty() || !controller.events("repaired").empty();
  }));
}

TEST_F(KeepTest, AHangingValidateHookKeepsNoDaemonFromComingBack) {
  // Given a service whose health is asked by a hook that hangs,
  plan::Manifest hanging = heart("2");
  const std::string asked = (folder.path() / "asked").string();
  hanging.hooks["validate"] =
      controller.script("case $CONSORT_TOKEN in health/*) touch " + asked + "; while test -e " +
                        asked + "; do sleep 0.1; done;; esac");
  static_cast<void>(install(hanging, "r2"));
  ASSERT_TRUE(controller.outcome("shop", "r2"));
  ASSERT_TRUE(eventually([&] { return fs::exists(asked); }));
  // when its daemon is killed together with its shim,
  const auto shim = static_cast<pid_t>(
      parse_json(text_of(data() / "daemons/shop/state.json")).value().int_or("shim"));
  ::kill(shim, SIGKILL);
  // then it is started again while the hook still hangs.
  EXPECT_TRUE(beats("2"));
}

TEST_F(KeepTest, WhatWasNotDeliveredIsDeliveredInItsNextLife) {
  const auto diffs = [&](const std::string& line) {
    const std::vector<Json> events = controller.events("repaired");
    return std::count_if(events.begin(), events.end(), [&](const Json& event) {
      return event.string_or("diff").find(line) != std::string::npos;
    });
  };
  ASSERT_TRUE(write_file_atomic(root() / "etc/shop.conf", "first\n"));
  ASSERT_TRUE(eventually([&] { return diffs("-first") == 1; }));
  controller.down();
  ASSERT_TRUE(write_file_atomic(root() / "etc/shop.conf", "second\n"));
  ASSERT_TRUE(eventually(
      [&] { return text_of(data() / "history.jsonl").find("-second") != std::string::npos; }));
  kill_agent();
  // Its last line was cut off by a crash of the host.
  std::ofstream(data() / "history.jsonl", std::ios::app) << R"({"n":99999,"kind":"repai)";
  start_agent();
  controller.up();
  ASSERT_TRUE(eventually([&] { return diffs("-second") == 1; }));
  EXPECT_EQ(diffs("-first"), 1) << "what was acknowledged is not told again";
  ASSERT_TRUE(write_file_atomic(root() / "etc/shop.conf", "third\n"));
  ASSERT_TRUE(eventually([&] { return diffs("-third") == 1; }));
}

TEST_F(KeepTest, WorksWithoutTheControllerAndReportsLater) {
  controller.down();
  ASSERT_TRUE(write_file_atomic(root() / "etc/shop.conf", "while nobody looks\n"));
  ASSERT_TRUE(
      eventually([&] { return text_of(root() / "etc/shop.conf").starts_with("version 1"); }));
  // Also an agent that is started without any controller keeps what it knows.
  end_agent(SIGTERM);
  ASSERT_TRUE(beats("1")) << "services outlive the agent";
  const pid_t before = daemon();
  fs::remove(root() / "etc/shop.conf");
  start_agent();
  ASSERT_TRUE(
      eventually([&] { return text_of(root() / "etc/shop.conf").starts_with("version 1"); }));
  EXPECT_EQ(daemon(), before) << "it adopted the daemon";
  ASSERT_TRUE(write_file_atomic(root() / "etc/shop.conf", "again\n"));
  ASSERT_TRUE(
      eventually([&] { return text_of(root() / "etc/shop.conf").starts_with("version 1"); }));
  controller.up();
  EXPECT_TRUE(eventually([&] {
    const auto events = controller.events("repaired");
    return !events.empty() && events.back().string_or("diff").find("again") != std::string::npos;
  }));
  EXPECT_TRUE(healthy(plan::Health::healthy));
}

TEST_F(KeepTest, APurgeSparesWhatOtherServicesKeepAlsoWhenTheAgentIsNew) {
  plan::Manifest broom;
  broom.service = "a-broom";  // the first to be looked after
  broom.host_class = "web";
  broom.resources["etc"] = Json::object({{"type", "directory"}, {"path", "/etc"}, {"purge", true}});
  static_cast<void>(install(broom, "b1"));
  ASSERT_TRUE(controller.outcome("a-broom", "b1"));
  for (int life = 0; life < 2; ++life) {
    // Not by way of another name, which would be litter as well.
    ASSERT_TRUE(std::ofstream(root() / "etc/litter") << "x");
    ASSERT_TRUE(eventually([&] { return !fs::exists(root() / "etc/litter"); }));
    end_agent(SIGTERM);
    start_agent();
  }
  EXPECT_TRUE(text_of(root() / "etc/shop.conf").starts_with("version 1"));
  for (const Json& event : controller.events("repaired"))
    EXPECT_THAT(event.string_or("text"), ::testing::Not(HasSubstr("shop.conf"))) << event.dump();
}

TEST_F(KeepTest, ADownloadThatHangsKeepsNoRepairWaiting) {
  // Given more services than there are workers, whose objects are missing behind a controller that
  // does not answer,
  const auto watched = [&] {
    ASSERT_TRUE(write_file_atomic(root() / "etc/shop.conf", "edited by hand\n"));
    ASSERT_TRUE(eventually(
        [&] { return text_of(root() / "etc/shop.conf").starts_with("version 1"); }, seconds(5)));
  };
  watched();
  controller.silent = true;
  for (int i = 0; i < 8; ++i) {
    plan::Manifest other;
    other.service = "other" + std::to_string(i);
    other.host_class = "web";
    static_cast<void>(install(other, "o1"));
  }
  ASSERT_TRUE(eventually([&] { return controller.unanswered > 0; }));
  // then drift is repaired as ever.
  for (int i = 0; i < 3; ++i) watched();
  EXPECT_EQ(controller.unanswered, 1) << "the first request still hangs";
}

TEST_F(KeepTest, HealthFollowsTheValidateHook) {
  ASSERT_TRUE(healthy(plan::Health::healthy));
  ASSERT_TRUE(write_file_atomic(service() / "data/schema", "wrong\n"));
  ASSERT_TRUE(healthy(plan::Health::unhealthy));
  ASSERT_TRUE(write_file_atomic(service() / "data/schema", "1\n"));
  EXPECT_TRUE(healthy(plan::Health::healthy));
}

TEST_F(KeepTest, AFailedResourceIsToldOnceAndHealsByItself) {
  // Given something in the way that Consort does not remove unasked,
  const fs::path config = root() / "etc/shop.conf";
  const fs::path obstacle = root() / "obstacle";
  fs::create_directories(obstacle / "in-the-way");
  // Exchanged in one go: what is only missing would be back at once.
  ASSERT_EQ(::renameat2(AT_FDCWD, obstacle.c_str(), AT_FDCWD, config.c_str(), RENAME_EXCHANGE), 0);
  fs::remove(obstacle);
  ASSERT_TRUE(healthy(plan::Health::unhealthy));
  fs::rename(config, obstacle);
  EXPECT_TRUE(healthy(plan::Health::healthy));
  EXPECT_TRUE(eventually([&] { return text_of(config).starts_with("version 1"); }));
}

TEST_F(KeepTest, ADamagedRecordKeepsOneServiceWaitingAndNoOther) {
  // Given two services, and an agent that finds one of its records damaged,
  plan::Manifest other;
  other.service = "other";
  other.host_class = "web";
  other.resources["motd"] =
      Json::object({{"type", "file"}, {"path", "/etc/motd"}, {"content", "hello\n"}});
  static_cast<void>(install(other, "o1"));
  ASSERT_TRUE(controller.outcome("other", "o1"));
  ASSERT_TRUE(beats("1"));
  kill_agent();
  const fs::path record = data() / "state/instances/shop.json";
  ASSERT_TRUE(write_file_atomic(record, "{\"applied\":"));
  ASSERT_TRUE(write_file_atomic(root() / "etc/shop.conf", "changed meanwhile\n"));
  ASSERT_TRUE(write_file_atomic(root() / "etc/motd", "changed meanwhile\n"));
  // when it starts, then it keeps the other one,
  start_agent();
  EXPECT_TRUE(eventually([&] { return text_of(root() / "etc/motd") == "hello\n"; }));
  // tells of the damaged one what is wrong, also to whoever deploys it, and leaves all of it alone.
  static_cast<void>(install(heart("2"), "r2"));
  const auto stuck = controller.outcome("shop", "r2");
  ASSERT_TRUE(stuck);
  EXPECT_EQ(stuck->outcome->result, Result::inconsistent);
  EXPECT_THAT(stuck->outcome->message, HasSubstr("state/instances/shop.json"));
  EXPECT_EQ(text_of(root() / "etc/shop.conf"), "changed meanwhile\n");
  EXPECT_TRUE(beats("1"));
  EXPECT_EQ(text_of(record), "{\"applied\":");
  EXPECT_TRUE(eventually([&] { return !controller.events("damaged").empty(); }));
  // When the operator removes the file, the service is installed anew, on its old data.
  fs::remove(record);
  EXPECT_TRUE(controller.wait([](const plan::HostReport& r) {
    const auto& shop = r.instances.at("shop");
    return shop.outcome && shop.outcome->result == Result::done;
  }));
  EXPECT_TRUE(beats("2"));
  EXPECT_EQ(schema(), "1");
}

}  // namespace
}  // namespace consort::agent
