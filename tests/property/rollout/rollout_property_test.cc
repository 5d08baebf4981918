// Rollouts of generated plans over a fleet that fails in generated ways (the ids are those of the
// invariants in docs/testing.md). Each property looks at the same stories for another reason.
#include "property/rollout/fleet_model.h"

namespace consort::rollout {
namespace {

using tests::any_faults;
using tests::any_release;
using tests::any_site;
using tests::FaultSchedule;
using tests::FleetModel;
using tests::Instances;
using tests::instances_of;
using tests::Model;
using tests::Planning;
using tests::Release;
using tests::SiteSpec;
using tests::Variety;

struct Story {
  explicit Story(Variety variety) : release(*any_release(site, variety)) {
    if (variety == Variety::everything && tests::draw_chance(30)) first = tests::nothing(site);
    before = tests::build(site, first);
  }

  SiteSpec site = *any_site();
  Release release;
  Release first = tests::first_release(site);
  Model before;
  Model after = tests::build(site, release);

  [[nodiscard]] plan::Plan plan() const {
    auto made = Planning{.before = &before, .after = &after, .allow_unsafe_removal = true}.plan();
    RC_PRE(made.has_value());
    RC_PRE(!made->empty());
    return std::move(*made);
  }
};

void expect_no_violations(const FleetModel& fleet) {
  if (fleet.violations().empty()) return;
  RC_LOG() << fleet.trace();
  RC_FAIL(fleet.violations().front());
}

// I1, I2 and I11 at every instant; every rollout comes to an end, and once nobody is at work any
// more, nobody holds a slot.
RC_GTEST_PROP(RolloutProperty, I1_I2_I11_HoldAtEveryInstantWhateverFails, ()) {
  const Story story(Variety::everything);
  FleetModel fleet(story.before, story.after, story.plan(), *any_faults(story.before, story.after));
  const bool ended = fleet.run();
  expect_no_violations(fleet);
  if (!ended) RC_LOG() << fleet.trace();
  RC_ASSERT(ended);
  for (const auto& [name, budget] : fleet.budgets()) {
    RC_ASSERT(budget.holders.empty());
    RC_ASSERT(!budget.joint.has_value());
  }
}

RC_GTEST_PROP(RolloutProperty, WithoutFaultsEveryRolloutIsDone, ()) {
  const Story story(Variety::everything);
  FleetModel fleet(story.before, story.after, story.plan(), {});
  const bool ended = fleet.run();
  if (!ended || fleet.rollout().result != Result::done) RC_LOG() << fleet.trace();
  RC_ASSERT(ended);
  RC_ASSERT(fleet.rollout().result == Result::done);
  RC_ASSERT(fleet.real() == instances_of(story.after.running()));
  expect_no_violations(fleet);
}

RC_GTEST_PROP(RolloutProperty, I5_AfterAnyEndEachInstanceIsOldOrNewAndTheRecordIsTrue, ()) {
  const Story story(Variety::upgrades);
  FleetModel fleet(story.before, story.after, story.plan(), *any_faults(story.before, story.after));
  RC_ASSERT(fleet.run());
  RC_CLASSIFY(fleet.rollout().result == Result::done, "done");
  RC_CLASSIFY(fleet.rollout().result == Result::partial, "partial");
  RC_CLASSIFY(fleet.rollout().result == Result::reverted, "reverted");
  RC_CLASSIFY(fleet.rollout().result == Result::inconsistent, "inconsistent");
  const Instances old_state = instances_of(story.before.running());
  const Instances new_state = instances_of(story.after.running());
  const Instances real = fleet.real();
  RC_ASSERT(real.size() == old_state.size());
  for (const auto& [key, state] : real)
    RC_ASSERT(state.manifest == old_state.at(key).manifest ||
              state.manifest == new_state.at(key).manifest);
  if (fleet.rollout().result == Result::reverted && real != old_state) {
    RC_LOG() << fleet.trace();
    RC_FAIL("the record says reverted");
  }
  if (fleet.rollout().result == Result::done && real != new_state) {
    RC_LOG() << fleet.trace();
    RC_FAIL("the record says done");
  }
  if (fleet.rollout().result == Result::partial) {
    std::set<std::pair<std::string, std::string>> tail;
    for (const plan::Step& step : open_tail(fleet.rollout())) tail.emplace(step.service, step.host);
    RC_ASSERT(!tail.empty());
    for (const auto& [key, state] : new_state) {
      if (!tail.contains(key)) RC_ASSERT(real.at(key) == state);
    }
  }
}

RC_GTEST_PROP(RolloutProperty, I10_ServicesThatThePlanDoesNotNameHearNothing, ()) {
  const Story story(Variety::upgrades);
  const plan::Plan plan = story.plan();
  const std::set<std::string> named = plan.services();
  FleetModel fleet(story.before, story.after, plan, *any_faults(story.before, story.after));
  RC_ASSERT(fleet.run());
  for (const std::string& service : fleet.touched()) RC_ASSERT(named.contains(service));
}

}  // namespace
}  // namespace consort::rollout
