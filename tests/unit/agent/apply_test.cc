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
