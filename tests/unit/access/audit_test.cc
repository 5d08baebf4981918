// The audit log: what was done stays told.
#include "access/audit.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace consort::access {
namespace {

using testing::HasSubstr;

struct Audit : testing::Test {
  std::vector<AuditEntry> log;
  AuditHead head;
  Audit() {
    for (const char* what : {"deploy", "remove_host", "create_operator", "deploy"})
      write({from_millis(1'800'000'000'000), "operator ann (certificate 3f2a)", "10.0.0.7:1", what,
             "services shop"});
  }
  void write(AuditNote note) {
    log.push_back(append(head, std::move(note)));
    head = head_of(log.back());
  }
};

TEST_F(Audit, AWholeLogHolds) {
  EXPECT_FALSE(verify(log, {}, head));
  EXPECT_FALSE(verify({}, {}));
  EXPECT_FALSE(verify(std::span(log).subspan(2), head_of(log[1]), head)) << "a later part of it";
  EXPECT_EQ(log[0].number, 1U);
}

TEST_F(Audit, AChangedEntryIsFound) {
  log[1].note.who = "operator eve";
  const auto broken = verify(log, {}, head);
  ASSERT_TRUE(broken);
  EXPECT_EQ(broken->index, 1U);
  EXPECT_THAT(broken->what, HasSubstr("entry 2 is not what was written"));
}

TEST_F(Audit, AnEntryThatWasRewrittenWithItsHashIsFoundAtTheNext) {
  log[1].note.who = "operator eve";
  log[1] = append(head_of(log[0]), log[1].note);
  EXPECT_EQ(verify(log, {}, head)->index, 2U);
}

TEST_F(Audit, RemovedAndMovedEntriesAreFound) {
  std::vector<AuditEntry> shorter = log;
  shorter.erase(shorter.begin() + 1);
  EXPECT_EQ(verify(shorter, {}, head)->index, 1U);
  std::swap(log[1], log[2]);
  EXPECT_EQ(verify(log, {}, head)->index, 1U);
}

TEST_F(Audit, AMissingEndIsFoundByTheHead) {
  log.pop_back();
  EXPECT_FALSE(verify(log)) << "by itself it cannot be told";
  const auto broken = verify(log, {}, head);
  ASSERT_TRUE(broken);
  EXPECT_EQ(broken->index, 3U);
  EXPECT_EQ(broken->number, 4U);
}

TEST_F(Audit, ALogThatWasWrittenAnewIsFoundByTheHead) {
  const AuditHead known = head;
  log.clear();
  head = {};
  for (int i = 0; i < 6; ++i) write({from_millis(1), "operator eve"});
  EXPECT_FALSE(verify(log));
  EXPECT_EQ(verify(log, {}, known)->index, 3U);
  EXPECT_TRUE(verify({}, AuditHead{4, Digest::of("other")}, known));
}

TEST_F(Audit, GoesToAFileAndBack) {
  write(
      {from_millis(0), "host \"web1\"", "", "x", "ä", "", "", "a\nb", AuditNote::Outcome::refused});
  const std::string text = audit_lines(log);
  const auto again = audit_from_lines(text);
  ASSERT_TRUE(again) << render_error(again.error());
  EXPECT_FALSE(verify(*again, {}, head));
  EXPECT_EQ(audit_lines(*again), text);
  EXPECT_EQ(again->back().note.reason, "a?b") << "nothing steers a terminal";
  EXPECT_TRUE(audit_from_lines("")->empty());
}

TEST_F(Audit, AFileIsReadStrictly) {
  const std::string text = audit_lines(log);
  EXPECT_FALSE(audit_from_lines(text.substr(0, text.size() - 1))) << "cut";
  EXPECT_FALSE(audit_from_lines("\n" + text));
  EXPECT_FALSE(audit_from_lines("{\"who\":\"operator eve\"," + text.substr(1)))
      << "a member that stands twice, of which a reader may see the first";
  EXPECT_FALSE(audit_from_lines(" " + text));
  std::string extra = text;
  extra.insert(extra.find('}'), ",\"z\":1");
  EXPECT_FALSE(audit_from_lines(extra));
  const auto damaged = audit_from_lines(text + "{}\n");
  ASSERT_FALSE(damaged);
  EXPECT_THAT(damaged.error().message(), HasSubstr("line 5"));
}

TEST_F(Audit, TextsAreBounded) {
  write({from_millis(1), std::string(100'000, '"'), "\xff\xfe", std::string(100'000, '\x01')});
  EXPECT_LE(log.back().note.who.size(), kMaxAuditText);
  EXPECT_EQ(log.back().note.from, "??");
  EXPECT_TRUE(audit_from_lines(audit_lines(log)));
  EXPECT_FALSE(audit_from_lines(std::string(kMaxAuditLine + 1, ' ') + "\n"));
}

}  // namespace
}  // namespace consort::access
