// What a way back puts back, whatever changed it.
#include "agent/originals.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "agent/real_files.h"
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

// Names of files are bytes, JSON is text.
TEST_F(OriginalsTest, WhatHasANameThatIsNoTextComesBackToo) {
  host.put("/srv/app/caf\xe9", "by hand\n");
  fs::create_symlink("/nowhere/\xff", host.at("/srv/app/link"));
  fs::create_symlink("/nowhere/\xfe", host.at("/etc/link"));
  const auto before = everything();
  begin();
  Json app = directory("/srv/app");
  app["purge"] = true;
  Json ours = link("/etc/link", "ours");
  ours["onRemoval"] = "revert";
  ASSERT_EQ(host.pass({{"app", app}, {"link", ours}}).failed, 0U);
  ASSERT_EQ(host.get("/srv/app/caf\xe9"), "(absent)");
  EXPECT_FALSE(Originals::backups_of(host.outside() / "originals")->empty());
  EXPECT_THAT(go_back(), ::testing::IsEmpty());
  EXPECT_EQ(everything(), before);
  // The ledger's own memory of it, too.
  host.twice({{"link", ours}});
  ASSERT_TRUE(host.converger->set_resources({}));
  ASSERT_TRUE(host.converger->release({"link"}));
  EXPECT_EQ(everything(), before);
}

// Whoever may read a file by its access list, its group may not.
TEST_F(OriginalsTest, AttributesComeBackAndNoOthers) {
  const auto set = [&](const std::string& path, const char* name, const std::string& value) {
    return ::setxattr(host.at(path).c_str(), name, value.data(), value.size(), 0) == 0;
  };
  const auto get = [&](const std::string& path, const char* name) {
    std::array<char, 256> value{};
    const ssize_t size = ::getxattr(host.at(path).c_str(), name, value.data(), value.size());
    return size < 0 ? std::string("(none)")
                    : std::string(value.data(), static_cast<std::size_t>(size));
  };
  for (const char* path : {"/etc/gone", "/etc/conf", "/etc/plain", "/srv/purged/it"})
    host.put(path, "by hand\n");
  if (!set("/etc/gone", "user.who", "ann")) GTEST_SKIP() << "this file system has no attributes";
  for (const char* path : {"/etc/conf", "/srv/purged/it"})
    ASSERT_TRUE(set(path, "user.who", "ann"));
  begin();
  Json gone = Json::object({{"type", "file"}, {"path", "/etc/gone"}, {"ensure", "absent"}});
  Json purged = directory("/srv/purged");
  purged["purge"] = true;
  ASSERT_EQ(host.pass({{"gone", gone},
                       {"purged", purged},
                       {"conf", file_spec("/etc/conf", "ours\n")},
                       {"plain", file_spec("/etc/plain", "ours\n")}})
                .failed,
            0U);
  ASSERT_TRUE(set("/etc/plain", "user.who", "a hook"));
  ASSERT_TRUE(set("/etc/conf", "user.who", "a hook"));
  EXPECT_THAT(go_back(), ::testing::IsEmpty());
  for (const char* path : {"/etc/gone", "/etc/conf", "/srv/purged/it"})
    EXPECT_EQ(get(path, "user.who"), "ann") << path;
  EXPECT_EQ(get("/etc/plain", "user.who"), "(none)");
}

// Killed between the word that it will be moved aside and the move, as often as it happens.
TEST_F(OriginalsTest, WhatWasMovedAsideAtTheSecondTryComesBack) {
  host.put("/srv/blocked/inside", "in the way\n");
  begin();
  const auto files = RealFiles::open(host.root()).value();
  Accounts accounts(*files, false);
  SystemProcessRunner runner;
  const Context context{*files, accounts, runner, host.root(), host.outside() / "state"};
  ASSERT_TRUE(originals.keep(context, {"/srv/blocked"}, Originals::Change::any));
  ASSERT_TRUE(originals.note_aside("/srv/blocked", "/srv/blocked.consort-aside-1"));
  ASSERT_TRUE(originals.note_aside("/srv/blocked", "/srv/blocked.consort-aside-2"));
  fs::rename(host.at("/srv/blocked"), host.at("/srv/blocked.consort-aside-2"));
  host.put("/srv/blocked", "a file now\n");
  EXPECT_THAT(go_back(), ::testing::IsEmpty());
  EXPECT_EQ(host.get("/srv/blocked/inside"), "in the way\n");
}

// An operator's edit of a file whose own original is older still.
TEST_F(OriginalsTest, WhatWasPurgedAndThenRevertedIsWhatItWasBefore) {
  host.put("/srv/app/conf", "before Consort\n");
  Json once = file_spec("/srv/app/conf", "ours\n");
  once["onRemoval"] = "revert";
  host.twice({{"conf", once}});
  host.put("/srv/app/conf", "by hand\n");
  begin();
  Json app = directory("/srv/app");
  app["purge"] = true;
  ASSERT_EQ(host.pass({{"app", app}}).failed, 0U);
  ASSERT_TRUE(host.converger->release({"conf"}));
  ASSERT_EQ(host.get("/srv/app/conf"), "before Consort\n");
  EXPECT_THAT(go_back(), ::testing::IsEmpty());
  EXPECT_EQ(host.get("/srv/app/conf"), "by hand\n");
}

TEST_F(OriginalsTest, OnlyWhoDecidesOnAContentExcusesItsLoss) {
  Json mode = Json::object({{"type", "file"}, {"path", "/a"}, {"mode", "0600"}});
  Json once = file_spec("/b", "ours\n");
  once["replace"] = "once";
  Json gone = Json::object({{"type", "file"}, {"path", "/d"}, {"ensure", "absent"}});
  ASSERT_TRUE(host.converger->set_resources(
      {{"a", mode}, {"b", once}, {"c", file_spec("/c", "ours\n")}, {"d", gone}}));
  for (const char* path : {"/a", "/b"}) EXPECT_FALSE(host.converger->decides_on(path)) << path;
  for (const char* path : {"/c", "/d"}) EXPECT_TRUE(host.converger->decides_on(path)) << path;
}

// What is lost of a command's record is tried again by its name.
TEST_F(OriginalsTest, ARecordThatDidNotComeBackIsNamedAgain) {
  begin();
  const fs::path record = host.outside() / "commands/one";
  ASSERT_TRUE(originals.keep_record(record));
  // A folder that is not empty stands where the record was not.
  fs::create_directories(record / "inside");
  fs::permissions(host.outside() / "commands", fs::perms::owner_all);
  Originals later(host.outside() / "originals", host.outside() / "own");
  EXPECT_TRUE(host.converger->bring_back(later, {record.string()})->empty());
  EXPECT_FALSE(fs::exists(record)) << "it was asked for by its name";
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
