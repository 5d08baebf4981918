// What an operator's program finds before it signs.
#include "signing/review.h"

#include <gmock/gmock.h>

#include "fixtures/statements.h"

namespace consort::signing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
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
  EXPECT_THAT(review(proposed, evidence).error().hint_text(),
              ::testing::AllOf(HasSubstr("--allow-outage"), HasSubstr("allowOutage: true")));
  evidence.outage = true;
  EXPECT_EQ(problem(), "");
}

TEST_F(ReviewTest, NobodyIsToldToAllowAnOutageWhereNothingShouldBeSigned) {
  proposed.held = {"shop"};
  proposed.services["sql"].manifest = version("evil");
  EXPECT_THAT(problem(), HasSubstr("of sql signed"));
}

TEST_F(ReviewTest, ARollbackHasNoPolicyThatAllowsAnOutage) {
  const plan::Statement then = before;
  evidence.compiled = nullptr;
  evidence.earlier = &then;
  proposed.services = before.services;
  proposed.held = {"shop"};
  EXPECT_THAT(problem(), HasSubstr("shop may be stopped"));
  EXPECT_THAT(review(proposed, evidence).error().hint_text(),
              ::testing::AllOf(HasSubstr("--allow-outage"), Not(HasSubstr("allowOutage: true"))));
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
}

TEST_F(ReviewTest, AChainDoesNotBeginWithABrokenServiceThatMayRun) {
  evidence.previous = nullptr;
  proposed.previous = {};
  proposed.services.erase("sql");
  compiled.services.erase("sql");
  compiled.broken.emplace("sql", "no such file");
  EXPECT_THAT(problem(), HasSubstr("sql is broken")) << "it may run, and be taken away";
  proposed.services["sql"] = before.services["sql"];
  EXPECT_THAT(problem(), HasSubstr("sql is broken")) << "nobody can say what of it should run";
}

TEST_F(ReviewTest, ABrokenServiceStaysAsItWasSigned) {
  compiled.services.erase("sql");
  compiled.broken.emplace("sql", "no such file");
  EXPECT_EQ(problem(), "");
  proposed.services["sql"].manifest = version("evil");
  EXPECT_THAT(problem(), HasSubstr("of sql signed, which is left out"));
  proposed.services.erase("sql");
  EXPECT_THAT(problem(), HasSubstr("wants sql signed away"));
  before.services.erase("sql");
  proposed.previous = tests::digest_of(before);
  EXPECT_EQ(problem(), "") << "a new one that is broken is not there yet";
}

TEST_F(ReviewTest, WhatTheOperatorLeavesOutIsNotDeployedAllTheSame) {
  service("sql", "s2", {"db1"});
  proposed.services["sql"].manifest = version("s2");
  EXPECT_EQ(problem(), "");
  evidence.only = {"shop"};
  EXPECT_THAT(problem(), HasSubstr("of sql signed, which is left out"));
  evidence.only.clear();
  evidence.except = {"sql"};
  EXPECT_THAT(problem(), HasSubstr("of sql signed, which is left out"));
  proposed.services["sql"] = before.services["sql"];
  EXPECT_THAT(*review(proposed, evidence), ElementsAre("sql"));
  service("mail", "m1", {"web1"});
  evidence.except = {"sql", "mail"};
  proposed.services["mail"] = {version("m1"), {{"web1", {}}}};
  EXPECT_THAT(problem(), HasSubstr("of mail signed, which is left out")) << "it was not there";
}

TEST_F(ReviewTest, WhatTheSourcesHaveNoLongerStaysWhenItIsLeftOut) {
  compiled.services.erase("sql");
  evidence.only = {"shop"};
  EXPECT_THAT(*review(proposed, evidence), ElementsAre("sql"));
  proposed.services.erase("sql");
  EXPECT_THAT(problem(), HasSubstr("wants sql signed away"));
}

TEST_F(ReviewTest, WhatIsLeftOutStaysOnTheHostsThatTheInventoryStillHas) {
  before.services["sql"].hosts = {{"db1", {{"address", "db1"}}}, {"db2", {{"address", "db2"}}}};
  proposed.previous = tests::digest_of(before);
  service("sql", "s2", {"db1"});
  evidence.only = {"shop"};
  proposed.services["sql"] = before.services["sql"];
  EXPECT_THAT(problem(), HasSubstr("of sql signed")) << "db2 has left";
  proposed.services["sql"].hosts.erase("db2");
  EXPECT_EQ(problem(), "");
  compiled.hosts["db1"].address = "10.0.0.7";
  EXPECT_THAT(problem(), HasSubstr("of sql signed")) << "db1 has another address now";
  proposed.services["sql"].hosts["db1"]["address"] = "10.0.0.7";
  EXPECT_EQ(problem(), "");
  proposed.services["sql"].hosts["db1"]["labels.rack"] = "r9";
  EXPECT_THAT(problem(), HasSubstr("of sql signed")) << "the inventory says nothing of a rack";
  compiled.hosts["db1"].labels["rack"] = "r9";
  EXPECT_EQ(problem(), "");
  proposed.services["sql"].hosts.clear();
  EXPECT_THAT(problem(), HasSubstr("of sql signed")) << "db1 is still there";
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

TEST_F(ReviewTest, WhereNumbersAreSkippedNothingStaysWithoutTheOperatorsWord) {
  service("sql", "s2", {"db1"});
  evidence.only = {"shop"};
  EXPECT_THAT(*review(proposed, evidence), ElementsAre("sql")) << "5 follows 4";
  // Whoever hides that another has deployed cannot use that one's number again.
  proposed.sequence = 6;
  EXPECT_THAT(problem(), HasSubstr("statement 6 would follow statement 4"));
  EXPECT_THAT(problem(), HasSubstr("sql " + version("s1").brief()));
  EXPECT_THAT(problem(), Not(HasSubstr("shop"))) << "it does not stay";
  EXPECT_THAT(review(proposed, evidence).error().hint_text(), HasSubstr("--as-of 4"));
  evidence.as_of = 3;
  EXPECT_THAT(problem(), HasSubstr("would follow")) << "the word is about another statement";
  evidence.as_of = 4;
  EXPECT_THAT(*review(proposed, evidence), ElementsAre("sql"));
}

TEST_F(ReviewTest, WhereNumbersAreSkippedAControllerLeavesNothingAsItWasByItself) {
  // The whole site is deployed, and the controller wants sql signed as before.
  service("sql", "s2", {"db1"});
  proposed.sequence = 7;
  EXPECT_THAT(problem(), HasSubstr("sql " + version("s1").brief()));
  proposed.services["sql"].manifest = version("s2");
  EXPECT_EQ(problem(), "") << "all of it is what the sources make";
}

TEST_F(ReviewTest, TheWordForAGapIsAskedForWhenNothingElseSpeaksAgainstSigning) {
  service("sql", "s2", {"db1"});
  proposed.sequence = 6;
  proposed.services["shop"].manifest = version("evil");
  EXPECT_THAT(problem(), HasSubstr("of shop signed"));
}

TEST_F(ReviewTest, TheChainMustHold) {
  proposed.sequence = 4;
  EXPECT_THAT(problem(), HasSubstr("cannot follow"));
  proposed.sequence = 5 + plan::kSequenceLead;
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
