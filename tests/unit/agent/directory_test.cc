#include <gmock/gmock.h>

#include "agent/originals.h"
#include "host_folder.h"

namespace consort::agent {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

Json directory_spec(const std::string& path) {
  return Json::object({{"type", "directory"}, {"path", path}});
}

TEST(Directory, IsMadeWithItsParents) {
  HostFolder host;
  Json spec = directory_spec("/srv/a/b/c");
  spec["mode"] = "0750";
  EXPECT_EQ(host.twice({{"dir", spec}}).repaired, 1U);
  EXPECT_EQ(host.mode("/srv/a/b/c"), 0750U);
  EXPECT_EQ(host.mode("/srv/a"), 0755U);
}

TEST(Directory, WithoutParentsItSaysWhatIsMissing) {
  HostFolder host;
  Json spec = directory_spec("/srv/a/b");
  spec["parents"] = false;
  const auto report = host.pass({{"dir", spec}});
  EXPECT_EQ(report.exit_status(), 4);
  EXPECT_THAT(report.find("dir")->reason, HasSubstr("/srv"));
}

class Tree : public ::testing::Test {
 protected:
  void SetUp() override {
    const fs::path tree = host.outside() / "tree";
    fs::create_directories(tree / "bin");
    ASSERT_TRUE(write_file_atomic(tree / "bin/app", "#!/bin/sh\n", 0755));
    ASSERT_TRUE(write_file_atomic(tree / "readme", "hello\n", 0644));
    fs::create_symlink("bin/app", tree / "run");
    spec = directory_spec("/opt/app");
    spec["tree"] = tree.string();
  }
  HostFolder host;
  Json spec;
};

TEST_F(Tree, ItsContentIsThere) {
  host.twice({{"app", spec}});
  EXPECT_EQ(host.get("/opt/app/readme"), "hello\n");
  EXPECT_EQ(host.mode("/opt/app/bin/app"), 0755U);
  EXPECT_EQ(fs::read_symlink(host.at("/opt/app/run")), "bin/app");
  host.put("/opt/app/readme", "HELLO\n");
  EXPECT_EQ(host.twice({{"app", spec}}).repaired, 1U);
  EXPECT_EQ(host.get("/opt/app/readme"), "hello\n");
}

TEST_F(Tree, APurgeRemovesWhatIsExtraButNotWhatIsExcludedOrDeclared) {
  spec["purge"] = true;
  spec["exclude"] = Json::array_of(std::vector<std::string>{"*.log"});
  host.put("/opt/app/extra/deep", "x");
  host.put("/opt/app/app.log", "keep");
  const std::map<std::string, Json> specs = {{"app", spec},
                                             {"conf", file_spec("/opt/app/etc.conf", "mine")}};
  host.pass(specs);
  host.twice(specs);
  EXPECT_FALSE(fs::exists(host.at("/opt/app/extra")));
  EXPECT_EQ(host.get("/opt/app/app.log"), "keep");
  EXPECT_EQ(host.get("/opt/app/etc.conf"), "mine");
}

TEST_F(Tree, APurgeLeavesAFolderAloneInWhichSomethingIsDeclared) {
  // '.' comes before '/' in the order of paths.
  spec["purge"] = true;
  host.put("/opt/app/conf.d/of-a-user", "x");
  const std::map<std::string, Json> specs = {{"app", spec},
                                             {"readme", file_spec("/opt/app/conf.d.readme", "r")},
                                             {"site", file_spec("/opt/app/conf.d/site.conf", "s")}};
  host.twice(specs);
  EXPECT_EQ(host.get("/opt/app/conf.d/of-a-user"), "x");
  EXPECT_EQ(host.get("/opt/app/conf.d/site.conf"), "s");
}

TEST_F(Tree, APurgeLeavesAloneWhatOtherServicesKeepAndWhatIsBeingWritten) {
  spec["purge"] = true;
  Claims claims;
  host.claims = &claims;
  host.reopen();
  claims.set("other",
             std::make_shared<PathSet>(std::vector<std::string>{"/opt/app/other/site.conf"}));
  host.put("/opt/app/other/site.conf", "theirs");
  host.put("/opt/app/.half.conf.consort-new", "in the middle of a write");
  host.put("/opt/app/litter", "x");
  host.twice({{"app", spec}});
  EXPECT_EQ(host.get("/opt/app/other/site.conf"), "theirs");
  EXPECT_EQ(host.get("/opt/app/.half.conf.consort-new"), "in the middle of a write");
  EXPECT_FALSE(fs::exists(host.at("/opt/app/litter")));
  EXPECT_TRUE(claims.contain("/opt/app")) << "its own claims are known to the others";
  claims.set("other", nullptr);
  PassOptions full;
  full.audit = Audit::full;
  EXPECT_EQ(host.converger->pass(full).failed, 0U);
  EXPECT_FALSE(fs::exists(host.at("/opt/app/other")));
}

TEST_F(Tree, WhatAPurgeRemovesComesBackUpToALimitAndTheRestIsNamed) {
  spec["purge"] = true;
  host.put("/opt/app/a/small", "12345");
  host.put("/opt/app/b-large", "1234567890");
  host.put("/opt/app/c-small", "123");
  Originals originals(host.outside() / "originals", host.outside() / "own", 9);
  ASSERT_TRUE(host.converger->begin_to_remember(originals, "r1/switch"));
  host.converger->remember_in(&originals);
  ASSERT_EQ(host.pass({{"app", spec}}).failed, 0U);
  ASSERT_FALSE(fs::exists(host.at("/opt/app/a")));
  // Also in another life, and beside what somebody has put there meanwhile.
  host.reopen();
  host.put("/opt/app/c-small", "newer");
  Originals later(host.outside() / "originals", host.outside() / "own", 9);
  EXPECT_TRUE(later.belong_to("r1/switch").value());
  EXPECT_FALSE(later.belong_to("r2/switch").value());
  const auto lost = host.converger->bring_back(later);
  ASSERT_TRUE(lost);
  ASSERT_EQ(lost->size(), 1U);
  EXPECT_EQ(lost->front().path, "/opt/app/b-large");
  EXPECT_EQ(lost->front().why, "its 10 bytes were too many to keep");
  EXPECT_EQ(host.get("/opt/app/a/small"), "12345");
  EXPECT_EQ(host.get("/opt/app/c-small"), "newer");
  EXPECT_EQ(host.converger->bring_back(later)->size(), 1U) << "doing it again is fine";
  ASSERT_TRUE(later.forget());
  EXPECT_TRUE(host.converger->bring_back(later)->empty());
}

TEST_F(Tree, APurgeOfTooMuchIsRefused) {
  spec["purge"] = true;
  spec["maxPurge"] = 2;
  for (const char* name : {"a", "b", "c"}) host.put(std::string("/opt/app/") + name, "x");
  const auto report = host.pass({{"app", spec}});
  EXPECT_EQ(report.exit_status(), 4);
  EXPECT_THAT(report.find("app")->reason, HasSubstr("guard allows 2"));
  EXPECT_EQ(host.get("/opt/app/c"), "x");
}

TEST(Directory, RecurseSetsTheModeOfAllAndExecuteBitsOnlyWhereTheyWere) {
  HostFolder host;
  host.put("/srv/data/sub/plain", "x");
  host.put("/srv/data/tool", "x");
  ::chmod(host.at("/srv/data/tool").c_str(), 0700);
  Json spec = directory_spec("/srv/data");
  spec["mode"] = "0755";
  spec["recurse"] = true;
  host.twice({{"data", spec}});
  EXPECT_EQ(host.mode("/srv/data/sub"), 0755U);
  EXPECT_EQ(host.mode("/srv/data/sub/plain"), 0644U);
  EXPECT_EQ(host.mode("/srv/data/tool"), 0755U);
}

TEST(Directory, WhatAPurgeRemovesNeedsNoModeBefore) {
  HostFolder host;
  host.put("/srv/extra", "x");
  host.put("/srv/folder/deep", "x");
  ::chmod(host.at("/srv/extra").c_str(), 0666);
  Json spec = Json::object({{"type", "directory"}, {"path", "/srv"}, {"mode", "0750"}});
  spec["recurse"] = spec["purge"] = true;
  const PassReport report = host.twice({{"srv", spec}});
  EXPECT_EQ(report.failed, 0U) << render_report(report);
  EXPECT_TRUE(fs::is_empty(host.at("/srv")));
}

TEST(Directory, AbsenceOfAFullOneNeedsPurge) {
  HostFolder host;
  host.put("/srv/old/x", "x");
  Json spec = directory_spec("/srv/old");
  spec["ensure"] = "absent";
  EXPECT_EQ(host.pass({{"old", spec}}).exit_status(), 4);
  spec["purge"] = true;
  EXPECT_EQ(host.twice({{"old", spec}}).repaired, 1U);
  EXPECT_FALSE(fs::exists(host.at("/srv/old")));
}

}  // namespace
}  // namespace consort::agent
