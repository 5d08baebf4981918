// What keeps guarded ports closed between a boot and the agent's start: the unit, what makes
// daemons wait for it, and the file of rules.
#include "agent/boot_rules.h"

#include <gmock/gmock.h>
#include <sys/stat.h>

#include "agent/access_rules.h"

namespace consort::agent {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::Pair;

const BootGuard kGuard{"/var/lib/consort/access.nft", "/usr/sbin/nft", {{"db", true}}};

TEST(BootUnit, LoadsTheRulesBeforeAnyNetworkAndWhenTheirFolderIsMounted) {
  const std::string unit = render_boot_unit(kGuard).value();
  EXPECT_THAT(unit, HasSubstr("DefaultDependencies=no\n"));
  EXPECT_THAT(unit, HasSubstr("RequiresMountsFor=\"/var/lib/consort\"\n"));
  EXPECT_THAT(unit, HasSubstr("Wants=network-pre.target\n"));
  EXPECT_THAT(unit, HasSubstr("Before=network-pre.target shutdown.target\n"));
  EXPECT_THAT(unit, HasSubstr("After=nftables.service\n")) << "which flushes all rules";
  EXPECT_THAT(unit, HasSubstr("ExecStart=\"/usr/sbin/nft\" -f \"/var/lib/consort/access.nft\"\n"));
  EXPECT_THAT(unit, HasSubstr("RemainAfterExit=yes\n"));
  EXPECT_THAT(unit, HasSubstr("RefuseManualStop=yes\n")) << "daemons would be stopped with it";
}

TEST(BootUnit, TakesNoPathThatWouldSayMore) {
  BootGuard guard = kGuard;
  guard.rules = "/srv/100%/access.nft";
  EXPECT_THAT(render_boot_unit(guard).value(), HasSubstr("-f \"/srv/100%%/access.nft\"\n"));
  for (const char* path : {"/a\nExecStart=/bin/evil", "/a\" /b", "/a\\x", "relative/access.nft"}) {
    guard.rules = path;
    EXPECT_FALSE(render_boot_unit(guard)) << path;
  }
}

TEST(BootUnit, NoDaemonCanHaveItsName) { EXPECT_FALSE(kBootUnit.starts_with("consort-")); }

TEST(BootUnit, DaemonsStartAfterItAndWhereAccessIsEnforcedNotWithoutIt) {
  const std::string must = render_boot_drop_in(true);
  EXPECT_THAT(must, HasSubstr("[Unit]\nAfter=consort.access.service\n"));
  EXPECT_THAT(must, HasSubstr("Requires=consort.access.service\n"));
  const std::string may = render_boot_drop_in(false);
  EXPECT_THAT(may, HasSubstr("Wants=consort.access.service\n"));
  EXPECT_THAT(may, Not(HasSubstr("Requires=")));
}

// Remembers what it is told, and what was on the disk then.
class BootingSupervisor final : public Supervisor {
 public:
  explicit BootingSupervisor(fs::path file) : file_(std::move(file)) {}
  Result<EnsureOutcome> ensure(const DaemonSpec& /*spec*/) override { return EnsureOutcome::kept; }
  Status stop(const std::string& /*name*/, Duration /*timeout*/) override { return {}; }
  Result<DaemonStatus> status(const std::string& /*name*/) override { return DaemonStatus{}; }
  Status remove(const std::string& /*name*/) override { return {}; }
  std::string log_tail(const std::string& /*name*/, std::size_t /*lines*/) override { return ""; }
  void on_state_change(StateChanged /*callback*/) override {}
  Status guard_boot(const std::optional<BootGuard>& guard) override {
    guarded = guard;
    text = read_file(file_).value_or("");
    if (broken) return fail(ErrorCode::io, "systemd says no");
    return {};
  }

  std::optional<BootGuard> guarded;
  std::string text;
  bool broken = false;

 private:
  fs::path file_;
};

class BootRulesTest : public ::testing::Test {
 protected:
  static plan::Admission port(int number, const std::string& service, plan::AccessMode mode) {
    return {number, service, "e", mode, {"10.0.0.7"}};
  }
  TempFolder folder = TempFolder::create("consort-boot-").value();
  const fs::path file = folder.path() / "access.nft";
  BootingSupervisor supervisor{file};
  std::vector<std::string> told;
  BootRules rules{file, supervisor, [this](const std::string& text) { told.push_back(text); }};
};

TEST_F(BootRulesTest, TheFileIsThereBeforeTheUnitThatLoadsIt) {
  const plan::Admissions admissions = {port(80, "web", plan::AccessMode::audit),
                                       port(5432, "db", plan::AccessMode::enforce),
                                       port(5433, "db", plan::AccessMode::audit)};
  rules.keep(admissions, {{"db", true}, {"web", false}}, "/usr/sbin/nft");
  EXPECT_EQ(supervisor.text, access_rules(admissions));
  ASSERT_TRUE(supervisor.guarded);
  EXPECT_EQ(supervisor.guarded->rules, file);
  EXPECT_THAT(supervisor.guarded->services, ElementsAre(Pair("db", true), Pair("web", false)));
  struct stat info {};
  ASSERT_EQ(::stat(file.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777U, 0600U);
  EXPECT_TRUE(told.empty());
}

TEST_F(BootRulesTest, NothingIsLeftWhereNothingIsGuarded) {
  rules.keep({port(5432, "db", plan::AccessMode::enforce)}, {{"db", true}}, "/usr/sbin/nft");
  rules.keep({}, {}, "/usr/sbin/nft");
  EXPECT_FALSE(supervisor.guarded);
  EXPECT_FALSE(supervisor.text.empty()) << "no unit is left without its file";
  EXPECT_FALSE(fs::exists(file));
}

TEST_F(BootRulesTest, ATroubleIsToldOnceAndThatItIsOver) {
  supervisor.broken = true;
  for (int i = 0; i < 2; ++i)
    rules.keep({port(5432, "db", plan::AccessMode::enforce)}, {{"db", true}}, "/usr/sbin/nft");
  EXPECT_THAT(told, ElementsAre("systemd says no"));
  supervisor.broken = false;
  rules.keep({port(5432, "db", plan::AccessMode::enforce)}, {{"db", true}}, "/usr/sbin/nft");
  EXPECT_THAT(told, ElementsAre("systemd says no", ""));
}

}  // namespace
}  // namespace consort::agent
