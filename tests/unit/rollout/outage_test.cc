// Joint outages: what they cover, and until when.
#include "rollout_fixture.h"

namespace consort::rollout {
namespace {

using plan::Mode;
using tests::Model;

// db with one instance, and on three web hosts app, which needs it, beside news, which does not.
class OutageTest : public RolloutTest {
 protected:
  void SetUp() override {
    policy.allow_outage = true;
    policy.max_unavailable = budget::Amount{1, false};
    for (Model* model : {&before, &after}) {
      model->host("d1", "db").host("w1", "web").host("w2", "web").host("w3", "web");
      const std::string version = model == &before ? "v1" : "v2";
      model->service("db", "db", version).service("app", "web", version, {"db"});
      model->service("news", "web", version);
    }
    observed = before.running();
    begin();
  }
  // Hosts on which news is being changed at this moment.
  [[nodiscard]] int news_under_way() const {
    return static_cast<int>(std::count_if(
        sent.begin(), sent.end(), [](const auto& item) { return item.first.first == "news"; }));
  }
  [[nodiscard]] bool runs(const std::string& service, const std::string& host) const {
    const auto& applied = observed.at(host).instances.at(service).applied;
    return applied && applied->mode == Mode::running;
  }
};

TEST_F(OutageTest, I11_WhatItDoesNotNameIsChangedBySlotsAsEver) {
  while (rollout.result == Result::open) {
    EXPECT_LE(news_under_way(), 1);
    EXPECT_LE(budget::paying_holders(budgets.at("web")), 1);
    ASSERT_GT(answer(), 0);
  }
  EXPECT_EQ(rollout.result, Result::done);
}

TEST_F(OutageTest, I11_WhatCouldNotBeStoppedIsChangedBySlotsToo) {
  policy.max_failures = {3, false};
  sent.clear();
  budgets.clear();
  begin();
  answer({"w1", "w2", "w3"});  // app goes on there
  while (rollout.result == Result::open) {
    const auto changing = std::count_if(sent.begin(), sent.end(), [&](const auto& item) {
      return item.first.first == "app" &&
             item.second.wanted != observed.at(item.first.second).instances.at("app").applied;
    });
    EXPECT_LE(changing, 1);
    if (answer() == 0) break;
  }
}

TEST_F(OutageTest, DoesNotBeginWhileItsProviderCouldNotGetItsSlot) {
  sent.clear();
  budgets.clear();
  budgets["db"].paused = true;
  begin();
  const auto is_told = [&](std::string_view service) {
    return std::any_of(sent.begin(), sent.end(),
                       [&](const auto& item) { return item.first.first == service; });
  };
  EXPECT_FALSE(is_told("app")) << "nobody is stopped in vain";
  EXPECT_FALSE(budgets["web"].joint);
  budgets["db"].paused = false;
  go();
  while (rollout.result == Result::open) ASSERT_GT(answer(), 0);
  EXPECT_EQ(rollout.result, Result::done);
}

TEST_F(OutageTest, EndsInTimeAlsoWhereNoSlotComesFree) {
  policy.step_timeout = minutes(1);
  sent.clear();
  budgets.clear();
  begin();
  // Somebody else holds what the provider needs, and does not give it back.
  budgets["db"].holders["d9"] = {{"reboot", {now, "kernel"}}};
  for (int i = 0; i < 20 && rollout.result == Result::open; ++i) {
    while (answer() > 0) {
    }
    now += minutes(1);
    go();
  }
  EXPECT_NE(rollout.result, Result::open) << "app would stay stopped";
  for (const std::string host : {"w1", "w2", "w3"}) EXPECT_TRUE(runs("app", host)) << host;
}

TEST_F(OutageTest, IsHeldUntilWhatWasStoppedForItIsBack) {
  bool stopped = false;
  while (rollout.result == Result::open) {
    for (const std::string host : {"w1", "w2", "w3"}) {
      if (runs("app", host)) continue;
      stopped = true;
      const auto& joint = budgets.at("web").joint;
      EXPECT_TRUE(joint && joint->hosts.contains(host)) << host;
    }
    ASSERT_GT(answer(), 0);
  }
  EXPECT_TRUE(stopped);
  EXPECT_EQ(rollout.result, Result::done);
  EXPECT_FALSE(budgets.at("web").joint);
}

}  // namespace
}  // namespace consort::rollout
