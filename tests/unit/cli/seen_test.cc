// What an operator has seen and signed: a controller that shows less is told apart.
#include "cli/seen.h"

#include <gmock/gmock.h>

#include <string>

#include "fixtures/own_config.h"

namespace consort::cli {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class SeenTest : public ::testing::Test {
 protected:
  [[nodiscard]] static signing::TrustList list(const std::string& site,
                                               const std::string& partition = "main") {
    return {site, partition, {}, 1};
  }

  tests::OwnConfig config_;
};

TEST_F(SeenTest, WhoHasSignedNothingTakesEveryVersion) {
  EXPECT_TRUE(check_secret_versions(list("shop"), {{"db", 1}}));
  EXPECT_EQ(last_seen_secret(list("shop"), "db").value(), 0U);
}

TEST_F(SeenTest, AVersionOlderThanOneThatWasSignedIsNotTaken) {
  ASSERT_TRUE(remember_secret_versions(list("shop"), {{"db", 5}, {"tls", 2}}));
  EXPECT_TRUE(check_secret_versions(list("shop"), {{"db", 5}, {"tls", 3}, {"new", 1}}));
  const auto older = check_secret_versions(list("shop"), {{"db", 4}, {"tls", 2}});
  ASSERT_FALSE(older);
  EXPECT_EQ(older.error().code(), ErrorCode::forbidden);
  EXPECT_THAT(older.error().message(), AllOf(HasSubstr("version 4 of the secret 'db'"),
                                             HasSubstr("you have signed for version 5")));
  // Setting it again is enough: the memory stays, and the new number is above it.
  EXPECT_THAT(older.error().hint_text(),
              AllOf(HasSubstr("consort secret set db"), Not(HasSubstr("remove"))));
}

TEST_F(SeenTest, WhatIsRememberedOnlyGrowsAndEachSecretHasItsOwn) {
  ASSERT_TRUE(remember_secret_versions(list("shop"), {{"db", 5}}));
  ASSERT_TRUE(remember_secret_versions(list("shop"), {{"db", 4}, {"tls", 1}}));
  EXPECT_EQ(last_seen_secret(list("shop"), "db").value(), 5U);
  EXPECT_EQ(last_seen_secret(list("shop"), "tls").value(), 1U);
  EXPECT_FALSE(check_secret_versions(list("shop"), {{"db", 4}}));
}

TEST_F(SeenTest, AnotherSiteAndAnotherPartitionAreOthers) {
  ASSERT_TRUE(remember_secret_versions(list("shop"), {{"db", 5}}));
  ASSERT_TRUE(remember_statement(list("shop"), 7));
  for (const auto& other : {list("office"), list("shop", "north"), list("a/../shop")}) {
    EXPECT_TRUE(check_secret_versions(other, {{"db", 1}}));
    EXPECT_EQ(last_seen_statement(other).value(), 0U);
  }
  EXPECT_EQ(last_seen_statement(list("shop")).value(), 7U);
}

TEST_F(SeenTest, ADamagedMemoryIsNamedAndNotTakenForAnEmptyOne) {
  ASSERT_TRUE(remember_secret_versions(list("shop"), {{"db", 5}}));
  const fs::path file = config_.home() / "seen/shop@main.secrets";
  ASSERT_TRUE(write_file_atomic(file, "[]", 0600));
  const auto status = check_secret_versions(list("shop"), {{"db", 1}});
  ASSERT_FALSE(status);
  EXPECT_THAT(status.error().message(), HasSubstr(file.string()));
}

}  // namespace
}  // namespace consort::cli
