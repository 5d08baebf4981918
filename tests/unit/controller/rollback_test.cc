// The way back that an operator asks for.
#include "unit/controller/core_fixture.h"

namespace consort::controller {
namespace {

using rollout::Result;
using ::testing::HasSubstr;
using tests::Model;

TEST_F(ControllerCore, I9_ARollbackGoesToWhatRanBeforeNotToWhatTheSiteSaysNow) {
  given_v1_is_deployed();
  ASSERT_TRUE(deploy(request(site("v2"))));
  settle();
  const auto target = core->rollback_candidate(0);
  ASSERT_TRUE(target);
  EXPECT_EQ(target->rollback_of, 1U);
  EXPECT_EQ(target->services.at("app").manifest, site("v1").generation.services.at("app").manifest);
  Model back = site("v1");
  DeployRequest request_back = request(back);
  request_back.candidate = *target;
  ASSERT_TRUE(deploy(request_back));
  settle();
  EXPECT_EQ(version_on("w1", "app"), "v1");
  EXPECT_EQ(core->current()->number, 3U) << "history is never rewritten";
  EXPECT_EQ(core->current()->rollback_of, 1U);
}

TEST_F(ControllerCore, S27_ARollbackHasNoCanaryAndNoSoak) {
  Model v1 = site("v1");
  v1.generation.policy.batches = {{1, false}, {100, true}};
  v1.generation.policy.soak = minutes(30);
  hosts_join(v1);
  ASSERT_TRUE(deploy(request(v1)));
  settle();
  Model v2 = v1;
  v2.service("app", "web", "v2").generation.policy.soak = Duration{0};
  ASSERT_TRUE(deploy(request(v2)));
  settle();
  DeployRequest back = request(v1);
  back.candidate = *core->rollback_candidate(0);
  const auto plan = core->plan(back);
  ASSERT_TRUE(plan);
  EXPECT_EQ(tests::story(*plan), "upgrade app@w1, upgrade app@w2, upgrade app@w3");
  for (const plan::Wave& wave : plan->waves) EXPECT_EQ(wave.soak, Duration{0});
}

TEST_F(ControllerCore, NothingToRollBackToIsAClearError) {
  EXPECT_EQ(core->rollback_candidate(0).error().code(), ErrorCode::not_found);
  given_v1_is_deployed();
  EXPECT_THAT(core->rollback_candidate(0).error().message(),
              HasSubstr("no generation before the current one"));
  EXPECT_THAT(core->rollback_candidate(9).error().message(), HasSubstr("no generation 9"));
}

TEST_F(ControllerCore, AfterAnInconsistentEndThereIsAWayBackToTheCurrentGeneration) {
  given_v1_is_deployed();
  agents["w2"].failing = {"v2"};
  Model v2 = site("v2");
  v2.generation.policy.on_failure = plan::OnFailure::halt;
  const auto id = deploy(request(v2));
  ASSERT_TRUE(id);
  settle();
  ASSERT_EQ(result_of(*id), Result::inconsistent);
  ASSERT_EQ(version_on("w1", "app"), "v2");
  ASSERT_EQ(core->current()->number, 1U);
  EXPECT_EQ(core->rollouts().at(*id).generation, 1U) << "what the advice names";
  DeployRequest back = request(site("v1"));
  const auto candidate = core->rollback_candidate(1);
  ASSERT_TRUE(candidate) << render_error(candidate.error());
  back.candidate = *candidate;
  const auto again = deploy(back);
  ASSERT_TRUE(again) << render_error(again.error());
  settle();
  EXPECT_EQ(result_of(*again), Result::done);
  for (const std::string host : {"w1", "w2", "w3"}) EXPECT_EQ(version_on(host, "app"), "v1");
}

TEST_F(ControllerCore, ARollbackIsWhatTheHistorySaysAndNothingElse) {
  given_v1_is_deployed();
  DeployRequest back = request(site("v2"));
  ASSERT_TRUE(deploy(back));
  settle();
  back.candidate.rollback_of = 1;
  back.candidate.site = "another";
  const auto refused = deploy(back);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), ErrorCode::stale);
  back.candidate = *core->rollback_candidate(1);
  EXPECT_TRUE(deploy(back));
}

TEST_F(ControllerCore, ARollbackTakesHostsAlongThatHaveJoinedSince) {
  given_v1_is_deployed(2);
  Model v2 = site("v2", 4);
  hosts_join(v2);
  ASSERT_TRUE(deploy(request(v2)));
  settle();
  DeployRequest back = request(v2);
  back.candidate = *core->rollback_candidate(0);
  EXPECT_EQ(back.candidate.services.at("app").hosts,
            (std::vector<std::string>{"w1", "w2", "w3", "w4"}));
  ASSERT_TRUE(deploy(back));
  settle();
  for (const std::string host : {"w1", "w4"}) EXPECT_EQ(version_on(host, "app"), "v1") << host;
}

TEST_F(ControllerCore, ARollbackKeepsTheChoiceOfHostsAndLeavesOutThoseThatAreGone) {
  const auto chosen = [](const std::string& version, const std::vector<std::string>& hosts,
                         const std::vector<std::string>& all) {
    Model model;
    for (const std::string& host : all) model.host(host, "web");
    model.service("app", "web", version, {}, hosts);
    return model;
  };
  const Model v1 = chosen("v1", {"w1", "w2"}, {"w1", "w2", "w3"});
  hosts_join(v1);
  ASSERT_TRUE(deploy(request(v1)));
  settle();
  const Model v2 = chosen("v2", {"w2", "w4"}, {"w2", "w3", "w4"});
  hosts_join(v2);
  DeployRequest next = request(v2);
  next.allow_shrink = true;
  ASSERT_TRUE(deploy(next));
  settle();
  const auto back = core->rollback_candidate(0);
  ASSERT_TRUE(back);
  EXPECT_EQ(back->services.at("app").hosts, (std::vector<std::string>{"w2", "w4"}));
  EXPECT_FALSE(back->hosts.contains("w1"));
}

TEST_F(ControllerCore, ARollbackBringsAGivenUpClassBackOrSaysThatItsHostsAreGone) {
  given_v1_is_deployed(2);
  Model renamed;
  renamed.host("w1", "front").host("w2", "front").host("d1", "db");
  renamed.service("app", "front", "v2").service("cron", "db", "v1");
  ASSERT_TRUE(deploy(request(renamed)));
  settle();
  const auto back = core->rollback_candidate(0);
  ASSERT_TRUE(back) << render_error(back.error());
  EXPECT_EQ(back->classes.at("web"), (std::vector<std::string>{"w1", "w2"}));
  EXPECT_EQ(back->hosts.at("w1").classes, (std::vector<std::string>{"front", "web"}));
  Model elsewhere;
  elsewhere.host("x1", "front").host("d1", "db");
  elsewhere.service("app", "front", "v2").service("cron", "db", "v1");
  hosts_join(elsewhere);
  DeployRequest moved = request(elsewhere);
  moved.allow_shrink = true;
  ASSERT_TRUE(deploy(moved));
  settle();
  const auto gone = core->rollback_candidate(1);
  ASSERT_FALSE(gone);
  EXPECT_EQ(gone.error().code(), ErrorCode::refused);
  EXPECT_THAT(gone.error().message(), HasSubstr("the host class web, of which no host is left"));
}

}  // namespace
}  // namespace consort::controller
