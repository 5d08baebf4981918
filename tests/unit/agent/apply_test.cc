#include "agent/apply.h"

#include <gmock/gmock.h>

#include "agent/facts.h"
#include "host_folder.h"

namespace consort::agent {
namespace {

TEST(Apply, ConvergesADocumentAndItsExitStatusTellsTheTruth) {
  HostFolder host;
  ApplyOptions options;
  options.root = host.root();
  options.labels = {{"rack", "r7"}};
  options.host_name = "web1";
  const Json document = parse_json(R"({"resources":{"motd":{"type":"file","path":"/etc/motd",
      "content":"${host.name} in ${host.labels.rack} on ${fact.arch}, not ${HOME}\n"}}})")
                            .value();
  options.rehearsal = Rehearsal::dry_run;
  EXPECT_EQ(apply_document(document, options).value().exit_status(), 2);
  EXPECT_EQ(host.get("/etc/motd"), "(absent)");
  options.rehearsal = Rehearsal::no;
  EXPECT_EQ(apply_document(document, options).value().exit_status(), 2);
  EXPECT_THAT(host.get("/etc/motd"),
              ::testing::MatchesRegex("web1 in r7 on [a-z0-9]+, not ..HOME.\n"));
  const auto again = apply_document(document, options).value();
  EXPECT_EQ(again.exit_status(), 0);
  EXPECT_EQ(again.pass.find("motd")->outcome, Outcome::kept);
  EXPECT_EQ(apply_document(parse_json(R"({"resources":{}})").value(), options).value().leftovers,
            std::vector<std::string>{"motd"});
}

TEST(Apply, WhatIsNoLongerNamedIsUndoneWhereItSaysSo) {
  HostFolder host;
  host.put("/etc/motd", "as before\n");
  ApplyOptions options;
  options.root = host.root();
  const auto apply = [&](const char* text) {
    return apply_document(parse_json(text).value(), options).value();
  };
  EXPECT_EQ(apply(R"({"resources":{
      "motd":{"type":"file","path":"/etc/motd","content":"mine","onRemoval":"revert"},
      "kept":{"type":"file","path":"/etc/kept","content":"mine"}}})")
                .exit_status(),
            2);
  // A dry run undoes nothing,
  options.rehearsal = Rehearsal::dry_run;
  const ApplyReport rehearsal = apply(R"({"resources":{}})");
  EXPECT_EQ(rehearsal.reverted, std::vector<std::string>{"motd"}) << "it would be";
  EXPECT_EQ(rehearsal.leftovers, std::vector<std::string>{"kept"});
  EXPECT_EQ(host.get("/etc/motd"), "mine");
  // and what has been undone is told once.
  options.rehearsal = Rehearsal::no;
  const ApplyReport report = apply(R"({"resources":{}})");
  EXPECT_EQ(report.reverted, std::vector<std::string>{"motd"});
  EXPECT_EQ(report.leftovers, std::vector<std::string>{"kept"});
  EXPECT_EQ(report.exit_status(), 2);
  EXPECT_EQ(host.get("/etc/motd"), "as before\n");
  EXPECT_EQ(host.get("/etc/kept"), "mine");
  EXPECT_EQ(apply(R"({"resources":{}})").exit_status(), 0);
}

TEST(Apply, ABadDocumentIsAnErrorAndChangesNothing) {
  HostFolder host;
  ApplyOptions options;
  options.root = host.root();
  for (const char* text :
       {"[]", "{}", R"({"resources":{"x":{"type":"file"}}})", R"({"resource":{}})",
        R"({"resources":{"x":{"type":"file","path":"/etc/${fact.nothing}"}}})",
        R"({"resources":{"x":{"type":"file","path":"/etc/x","content":"${secret.key}"}}})"}) {
    const auto report = apply_document(parse_json(text).value(), options);
    ASSERT_FALSE(report) << text;
    EXPECT_FALSE(report.error().hint_text().empty() && report.error().message().empty());
  }
}

TEST(Facts, SayWhatAHostIs) {
  const LabelMap facts = gather_facts();
  for (const char* key : {"arch", "kernel", "hostname", "boot.id", "cpus", "memory.bytes", "init"})
    EXPECT_TRUE(facts.contains(key)) << key;
}

}  // namespace
}  // namespace consort::agent
