// What the shells offer.
#include "cli/complete.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace consort::cli {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Not;

struct Fleet {
  std::vector<std::string> asked;
  std::vector<Candidate> operator()(std::string_view kind) {
    asked.emplace_back(kind);
    if (kind == "HOST") return {{"web1", ""}, {"web2", ""}, {"db1", ""}};
    if (kind == "SERVICE") return {{"shop", "sells"}, {"db", ""}};
    if (kind == "ROLLOUT") return {{"r000002", "reverted"}, {"r000001", "done"}};
    if (kind == "GENERATION") return {{"2", ""}, {"1", "first"}};
    if (kind == "OPERATOR") return {{"ann", "deployer of shop"}};
    if (kind == "SECRET") return {{"db-password", ""}};
    if (kind == "TOKEN") return {{"gfjtz8ed2h", "web-*"}};
    if (kind == "CONTEXT") return {{"work", "https://controller.example:8440"}};
    if (kind == "LABHOST") return {{"lab1", ""}, {"controller", ""}};
    return {};
  }
};

std::vector<std::string> offered(const std::vector<std::string>& words) {
  Fleet fleet;
  std::vector<std::string> out;
  for (const Candidate& candidate : complete(words, std::ref(fleet)).candidates)
    out.push_back(candidate.word);
  return out;
}

TEST(Complete, CommandsAndTheirGroupsOnce) {
  EXPECT_THAT(offered({"ro"}), ElementsAre("rollback", "rollout"));
  EXPECT_THAT(offered({"rollout", ""}), ElementsAre("list", "show", "pause", "resume", "abort"));
  EXPECT_THAT(offered({""}), Not(Contains("lab-keep"))) << "hidden";
  EXPECT_THAT(offered({"nonsense", ""}), IsEmpty());
}

TEST(Complete, NamesOfWhatIsThereByWhatTheTableCallsThem) {
  EXPECT_THAT(offered({"explain", "w"}), ElementsAre("web1", "web2"));
  EXPECT_THAT(offered({"explain", ""}), ElementsAre("web1", "web2", "db1", "shop", "db"));
  EXPECT_THAT(offered({"explain", "web1", ""}), ElementsAre("shop", "db"));
  EXPECT_THAT(offered({"explain", "web1", "shop", ""}), IsEmpty());
  EXPECT_THAT(offered({"rollout", "show", ""}), ElementsAre("r000002", "r000001"));
  EXPECT_THAT(offered({"rollback", "--yes", "--to", ""}), ElementsAre("2", "1"));
  EXPECT_THAT(offered({"operator", "grant", ""}), ElementsAre("ann"));
  EXPECT_THAT(offered({"secret", "rotate", ""}), ElementsAre("db-password"));
  EXPECT_THAT(offered({"token", "revoke", ""}), ElementsAre("gfjtz8ed2h"));
  EXPECT_THAT(offered({"context", "use", ""}), ElementsAre("work"));
  EXPECT_THAT(offered({"status", "--context", ""}), ElementsAre("work"));
  EXPECT_THAT(offered({"lab", "kill", "--dir", "x", ""}), ElementsAre("lab1", "controller"));
}

TEST(Complete, OptionsAndTheirChoices) {
  EXPECT_THAT(
      offered({"deploy", "--allow"}),
      ElementsAre("--allow-outage", "--allow-unsafe-removal", "--allow-shrink", "--allow-rename"));
  EXPECT_THAT(offered({"lab", "up", "--platform", ""}), ElementsAre("nspawn", "process"));
  EXPECT_THAT(offered({"operator", "create", "ann", "--role", ""}),
              ElementsAre("viewer", "deployer", "admin"));
  EXPECT_THAT(offered({"completions", ""}), ElementsAre("bash", "zsh", "fish"));
  EXPECT_THAT(offered({"deploy", "-m", ""}), IsEmpty()) << "any text";
}

TEST(Complete, FilesAreLeftToTheShell) {
  Fleet fleet;
  EXPECT_EQ(complete({"plan", "--site", ""}, std::ref(fleet)).files, Completion::Files::any);
  EXPECT_EQ(complete({"lab", "down", "--dir", ""}, std::ref(fleet)).files,
            Completion::Files::folders);
  EXPECT_EQ(complete({"lab", "exec", "lab1", "--", "l"}, std::ref(fleet)).files,
            Completion::Files::any);
}

TEST(Complete, NobodyIsAskedWithoutNeed) {
  Fleet fleet;
  static_cast<void>(complete({"plan", ""}, std::ref(fleet)));
  static_cast<void>(complete({"ro"}, std::ref(fleet)));
  static_cast<void>(complete({"deploy", "--"}, std::ref(fleet)));
  EXPECT_THAT(fleet.asked, IsEmpty());
}

}  // namespace
}  // namespace consort::cli
