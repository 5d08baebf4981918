// Declared access with real packets: what the firewall lets through, and keeps.
#include "agent/firewall.h"

#include "guarded_network.h"

namespace consort::agent {
namespace {

using ::testing::ElementsAre;

plan::Admission admission(int port, std::vector<std::string> sources,
                          plan::AccessMode mode = plan::AccessMode::enforce) {
  return {port, "db", "sql", mode, std::move(sources)};
}

class FirewallTest : public ::testing::Test {
 protected:
  void SetUp() override { NEEDS_A_NETWORK(); }
  void TearDown() override {
    static_cast<void>(tool({"nft", "delete", "table", "inet", "consort"}));
  }
  Firewall firewall{FirewallChoice::automatic, "/"};
  const Instant now = from_millis(1'700'000'000'000);
};

TEST_F(FirewallTest, OnlyThoseDeclaredGetThroughAndOnlyAtDeclaredPorts) {
  const Client web(2), stranger(9);
  const Echo sql, other;
  ASSERT_TRUE(stranger.reaches(sql.port()));
  const plan::Admissions admitted = {admission(sql.port(), {"10.77.0.2", "fd77::2"})};
  const plan::AccessReport report = firewall.set(admitted);
  ASSERT_EQ(report.problem, "");
  EXPECT_TRUE(report.able);
  EXPECT_EQ(report.admitted, plan::admissions_digest(admitted));
  EXPECT_TRUE(web.reaches(sql.port()));
  EXPECT_TRUE(web.reaches(sql.port(), kHost6));
  EXPECT_FALSE(stranger.reaches(sql.port()));
  EXPECT_EQ(errno, ECONNREFUSED) << "at once, not after a time limit";
  EXPECT_FALSE(stranger.reaches(sql.port(), kHost6));
  EXPECT_TRUE(stranger.reaches(other.port())) << "a port that nobody declared is nobody's concern";
  int problem = 0;
  EXPECT_TRUE(Client::dial(sql.port(), "127.0.0.1", problem).valid()) << "the host itself";
  EXPECT_TRUE(Client::dial(sql.port(), kHost, problem).valid()) << "at its own address";
}

TEST_F(FirewallTest, ConnectionsThatStandAreNotCutWhateverChanges) {
  const Client web(2), stranger(9);
  const Echo sql;
  const Fd old = stranger.connect(sql.port());
  ASSERT_TRUE(echoes(old));
  ASSERT_EQ(firewall.set({admission(sql.port(), {"10.77.0.2"})}).problem, "");
  EXPECT_TRUE(echoes(old)) << "it was there first";
  EXPECT_FALSE(stranger.reaches(sql.port()));
  const Fd good = web.connect(sql.port());
  ASSERT_TRUE(echoes(good));
  ASSERT_EQ(firewall.set({admission(sql.port(), {"10.77.0.9"})}).problem, "");
  EXPECT_TRUE(echoes(good));
  EXPECT_FALSE(web.reaches(sql.port()));
  EXPECT_TRUE(stranger.reaches(sql.port()));
}

TEST_F(FirewallTest, AnAuditLetsStrangersThroughAndNamesThemOnce) {
  const Client web(2), stranger(9);
  const Echo sql;
  ASSERT_EQ(
      firewall.set({admission(sql.port(), {"10.77.0.0/29"}, plan::AccessMode::audit)}).problem, "");
  EXPECT_TRUE(web.reaches(sql.port()));
  EXPECT_TRUE(stranger.reaches(sql.port()));
  EXPECT_TRUE(stranger.reaches(sql.port(), kHost6));
  Firewall::Finding finding = firewall.check(now);
  EXPECT_EQ(finding.repaired, "") << "that somebody came is no drift";
  EXPECT_THAT(finding.strangers, ElementsAre(Stranger{"10.77.0.9", sql.port(), 1},
                                             Stranger{"fd77::9", sql.port(), 1}));
  EXPECT_TRUE(stranger.reaches(sql.port()));
  EXPECT_TRUE(firewall.check(now + minutes(1)).strangers.empty());
  EXPECT_EQ(firewall.check(now + minutes(90)).strangers.size(), 2U) << "and again after a while";
}

TEST_F(FirewallTest, WhatSomebodyChangesIsRepairedAndNamed) {
  const Client stranger(9);
  const Echo sql;
  ASSERT_EQ(firewall.set({admission(sql.port(), {"10.77.0.2"})}).problem, "");
  EXPECT_EQ(firewall.check(now).repaired, "");
  const std::string port = std::to_string(sql.port());
  ASSERT_TRUE(
      tool({"nft", "add", "element", "inet", "consort", "from_" + port + "_v4", "{ 10.77.0.9 }"}));
  ASSERT_TRUE(stranger.reaches(sql.port()));
  EXPECT_EQ(firewall.check(now).repaired, "not ours: 10.77.0.9 in set from_" + port + "_v4");
  EXPECT_FALSE(stranger.reaches(sql.port()));
  ASSERT_TRUE(tool({"nft", "flush", "ruleset"}));
  ASSERT_TRUE(stranger.reaches(sql.port()));
  EXPECT_EQ(firewall.check(now).repaired, "the whole table was gone");
  EXPECT_FALSE(stranger.reaches(sql.port()));
}

TEST_F(FirewallTest, WhatIsFlushedWhileItIsWrittenIsWrittenAgain) {
  const StandInForNft boot(
      "case \"$*\" in *list*) rm flush 2>/dev/null && $NFT flush ruleset;; esac");
  if (!boot.placed()) GTEST_SKIP() << "mount namespaces are not permitted here";
  const Client stranger(9);
  const Echo sql;
  ASSERT_TRUE(write_file_atomic(boot.folder() / "flush", "", 0600));
  const plan::Admissions admitted = {admission(sql.port(), {"10.77.0.2"})};
  const plan::AccessReport report = firewall.set(admitted);
  EXPECT_FALSE(fs::exists(boot.folder() / "flush")) << "it was flushed before it was listed";
  EXPECT_EQ(report.problem, "");
  EXPECT_EQ(report.admitted, plan::admissions_digest(admitted));
  EXPECT_FALSE(stranger.reaches(sql.port()));
}

TEST_F(FirewallTest, RulesThatDoNotStayAreNotSaidToBeInForce) {
  const Client stranger(9);
  const Echo sql;
  const plan::Admissions admitted = {admission(sql.port(), {"10.77.0.2"})};
  {
    const StandInForNft other("case \"$*\" in *list*) $NFT flush ruleset;; esac");
    if (!other.placed()) GTEST_SKIP() << "mount namespaces are not permitted here";
    const plan::AccessReport report = firewall.set(admitted);
    EXPECT_TRUE(report.able);
    EXPECT_TRUE(report.admitted.is_none());
    EXPECT_THAT(report.problem, HasSubstr("the whole table is not there"));
    EXPECT_THAT(firewall.check(now).report.problem, HasSubstr("the whole table is not there"));
  }
  const Firewall::Finding finding = firewall.check(now);
  EXPECT_EQ(finding.report.problem, "");
  EXPECT_EQ(finding.report.admitted, plan::admissions_digest(admitted));
  EXPECT_FALSE(stranger.reaches(sql.port()));
}

TEST_F(FirewallTest, WithoutAdmissionsNothingIsLeftAndOthersTablesAreNotOurs) {
  ASSERT_TRUE(tool({"nft", "add", "table", "inet", "others"}));
  ASSERT_EQ(firewall.set({admission(5432, {"0.0.0.0/0", "::/0"})}).problem, "");
  EXPECT_TRUE(has_table());
  EXPECT_TRUE(firewall.set({}).admitted.is_none());
  EXPECT_FALSE(has_table());
  EXPECT_EQ(firewall.check(now).repaired, "");
  EXPECT_TRUE(tool({"nft", "list", "table", "inet", "others"}));
  EXPECT_TRUE(tool({"nft", "delete", "table", "inet", "others"}));
}

TEST_F(FirewallTest, AnAgentThatKeepsAFolderTouchesNoFirewall) {
  Firewall folder(FirewallChoice::automatic, "/srv/image");
  const plan::AccessReport report = folder.set({admission(5432, {"10.77.0.2"})});
  EXPECT_FALSE(report.able);
  EXPECT_THAT(report.problem, HasSubstr("--root"));
  EXPECT_TRUE(report.admitted.is_none());
  EXPECT_FALSE(has_table());
}

TEST_F(FirewallTest, ManyAddressesAreOneTransaction) {
  plan::Admission many = admission(5432, {});
  for (int i = 0; i < 20'000; ++i)
    many.sources.push_back("10." + std::to_string(i / 65536) + "." + std::to_string(i / 256 % 256) +
                           "." + std::to_string(i % 256));
  ASSERT_EQ(firewall.set({many}).problem, "");
  EXPECT_EQ(firewall.check(now).repaired, "");
}

}  // namespace
}  // namespace consort::agent
