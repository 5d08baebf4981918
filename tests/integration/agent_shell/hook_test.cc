#include "fixture.h"

namespace consort::agent {
namespace {

using Result = plan::Outcome::Result;

class HookTest : public AgentShellTest {
 protected:
  void SetUp() override { given_version_1_runs(); }
  std::optional<plan::InstanceReport> upgrade(const plan::Manifest& manifest) {
    static_cast<void>(install(manifest, "r2"));
    return controller.outcome("shop", "r2");
  }
};

TEST_F(HookTest, AHangingHookIsKilledWithItsChildrenAndCountsAsDirt) {
  plan::Manifest two = heart("2", 2);
  two.hooks["migrate"] = controller.script(
      "echo half > $CONSORT_DATA/schema; sleep 1000 & echo $! > $CONSORT_DATA/child; wait");
  two.hooks["migrate"].timeout = Duration(500);
  const auto report = upgrade(two);
  ASSERT_TRUE(report);
  EXPECT_EQ(report->outcome->result, Result::reverted) << report->outcome->message;
  EXPECT_EQ(report->outcome->step, "migrate");
  EXPECT_THAT(report->outcome->message, HasSubstr("did not end within"));
  EXPECT_EQ(schema(), "1") << "restored from the snapshot";
  EXPECT_TRUE(beats("1"));
  const pid_t child = std::stoi(text_of(service() / "data/child"));
  EXPECT_TRUE(eventually([&] {
    return ::kill(child, 0) != 0 ||
           text_of("/proc/" + std::to_string(child) + "/stat").find(") Z") != std::string::npos;
  }));
}

TEST_F(HookTest, AValidationThatIsKilledOnTheWayBackIsTriedAgain) {
  // Given an old version whose validation the kernel ends once, and a new one that does not work,
  plan::Manifest old = heart("1.1", 1);
  old.hooks["validate"] = controller.script(
      "case $CONSORT_TOKEN in */validate_old) if [ ! -e $CONSORT_DATA/killed ]; then touch "
      "$CONSORT_DATA/killed; kill -9 $$; fi;; esac");
  static_cast<void>(install(old, "old"));
  ASSERT_TRUE(controller.outcome("shop", "old"));
  plan::Manifest two = heart("2", 2);
  two.hooks["validate"] = controller.script("exit 1");
  // when the upgrade walks back, then its end is good.
  const auto report = upgrade(two);
  ASSERT_TRUE(report);
  EXPECT_EQ(report->outcome->result, Result::reverted) << report->outcome->message;
  EXPECT_TRUE(fs::exists(service() / "data/killed"));
  EXPECT_TRUE(beats("1.1"));
}

TEST_F(HookTest, ABackupThatLiesIsFoundByTheOldVersionsValidation) {
  // Given a backup that says it is done and has saved nothing, and a migration that leaves dirt,
  plan::Manifest liar = heart("1.1", 1);
  liar.hooks["backup"] = controller.script("exit 0");
  liar.hooks["restore"] = controller.script("cp $CONSORT_SNAPSHOT/schema $CONSORT_DATA/schema");
  static_cast<void>(install(liar, "liar"));
  ASSERT_TRUE(controller.outcome("shop", "liar"));
  plan::Manifest two = heart("2", 2);
  two.hooks["migrate"] = controller.script("echo dirt > $CONSORT_DATA/schema; exit 70");
  const auto report = upgrade(two);
  ASSERT_TRUE(report);
  // then the truth is told instead of a good end.
  EXPECT_EQ(report->outcome->result, Result::inconsistent);
  EXPECT_THAT(report->outcome->message, HasSubstr("restore"));
}

TEST_F(HookTest, WhatAFailedHookSaidLastIsToldWithTheEndOfTheTransition) {
  plan::Manifest two = heart("2", 2);
  two.hooks["validate"] = controller.script("echo the page is there; echo but it is empty; exit 1");
  ASSERT_TRUE(upgrade(two));
  const auto told = [&] {
    const std::vector<Json> ends = controller.events("transition-ended");
    return ends.empty() ? "" : ends.back().string_or("text");
  };
  ASSERT_TRUE(eventually([&] { return told().starts_with("reverted: "); })) << told();
  EXPECT_THAT(told(), HasSubstr("\nthe page is there\nbut it is empty"))
      << "for whoever asks later why";
}

TEST_F(HookTest, AHundredMegabytesOfOutputLeaveTheLastLines) {
  plan::Manifest two = heart("2", 2);
  two.hooks["migrate"] = controller.script(
      "head -c 100000000 /dev/zero | tr '\\0' 'x'; echo; for i in 1 2 3; do echo line $i; done; "
      "exit 1");
  const auto report = upgrade(two);
  ASSERT_TRUE(report);
  EXPECT_EQ(report->outcome->result, Result::reverted);
  EXPECT_THAT(report->outcome->tail, HasSubstr("line 1\nline 2\nline 3"));
  EXPECT_LT(report->outcome->tail.size(), 10'000U);
  EXPECT_LT(fs::file_size(service() / "log"), 2U << 20U);
  EXPECT_TRUE(beats("1"));
}

TEST_F(HookTest, DataThatCouldNotBeRestoredAreRestoredBeforeAnythingRunsOnThem) {
  // Given a migration that leaves dirt, and a snapshot that cannot be put back at first,
  plan::Manifest one = heart("1", 1);
  one.hooks["restore"] = controller.script(
      "test -e $CONSORT_DATA/cured || exit 1; cp $CONSORT_SNAPSHOT/schema $CONSORT_DATA/schema");
  one.hooks["validate"] = controller.script("exit 0");  // it would not notice
  const Digest v1 = install(one, "s1");
  ASSERT_TRUE(controller.outcome("shop", "s1"));
  plan::Manifest two = heart("2", 2);
  two.hooks["migrate"] = controller.script("echo half > $CONSORT_DATA/schema; exit 70");
  static_cast<void>(install(two, "s2"));
  const auto stuck = controller.outcome("shop", "s2");
  ASSERT_TRUE(stuck);
  ASSERT_EQ(stuck->outcome->result, Result::inconsistent) << stuck->outcome->message;
  ASSERT_EQ(schema(), "half");
  // then the old version is not put into service on them, also not by an agent of a later life,
  fs::remove(service() / "data/beat");
  kill_agent();
  start_agent();
  controller.want("shop", plan::InstanceState{v1, plan::Mode::running}, "s3");
  const auto again = controller.outcome("shop", "s3");
  ASSERT_TRUE(again);
  EXPECT_EQ(again->outcome->result, Result::inconsistent) << again->outcome->message;
  EXPECT_EQ(again->outcome->step, "restore");
  EXPECT_FALSE(fs::exists(service() / "data/beat")) << "nothing was started";
  // and once they can be restored it runs on the right ones.
  ASSERT_TRUE(write_file_atomic(service() / "data/cured", ""));
  controller.want("shop", plan::InstanceState{v1, plan::Mode::running}, "s4");
  const auto done = controller.outcome("shop", "s4");
  ASSERT_TRUE(done);
  EXPECT_EQ(done->outcome->result, Result::done) << done->outcome->message;
  EXPECT_EQ(schema(), "1");
  EXPECT_TRUE(beats("1"));
}

TEST_F(HookTest, WhyAServiceIsUnhealthyIsOneLineAndTheRestIsInItsEventAndItsLog) {
  // Given a service that is sound until something happens to it,
  plan::Manifest two = heart("2", 1);
  two.hooks["validate"] = controller.script(
      "test -e $CONSORT_DATA/ill || exit 0; echo first word; echo second word; exit 3");
  ASSERT_TRUE(upgrade(two));
  ASSERT_TRUE(write_file_atomic(service() / "data/ill", ""));
  // then its reason, which is shown in many places, has the last line only.
  const auto report = controller.wait([](const plan::HostReport& r) {
    const auto it = r.instances.find("shop");
    return it != r.instances.end() && it->second.health == plan::Health::unhealthy;
  });
  ASSERT_TRUE(report);
  EXPECT_EQ(report->instances.at("shop").health_reason,
            "the hook validate ended with status 3; its last words: second word");
  EXPECT_THAT(text_of(service() / "log"), HasSubstr("first word"));
  // What the hook said before is told once, with the event of the change.
  EXPECT_TRUE(eventually([&] { return !controller.events("unhealthy").empty(); }));
  EXPECT_EQ(controller.events("unhealthy").front().string_or("text"),
            "the hook validate ended with status 3; its last words: second word\n"
            "first word\nsecond word");
}

TEST_F(HookTest, ManyRunsAtOnceHaveScratchFoldersOfTheirOwn) {
  // Health asks `validate` every 300 ms while the transition's own `validate` runs for longer.
  plan::Manifest two = heart("2", 1);
  two.hooks["validate"] = controller.script(
      "touch mine; echo $CONSORT_SCRATCH >> $CONSORT_DATA/scratches; test -e mine");
  const auto report = upgrade(two);
  ASSERT_TRUE(report);
  EXPECT_EQ(report->outcome->result, Result::done) << report->outcome->message;
  ASSERT_TRUE(
      eventually([&] { return split(text_of(service() / "data/scratches"), '\n').size() > 3; }));
  auto seen = split(text_of(service() / "data/scratches"), '\n');
  seen.pop_back();
  EXPECT_EQ(std::set<std::string>(seen.begin(), seen.end()).size(), seen.size());
}

TEST_F(HookTest, TryAgainIsTriedAgain) {
  plan::Manifest two = heart("2", 2);
  two.hooks["migrate"] = controller.script(
      "echo $CONSORT_TOKEN >> $CONSORT_DATA/tokens; test $(wc -l < $CONSORT_DATA/tokens) -ge 2 || "
      "exit 75; echo 2 > $CONSORT_DATA/schema");
  const auto report = upgrade(two);
  ASSERT_TRUE(report);
  EXPECT_EQ(report->outcome->result, Result::done) << report->outcome->message;
  EXPECT_EQ(text_of(service() / "data/tokens"), "r2/shop/migrate\nr2/shop/migrate\n");
}

TEST_F(HookTest, OneServicesHangingHookKeepsNoOtherWaiting) {
  plan::Manifest other = heart("1");
  other.service = "other";
  other.resources.clear();
  other.daemon.reset();
  other.hooks.clear();
  other.hooks["setup"] = controller.script("while test ! -e $CONSORT_DATA/go; do sleep 0.01; done");
  static_cast<void>(install(other, "o1"));
  ASSERT_TRUE(controller.wait([](const plan::HostReport& r) {
    return r.instances.contains("other") && r.instances.at("other").step == "setup";
  }));
  ASSERT_TRUE(write_file_atomic(root() / "etc/shop.conf", "drift\n"));
  EXPECT_TRUE(
      eventually([&] { return text_of(root() / "etc/shop.conf").starts_with("version 1"); }));
  const auto report = upgrade(heart("2", 2));
  ASSERT_TRUE(report);
  EXPECT_EQ(report->outcome->result, Result::done) << report->outcome->message;
  ASSERT_TRUE(write_file_atomic(service("other") / "data/go", ""));
  EXPECT_TRUE(controller.outcome("other", "o1"));
}

}  // namespace
}  // namespace consort::agent
