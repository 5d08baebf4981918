#include <gmock/gmock.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include "agent/real_files.h"
#include "host_folder.h"

namespace consort::agent {
namespace {

using ::testing::HasSubstr;

TEST(File, AnEmptyFileIsCreatedPrivateWhateverTheUmask) {
  HostFolder host;
  const mode_t old = ::umask(0);
  const auto report =
      host.twice({{"motd", Json::object({{"type", "file"}, {"path", "/etc/motd"}})}});
  ::umask(old);
  EXPECT_EQ(report.exit_status(), 2);
  EXPECT_EQ(host.mode("/etc/motd"), 0600U);
  EXPECT_EQ(host.get("/etc/motd"), "");
}

TEST(File, ModesAreExact) {
  for (const char* mode : {"0146", "04777", "0000", "02755", "01777"}) {
    HostFolder host;
    const mode_t old = ::umask(077);
    Json spec = file_spec("/etc/odd", "x");
    spec["mode"] = mode;
    host.twice({{"odd", spec}});
    ::umask(old);
    EXPECT_EQ(host.mode("/etc/odd"), std::strtoul(mode, nullptr, 8)) << mode;
  }
}

TEST(File, APermissionRepairTouchesNeitherContentNorMtime) {
  HostFolder host;
  Json spec = file_spec("/etc/app.conf", "port=1\n");
  spec["mode"] = "0644";
  host.twice({{"conf", spec}});
  const auto written = fs::last_write_time(host.at("/etc/app.conf"));
  ::chmod(host.at("/etc/app.conf").c_str(), 0777);
  const auto report = host.twice({{"conf", spec}});
  EXPECT_EQ(report.repaired, 1U);
  EXPECT_EQ(report.find("conf")->cause, Cause::corrective);
  EXPECT_EQ(host.mode("/etc/app.conf"), 0644U);
  EXPECT_EQ(fs::last_write_time(host.at("/etc/app.conf")), written);
}

TEST(File, WrongContentIsReplacedShownAndKeptAsABackup) {
  HostFolder host;
  host.put("/etc/app.conf", "port=1\n");
  const auto report = host.twice({{"conf", file_spec("/etc/app.conf", "port=2\n")}});
  const ResourceReport* conf = report.find("conf");
  ASSERT_NE(conf, nullptr);
  EXPECT_EQ(conf->cause, Cause::intended);
  EXPECT_THAT(conf->changes.at(0).diff, HasSubstr("-port=1"));
  EXPECT_THAT(conf->changes.at(0).diff, HasSubstr("+port=2"));
  ASSERT_TRUE(conf->backup);
  EXPECT_EQ(host.store().get(*conf->backup).value(), "port=1\n");
  EXPECT_EQ(host.mode("/etc/app.conf"), 0644U) << "the old mode is kept when none is asked for";
}

TEST(File, ANewOwnerTakesOverNoPermissions) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can give files away";
  HostFolder host;
  host.put("/srv/x", "theirs\n");
  const fs::path file = host.at("/srv/x");
  ASSERT_EQ(::chown(file.c_str(), 65534, 65534), 0);
  ASSERT_EQ(::chmod(file.c_str(), 06777), 0);
  Json spec = Json::object(
      {{"type", "file"}, {"path", "/srv/x"}, {"content", "ours\n"}, {"owner", "root"}});
  ASSERT_EQ(host.pass({{"x", spec}}).failed, 0U);
  EXPECT_EQ(host.mode("/srv/x"), 0755U);
}

TEST(File, ASecretIsNeverShown) {
  HostFolder host;
  host.put("/etc/key", "old-secret");
  Json spec = file_spec("/etc/key", "new-secret");
  spec["sensitive"] = true;
  const auto report = host.twice({{"key", spec}});
  const std::string all = report_to_json(report).dump() + render_report(report);
  EXPECT_THAT(all, ::testing::Not(HasSubstr("secret")));
}

TEST(File, ReplaceOnceLeavesALaterEditAlone) {
  HostFolder host;
  Json spec = file_spec("/etc/seed", "first");
  spec["replace"] = "once";
  host.twice({{"seed", spec}});
  host.put("/etc/seed", "edited");
  EXPECT_EQ(host.twice({{"seed", spec}}).repaired, 0U);
  EXPECT_EQ(host.get("/etc/seed"), "edited");
}

TEST(File, AnInvalidNewContentNeverReplacesAValidOne) {
  HostFolder host;
  host.put("/etc/sshd", "valid\n");
  Json spec = file_spec("/etc/sshd", "broken\n");
  spec["validate"] = Json::array_of(std::vector<std::string>{"grep", "-q", "valid", "${new}"});
  const auto report = host.pass({{"sshd", spec}});
  EXPECT_EQ(report.exit_status(), 4);
  EXPECT_EQ(host.get("/etc/sshd"), "valid\n");
  EXPECT_EQ(std::distance(fs::directory_iterator(host.at("/etc")), fs::directory_iterator()), 3)
      << "no temp file stays";
  spec["content"] = "still valid\n";
  EXPECT_EQ(host.twice({{"sshd", spec}}).repaired, 1U);
}

TEST(File, AnObstructionIsAFailureUnlessForced) {
  HostFolder host;
  fs::create_directories(host.at("/etc/thing/inside"));
  Json spec = file_spec("/etc/thing", "x");
  auto report = host.pass({{"thing", spec}});
  EXPECT_EQ(report.exit_status(), 4);
  EXPECT_THAT(report.find("thing")->reason, HasSubstr("in the way"));
  spec["force"] = true;
  report = host.twice({{"thing", spec}});
  EXPECT_EQ(host.get("/etc/thing"), "x");
  EXPECT_THAT(report.find("thing")->notes.at(0), HasSubstr("consort-aside"));
}

TEST(File, ALinkInAParentIsNotFollowed) {
  HostFolder host;
  fs::create_directories(host.outside() / "elsewhere");
  fs::create_symlink(host.outside() / "elsewhere", host.at("/etc/linked"));
  const auto report = host.pass({{"x", file_spec("/etc/linked/x", "planted")}});
  EXPECT_EQ(report.exit_status(), 4);
  EXPECT_THAT(report.find("x")->reason, HasSubstr("symlink"));
  EXPECT_FALSE(fs::exists(host.outside() / "elsewhere/x"));
}

// Who may write in a folder can put a link in the place of a file at any moment: also between the
// look at it and the copy that is made of it.
TEST(File, WhatIsReadIsNeverReachedThroughALink) {
  HostFolder host;
  ASSERT_TRUE(write_file_atomic(host.outside() / "shadow", "of root alone"));
  fs::create_symlink(host.outside() / "shadow", host.at("/etc/linked"));
  fs::create_symlink(host.outside(), host.at("/etc/through"));
  ASSERT_EQ(::mkfifo(host.at("/etc/pipe").c_str(), 0600), 0);
  host.put("/etc/file", "its own");
  const auto files = RealFiles::open(host.root()).value();
  for (const std::string path : {"/etc/linked", "/etc/through/shadow", "/etc/pipe"}) {
    const auto fd = files->open_for_reading(path);
    ASSERT_FALSE(fd) << path;
    EXPECT_EQ(fd.error().code(), ErrorCode::refused) << path;
  }
  EXPECT_TRUE(files->open_for_reading("/etc/file"));
}

TEST(File, SourceIsCopiedAndAbsenceIsKept) {
  HostFolder host;
  ASSERT_TRUE(write_file_atomic(host.outside() / "artifact", std::string(300'000, 'a')));
  host.put("/etc/old", "gone soon");
  const Json copy = Json::object({{"type", "file"},
                                  {"path", "/etc/copy"},
                                  {"source", (host.outside() / "artifact").string()}});
  const Json gone = Json::object({{"type", "file"}, {"path", "/etc/old"}, {"ensure", "absent"}});
  EXPECT_EQ(host.twice({{"copy", copy}, {"gone", gone}}).repaired, 2U);
  EXPECT_EQ(host.get("/etc/copy").size(), 300'000U);
  EXPECT_EQ(host.get("/etc/old"), "(absent)");
}

TEST(File, ASymlinkGetsItsTargetAndDanglingOnesGo) {
  HostFolder host;
  fs::create_symlink("/nowhere", host.at("/etc/dangling"));
  fs::create_symlink("/wrong", host.at("/etc/link"));
  const std::map<std::string, Json> specs = {
      {"dangling",
       Json::object({{"type", "symlink"}, {"path", "/etc/dangling"}, {"ensure", "absent"}})},
      {"link", Json::object({{"type", "symlink"}, {"path", "/etc/link"}, {"target", "/right"}})}};
  EXPECT_EQ(host.twice(specs).repaired, 2U);
  EXPECT_EQ(fs::read_symlink(host.at("/etc/link")), "/right");
  EXPECT_FALSE(fs::is_symlink(host.at("/etc/dangling")));
}

TEST(File, KilledAtAnyMomentItIsOldOrNew) {
  HostFolder host;
  const std::string contents[] = {std::string(200'000, 'a'), std::string(200'000, 'b')};
  host.put("/etc/big", contents[0]);
  host.converger.reset();
  for (int round = 0; round < 30; ++round) {
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      HostFolder* same = &host;
      same->reopen();
      for (int i = 0;; ++i) {
        if (!same->converger->set_resources({{"big", file_spec("/etc/big", contents[i % 2])}}))
          ::_exit(1);
        [[maybe_unused]] const PassReport report = same->converger->pass();
      }
    }
    const timespec pause{0, 1'000'000 + round * 700'000};
    ::nanosleep(&pause, nullptr);
    ::kill(child, SIGKILL);
    int status = 0;
    ::waitpid(child, &status, 0);
    EXPECT_TRUE(WIFSIGNALED(status));
    const std::string now = host.get("/etc/big");
    ASSERT_TRUE(now == contents[0] || now == contents[1]) << now.size();
  }
  host.reopen();
  host.twice({{"big", file_spec("/etc/big", "calm\n")}});
  EXPECT_EQ(std::distance(fs::directory_iterator(host.at("/etc")), fs::directory_iterator()), 3)
      << "no temp file is left";
}

}  // namespace
}  // namespace consort::agent
