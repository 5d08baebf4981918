// Command lines: what is understood, how a mistake is told, what help says.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "base/text.h"
#include "cli/command.h"
#include "cli/json_records.h"
#include "unit/cli/golden.h"

namespace consort::cli {
namespace {

using ::testing::HasSubstr;

const Command& command(std::string_view name) {
  return *std::find_if(commands().begin(), commands().end(),
                       [&](const Command& c) { return c.name == name; });
}

TEST(Parse, WordsAndOptionsReachTheirCommand) {
  const auto parsed = parse({"deploy", "--only", "a,b", "--only", "c", "-m", "why", "--json"});
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->command->name, "deploy");
  EXPECT_EQ(parsed->arguments.values("--only"), (std::vector<std::string>{"a", "b", "c"}));
  EXPECT_EQ(parsed->arguments.value("--message"), "why");
  EXPECT_TRUE(parsed->arguments.json());
}

TEST(Parse, WhatFollowsTwoDashesIsLeftAlone) {
  const auto parsed = parse({"lab", "exec", "web1", "--", "ls", "--help"});
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->arguments.words, (std::vector<std::string>{"web1", "ls", "--help"}));
}

TEST(Parse, MistakesAreToldWithTheWholeUsage) {
  const auto missing = parse({"explain"});
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().message(), "HOST|SERVICE is missing");
  EXPECT_EQ(missing.error().hint_text(), "usage: consort explain HOST|SERVICE [SERVICE]");
  EXPECT_EQ(error_exit_status(missing.error().code()), kUsage);
  EXPECT_EQ(parse({"explain", "a", "b", "c"}).error().message(), "'c' is one word too many");
  EXPECT_EQ(parse({"host", "show"}).error().hint_text(), "usage: consort host show HOST");
  EXPECT_EQ(parse({"lab", "up", "--platform", "qemu"}).error().hint_text(),
            "one of nspawn, process");
  EXPECT_EQ(parse({"deploy", "--allow-outages"}).error().hint_text(),
            "did you mean --allow-outage?");
  EXPECT_EQ(parse({"deplay"}).error().hint_text(), "did you mean: consort deploy");
}

TEST(Parse, AGroupWithoutACommandShowsWhatItHas) {
  const auto parsed = parse({"rollout"});
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->command, nullptr);
  EXPECT_EQ(parsed->status, kUsage);
  EXPECT_THAT(parsed->help, HasSubstr("rollout show"));
}

TEST(Help, TellsUsageArgumentsOptionsAndExitStatuses) {
  expect_golden("help_deploy_60", help_text(command("deploy"), 60));
  expect_golden("help_lab_exec", help_text(command("lab exec"), 100));
  expect_golden("help_rollout", help_of_group("rollout", 100));
  expect_golden("help", help_of_all(100));
}

TEST(Help, ManPagesHaveTheSameExitStatuses) {
  for (const Command& each : commands()) {
    for (const ExitMeaning& exit : exit_meanings(each))
      EXPECT_THAT(man_page(&each), HasSubstr(".B " + std::to_string(exit.status) + "\n"))
          << each.name;
  }
}

// Every type is one that readers can look up, and every command that prints a record names it.
TEST(JsonRecords, NameOnlyTypesThatExistAndCommandsThatExist) {
  std::set<std::string> names = {"string", "int", "bool", "any", "null"};
  for (const JsonRecord& record : json_records()) names.emplace(record.name);
  for (const JsonRecord& record : json_records()) {
    for (const RecordField& field : record.fields) {
      for (const std::string& word : split(field.type, ' ')) {
        if (word == "list" || word == "map" || word == "of" || word == "or") continue;
        EXPECT_TRUE(names.contains(word)) << record.name << "." << field.name << ": " << word;
      }
    }
  }
  std::string printed;
  for (const JsonRecord& record : json_records()) printed += std::string(record.printed_by) + ", ";
  const std::set<std::string> silent = {"agent",    "controller", "completions",
                                        "lab exec", "lab run",    "docs"};
  for (const Command& each : commands()) {
    if (each.hidden || silent.contains(each.name)) continue;
    EXPECT_THAT(printed, HasSubstr(each.name));
  }
}

}  // namespace
}  // namespace consort::cli
