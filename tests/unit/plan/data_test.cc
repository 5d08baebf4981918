// What a plan does to data: migrations, and removals that would lose it.
#include <gmock/gmock.h>

#include "plan/plan.h"
#include "unit/plan/two_hosts.h"

namespace consort::plan {
namespace {

using ::testing::HasSubstr;
using tests::Model;
using tests::Planning;
using tests::story;

TEST(Plan, S20_RemovingTheLastHolderOfDataIsRefused) {
  Model before = two_hosts();
  Manifest db = before.manifest("db", "v1");
  db.data_version = 1;
  before.service(db, "a").service("web", "b", "v1");
  Model after = two_hosts();
  after.service("web", "b", "v1");
  const auto shown = Planning{.before = &before, .after = &after}.plan();
  ASSERT_TRUE(shown);
  const Status refused = check_permitted(*shown);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), ErrorCode::refused);
  EXPECT_THAT(refused.error().hint_text(), HasSubstr("--allow-unsafe-removal"));
  EXPECT_EQ(
      story(*Planning{.before = &before, .after = &after, .allow_unsafe_removal = true}.plan()),
      "remove db@h1");
}

TEST(Plan, S20_RemovingOneOfSeveralHoldersOfDataIsNoLoss) {
  const auto site = [](std::vector<std::string> hosts) {
    Model model;
    model.host("d1", "db").host("d2", "db");
    Manifest db = model.manifest("db", "v1");
    db.data_version = 1;
    model.service(db, "db", {}, std::move(hosts));
    return model;
  };
  const Model before = site({"d1", "d2"});
  const Model after = site({"d1"});
  const auto plan = Planning{.before = &before, .after = &after}.plan();
  ASSERT_TRUE(plan) << render_error(plan.error());
  EXPECT_EQ(story(*plan), "remove db@d2");
}

TEST(Plan, AServiceWideMigrationComesOnceBeforeTheFirstInstanceAndBackwardsAfterTheLast) {
  const auto site = [](const std::string& version, std::int64_t data_version) {
    Model model;
    model.host("w1", "web").host("w2", "web");
    Manifest shop = model.manifest("shop", version);
    shop.data_version = data_version;
    shop.hooks["migrate"].argv = {"migrate"};
    shop.hooks["migrate"].scope = Hook::Scope::service;
    model.service(shop, "web");
    return model;
  };
  const Model v1 = site("v1", 1);
  const Model v2 = site("v2", 2);
  const auto up = Planning{.before = &v1, .after = &v2}.plan();
  ASSERT_TRUE(up);
  EXPECT_EQ(story(*up), "duty shop@w1 | upgrade shop@w1, upgrade shop@w2");
  EXPECT_EQ(up->steps[0].duty->direction, "up");
  EXPECT_EQ(up->steps[0].duty->owner, v2.generation.services.at("shop").manifest);
  const auto down = Planning{.before = &v2, .after = &v1, .backwards = true}.plan();
  ASSERT_TRUE(down);
  EXPECT_EQ(story(*down), "upgrade shop@w1, upgrade shop@w2 | duty shop@w1");
  EXPECT_EQ(down->steps[2].duty->direction, "down");
  EXPECT_EQ(down->steps[2].duty->owner, v2.generation.services.at("shop").manifest);
}

TEST(Plan, DataGoesDownOnlyWhereTheNewerVersionKnowsTheWay) {
  const auto site = [](std::int64_t data_version, bool migrates) {
    Model model = two_hosts();
    plan::Manifest db = model.manifest("db", "v" + std::to_string(data_version));
    db.data_version = data_version;
    if (migrates) db.hooks["migrate"].argv = {"migrate"};
    model.service(std::move(db), "a");
    return model;
  };
  const Model older = site(1, true);
  const Model newer = site(2, false);
  for (const bool backwards : {false, true}) {
    const auto refused = Planning{.before = &newer, .after = &older, .backwards = backwards}.plan();
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code(), ErrorCode::refused);
    EXPECT_THAT(refused.error().message(), HasSubstr("from data version 2 to 1"));
    EXPECT_THAT(refused.error().hint_text(), HasSubstr("restore a backup"));
  }
  EXPECT_TRUE((Planning{.before = &older, .after = &newer}.plan())) << "up is another matter";
  const Model knows = site(2, true);
  EXPECT_TRUE((Planning{.before = &knows, .after = &older, .backwards = true}.plan()));
}

TEST(Hooks, ASnapshotOfARunningServiceNeedsAFence) {
  Manifest db;
  db.service = "db";
  db.hooks["backup"].argv = {"copy"};
  db.hooks["backup"].while_running = true;
  EXPECT_TRUE(check_hooks(db)) << "it is never run: there are no data";
  db.data_version = 1;
  const Status refused = check_hooks(db);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), ErrorCode::invalid_input);
  EXPECT_THAT(refused.error().message(), HasSubstr("needs a drain hook"));
  db.hooks["drain"].argv = {"fence"};
  EXPECT_TRUE(check_hooks(db));
  db.hooks.erase("drain");
  db.hooks["backup"].while_running = false;
  EXPECT_TRUE(check_hooks(db)) << "it is taken after the stop";
}

}  // namespace
}  // namespace consort::plan
