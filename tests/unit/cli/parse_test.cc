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

TEST(Parse, OptionsOfAllCommandsMayStandBeforeTheCommand) {
  const auto parsed = parse({"--context", "work", "--json", "host", "show", "web1"});
  ASSERT_TRUE(parsed) << render_error(parsed.error());
  ASSERT_NE(parsed->command, nullptr);
  EXPECT_EQ(parsed->command->name, "host show");
  EXPECT_EQ(parsed->arguments.words, std::vector<std::string>{"web1"});
  EXPECT_EQ(parsed->arguments.value("--context"), "work");
  EXPECT_TRUE(parsed->arguments.json());
  const auto rest = parse({"--no-color", "lab", "run", "--", "consort", "--json"});
  ASSERT_TRUE(rest) << render_error(rest.error());
  EXPECT_EQ(rest->arguments.words, (std::vector<std::string>{"consort", "--json"}));
  EXPECT_FALSE(rest->arguments.json()) << "that is the other command's";
  EXPECT_EQ(parse({"--no-color", "help", "deploy"})->help, parse({"deploy", "--help"})->help);
  EXPECT_FALSE(parse({"--context", "nosuch"})) << "and no command";
}

TEST(Parse, AGroupAloneShowsWhatThereIsAsConsortAloneDoes) {
  for (const auto& typed : {std::vector<std::string>{}, {"host"}, {"lab"}, {"rollout"}}) {
    const auto parsed = parse(typed);
    ASSERT_TRUE(parsed);
    EXPECT_EQ(parsed->command, nullptr);
    EXPECT_NE(parsed->help, "");
    EXPECT_EQ(parsed->status, kOk);
  }
  EXPECT_THAT(parse({"rollout"})->help, HasSubstr("rollout show"));
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

TEST(Parse, WhatSomebodyMeansIsSaid) {
  EXPECT_EQ(parse({"rollback", "1"}).error().hint_text(), "did you mean: consort rollback --to 1");
  EXPECT_EQ(parse({"rollback", "1", "--yes"}).error().hint_text(),
            "did you mean: consort rollback --to 1");
  EXPECT_EQ(parse({"rollback", "-m", "2", "1"}).error().hint_text(),
            "did you mean: consort rollback --to 1")
      << "2 is a message";
  for (const auto& typed : {std::vector<std::string>{"rollback", ""},
                            {"rollback", "--to", "3", "5"},
                            {"rollback", "1", "2"},
                            {"rollback", "1", ""}})
    EXPECT_EQ(parse(typed).error().hint_text(), "see: consort rollback --help");
  EXPECT_THAT(parse({"lab", "stop"}).error().hint_text(),
              HasSubstr("to end the whole lab: consort lab down"));
  for (const auto& typed : {std::vector<std::string>{"dploy", "--help"},
                            {"help", "dploy"},
                            {"--json", "dploy", "--help"},
                            {"--controller", "https://c:1", "dploy", "--help"}}) {
    const auto parsed = parse(typed);
    ASSERT_FALSE(parsed) << "help of what?";
    EXPECT_EQ(parsed.error().hint_text(), "did you mean: consort deploy");
  }
  for (const auto& typed : {std::vector<std::string>{"help"}, {"help", "help"}, {"--help"}}) {
    const auto parsed = parse(typed);
    ASSERT_TRUE(parsed) << render_error(parsed.error());
    EXPECT_EQ(parsed->help, parse({"--help"})->help);
  }
  const auto version = parse({"--version", "--json"});
  ASSERT_TRUE(version);
  ASSERT_NE(version->command, nullptr);
  EXPECT_EQ(version->command->name, "version");
  EXPECT_TRUE(version->arguments.json());
}

TEST(Parse, TheNextCommandHasWhatShapesTheSameDeploy) {
  const auto said = parse({"deploy",
                           "--site",
                           "our shop.jsonnet",
                           "--only",
                           "shop,sql",
                           "--allow-outage",
                           "--allow-shrink",
                           "--keep-going",
                           "--new-chain",
                           "--trust",
                           "t.json",
                           "-m",
                           "2.1",
                           "--controller",
                           "https://c:1",
                           "--yes",
                           "--key",
                           "ann",
                           "--propose",
                           "f",
                           "--as-of",
                           "7",
                           "--wait"});
  ASSERT_TRUE(said);
  EXPECT_EQ(command_line(command("key sign"), {"f"}, said->arguments, {}),
            "consort key sign f --site 'our shop.jsonnet' --trust t.json --new-chain --only shop "
            "--only sql --keep-going --allow-outage --controller https://c:1");
  EXPECT_EQ(command_line(command("deploy"), {}, said->arguments, {"--signatures", "f"}),
            "consort deploy --site 'our shop.jsonnet' --only shop --only sql --keep-going "
            "--allow-outage --allow-shrink --message 2.1 --trust t.json --new-chain --controller "
            "https://c:1 --signatures f");
}

TEST(Parse, APlanKnowsWhetherItWouldBeSignedAndSoDoesTheDeployThatItTells) {
  for (const auto& typed : {std::vector<std::string>{"--trust", "t.json"}, {"--unsigned"}}) {
    std::vector<std::string> line = {"plan"};
    line.insert(line.end(), typed.begin(), typed.end());
    const auto said = parse(line);
    ASSERT_TRUE(said) << render_error(said.error());
    EXPECT_EQ(command_line(command("deploy"), {}, said->arguments, {}),
              "consort deploy " + join(typed, " "));
  }
}

TEST(Parse, TheNextCommandHasWhatShapesTheSameRollback) {
  const auto said = parse({"rollback", "--to", "3", "--allow-outage", "--allow-unsafe-removal",
                           "--new-chain", "--trust", "t.json", "--propose", "f"});
  ASSERT_TRUE(said);
  EXPECT_EQ(command_line(command("key sign"), {"f"}, said->arguments, {"--rollback"}),
            "consort key sign f --trust t.json --new-chain --allow-outage --rollback");
  EXPECT_EQ(command_line(command("rollback"), {}, said->arguments, {"--signatures", "f"}),
            "consort rollback --to 3 --allow-outage --allow-unsafe-removal --trust t.json "
            "--new-chain --signatures f");
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
