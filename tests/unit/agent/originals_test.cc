// What a way back puts back, whatever changed it.
#include "agent/originals.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <unistd.h>

#include "host_folder.h"

namespace consort::agent {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class OriginalsTest : public ::testing::Test {
 protected:
  static Json directory(const std::string& path) {
    return Json::object({{"type", "directory"}, {"path", path}});
  }
  static Json link(const std::string& path, const std::string& target) {
    return Json::object({{"type", "symlink"}, {"path", path}, {"target", target}});
  }
  // From here on there is a way back.
  void begin() {
    ASSERT_TRUE(host.converger->begin_to_remember(originals, "r1/switch"));
    host.converger->remember_in(&originals);
  }
  // Twice, as after a crash, and by another life.
  std::vector<std::string> go_back() {
    std::vector<std::string> lost;
    for (int life = 0; life < 2; ++life) {
      host.reopen();
      Originals later(host.outside() / "originals", host.outside() / "own");
      EXPECT_TRUE(later.belong_to("r1/switch").value());
      const auto result = host.converger->bring_back(later);
      EXPECT_TRUE(result) << render_error(result.error());
      EXPECT_TRUE(host.converger->bring_back_ledger(later));
      lost.clear();
      for (const Originals::Lost& item : *result) lost.push_back(item.path + ": " + item.why);
    }
    return lost;
  }
  // Kinds, modes, owners, targets and contents of all that is there.
  [[nodiscard]] std::map<std::string, std::string> everything() const {
    std::map<std::string, std::string> out;
    for (const auto& item : fs::recursive_directory_iterator(host.root())) {
      struct stat info {};
      EXPECT_EQ(::lstat(item.path().c_str(), &info), 0);
      const std::string path = item.path().lexically_relative(host.root()).string();
      out[path] = fmt::format("{:o}", info.st_mode);
      if (item.is_symlink())
        out[path] = "-> " + fs::read_symlink(item.path()).string();
      else if (item.is_regular_file())
        out[path] += " " + read_file(item.path()).value();
    }
    return out;
  }

  HostFolder host;
  Originals originals{host.outside() / "originals", host.outside() / "own"};
};

TEST_F(OriginalsTest, EveryChangeOfPathsIsUndone) {
  // Given files, folders and links that nobody declares,
  host.put("/etc/conf", "by hand\n");
  host.put("/etc/gone", "still of use\n");
  host.put("/etc/link", "a file so far\n");
  host.put("/srv/app/old", "of the old tree\n");
  host.put("/srv/kept/inside", "x\n");
  ::chmod(host.at("/etc/conf").c_str(), 0640);
  ::chmod(host.at("/srv/kept/inside").c_str(), 0600);
  fs::create_directories(host.at("/srv/blocked/inside"));
  host.put("/srv/blocked/inside/deep", "in the way\n");
  fs::create_symlink("conf", host.at("/etc/turned"));
  const fs::path tree = host.outside() / "tree";
  fs::create_directories(tree / "bin");
  ASSERT_TRUE(write_file_atomic(tree / "bin/app", "new\n", 0755));
  ASSERT_TRUE(write_file_atomic(tree / "old", "of the new tree\n", 0644));
  const auto before = everything();
  // and a set that changes them in all ways there are,
  begin();
  Json gone = Json::object({{"type", "file"}, {"path", "/etc/gone"}, {"ensure", "absent"}});
  Json over = link("/etc/link", "elsewhere");
  over["force"] = true;
  Json blocked = file_spec("/srv/blocked", "a file now\n");
  blocked["force"] = true;
  Json app = directory("/srv/app");
  app["tree"] = tree.string();
  Json kept = directory("/srv/kept");
  kept["recurse"] = true;
  kept["mode"] = "0711";
  const PassReport report = host.pass({{"conf", file_spec("/etc/conf", "ours\n")},
                                       {"new", file_spec("/opt/a/b/new", "ours\n")},
                                       {"parents", directory("/opt/a/b")},
                                       {"gone", gone},
                                       {"over", over},
                                       {"turned", link("/etc/turned", "other")},
                                       {"blocked", blocked},
                                       {"app", app},
                                       {"kept", kept}});
  ASSERT_EQ(report.failed, 0U) << render_report(report);
  ASSERT_NE(everything(), before);
  // A content that is changed after its mode.
  ASSERT_EQ(host.pass({{"inside", file_spec("/srv/kept/inside", "ours\n")}}).failed, 0U);
  // then all of it is as it was.
  EXPECT_THAT(go_back(), ::testing::IsEmpty());
  EXPECT_EQ(everything(), before);
  EXPECT_THAT(host.converger->leftovers(), ::testing::IsEmpty());
}

TEST_F(OriginalsTest, TheFirstChangeCountsAndAnotherTransitionBeginsAnew) {
  host.put("/etc/conf", "first\n");
  begin();
  host.pass({{"conf", file_spec("/etc/conf", "second\n")}});
  begin();  // the same one, again
  host.pass({{"conf", file_spec("/etc/conf", "third\n")}});
  EXPECT_THAT(go_back(), ::testing::IsEmpty());
  EXPECT_EQ(host.get("/etc/conf"), "first\n");
  // When the next one begins, nothing of this one is left.
  host.pass({{"conf", file_spec("/etc/conf", "fourth\n")}});
  Originals next(host.outside() / "originals", host.outside() / "own");
  ASSERT_TRUE(host.converger->begin_to_remember(next, "r2/switch"));
  EXPECT_FALSE(next.belong_to("r1/switch").value());
  EXPECT_TRUE(host.converger->bring_back(next)->empty());
  EXPECT_EQ(host.get("/etc/conf"), "fourth\n");
  ASSERT_TRUE(next.forget());
  EXPECT_FALSE(next.belong_to("r2/switch").value());
}

TEST_F(OriginalsTest, TheLedgerIsWhatItWas) {
  // Given a file that was there as it should be when it was declared first: nothing to go back to.
  host.put("/etc/adopted", "v1\n");
  Json v1 = file_spec("/etc/adopted", "v1\n");
  v1["onRemoval"] = "revert";
  host.twice({{"adopted", v1}});
  begin();
  Json v2 = file_spec("/etc/adopted", "v2\n");
  v2["onRemoval"] = "revert";
  host.pass({{"adopted", v2}, {"new", file_spec("/etc/new", "v2\n")}});
  EXPECT_THAT(go_back(), ::testing::IsEmpty());
  host.twice({{"adopted", v1}});
  EXPECT_THAT(host.converger->leftovers(), ::testing::IsEmpty());
  host.put("/etc/adopted", "edited\n");
  host.twice({{"adopted", v1}});
  host.twice({});
  const auto report = host.converger->release({"adopted"}).value();
  EXPECT_THAT(report.kept, ::testing::ElementsAre("adopted"));
  EXPECT_EQ(host.get("/etc/adopted"), "v1\n");
}

TEST_F(OriginalsTest, WhatIsOfOneVersionAloneIsNotRemembered) {
  const std::string own = host.at("/own").string();
  Originals mine(host.outside() / "originals", own);
  ASSERT_TRUE(host.converger->begin_to_remember(mine, "r1/switch"));
  host.converger->remember_in(&mine);
  for (const char* folder : {"/own/versions/2", "/own/data", "/own/run"})
    fs::create_directories(host.at(folder));
  host.pass({{"a", file_spec("/own/versions/2/conf", "2\n")},
             {"b", file_spec("/own/data/conf", "2\n")},
             {"c", file_spec("/own/run/conf", "2\n")}});
  ASSERT_TRUE(host.converger->bring_back(mine));
  EXPECT_EQ(host.get("/own/versions/2/conf"), "2\n");
  EXPECT_EQ(host.get("/own/run/conf"), "2\n");
  EXPECT_EQ(host.get("/own/data/conf"), "(absent)");
}

TEST_F(OriginalsTest, WhatCannotComeBackIsNamed) {
  host.put("/etc/conf", "by hand\n");
  begin();
  host.pass({{"conf", file_spec("/etc/conf", "ours\n")}, {"folder", directory("/srv/new")}});
  host.put("/srv/new/theirs", "x\n");
  ASSERT_TRUE(host.store().discard(Digest::of("by hand\n")));
  const auto lost = go_back();
  EXPECT_THAT(lost, ::testing::UnorderedElementsAre(HasSubstr("/srv/new: /srv/new is not empty"),
                                                    HasSubstr("/etc/conf: ")));
}

TEST_F(OriginalsTest, AnAccountIsNotGivenUpWhileThereIsAWayBack) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  host.put("/etc/shadow", "root:*:1::::::\n");
  host.put("/etc/gshadow", "root:*::\n");
  const auto user = [](const std::string& name) {
    return Json::object({{"type", "user"}, {"name", name}, {"onRemoval", "revert"}});
  };
  host.twice({{"account", user("shop")}});
  begin();
  // Another of the same name might get another number than the files have that are its own.
  host.pass({{"account", user("shopper")}});
  ASSERT_TRUE(host.converger->release(host.converger->moved()));
  EXPECT_THAT(host.get("/etc/passwd"), HasSubstr("shop:x:"));
  // After the commit it is.
  host.converger->remember_in(nullptr);
  const auto rest = host.converger->leftovers();
  ASSERT_EQ(rest.size(), 1U);
  ASSERT_TRUE(host.converger->release({rest.front()}));
  EXPECT_THAT(host.get("/etc/passwd"), Not(HasSubstr("shop:x:")));
  EXPECT_THAT(host.get("/etc/passwd"), HasSubstr("shopper:x:"));
}

}  // namespace
}  // namespace consort::agent
