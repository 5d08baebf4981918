// What an operator's program asks before it signs what a controller shows.
#include "cli/sign.h"

#include <gmock/gmock.h>

#include "fixtures/own_config.h"
#include "fixtures/statements.h"

namespace consort::cli {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using tests::version;

// Statement 1 is shown as the one in force: shop and sql run on web1. The sources are newer.
class SignTest : public ::testing::Test {
 protected:
  SignTest() {
    compiled_.site = "shop";
    for (const char* host : {"db1", "web1", "web2"}) compiled_.hosts[host].address = host;
    for (const char* name : {"shop", "sql"}) {
      compiled_.services[name].manifest = version(std::string(name) + " v2");
      compiled_.services[name].hosts = {"web1"};
      before_.services[name] = {version(std::string(name) + " v1"), {{"web1", {}}}};
    }
    signers_.list.partition = "main";
  }
  // The controller would have `sequence` signed, with shop as in the sources and sql as it was.
  Result<std::vector<std::string>> reviewed(std::uint64_t sequence,
                                            const std::vector<std::string>& as_of = {}) {
    Proposal proposal;
    proposal.proposed.statement = before_;
    proposal.proposed.statement.sequence = sequence;
    proposal.proposed.statement.previous = tests::digest_of(before_);
    proposal.proposed.statement.services["shop"].manifest = version("shop v2");
    proposal.before =
        plan::SignedStatement{before_, signers_.sign(plan::ShareTree(before_).head(), 1)};
    Arguments arguments;
    arguments.options["--only"] = {"shop"};
    if (!as_of.empty()) arguments.options["--as-of"] = as_of;
    return review_proposal(arguments, proposal, signers_.list, &compiled_);
  }

  tests::OwnConfig config_;
  tests::Signers signers_{1, 1};
  plan::Generation compiled_;
  plan::Statement before_ = tests::statement(1);
};

TEST_F(SignTest, WhatIsLeftOutStaysWhereNumbersFollowEachOther) {
  const auto stay = reviewed(2);
  ASSERT_TRUE(stay) << render_error(stay.error());
  EXPECT_THAT(*stay, ElementsAre("sql"));
}

TEST_F(SignTest, PastAGapItStaysOnlyByTheNumberThatTheOperatorSays) {
  const auto refused = reviewed(3);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), ErrorCode::forbidden);
  EXPECT_THAT(refused.error().message(),
              AllOf(HasSubstr("statement 1"), HasSubstr("sql " + version("sql v1").brief())));
  EXPECT_THAT(refused.error().hint_text(), HasSubstr("--as-of 1"));
  EXPECT_FALSE(reviewed(3, {"2"}));
  EXPECT_TRUE(reviewed(3, {"1"}));
}

TEST_F(SignTest, TheNumberOfAStatementIsANumber) {
  for (const char* text : {"", "one", "1x", "-1", "99999999999999999999"}) {
    const auto refused = reviewed(3, {text});
    ASSERT_FALSE(refused) << text;
    EXPECT_EQ(refused.error().code(), ErrorCode::usage) << text;
  }
}

}  // namespace
}  // namespace consort::cli
