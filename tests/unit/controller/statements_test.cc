// Which number the controller gives a statement: hosts tell it what a lost store has forgotten, and
// a host may lie.
#include <gmock/gmock.h>

#include "signing/review.h"
#include "unit/controller/stage.h"

namespace consort::controller {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using tests::Model;

class Statements : public tests::Stage {
 protected:
  Statements() { hosts_join(site("v1")); }

  static Model site(const std::string& version) {
    Model model;
    model.host("w1", "web").host("w2", "web");
    model.service("app", "web", version);
    return model;
  }

  void reports_statement(const std::string& host, std::uint64_t statement) {
    plan::HostReport out = report_of(host);
    out.statement = statement;
    take(core->on_report(out, now));
  }

  plan::Statement planned(const DeployRequest& request) {
    const auto plan = core->plan(request);
    EXPECT_TRUE(plan) << render_error(plan.error());
    return core->statement_for(request, *plan);
  }

  // What the operator's program says of it; "" when it signs.
  std::string problem(const Model& model, const plan::Statement& statement) const {
    signing::Evidence evidence;
    evidence.compiled = &model.generation;
    const auto* before = core->statement_in_force();
    if (before != nullptr) evidence.previous = &before->statement;
    const auto reviewed = signing::review(statement, evidence);
    return reviewed ? "" : reviewed.error().message();
  }
};

TEST_F(Statements, AreNumberedBeyondWhatHostsHaveSeenOfALostStore) {
  reports_statement("w1", 7);
  EXPECT_EQ(planned(request(site("v1"))).sequence, 8U);
}

TEST_F(Statements, OneHostThatLiesStopsNobody) {
  std::uint64_t last = 0;
  for (const std::string version : {"v1", "v2", "v3"}) {
    const Model model = site(version);
    DeployRequest wanted = request(model);
    for (const std::uint64_t lead : {plan::kSequenceLead, plan::kReportedLead}) {
      reports_statement("w2", last + lead);
      EXPECT_EQ(problem(model, planned(wanted)), "") << lead << " after " << last;
    }
    wanted.statement = plan::SignedStatement{planned(wanted), {}};
    const auto id = deploy(wanted);
    ASSERT_TRUE(id) << render_error(id.error());
    settle();
    ASSERT_EQ(result_of(*id), rollout::Result::done);
    last = wanted.statement->statement.sequence;
  }
}

TEST_F(Statements, TheNumberOfThePlanHoldsWhateverHostsSayMeanwhile) {
  const Model model = site("v1");
  DeployRequest wanted = request(model);
  reports_statement("w2", 500);
  wanted.statement = plan::SignedStatement{planned(wanted), {}};
  EXPECT_EQ(wanted.statement->statement.sequence, 501U);
  reports_statement("w2", 900);
  const auto id = deploy(wanted);
  ASSERT_TRUE(id) << render_error(id.error());
  settle();
  EXPECT_NE(core->statement(501), nullptr);
}

TEST_F(Statements, ANumberThatNoPlanCanHaveGivenIsStale) {
  DeployRequest wanted = request(site("v1"));
  plan::SignedStatement signed_one{planned(wanted), {}};
  signed_one.statement.sequence = plan::kReportedLead + 2;
  wanted.statement = signed_one;
  const auto refused = deploy(wanted);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), ErrorCode::stale);
}

// Who rehearses a site in a lab signs nothing that would be good elsewhere.
TEST_F(Statements, OfAnotherPartitionAreRefusedHere) {
  DeployRequest wanted = request(site("v1"));
  wanted.partition = "lab";
  plan::SignedStatement signed_one{planned(wanted), {}};
  EXPECT_EQ(signed_one.statement.partition, "lab") << "a plan says what it would be good for";
  signed_one.statement.partition = "main";
  wanted.statement = signed_one;
  const auto refused = deploy(wanted);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), ErrorCode::refused);
  EXPECT_THAT(refused.error().message(),
              AllOf(HasSubstr("in the partition main"), HasSubstr("in lab")));
  EXPECT_EQ(core->statement_in_force(), nullptr);
}

TEST_F(Statements, OfAnotherSiteAreRefusedWithItsName) {
  DeployRequest wanted = request(site("v1"));
  plan::SignedStatement signed_one{planned(wanted), {}};
  signed_one.statement.site = "another";
  wanted.statement = signed_one;
  const auto refused = deploy(wanted);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), ErrorCode::refused);
  EXPECT_THAT(refused.error().message(), HasSubstr("site another"));
}

}  // namespace
}  // namespace consort::controller
