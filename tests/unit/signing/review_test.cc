// What an operator's program finds before it signs.
#include "signing/review.h"

#include <gmock/gmock.h>

#include "fixtures/statements.h"

namespace consort::signing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using tests::version;

class ReviewTest : public ::testing::Test {
 protected:
  ReviewTest() {
    compiled.site = "shop";
    for (const char* host : {"web1", "web2", "db1"}) compiled.hosts[host].address = host;
    service("shop", "v2", {"web1", "web2"});
    service("sql", "s1", {"db1"});
    before.services["shop"] = {version("v1"), {{"web1", {}}, {"web2", {}}}};
    before.services["sql"] = {version("s1"), {{"db1", {}}}};
    proposed = before;
    proposed.sequence = 5;
    proposed.previous = tests::digest_of(before);
    proposed.services["shop"].manifest = version("v2");
    evidence = {&compiled, &before, nullptr};
  }
  void service(const std::string& name, const std::string& manifest,
               const std::vector<std::string>& hosts) {
    compiled.services[name].manifest = version(manifest);
    compiled.services[name].hosts = hosts;
  }
  std::string problem() const {
    const auto status = review(proposed, evidence);
    return status ? "" : status.error().message();
  }

  plan::Generation compiled;
  plan::Statement before = tests::statement(4);
  plan::Statement proposed;
  Evidence evidence;
};

TEST_F(ReviewTest, WhatWasCompiledMayBeSigned) {
  EXPECT_EQ(problem(), "");
  EXPECT_TRUE(review(proposed, evidence)->empty());
}

TEST_F(ReviewTest, AServiceThatNobodyCompiledMayNot) {
  proposed.services["shop"].manifest = version("evil");
  EXPECT_THAT(problem(), HasSubstr("of shop signed, which is neither"));
  proposed.services["shop"].manifest = version("v2");
  proposed.services["door"] = {version("evil"), {{"web1", {}}}};
  EXPECT_THAT(problem(), HasSubstr("of door signed"));
}

TEST_F(ReviewTest, NorOnAnotherHostOrWithAnotherValue) {
  proposed.services["sql"].hosts.emplace("web1", std::map<std::string, std::string>());
  EXPECT_THAT(problem(), HasSubstr("of sql signed"));
  proposed.services["sql"].hosts = {{"db1", {{"address", "10.6.6.6"}}}};
  EXPECT_THAT(problem(), HasSubstr("of sql signed"));
}

TEST_F(ReviewTest, WhatStaysAsItWasSignedIsTold) {
  service("sql", "s2", {"db1"});
  EXPECT_THAT(*review(proposed, evidence), ElementsAre("sql"));
}

TEST_F(ReviewTest, NothingIsSignedAwayThatTheSourcesWant) {
  proposed.services.erase("sql");
  EXPECT_THAT(problem(), HasSubstr("does not have sql"));
  compiled.services.erase("sql");
  EXPECT_EQ(problem(), "");
}

TEST_F(ReviewTest, AControllerThatShowsAnEarlierStatementBringsNothingBackInADeploy) {
  plan::Statement then = tests::statement(2);
  then.services["shop"] = {version("v0"), {{"web1", {}}, {"web2", {}}}};
  evidence.earlier = &then;
  proposed.services["shop"].manifest = version("v0");
  EXPECT_THAT(problem(), HasSubstr("of shop signed"));
}

TEST_F(ReviewTest, ServicesAreStoppedForAWhileOnlyWhereTheOperatorAllowsIt) {
  proposed.held = {"shop", "sql"};
  EXPECT_THAT(problem(), HasSubstr("shop, sql may be stopped"));
  evidence.outage = true;
  EXPECT_EQ(problem(), "");
}

TEST_F(ReviewTest, TheFirstStatementHasEverythingThatTheSourcesWant) {
  proposed.sequence = 1;
  proposed.previous = {};
  evidence.previous = nullptr;
  EXPECT_EQ(problem(), "");
  proposed.services.erase("sql");
  EXPECT_THAT(problem(), HasSubstr("does not have sql"));
  evidence.only = {"shop"};
  EXPECT_THAT(problem(), HasSubstr("does not have sql")) << "it may run, and be taken away";
  compiled.broken.emplace("sql", "no such file");
  EXPECT_EQ(problem(), "");
}

TEST_F(ReviewTest, ANewServiceIsLeftOutWhenTheOperatorSaysSo) {
  service("mail", "m1", {"web1"});
  EXPECT_THAT(problem(), HasSubstr("does not have mail"));
  evidence.only = {"shop"};
  EXPECT_EQ(problem(), "");
  evidence.only.clear();
  evidence.except = {"mail"};
  EXPECT_EQ(problem(), "");
}

TEST_F(ReviewTest, ANewChainIsYoungerThanWhatWasSeen) {
  proposed.previous = {};
  evidence.previous = nullptr;
  evidence.seen = 5;
  EXPECT_THAT(problem(), HasSubstr("cannot follow"));
  proposed.sequence = 6;
  EXPECT_EQ(problem(), "");
}

TEST_F(ReviewTest, TheChainMustHold) {
  proposed.sequence = 4;
  EXPECT_THAT(problem(), HasSubstr("cannot follow"));
  proposed.sequence = 5 + kSequenceLead;
  EXPECT_THAT(problem(), HasSubstr("cannot follow"));
  proposed.sequence = 5;
  proposed.previous = version("another");
  EXPECT_THAT(problem(), HasSubstr("does not follow"));
}

TEST_F(ReviewTest, ARollbackBringsBackWhatWasSigned) {
  plan::Statement then = tests::statement(2);
  then.services["shop"] = {version("v0"), {{"web1", {}}}};
  evidence = {nullptr, &before, &then};
  proposed.services.erase("sql");
  proposed.services["shop"] = {version("v0"), {{"web1", {}}, {"web2", {}}}};
  EXPECT_EQ(problem(), "") << "placed on a host of today";
  proposed.services["shop"].hosts.emplace("stranger", std::map<std::string, std::string>());
  EXPECT_THAT(problem(), HasSubstr("of shop signed"));
  proposed.services["shop"] = {version("never"), {{"web1", {}}}};
  EXPECT_THAT(problem(), HasSubstr("of shop signed"));
}

}  // namespace
}  // namespace consort::signing
