#include <gmock/gmock.h>
#include <pwd.h>
#include <unistd.h>

#include "agent/real_files.h"
#include "host_folder.h"

namespace consort::agent {
namespace {

TEST(Accounts, UsersAndGroupsAreMadeInOrderAndKept) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  HostFolder host;
  host.put("/etc/shadow", "root:*:1::::::\n");
  host.put("/etc/gshadow", "root:*::\n");
  const std::map<std::string, Json> specs = {
      {"account", Json::object({{"type", "user"},
                                {"name", "shop"},
                                {"uid", 4711},
                                {"group", "shopkeepers"},
                                {"home", "/srv/shop"},
                                {"shell", "/bin/false"}})},
      {"a-file",
       [] {
         Json spec = file_spec("/etc/shop.conf", "x");
         spec["owner"] = "shop";
         spec["group"] = "shopkeepers";
         return spec;
       }()},
      {"team", Json::object({{"type", "group"}, {"name", "shopkeepers"}, {"gid", 4712}})}};
  PassOptions dry;
  dry.rehearsal = Rehearsal::dry_run;
  const auto told = host.pass(specs, dry);
  EXPECT_EQ(told.repaired, 3U) << render_report(told);
  const auto report = host.twice(specs);
  EXPECT_EQ(report.repaired, 3U) << render_report(report);
  struct stat info {};
  ASSERT_EQ(::lstat(host.at("/etc/shop.conf").c_str(), &info), 0);
  EXPECT_EQ(info.st_uid, 4711U);
  EXPECT_EQ(info.st_gid, 4712U);
  EXPECT_THAT(host.get("/etc/passwd"),
              ::testing::HasSubstr("shop:x:4711:4712::/srv/shop:/bin/false"));

  auto changed = specs;
  changed["account"]["shell"] = "/bin/sh";
  EXPECT_EQ(host.twice(changed).repaired, 1U);
  auto gone = specs;
  gone.erase("a-file");
  for (const char* name : {"account", "team"})
    gone[name] = Json::object({{"type", gone[name].string_or("type")},
                               {"name", gone[name].string_or("name")},
                               {"ensure", "absent"}});
  EXPECT_EQ(host.twice(gone).repaired, 2U);
  EXPECT_THAT(host.get("/etc/passwd"), ::testing::Not(::testing::HasSubstr("shop")));
}

TEST(Accounts, AnUnknownOwnerIsAFailureThatSaysWhatToDeclare) {
  HostFolder host;
  Json spec = file_spec("/etc/x", "x");
  spec["owner"] = "nobody-knows-me";
  const auto report = host.pass({{"x", spec}});
  EXPECT_EQ(report.exit_status(), 4);
  EXPECT_THAT(report.find("x")->hint, ::testing::HasSubstr("type user"));
}

// As of a user that a directory service knows, and the files do not.
TEST(Accounts, AUserOfTheNameServiceComesWithItsGroup) {
  HostFolder host;
  const auto files = RealFiles::open(host.root()).value();
  const Accounts accounts(*files, true);
  const passwd* known = ::getpwuid(1);
  if (known == nullptr) GTEST_SKIP() << "this machine has no user 1";
  const std::string name = known->pw_name;
  const gid_t own = known->pw_gid;
  for (const std::string& user : {name, std::string("1")}) {
    const auto as = accounts.run_as(user, "");
    ASSERT_TRUE(as) << render_error(as.error());
    EXPECT_EQ(as->uid, 1U);
    EXPECT_EQ(as->gid, own);
    EXPECT_THAT(as->groups, ::testing::Contains(own));
  }
  EXPECT_EQ(accounts.run_as(name, "17").value().gid, 17U);
}

}  // namespace
}  // namespace consort::agent
