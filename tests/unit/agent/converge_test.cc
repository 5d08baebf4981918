#include "agent/converge.h"

#include <gmock/gmock.h>

#include "host_folder.h"

namespace consort::agent {
namespace {

using ::testing::HasSubstr;

class ManualClock final : public Clock {
 public:
  [[nodiscard]] Instant now() const override { return at; }
  Instant at = from_millis(1'700'000'000'000);
};

// A host with one file that somebody else will change, and whose time passes only when the test
// says so.
class ContendedFile : public ::testing::Test {
 protected:
  ContendedFile() {
    host.clock = &clock;
    host.reopen();
    host.pass({{"x", file_spec("/etc/x", "mine")}});
  }

  ManualClock clock;
  HostFolder host;
};

std::string refusal(HostFolder& host, const std::map<std::string, Json>& specs) {
  const Status status = host.converger->set_resources(specs);
  return status ? "(accepted)" : render_error(status.error());
}

Json after(Json spec, const std::vector<std::string>& names) {
  spec["after"] = Json::array_of(names);
  return spec;
}

TEST(Converge, OrderDoesNotDependOnNames) {
  HostFolder host;
  const std::map<std::string, Json> specs = {
      {"a-file", file_spec("/srv/z/x", "x")},
      {"z-folder", Json::object({{"type", "directory"}, {"path", "/srv/z"}})}};
  EXPECT_EQ(host.twice(specs).repaired, 2U);
}

TEST(Converge, TwoWishesForOnePathAreAContradictionWithBothNames) {
  HostFolder host;
  const std::string text =
      refusal(host, {{"mine", file_spec("/etc/x", "1")}, {"yours", file_spec("/etc/x", "2")}});
  EXPECT_THAT(text, HasSubstr("mine"));
  EXPECT_THAT(text, HasSubstr("yours"));
  EXPECT_EQ(
      refusal(host, {{"mine", file_spec("/etc/x", "1")}, {"yours", file_spec("/etc/x", "1")}}),
      "(accepted)");
  EXPECT_THAT(
      refusal(host, {{"file", file_spec("/etc/x", "1")}, {"below", file_spec("/etc/x/y", "1")}}),
      HasSubstr("both claim"));
}

TEST(Converge, ACircleIsReportedWithItsPath) {
  HostFolder host;
  const std::string text = refusal(host, {{"a", after(file_spec("/etc/a", ""), {"b"})},
                                          {"b", after(file_spec("/etc/b", ""), {"c"})},
                                          {"c", after(file_spec("/etc/c", ""), {"a"})}});
  EXPECT_THAT(text, HasSubstr("a after b after c after a"));
}

TEST(Converge, MistakesNameThePlaceAndTheLikelyFix) {
  HostFolder host;
  Json spec = file_spec("/etc/x", "");
  spec["mod"] = "0644";
  EXPECT_THAT(refusal(host, {{"x", spec}}), HasSubstr("resources.x"));
  EXPECT_THAT(refusal(host, {{"x", Json::object({{"type", "fil"}})}}),
              HasSubstr("did you mean 'file'"));
  EXPECT_THAT(refusal(host, {{"x", file_spec("etc/x", "")}}), HasSubstr("absolute"));
  EXPECT_THAT(refusal(host, {{"x", file_spec("/etc/../x", "")}}), HasSubstr(".."));
  EXPECT_THAT(refusal(host, {{"x", after(file_spec("/etc/x", ""), {"yy"})},
                             {"y", file_spec("/etc/y", "")}}),
              HasSubstr("did you mean 'y'"));
}

TEST(Converge, WhatComesAfterAFailureIsSkippedWithTheReason) {
  HostFolder host;
  fs::create_directories(host.at("/etc/broken"));
  const auto report = host.pass({{"broken", file_spec("/etc/broken", "x")},
                                 {"next", after(file_spec("/etc/next", "x"), {"broken"})},
                                 {"last", after(file_spec("/etc/last", "x"), {"next"})},
                                 {"other", file_spec("/etc/other", "x")}});
  EXPECT_EQ(report.exit_status(), 6);
  EXPECT_EQ(report.find("next")->outcome, Outcome::skipped);
  EXPECT_THAT(report.find("next")->reason, HasSubstr("'broken'"));
  EXPECT_EQ(report.find("last")->outcome, Outcome::skipped);
  EXPECT_EQ(host.get("/etc/other"), "x");
}

TEST(Converge, GuardsChooseByLabelsAndDoNotBlock) {
  HostFolder host;
  host.labels = {{"os.id", "debian"}};
  host.reopen();
  Json off = file_spec("/etc/off", "x");
  off["when"] = "os.id in (fedora)";
  Json on = after(file_spec("/etc/on", "x"), {"off"});
  on["when"] = "os.id=debian, !gpu";
  const auto report = host.pass({{"off", off}, {"on", on}});
  EXPECT_EQ(report.skipped, 1U);
  EXPECT_EQ(host.get("/etc/on"), "x");
  EXPECT_EQ(host.get("/etc/off"), "(absent)");
}

TEST(Converge, WarnAndAuditReportButNeverChange) {
  for (const char* mode : {"warn", "audit"}) {
    HostFolder host;
    Json spec = file_spec("/etc/x", "x");
    spec["enforcement"] = mode;
    const auto report = host.pass({{"x", spec}});
    EXPECT_EQ(report.exit_status(), 0);
    EXPECT_FALSE(report.find("x")->changes.empty());
    EXPECT_EQ(host.get("/etc/x"), "(absent)");
  }
  HostFolder host;
  host.enforcement = Enforcement::audit;
  host.reopen();
  EXPECT_EQ(host.pass({{"x", file_spec("/etc/x", "x")}}).repaired, 0U)
      << "the most restrictive wins";
}

TEST(Converge, ADryRunSeesTheHostAsItWillBeAndChangesNothing) {
  HostFolder host;
  Json made = Json::object({{"type", "command"},
                            {"argv", Json::array_of(std::vector<std::string>{"make-it"})},
                            {"creates", "/srv/new/made"}});
  const std::map<std::string, Json> specs = {
      {"folder", Json::object({{"type", "directory"}, {"path", "/srv/new"}})},
      {"file", file_spec("/srv/new/x", "x")},
      {"made", made}};
  PassOptions dry;
  dry.rehearsal = Rehearsal::dry_run;
  const std::string before = host.stamps();
  const auto report = host.pass(specs, dry);
  EXPECT_EQ(report.repaired, 3U) << render_report(report);
  EXPECT_EQ(report.find("made")->commands.at(0), "make-it");
  EXPECT_EQ(host.stamps(), before);
  EXPECT_EQ(host.converger->changes_made(), 0U);
}

TEST_F(ContendedFile, ARepairThatIsUndoneAgainAndAgainBacksOff) {
  PassReport report;
  for (int i = 0; i < 6; ++i) {
    host.put("/etc/x", "theirs");
    clock.at += seconds(1);
    report = host.converger->pass();
  }
  EXPECT_EQ(report.exit_status(), 4);
  ASSERT_NE(report.find("x"), nullptr);
  EXPECT_TRUE(report.find("x")->flapping);
  EXPECT_EQ(host.get("/etc/x"), "theirs");
  clock.at += seconds(10);
  EXPECT_EQ(host.converger->pass().repaired, 1U);
}

TEST_F(ContendedFile, WhatIsAskedForWaitsForNothingAndCountsAsNoRepair) {
  PassOptions ordered;
  ordered.ordered = true;
  for (int i = 0; i < 10; ++i) {
    host.put("/etc/x", "theirs");
    clock.at += Duration(100);
    EXPECT_EQ(host.converger->pass(ordered).repaired, 1U) << i;
  }
  host.put("/etc/x", "theirs");
  const PassReport unasked = host.converger->pass();
  EXPECT_EQ(unasked.repaired, 1U);
  EXPECT_FALSE(unasked.find("x")->flapping);
  // And a repair that backs off does not keep an order from being carried out.
  for (int i = 0; i < 6; ++i) {
    host.put("/etc/x", "theirs");
    static_cast<void>(host.converger->pass());
  }
  EXPECT_EQ(host.get("/etc/x"), "theirs");
  EXPECT_EQ(host.converger->pass(ordered).repaired, 1U);
}

TEST(Converge, WhatIsTakenOutOfTheSiteIsKeptOrReverted) {
  HostFolder host;
  host.put("/etc/had", "original\n");
  Json had = file_spec("/etc/had", "ours\n");
  Json made = file_spec("/etc/made", "ours\n");
  Json stays = file_spec("/etc/stays", "ours\n");
  had["onRemoval"] = "revert";
  made["onRemoval"] = "revert";
  host.twice({{"had", had}, {"made", made}, {"stays", stays}});
  host.reopen();
  host.twice({});
  EXPECT_THAT(host.converger->leftovers(), ::testing::ElementsAre("had", "made", "stays"));
  EXPECT_EQ(host.get("/etc/had"), "ours\n") << "nothing is cleaned up without being asked";
  const auto report = host.converger->release({"had", "made", "stays"}).value();
  EXPECT_THAT(report.reverted, ::testing::UnorderedElementsAre("had", "made"));
  EXPECT_EQ(host.get("/etc/had"), "original\n");
  EXPECT_EQ(host.get("/etc/made"), "(absent)");
  EXPECT_EQ(host.get("/etc/stays"), "ours\n");
  EXPECT_TRUE(host.converger->leftovers().empty());
}

TEST(Converge, WhatCannotBeRevertedNowIsNotForgotten) {
  // Given a file over an original, whose way cannot be gone for a while,
  HostFolder host;
  host.put("/srv/had", "original\n");
  Json had = file_spec("/srv/had", "ours\n");
  had["onRemoval"] = "revert";
  host.twice({{"had", had}});
  fs::rename(host.at("/srv"), host.at("/moved"));
  fs::create_symlink("moved", host.at("/srv"));
  host.twice({});
  const auto first = host.converger->release({"had"}).value();
  EXPECT_THAT(first.reverted, ::testing::IsEmpty());
  ASSERT_EQ(first.warnings.size(), 1U);
  EXPECT_THAT(first.warnings[0], ::testing::HasSubstr("symlink"));
  // then it is tried again, in another life, too.
  host.reopen();
  EXPECT_THAT(host.converger->leftovers(), ::testing::ElementsAre("had"));
  fs::remove(host.at("/srv"));
  fs::rename(host.at("/moved"), host.at("/srv"));
  EXPECT_THAT(host.converger->release({"had"}).value().reverted, ::testing::ElementsAre("had"));
  EXPECT_EQ(host.get("/srv/had"), "original\n");
  EXPECT_THAT(host.converger->leftovers(), ::testing::IsEmpty());
}

TEST(Converge, AFolderThatOthersHaveFilledIsTheirs) {
  HostFolder host;
  Json made = Json::object({{"type", "directory"}, {"path", "/srv/made"}, {"onRemoval", "revert"}});
  host.twice({{"made", made}});
  host.put("/srv/made/theirs", "x");
  host.twice({});
  EXPECT_EQ(host.converger->release({"made"}).value().warnings.size(), 1U);
  EXPECT_THAT(host.converger->leftovers(), ::testing::IsEmpty()) << "there is nothing to try again";
}

TEST(Converge, AnOriginalFollowsItsPathToAnotherName) {
  HostFolder host;
  host.put("/etc/a", "original of a\n");
  host.put("/etc/b", "original of b\n");
  const auto spec = [](const std::string& path, const std::string& content) {
    Json out = file_spec(path, content);
    out["onRemoval"] = "revert";
    return out;
  };
  host.twice({{"one", spec("/etc/a", "1\n")}, {"two", spec("/etc/b", "1\n")}});
  // When the names change places, as seen by an agent that has just started,
  host.reopen();
  ASSERT_TRUE(host.converger->set_resources(
      {{"one", spec("/etc/b", "2\n")}, {"two", spec("/etc/a", "2\n")}}));
  EXPECT_THAT(host.converger->moved(), ::testing::ElementsAre("one", "two"));
  ASSERT_TRUE(host.converger->release(host.converger->moved()));
  EXPECT_THAT(host.converger->moved(), ::testing::IsEmpty());
  EXPECT_EQ(host.get("/etc/a"), "1\n") << "nothing is undone that is wanted";
  EXPECT_EQ(host.converger->pass().failed, 0U);
  // or one of them is called otherwise,
  host.twice({{"three", spec("/etc/a", "3\n")}, {"one", spec("/etc/b", "2\n")}});
  ASSERT_TRUE(host.converger->release({"two"}));
  EXPECT_EQ(host.get("/etc/a"), "3\n");
  // then all of it goes back to what was there first.
  host.twice({});
  ASSERT_TRUE(host.converger->release({"one", "two", "three"}));
  EXPECT_EQ(host.get("/etc/a"), "original of a\n");
  EXPECT_EQ(host.get("/etc/b"), "original of b\n");
}

TEST(Converge, ATornLedgerLineIsIgnored) {
  HostFolder host;
  host.twice({{"x", file_spec("/etc/x", "x")}});
  host.converger.reset();
  const fs::path ledger = host.outside() / "state/ledger.jsonl";
  ASSERT_TRUE(write_file_atomic(ledger, read_file(ledger).value() + "{\"name\":\"torn", 0600));
  host.reopen();
  host.twice({{"x", file_spec("/etc/x", "x")}});
  EXPECT_THAT(host.converger->leftovers(), ::testing::IsEmpty());
}

TEST(Converge, AnEditOfTheSameSizeIsSeen) {
  HostFolder host;
  host.twice({{"x", file_spec("/etc/x", "aaaa")}});
  host.put("/etc/x", "bbbb");
  EXPECT_EQ(host.converger->pass().repaired, 1U);
  EXPECT_EQ(host.get("/etc/x"), "aaaa");
}

}  // namespace
}  // namespace consort::agent
