// What waits until hosts let each other in, and what does not.
#include "unit/controller/access_fixture.h"

namespace consort::controller {
namespace {

using rollout::Result;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using tests::Model;

class ControllerHoldback : public ControllerAccess {
 protected:
  void d1_says(const plan::AccessReport& access) {
    plan::HostReport report = report_of("d1");
    report.facts["os.id"] = "debian";
    report.access = access;
    take(core->on_report(report, now));
  }
};

TEST_F(ControllerHoldback, ARolloutBeginsWhenThoseWhoMustLetItInDo) {
  given(site(2));
  d1_says({true, "", plan::admissions_digest(*core->target_of("d1")->admissions)});
  const Model grown = site(3);
  report("w3");
  ASSERT_TRUE(deploy(request(grown)));
  EXPECT_FALSE(core->target_of("w3").has_value()) << "d1 would not let it in yet";
  d1_says({true, "", plan::admissions_digest(*core->target_of("d1")->admissions)});
  ASSERT_TRUE(core->target_of("w3").has_value());
}

TEST_F(ControllerHoldback, ItWaitsForWhatTheTargetSaysNowNotForWhatItSaidThen) {
  Model model = site(2);
  model.generation.hosts.at("w2").address = "w2.example";
  given(model);
  d1_says({true, "", plan::admissions_digest(*core->target_of("d1")->admissions)});
  Model grown = site(3);
  grown.generation.hosts.at("w2").address = "w2.example";
  report("w3");
  const auto id = deploy(request(grown));
  ASSERT_TRUE(id);
  const Digest then = plan::admissions_digest(*core->target_of("d1")->admissions);
  says_address("w2", "10.9.9.9");
  ASSERT_THAT(let_in(), ElementsAre("10.0.0.1", "10.0.0.3", "10.9.9.9"));
  d1_says({true, "", then});
  EXPECT_FALSE(core->target_of("w3").has_value()) << "d1 is not there yet";
  d1_says({true, "", plan::admissions_digest(*core->target_of("d1")->admissions)});
  EXPECT_TRUE(core->target_of("w3").has_value());
}

TEST_F(ControllerHoldback, ItDoesNotWaitForEver) {
  given(site(2));
  d1_says({true, "", Digest()});
  const Model grown = site(3);
  report("w3");
  ASSERT_TRUE(deploy(request(grown)));
  ASSERT_TRUE(core->wake().has_value());
  now += seconds(11);
  take(core->tick(now));
  EXPECT_TRUE(core->target_of("w3").has_value());
}

// Two databases: one is upgraded while the other serves.
class ControllerSideBySide : public ControllerHoldback {
 protected:
  static Model pair(int webs, const std::string& database, plan::AccessMode mode) {
    Model model = site(webs);
    model.host("d2", "db");
    model.generation.hosts.at("d2").address = "10.0.0.12";
    model.service("db", "db", database);
    model.generation.services.at("db").endpoints["e"] = {5432, mode, {}};
    return model;
  }
};

TEST_F(ControllerSideBySide, WhoIsLetInIsNotChangedWhileSomebodyElseChangesTheService) {
  given(pair(2, "v1", plan::AccessMode::off));
  const auto upgrade = deploy(request(pair(2, "v2", plan::AccessMode::off)));
  ASSERT_TRUE(upgrade) << render_error(upgrade.error());
  const auto access = deploy(request(pair(2, "v1", plan::AccessMode::enforce)));
  ASSERT_FALSE(access) << "the upgrade would take it back when it ends";
  EXPECT_EQ(access.error().code(), ErrorCode::locked);
  EXPECT_THAT(render_error(access.error()), HasSubstr("service db is being changed by rollout"));
  settle();
  ASSERT_EQ(result_of(*upgrade), Result::done);
  ASSERT_TRUE(deploy(request(pair(2, "v2", plan::AccessMode::enforce))));
  settle();
  EXPECT_THAT(let_in(), ElementsAre("10.0.0.1", "10.0.0.2"));
}

TEST_F(ControllerSideBySide, AHostThatJoinsDoesNotWaitForTheUpgradeOfWhatItReaches) {
  given(pair(2, "v1", plan::AccessMode::enforce));
  const auto upgrade = deploy(request(pair(2, "v2", plan::AccessMode::enforce)));
  ASSERT_TRUE(upgrade) << render_error(upgrade.error());
  const Model grown = pair(3, "v1", plan::AccessMode::enforce);
  report("w3");
  ASSERT_EQ(result_of(*upgrade), Result::open);
  controller::DeployRequest join = request(grown);
  join.only = {"web"};
  const auto joined = deploy(join);
  ASSERT_TRUE(joined) << render_error(joined.error());
  settle();
  EXPECT_EQ(result_of(*upgrade), Result::done);
  EXPECT_EQ(result_of(*joined), Result::done);
  EXPECT_EQ(version_on("d1", "db"), "v2");
  EXPECT_THAT(let_in(), ElementsAre("10.0.0.1", "10.0.0.2", "10.0.0.3"));
}

TEST_F(ControllerHoldback, WhatAHostCannotEnforceIsRefusedBeforeAnythingIsTouched) {
  given(site(2, "v1", plan::AccessMode::off));
  d1_says({false, "there is no program nft on it", Digest()});
  const auto shown = core->plan(request(site(2)));
  ASSERT_TRUE(shown) << "it can be looked at all the same";
  ASSERT_EQ(shown->needs.size(), 1U);
  EXPECT_EQ(shown->needs[0].option, "") << "no word is enough";
  const Store before = store;
  const auto refused = deploy(request(site(2)));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), ErrorCode::refused);
  EXPECT_THAT(
      render_error(refused.error()),
      ::testing::AllOf(HasSubstr("host d1 cannot: there is no program nft"), HasSubstr("audit")));
  EXPECT_EQ(store, before);
  EXPECT_TRUE(core->plan(request(site(2, "v1", plan::AccessMode::audit)))->needs.empty());
  d1_says({true, "", Digest()});
  ASSERT_TRUE(deploy(request(site(2))));
  settle();
  // What was promised and is lost is a matter of health, and blocks no other deploy.
  d1_says({false, "there is no program nft on it", Digest()});
  EXPECT_TRUE(core->plan(request(site(2, "v2")))->needs.empty());
}

TEST_F(ControllerHoldback, AHostThatLeavesWhileOnlyOtherServicesAreDeployedIsLetInNoMore) {
  given(site(3));
  Model smaller = site(2);
  smaller.service("web", "web", "v2", {"db"});
  controller::DeployRequest only_db = request(smaller);
  only_db.only = {"db"};
  only_db.allow_shrink = true;
  const auto plan = core->plan(only_db).value();
  EXPECT_TRUE(plan.steps.empty());
  ASSERT_EQ(plan.access.size(), 1U);
  EXPECT_THAT(plan::access_change_text(plan.access[0]), HasSubstr("no longer from w3"));
  ASSERT_TRUE(deploy(only_db));
  settle();
  EXPECT_FALSE(core->current()->hosts.contains("w3"));
  EXPECT_THAT(core->current()->services.at("web").hosts, ElementsAre("w1", "w2"));
  EXPECT_EQ(core->current()->services.at("web").version, "v1") << "it was not asked for";
  EXPECT_THAT(let_in(), ElementsAre("10.0.0.1", "10.0.0.2"));
}

}  // namespace
}  // namespace consort::controller
