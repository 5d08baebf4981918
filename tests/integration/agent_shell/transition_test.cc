#include <sys/stat.h>

#include "fixture.h"

namespace consort::agent {
namespace {

using Result = plan::Outcome::Result;

TEST_F(AgentShellTest, InstallsAServiceWithItsArtifactsAndHostValues) {
  // Given a service with an artifact tree that its daemon runs from,
  fs::create_directories(folder.path() / "app/bin");
  ASSERT_TRUE(write_file_atomic(folder.path() / "app/bin/shop",
                                "#!/bin/sh\nwhile :; do echo app >> $1/app; sleep 0.02; done\n",
                                0755));
  plan::Manifest shop = heart("1");
  shop.artifacts["app"] = {plan::Artifact::Kind::tree,
                           objects::put_folder(controller.store, folder.path() / "app").value()};
  shop.daemon = Json::object({{"argv", Json::array_of(std::vector<std::string>{
                                           "${artifact.app}/bin/shop", "${service.data}"})}});
  shop.hooks["setup"] = controller.script(
      "echo 1 > $CONSORT_DATA/schema; ls $CONSORT_NEW/artifacts/app/bin > $CONSORT_DATA/seen; echo "
      "$CONSORT_ARTIFACT_APP >> $CONSORT_DATA/seen; cat > $CONSORT_DATA/stdin");
  start_agent();
  // when the target names it,
  const Digest digest = install(shop, "r1");
  // then it runs, its files are in place, and the report says so.
  const auto report = controller.outcome("shop", "r1");
  ASSERT_TRUE(report);
  EXPECT_EQ(report->outcome->result, Result::done) << report->outcome->message;
  EXPECT_EQ(report->applied->manifest, digest);
  EXPECT_EQ(report->health, plan::Health::healthy);
  EXPECT_EQ(text_of(root() / "etc/shop.conf"), "version 1 on web1 in east\n");
  EXPECT_TRUE(eventually([&] { return text_of(service() / "data/app").starts_with("app"); }));
  EXPECT_THAT(text_of(service() / "data/seen"), HasSubstr("shop\n" + data().string()));
  const auto input = parse_json(text_of(service() / "data/stdin"));
  ASSERT_TRUE(input);
  EXPECT_TRUE(input->find("old")->is_null());
  EXPECT_EQ(input->find("new")->string_or("version"), "1");
}

TEST_F(AgentShellTest, UpgradesDataAndGoesDownAgain) {
  const Digest one = given_version_1_runs();
  ASSERT_TRUE(beats("1"));
  // When a release with another dataVersion comes, the data are backed up and migrated.
  static_cast<void>(install(heart("2", 2), "r2"));
  auto report = controller.outcome("shop", "r2");
  ASSERT_TRUE(report);
  EXPECT_EQ(report->outcome->result, Result::done) << report->outcome->message;
  EXPECT_EQ(schema(), "2");
  EXPECT_TRUE(beats("2"));
  EXPECT_EQ(text_of(root() / "etc/shop.conf"), "version 2 on web1 in east\n");
  // Going back is a transition downwards, by the newer release's hook.
  controller.want("shop", plan::InstanceState{one, plan::Mode::running}, "r3");
  report = controller.outcome("shop", "r3");
  ASSERT_TRUE(report);
  EXPECT_EQ(report->outcome->result, Result::done) << report->outcome->message;
  EXPECT_EQ(schema(), "1");
  EXPECT_EQ(text_of(service() / "data/trace"), "migrate up\nmigrate down\n");
  EXPECT_TRUE(beats("1"));
  // Only what runs and what ran before it stay unpacked.
  static_cast<void>(install(heart("1.1", 1), "r4"));
  ASSERT_TRUE(controller.outcome("shop", "r4"));
  EXPECT_TRUE(eventually(
      [&] { return std::distance(fs::directory_iterator(service() / "versions"), {}) == 2; }));
}

TEST_F(AgentShellTest, PerformsADutyOnceBeforeItsOwnChange) {
  const Digest one = given_version_1_runs();
  plan::Manifest two = heart("2", 2);
  two.hooks["migrate"] = controller.script(
      "echo \"$CONSORT_DIRECTION $CONSORT_TOKEN\" >> $CONSORT_DATA/duty; echo 2 > "
      "$CONSORT_DATA/schema");
  two.hooks["migrate"].scope = plan::Hook::Scope::service;
  const Digest digest = controller.publish(two);
  plan::Duty duty;
  duty.token = "r2/migrate/up";
  duty.hook = "migrate";
  duty.direction = "up";
  duty.owner = duty.to = digest;
  duty.from = one;
  controller.want("shop", plan::InstanceState{digest, plan::Mode::running}, "r2", duty);
  const auto report = controller.outcome("shop", "r2");
  ASSERT_TRUE(report);
  EXPECT_EQ(report->outcome->result, Result::done) << report->outcome->message;
  EXPECT_EQ(report->duties.at("r2/migrate/up").result, Result::done);
  EXPECT_EQ(text_of(service() / "data/duty"), "up r2/migrate/up\n");
}

TEST_F(AgentShellTest, ABaseServiceOfAClassComesAndGoes) {
  start_agent();
  plan::Manifest base;
  base.service = "class:web";
  base.host_class = "web";
  base.resources["motd"] = Json::object(
      {{"type", "file"}, {"path", "/etc/motd"}, {"content", "hello\n"}, {"onRemoval", "revert"}});
  static_cast<void>(install(base, "b1"));
  const auto report = controller.outcome("class:web", "b1");
  ASSERT_TRUE(report);
  EXPECT_EQ(report->outcome->result, Result::done) << report->outcome->message;
  EXPECT_EQ(text_of(root() / "etc/motd"), "hello\n");
  controller.want("class:web", std::nullopt, "b2");
  const auto gone = controller.outcome("class:web", "b2");
  ASSERT_TRUE(gone);
  EXPECT_EQ(gone->outcome->result, Result::done) << gone->outcome->message;
  EXPECT_FALSE(fs::exists(root() / "etc/motd"));
}

TEST_F(AgentShellTest, WalksBackWhenTheNewVersionDoesNotValidate) {
  const Digest one = given_version_1_runs();
  plan::Manifest bad = heart("2", 2);
  bad.hooks["validate"] = controller.script("echo the new one is broken; exit 3");
  static_cast<void>(install(bad, "r2"));
  const auto report = controller.outcome("shop", "r2");
  ASSERT_TRUE(report);
  EXPECT_EQ(report->outcome->result, Result::reverted);
  EXPECT_EQ(report->outcome->step, "validate");
  EXPECT_EQ(report->outcome->exit_status, 3);
  EXPECT_THAT(report->outcome->tail, HasSubstr("the new one is broken"));
  EXPECT_EQ(report->applied->manifest, one);
  EXPECT_EQ(schema(), "1") << "the snapshot was restored";
  EXPECT_TRUE(beats("1"));
  EXPECT_EQ(text_of(root() / "etc/shop.conf"), "version 1 on web1 in east\n");
}

TEST_F(AgentShellTest, AWayBackBringsBackWhatAPurgeHasRemoved) {
  given_version_1_runs();
  // Given files that nobody declares, and a release that purges their folder and does not work,
  const fs::path purged = root() / "etc/shop.d";
  fs::create_directories(purged / "sub/deep");
  ASSERT_TRUE(write_file_atomic(purged / "own.conf", "precious\n", 0640));
  ASSERT_TRUE(write_file_atomic(purged / "sub/deep/more", std::string(100'000, 'x'), 0755));
  fs::create_symlink("own.conf", purged / "link");
  plan::Manifest bad = heart("2", 1);
  bad.resources["folder"] =
      Json::object({{"type", "directory"}, {"path", "/etc/shop.d"}, {"purge", true}});
  bad.hooks["validate"] = controller.script("test -z \"$(ls " + purged.string() + ")\" && exit 3");
  static_cast<void>(install(bad, "r2"));
  const auto report = controller.outcome("shop", "r2");
  ASSERT_TRUE(report);
  // then they were gone, and the way back has brought them back as they were.
  EXPECT_EQ(report->outcome->result, Result::reverted);
  EXPECT_EQ(report->outcome->exit_status, 3) << report->outcome->message;
  EXPECT_EQ(report->outcome->message.find("brought back"), std::string::npos);
  EXPECT_EQ(text_of(purged / "own.conf"), "precious\n");
  EXPECT_EQ(fs::status(purged / "own.conf").permissions(), fs::perms(0640));
  EXPECT_EQ(text_of(purged / "sub/deep/more"), std::string(100'000, 'x'));
  EXPECT_EQ(fs::read_symlink(purged / "link"), "own.conf");
  // What cannot come back is told.
  ASSERT_EQ(::mkfifo((purged / "pipe").c_str(), 0600), 0);
  static_cast<void>(install(bad, "r3"));
  const auto again = controller.outcome("shop", "r3");
  ASSERT_TRUE(again);
  EXPECT_EQ(again->outcome->result, Result::reverted);
  EXPECT_THAT(again->outcome->message, HasSubstr("/etc/shop.d/pipe (it was no file"));
  EXPECT_EQ(text_of(purged / "own.conf"), "precious\n");
  // A release that works may purge, and nothing of it lingers for a later way back.
  plan::Manifest good = heart("3", 1);
  good.resources["folder"] = bad.resources["folder"];
  static_cast<void>(install(good, "r4"));
  ASSERT_TRUE(controller.outcome("shop", "r4"));
  plan::Manifest late = heart("4", 1);
  late.hooks["validate"] = controller.script("exit 3");
  static_cast<void>(install(late, "r5"));
  ASSERT_TRUE(controller.outcome("shop", "r5"));
  EXPECT_TRUE(fs::is_empty(purged));
}

TEST_F(AgentShellTest, AWayBackUndoesWhatOnlyTheNewVersionHas) {
  // Given a version that keeps one file of its own over an original, and files written by hand,
  start_agent();
  fs::create_directories(root() / "etc");
  ASSERT_TRUE(write_file_atomic(root() / "etc/shop.conf", "the original\n", 0644));
  ASSERT_TRUE(write_file_atomic(root() / "etc/app.conf", "by hand\n", 0640));
  ASSERT_TRUE(write_file_atomic(root() / "etc/old.conf", "still of use\n", 0600));
  plan::Manifest one = heart("1");
  one.resources["config"]["onRemoval"] = "revert";
  static_cast<void>(install(one, "r1"));
  ASSERT_TRUE(controller.outcome("shop", "r1"));
  // when a release that changes them all, moves the version's own file and fills a folder that it
  // makes does not validate,
  plan::Manifest bad = heart("2", 1);
  const auto file = [](const std::string& path) {
    return Json::object({{"type", "file"}, {"path", path}, {"content", "by version 2\n"}});
  };
  bad.resources["config"] = file("/etc/moved.conf");
  bad.resources["app"] = file("/etc/app.conf");
  bad.resources["gone"] =
      Json::object({{"type", "file"}, {"path", "/etc/old.conf"}, {"ensure", "absent"}});
  bad.resources["folder"] = Json::object({{"type", "directory"}, {"path", "/var/a/b"}});
  bad.resources["link"] =
      Json::object({{"type", "symlink"}, {"path", "/var/a/link"}, {"target", "b"}});
  bad.hooks["validate"] =
      controller.script("test -L " + (root() / "var/a/link").string() + " && echo x > " +
                        (root() / "var/a/b/log").string() + " && exit 3");
  static_cast<void>(install(bad, "r2"));
  const auto report = controller.outcome("shop", "r2");
  ASSERT_TRUE(report);
  EXPECT_EQ(report->outcome->result, Result::reverted);
  EXPECT_EQ(report->outcome->exit_status, 3) << report->outcome->message;
  // then everything is as it was before, whatever onRemoval says,
  EXPECT_EQ(text_of(root() / "etc/shop.conf"), "version 1 on web1 in east\n");
  EXPECT_EQ(text_of(root() / "etc/app.conf"), "by hand\n");
  EXPECT_EQ(fs::status(root() / "etc/app.conf").permissions(), fs::perms(0640));
  EXPECT_EQ(text_of(root() / "etc/old.conf"), "still of use\n");
  EXPECT_FALSE(fs::exists(root() / "etc/moved.conf"));
  EXPECT_FALSE(fs::is_symlink(root() / "var/a/link"));
  // but for what cannot be undone, and that is told.
  EXPECT_THAT(report->outcome->lost, HasSubstr("/var/a/b (/var/a/b is not empty"));
  EXPECT_EQ(text_of(root() / "var/a/b/log"), "x\n");
  // What was there before the first version is known as ever.
  controller.want("shop", std::nullopt, "r3");
  ASSERT_TRUE(controller.outcome("shop", "r3"));
  EXPECT_EQ(text_of(root() / "etc/shop.conf"), "the original\n");
}

TEST_F(AgentShellTest, AFirstInstallThatFailsLeavesTheHostAsItWas) {
  start_agent();
  fs::create_directories(root() / "etc");
  ASSERT_TRUE(write_file_atomic(root() / "etc/shop.conf", "by hand\n", 0640));
  plan::Manifest bad = heart("1");
  bad.resources["new"] =
      Json::object({{"type", "file"}, {"path", "/etc/new.conf"}, {"content", "x"}});
  // A daemon beside its own, which runs when the validation fails.
  bad.resources["helper"] = Json::object(
      {{"type", "daemon"},
       {"argv", Json::array_of(std::vector<std::string>{"/bin/sh", "-c", "exec sleep 1000"})}});
  bad.hooks["validate"] = controller.script("exit 3");
  static_cast<void>(install(bad, "r1"));
  const auto report = controller.outcome("shop", "r1");
  ASSERT_TRUE(report);
  EXPECT_EQ(report->outcome->result, Result::reverted);
  EXPECT_EQ(report->outcome->step, "validate") << report->outcome->message;
  EXPECT_EQ(report->outcome->lost, "");
  EXPECT_EQ(text_of(root() / "etc/shop.conf"), "by hand\n");
  EXPECT_EQ(fs::status(root() / "etc/shop.conf").permissions(), fs::perms(0640));
  EXPECT_FALSE(fs::exists(root() / "etc/new.conf"));
  EXPECT_FALSE(fs::exists(data() / "daemons/shop.helper")) << "it is stopped and forgotten";
}

TEST_F(AgentShellTest, ACommandOfAReleaseThatWasTakenBackRunsAgainWithIt) {
  given_version_1_runs();
  const fs::path runs = folder.path() / "runs";
  plan::Manifest two = heart("2");
  two.resources["make"] = Json::object(
      {{"type", "command"},
       {"argv",
        Json::array_of(std::vector<std::string>{"/bin/sh", "-c", "echo x >> " + runs.string()})}});
  plan::Manifest bad = two;
  bad.hooks["validate"] = controller.script("exit 3");
  static_cast<void>(install(bad, "r2"));
  ASSERT_TRUE(controller.outcome("shop", "r2"));
  EXPECT_EQ(text_of(runs), "x\n");
  static_cast<void>(install(two, "r3"));
  ASSERT_TRUE(controller.outcome("shop", "r3"));
  EXPECT_EQ(text_of(runs), "x\nx\n");
}

TEST_F(AgentShellTest, OriginalsAreKeptForAsLongAsTheyMayBeAskedFor) {
  // Given a file over an original, for longer than anything else that was replaced is kept,
  start_agent();
  fs::create_directories(root() / "etc");
  ASSERT_TRUE(write_file_atomic(root() / "etc/shop.conf", "the original\n", 0640));
  plan::Manifest shop = heart("1");
  shop.resources["config"]["onRemoval"] = "revert";
  static_cast<void>(install(shop, "r1"));
  ASSERT_TRUE(controller.outcome("shop", "r1"));
  const auto backups = objects::ObjectStore::open(data() / "backups").value();
  const Digest other = backups.put("something else that was replaced").value();
  ASSERT_TRUE(backups.has(Digest::of("the original\n")));
  for (const auto& item : fs::recursive_directory_iterator(data() / "backups")) {
    if (item.is_regular_file())
      fs::last_write_time(item.path(), fs::file_time_type::clock::now() - std::chrono::hours(800));
  }
  // when another change has had old things cleared away,
  plan::Manifest next = shop;
  next.version = "1.1";
  static_cast<void>(install(next, "r2"));
  ASSERT_TRUE(controller.outcome("shop", "r2"));
  ASSERT_TRUE(eventually([&] { return !backups.has(other); }));
  // then it still comes back.
  controller.want("shop", std::nullopt, "r3");
  ASSERT_TRUE(controller.outcome("shop", "r3"));
  EXPECT_EQ(text_of(root() / "etc/shop.conf"), "the original\n");
  EXPECT_EQ(fs::status(root() / "etc/shop.conf").permissions(), fs::perms(0640));
}

TEST_F(AgentShellTest, WhatCouldNotBeUndoneIsTriedAgainWhenTheServiceIsGone) {
  start_agent();
  fs::create_directories(root() / "srv/shop");
  ASSERT_TRUE(write_file_atomic(root() / "srv/shop/conf", "the original\n"));
  plan::Manifest shop = heart("1");
  shop.resources["config"]["path"] = "/srv/shop/conf";
  shop.resources["config"]["onRemoval"] = "revert";
  static_cast<void>(install(shop, "r1"));
  ASSERT_TRUE(controller.outcome("shop", "r1"));
  // Given a removal while the way to the file leads through a link,
  fs::rename(root() / "srv/shop", root() / "srv/elsewhere");
  fs::create_symlink("elsewhere", root() / "srv/shop");
  controller.want("shop", std::nullopt, "r2");
  const auto gone = controller.outcome("shop", "r2");
  ASSERT_TRUE(gone);
  EXPECT_EQ(gone->outcome->result, Result::done) << gone->outcome->message;
  EXPECT_TRUE(eventually([&] {
    const auto warnings = controller.events("warning");
    return std::any_of(warnings.begin(), warnings.end(), [](const Json& event) {
      return event.string_or("text").find("could not be undone: shop.config") == 0;
    });
  }));
  // then the next life of the agent puts the original back.
  kill_agent();
  fs::remove(root() / "srv/shop");
  fs::rename(root() / "srv/elsewhere", root() / "srv/shop");
  start_agent();
  EXPECT_TRUE(eventually([&] { return text_of(root() / "srv/shop/conf") == "the original\n"; }));
}

TEST_F(AgentShellTest, ADaemonThatDiesAtOnceIsAFailureWithItsLastWords) {
  given_version_1_runs();
  plan::Manifest bad = heart("2");
  bad.daemon = Json::object({{"argv", Json::array_of(std::vector<std::string>{
                                          "/bin/sh", "-c", "echo no such table; exit 7"})}});
  static_cast<void>(install(bad, "r2"));
  const auto report = controller.outcome("shop", "r2");
  ASSERT_TRUE(report);
  EXPECT_EQ(report->outcome->result, Result::reverted);
  EXPECT_THAT(report->outcome->tail, HasSubstr("no such table"));
  EXPECT_TRUE(beats("1"));
}

TEST_F(AgentShellTest, StopsDrainsAndRemovesAndKeepsTheData) {
  start_agent();
  plan::Manifest shop = heart("1");
  shop.resources["config"]["onRemoval"] = "revert";
  shop.hooks["drain"] = controller.script("echo drain >> $CONSORT_DATA/trace");
  shop.hooks["undrain"] = controller.script("echo undrain >> $CONSORT_DATA/trace");
  const Digest digest = install(shop, "r1");
  ASSERT_TRUE(controller.outcome("shop", "r1"));
  controller.want("shop", plan::InstanceState{digest, plan::Mode::stopped}, "r2");
  ASSERT_TRUE(controller.outcome("shop", "r2"));
  fs::remove(service() / "data/beat");
  controller.want("shop", plan::InstanceState{digest, plan::Mode::running}, "r3");
  ASSERT_TRUE(controller.outcome("shop", "r3"));
  EXPECT_TRUE(beats("1"));
  EXPECT_EQ(text_of(service() / "data/trace"), "undrain\ndrain\nundrain\n");
  // When it is taken out of the site, what asked for it goes, and the data stay.
  controller.want("shop", std::nullopt, "r4");
  const auto report = controller.outcome("shop", "r4");
  ASSERT_TRUE(report);
  EXPECT_EQ(report->outcome->result, Result::done) << report->outcome->message;
  EXPECT_FALSE(report->applied);
  EXPECT_FALSE(fs::exists(root() / "etc/shop.conf"));
  EXPECT_FALSE(fs::exists(service() / "versions"));
  EXPECT_EQ(schema(), "1");
  // And a release that cannot use these data is refused before anything changes.
  static_cast<void>(install(heart("2", 2), "r5"));
  const auto refused = controller.outcome("shop", "r5");
  ASSERT_TRUE(refused);
  EXPECT_EQ(refused->outcome->step, "preflight");
  EXPECT_THAT(refused->outcome->message, HasSubstr("dataVersion 1 first"));
}

TEST_F(AgentShellTest, AChangeThatCutsTheHostOffGoesBackOnce) {
  const Digest one = given_version_1_runs();
  // Given a release whose start takes the way to the controller away (here: the controller goes),
  plan::Manifest cut = heart("2");
  cut.hooks["validate"] = controller.script(
      "touch $CONSORT_DATA/cut; while test ! -e $CONSORT_DATA/gone; do sleep 0.01; done");
  static_cast<void>(install(cut, "r2"));
  ASSERT_TRUE(eventually([&] { return fs::exists(service() / "data/cut"); }));
  controller.down();
  ASSERT_TRUE(write_file_atomic(service() / "data/gone", ""));
  // then the host is on the old release again, without anybody's help.
  ASSERT_TRUE(
      eventually([&] { return text_of(root() / "etc/shop.conf").starts_with("version 1"); }));
  ASSERT_TRUE(beats("1"));
  controller.up();
  const auto report = controller.outcome("shop", "r2");
  ASSERT_TRUE(report);
  EXPECT_EQ(report->outcome->step, "confirm");
  EXPECT_EQ(report->applied->manifest, one);
}

TEST_F(AgentShellTest, TheGuardStaysArmedWhenTheAgentIsKilledInTheMiddleOfTheSwitch) {
  const Digest one = given_version_1_runs();
  // Given a switch that takes the way to the controller away, and an agent that is killed in it,
  plan::Manifest cut = heart("2");
  const std::string marks = (folder.path() / "switching").string();
  const fs::path sleeper = folder.path() / "sleeper";
  cut.resources["cut"] = Json::object(
      {{"type", "command"},
       {"argv", Json::array_of(std::vector<std::string>{
                    "/bin/sh", "-c",
                    "echo x >> " + marks + "; test $(wc -l < " + marks + ") -ge 2 || { echo $$ > " +
                        sleeper.string() + "; exec sleep 1000; }"})},
       {"unless", Json::array_of(std::vector<std::string>{
                      "/bin/sh", "-c", "test $(cat " + marks + " | wc -l) -ge 2"})}});
  static_cast<void>(install(cut, "r2"));
  ASSERT_TRUE(eventually([&] { return text_of(sleeper).ends_with("\n"); }));
  controller.down();
  kill_agent();
  ::kill(std::stoi(text_of(sleeper)), SIGKILL);  // a command outlives its agent
  start_agent();
  // then the second try does not take the cut for the usual state of the world.
  ASSERT_TRUE(eventually([&] { return text_of(marks) == "x\nx\n"; }));
  ASSERT_TRUE(
      eventually([&] { return text_of(root() / "etc/shop.conf").starts_with("version 1"); }));
  controller.up();
  const auto report = controller.outcome("shop", "r2");
  ASSERT_TRUE(report);
  EXPECT_EQ(report->outcome->step, "confirm") << report->outcome->message;
  EXPECT_EQ(report->applied->manifest, one);
}

}  // namespace
}  // namespace consort::agent
