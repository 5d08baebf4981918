// What the controller decides for its operators: deploys, locks, stale plans.
#include "unit/controller/core_fixture.h"

namespace consort::controller {
namespace {

using rollout::Result;
using ::testing::AllOf;
using ::testing::Contains;
using ::testing::HasSubstr;
using tests::Model;

TEST_F(ControllerCore, ADeployBringsEveryHostToTheNewGeneration) {
  given_v1_is_deployed();
  EXPECT_EQ(version_on("w3", "app"), "v1");
  ASSERT_NE(core->current(), nullptr);
  EXPECT_EQ(core->current()->number, 1U);
  EXPECT_EQ(core->current()->by, "ada");
  EXPECT_TRUE(core->budgets().at("web").holders.empty());
}

TEST_F(ControllerCore, WhoUsesAManifestIsKnownUntilTheLastHostIsRidOfIt) {
  given_v1_is_deployed();
  const std::set<Digest> v1 = {core->current()->services.at("app").manifest};
  const std::set<std::string> all = {"w1", "w2", "w3"};
  EXPECT_EQ(core->users_of(v1), (std::map<std::string, std::set<std::string>>{{"app", all}}));
  agents["w3"].down = true;
  take(core->on_silence("w3", now));
  Model after = site("v2");
  after.generation.policy.max_failures = {1, false};
  after.generation.policy.max_unavailable = budget::Amount{2, false};
  const auto id = deploy(request(after));
  ASSERT_TRUE(id) << render_error(id.error());
  const std::set<Digest> v2 = {after.generation.services.at("app").manifest};
  EXPECT_TRUE(core->wants_one_of("app", v2)) << "an open rollout brings it";
  EXPECT_TRUE(core->manifests_in_use().contains(*v2.begin()));
  EXPECT_EQ(core->users_of(v2).at("app"), all);
  settle();
  ASSERT_EQ(result_of(*id), Result::partial);
  EXPECT_FALSE(core->wants_one_of("app", v1));
  EXPECT_EQ(core->users_of(v1), (std::map<std::string, std::set<std::string>>{{"app", {"w3"}}}))
      << "w3 is away, and still has it";
}

TEST_F(ControllerCore, WhereNobodyMayBeAwayADeployIsRefusedInsteadOfWaitingForEver) {
  given_v1_is_deployed();
  Model after = site("v2");
  after.generation.policy.max_unavailable = budget::Amount{0, false};
  const auto id = deploy(request(after));
  ASSERT_FALSE(id);
  EXPECT_THAT(render_error(id.error()), HasSubstr("none of the 3 hosts of web may be away"));
}

TEST_F(ControllerCore, AVersionThatAHostHasTriedAndLeftIsNotUsedThereAnyMore) {
  given_v1_is_deployed();
  // Given a version that fails on a host, which goes back by itself, and a policy that halts then,
  Model v2 = site("v2");
  v2.generation.policy.on_failure = plan::OnFailure::halt;
  for (const std::string host : {"w1", "w2", "w3"}) agents[host].failing = {"v2"};
  const auto id = deploy(request(v2));
  ASSERT_TRUE(id) << render_error(id.error());
  const std::set<Digest> tried = {v2.generation.services.at("app").manifest};
  settle();
  ASSERT_EQ(result_of(*id), Result::inconsistent);
  ASSERT_EQ(version_on("w1", "app"), "v1");
  ASSERT_EQ(core->target_of("w1")->instances.at("app").wanted->manifest, *tried.begin())
      << "the target still says it: nothing has come after it";
  // then nobody uses it, and what it used can be removed.
  EXPECT_TRUE(core->users_of(tried).empty());
  // A host that has not answered may be at it.
  agents["w1"].failing.clear();
  ASSERT_TRUE(deploy(request(v2)));
  agents["w1"].down = true;
  EXPECT_TRUE(core->users_of(tried).at("app").contains("w1"));
}

TEST_F(ControllerCore, AServiceWithoutHostsUsesNothing) {
  // Given a service on a class that is empty,
  Model model = site("v1");
  model.generation.classes["spare"] = {};
  model.service("idle", "spare", "v1");
  hosts_join(model);
  const auto id = deploy(request(model));
  ASSERT_TRUE(id) << render_error(id.error());
  settle();
  ASSERT_TRUE(core->current()->services.contains("idle"));
  ASSERT_TRUE(core->current()->services.at("idle").hosts.empty());
  // then it is nobody's hindrance: a site without it is an empty plan, which makes no generation.
  EXPECT_TRUE(core->users_of({core->current()->services.at("idle").manifest}).empty());
}

TEST_F(ControllerCore, S34_DeployingTheSameAgainStartsNoRolloutAndNoGeneration) {
  given_v1_is_deployed();
  const auto again = deploy(request(site("v1")));
  ASSERT_TRUE(again);
  EXPECT_EQ(*again, "");
  EXPECT_EQ(core->generations().size(), 1U);
  EXPECT_EQ(core->rollouts().size(), 1U);
}

TEST_F(ControllerCore, S32_AStalePlanIsRefusedAndSaysWhatCameBetween) {
  given_v1_is_deployed();
  DeployRequest mine = request(site("v2"));
  const auto seen = core->plan(mine);
  ASSERT_TRUE(seen);
  mine.expect = seen->inputs;
  ASSERT_TRUE(deploy(request(site("v3"))));
  settle();
  const auto refused = deploy(mine);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), ErrorCode::stale);
  EXPECT_THAT(refused.error().message(), HasSubstr("generation 2, deployed by ada"));
  EXPECT_EQ(version_on("w1", "app"), "v3");
}

TEST_F(ControllerCore, S32_APlanStaysFreshWhenSomethingElseWasDeployed) {
  given_v1_is_deployed();
  DeployRequest mine = request(site("v2"));
  mine.only = {"app"};
  mine.expect = core->plan(mine)->inputs;
  Model other = site("v1");
  other.service("cron", "db", "v2");
  ASSERT_TRUE(deploy(request(other)));
  settle();
  const auto id = deploy(mine);
  ASSERT_TRUE(id) << render_error(id.error());
  settle();
  EXPECT_EQ(version_on("w1", "app"), "v2");
  EXPECT_EQ(version_on("d1", "cron"), "v2") << "what others deployed stays";
}

TEST_F(ControllerCore, S33_ASecondDeployOfTheSameServiceSaysWhoHoldsIt) {
  given_v1_is_deployed();
  ASSERT_TRUE(deploy(request(site("v2"))));
  const auto second = deploy(request(site("v3")));
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code(), ErrorCode::locked);
  EXPECT_THAT(second.error().message(),
              HasSubstr("app is being changed by rollout r000002 of ada"));
  EXPECT_THAT(second.error().message(), HasSubstr("since 2023-11-14"));
  EXPECT_THAT(second.error().message(), HasSubstr("(for the test)"));
  EXPECT_THAT(second.error().hint_text(), HasSubstr("consort rollout abort r000002"));
}

TEST_F(ControllerCore, APlanThatIsTooLargeToBeKeptIsRefusedBeforeAnythingIsTouched) {
  const Model fleet = site("v1");
  hosts_join(fleet);
  // Given services that take much of what the inventory says of their hosts,
  Model large = site("v1");
  large.generation.hosts.at("d1").labels["much"] = std::string(6000, 'm');
  for (const char* name : {"cron", "mail"}) {
    large.service(name, "db", "v1");
    large.generation.services.at(name).host_values = {"labels.much"};
  }
  const Store before = store;
  DeployRequest all = request(large);
  all.most_bytes = 12'000;
  const auto refused = deploy(all);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), ErrorCode::too_large);
  EXPECT_THAT(render_error(refused.error()),
              ::testing::AllOf(HasSubstr("the plan would be"), HasSubstr("--only")));
  EXPECT_EQ(store, before);
  // then they are deployed one after the other.
  DeployRequest one = all;
  one.only = {"cron"};
  const auto id = deploy(one);
  ASSERT_TRUE(id) << render_error(id.error());
  restart();
  EXPECT_TRUE(core->rollouts().contains(*id));
}

TEST_F(ControllerCore, RolloutsOfDifferentServicesRunSideBySide) {
  given_v1_is_deployed();
  DeployRequest app = request(site("v2"));
  app.only = {"app"};
  const auto first = deploy(app);
  ASSERT_TRUE(first);
  Model other = site("v1");
  other.service("cron", "db", "v2");
  DeployRequest cron = request(other);
  cron.only = {"cron"};
  const auto second = deploy(cron);
  ASSERT_TRUE(second) << render_error(second.error());
  settle();
  EXPECT_EQ(result_of(*first), Result::done);
  EXPECT_EQ(result_of(*second), Result::done);
  EXPECT_EQ(version_on("w2", "app"), "v2");
  EXPECT_EQ(version_on("d1", "cron"), "v2");
}

TEST_F(ControllerCore, WhilePausedNothingIsStartedAndResumingGoesOn) {
  given_v1_is_deployed();
  const auto id = deploy(request(site("v2")));
  ASSERT_TRUE(id);
  ASSERT_TRUE(control(*id, Core::Control::pause));
  settle();
  EXPECT_EQ(result_of(*id), Result::open);
  EXPECT_EQ(version_on("w3", "app"), "v1");
  // Said again, it changes nothing and is not told again.
  const std::size_t before = told.size();
  ASSERT_TRUE(control(*id, Core::Control::pause));
  EXPECT_EQ(told.size(), before);
  ASSERT_TRUE(control(*id, Core::Control::resume));
  settle();
  EXPECT_EQ(result_of(*id), Result::done);
  EXPECT_THAT(render_error(control(*id, Core::Control::resume).error()),
              HasSubstr("consort rollout show " + *id));
}

TEST_F(ControllerCore, AnAbortedRolloutGoesBackAndChangesNoGeneration) {
  given_v1_is_deployed();
  const auto id = deploy(request(site("v2")));
  ASSERT_TRUE(id);
  agents_act();
  EXPECT_EQ(version_on("w1", "app"), "v2");
  ASSERT_TRUE(control(*id, Core::Control::abort));
  settle();
  EXPECT_EQ(result_of(*id), Result::reverted);
  EXPECT_EQ(version_on("w1", "app"), "v1");
  EXPECT_EQ(core->current()->number, 1U);
  const auto again = control(*id, Core::Control::abort);
  ASSERT_FALSE(again);
  EXPECT_THAT(again.error().message(), HasSubstr("has ended already: reverted"));
}

TEST_F(ControllerCore, WhoSteersARolloutIsTold) {
  given_v1_is_deployed();
  const auto id = deploy(request(site("v2")));
  ASSERT_TRUE(id);
  agents_act();
  ASSERT_TRUE(control(*id, Core::Control::pause));
  ASSERT_TRUE(control(*id, Core::Control::resume));
  ASSERT_TRUE(control(*id, Core::Control::abort));
  settle();
  EXPECT_THAT(texts, AllOf(Contains("paused by adm"), Contains("resumed by adm"),
                           Contains("aborted by adm"), Contains("aborted by adm: going back")));
  EXPECT_EQ(rollout::first_failure(core->rollouts().at(*id)), "aborted by adm");
}

TEST_F(ControllerCore, S10_AFailingUpgradeIsRevertedAndTheGenerationStays) {
  given_v1_is_deployed();
  agents["w2"].failing = {"v2"};
  const auto id = deploy(request(site("v2")));
  ASSERT_TRUE(id);
  settle();
  EXPECT_EQ(result_of(*id), Result::reverted);
  for (const std::string host : {"w1", "w2", "w3"}) EXPECT_EQ(version_on(host, "app"), "v1");
  EXPECT_EQ(core->current()->number, 1U);
  EXPECT_TRUE(core->budgets().at("web").holders.empty());
}

TEST_F(ControllerCore, S10_AFailingFirstInstallLeavesNothingAndRecordsNothing) {
  const Model v1 = site("v1");
  hosts_join(v1);
  agents["w2"].failing = {"v1"};
  const auto id = deploy(request(v1));
  ASSERT_TRUE(id);
  settle();
  EXPECT_EQ(result_of(*id), Result::reverted);
  EXPECT_EQ(version_on("w1", "app"), "nothing");
  EXPECT_EQ(core->current(), nullptr);
}

}  // namespace
}  // namespace consort::controller
