// The agent's core, driven as the shell drives it: every answer is ok unless a test says otherwise.
#include "agent/core.h"

#include <gtest/gtest.h>

namespace consort::agent {
namespace {

using plan::Mode;

class CoreTest : public ::testing::Test {
 protected:
  CoreTest() : core(Core::restore({}).value()) {}

  plan::Manifest manifest(std::int64_t data_version = 0) {
    plan::Manifest out;
    out.service = "shop";
    out.data_version = data_version;
    out.daemon = Json::object({{"argv", Json::Array{"shop"}}});
    out.hooks["contract"].argv = {"contract"};
    out.hooks["contract"].scope = plan::Hook::Scope::service;
    return out;
  }

  // Performs all that is asked for; what is written lands in `disk`.
  void carry_out(Output output) {
    for (const auto& [key, value] : output.writes) {
      if (value) {
        disk[key] = *value;
      } else {
        disk.erase(key);
      }
    }
    for (const Work& item : output.work) {
      if (const auto* load = std::get_if<LoadManifests>(&item)) {
        std::map<Digest, plan::Manifest> found;
        for (const Digest& digest : load->digests) found.emplace(digest, known.at(digest));
        carry_out(core.on_manifests(load->service, found));
      } else {
        const auto& step = std::get<PerformStep>(item);
        performed.emplace_back(step.order.token);
        transition::StepResult result;
        const auto it = answers.find(step.order.step);
        if (it != answers.end()) result.status = it->second;
        carry_out(core.on_step(step.service, step.order.token, result));
      }
    }
  }
  void want(const std::optional<plan::InstanceState>& state,
            const std::optional<plan::Duty>& duty = std::nullopt) {
    plan::Target target = core.target();
    target.epoch = 1;
    ++target.seq;
    plan::TargetEntry entry;
    entry.wanted = state;
    entry.attempt = "r" + std::to_string(target.seq);
    entry.duty = duty;
    target.instances["shop"] = entry;
    carry_out(core.on_target(target).value());
  }
  plan::InstanceState publish(const plan::Manifest& m) {
    const Digest digest = Digest::of(std::to_string(known.size()));
    known.emplace(digest, m);
    return {digest, Mode::running};
  }
  plan::Duty duty(const std::string& token, const Digest& owner) {
    plan::Duty out;
    out.hook = "contract";
    out.direction = "up";
    out.token = token;
    out.owner = out.to = owner;
    return out;
  }
  const Instance& shop() const { return core.instances().at("shop"); }
  void restart() { core = Core::restore(disk).value(); }

  Core core;
  Store disk;
  std::map<Digest, plan::Manifest> known;
  std::map<transition::Step, transition::StepStatus> answers;
  std::vector<std::string> performed;
};

TEST_F(CoreTest, AnAttemptWithNothingToDoMakesNoSickServiceHealthy) {
  const plan::InstanceState one = publish(manifest());
  want(one);
  ASSERT_EQ(shop().health, plan::Health::healthy);
  carry_out(core.on_health("shop", plan::Health::unhealthy, "it coughs"));
  want(one);
  EXPECT_EQ(shop().outcome->result, plan::Outcome::Result::done);
  EXPECT_EQ(shop().health, plan::Health::unhealthy);
  EXPECT_EQ(shop().health_reason, "it coughs");
  // Also a change that is refused before it touches anything.
  answers[transition::Step::preflight] = transition::StepStatus::failed;
  want(publish(manifest()));
  EXPECT_EQ(shop().outcome->result, plan::Outcome::Result::reverted);
  EXPECT_EQ(shop().health, plan::Health::unhealthy);
}

TEST_F(CoreTest, OfManyDutiesTheOldestAreForgottenAndNeverTheOneThatIsAskedFor) {
  const plan::InstanceState one = publish(manifest());
  want(one);
  // Given tokens whose alphabetical order is the reverse of their age,
  for (int i = 0; i < 40; ++i) {
    want(one, duty("d" + std::to_string(99 - i), one.manifest));
    restart();
    carry_out(core.start());
  }
  EXPECT_EQ(shop().duties.size(), 32U);
  EXPECT_TRUE(shop().duties.contains("d60")) << "the newest, first in the alphabet, is known";
  EXPECT_FALSE(shop().duties.contains("d99"));
  const auto runs = std::count(performed.begin(), performed.end(), "d60");
  carry_out(core.retry());
  EXPECT_EQ(std::count(performed.begin(), performed.end(), "d60"), runs) << "done is done";
}

TEST_F(CoreTest, WhatHasGoneWithoutATraceNeedsNoRecord) {
  want(publish(manifest()));
  want(std::nullopt);
  EXPECT_TRUE(disk.contains("instances/shop")) << "the target still asks how it ended";
  plan::Target target = core.target();
  ++target.seq;
  target.instances.clear();
  carry_out(core.on_target(target).value());
  EXPECT_FALSE(disk.contains("instances/shop"));
  EXPECT_FALSE(core.instances().contains("shop"));
}

TEST_F(CoreTest, WhatLeftDataIsRememberedForTheNextInstallation) {
  want(publish(manifest(3)));
  want(std::nullopt);
  plan::Target target = core.target();
  ++target.seq;
  target.instances.clear();
  carry_out(core.on_target(target).value());
  EXPECT_TRUE(disk.contains("instances/shop"));
  restart();
  carry_out(core.start());
  EXPECT_TRUE(core.instances().contains("shop"));
}

TEST_F(CoreTest, WhatIsOwedOutlivesTheAgentAndComesBeforeADuty) {
  plan::Manifest two = manifest(2);
  two.hooks["migrate"].argv = {"migrate"};
  const plan::InstanceState v1 = publish(manifest(1));
  want(v1);
  answers[transition::Step::migrate] = transition::StepStatus::dirty;
  answers[transition::Step::migrate_back] = transition::StepStatus::failed;
  const plan::InstanceState v2 = publish(two);
  want(v2);
  ASSERT_EQ(shop().outcome->result, plan::Outcome::Result::inconsistent);
  restart();
  carry_out(core.start());
  EXPECT_TRUE(core.manifests_in_use().contains(v2.manifest)) << "its hook knows the way back";
  performed.clear();
  want(v1, duty("d1", v1.manifest));
  EXPECT_EQ(shop().duties.at("d1").result, plan::Outcome::Result::inconsistent);
  EXPECT_EQ(performed,
            (std::vector<std::string>{"d1/shop/migrate_back/mend", "r3/shop/migrate_back/mend"}));
  // When it is paid, the attempt goes on where it would have begun.
  answers.clear();
  want(v1);
  EXPECT_EQ(shop().outcome->result, plan::Outcome::Result::done);
  EXPECT_EQ(shop().applied->mode, Mode::running);
  EXPECT_FALSE(shop().owed);
}

TEST_F(CoreTest, ADutyIsAHookOfScopeServiceOrIsRefusedOnce) {
  plan::Manifest two = manifest();
  two.hooks["migrate"].argv = {"migrate"};
  const plan::InstanceState state = publish(two);
  want(state);
  performed.clear();
  plan::Duty wrong = duty("d1", state.manifest);
  wrong.hook = "migrate";  // of each instance, not of the service
  want(state, wrong);
  EXPECT_EQ(shop().duties.at("d1").result, plan::Outcome::Result::failed);
  wrong.token = "d2";
  wrong.hook = "nothing";
  want(state, wrong);
  EXPECT_EQ(shop().duties.at("d2").result, plan::Outcome::Result::failed);
  EXPECT_TRUE(performed.empty());
}

TEST_F(CoreTest, ADamagedRecordConcernsItsServiceAlone) {
  // Given a host with two services, of which one record is damaged while the agent is away,
  const plan::InstanceState state = publish(manifest(1));
  want(state);
  disk["instances/other"] = disk.at("instances/shop");
  const std::string half = disk.at("instances/shop").substr(0, 40);
  disk["instances/shop"] = half;
  performed.clear();
  // when the agent starts again and gets a new target,
  restart();
  carry_out(core.start());
  want(publish(manifest(1)));
  // then the other service is known, nothing of the damaged one is done, and its file is as it was;
  EXPECT_TRUE(core.instances().contains("other"));
  EXPECT_TRUE(performed.empty());
  EXPECT_EQ(disk.at("instances/shop"), half);
  // whoever waits for the attempt learns what is wrong, where, and what to do.
  const plan::InstanceReport report = core.report().instances.at("shop");
  EXPECT_EQ(report.health, plan::Health::unhealthy);
  EXPECT_EQ(report.outcome->attempt, "r2");
  EXPECT_EQ(report.outcome->result, plan::Outcome::Result::inconsistent);
  EXPECT_NE(report.outcome->message.find("state/instances/shop.json"), std::string::npos);
  EXPECT_NE(report.outcome->message.find("remove the file"), std::string::npos);
  // When the operator has removed it, the service comes anew, and its data are not set up again.
  disk.erase("instances/shop");
  for (auto& [digest, m] : known) m.hooks["setup"].argv = {"setup"};
  carry_out(core.on_record_removed("shop", true));
  EXPECT_EQ(shop().outcome->result, plan::Outcome::Result::done);
  EXPECT_TRUE(core.damaged().empty());
  EXPECT_TRUE(disk.contains("instances/shop"));
  for (const std::string& token : performed) EXPECT_EQ(token.find("setup"), std::string::npos);
}

TEST_F(CoreTest, ADamagedTargetSaysThatItCanBeDeleted) {
  const auto broken = Core::restore({{"target", "{"}});
  ASSERT_FALSE(broken);
  EXPECT_NE(broken.error().hint_text().find("delete that file"), std::string::npos);
}

}  // namespace
}  // namespace consort::agent
