// What every plan must keep, over generated sites and releases (the ids are those of the
// invariants in docs/testing.md).
#include "fixtures/sites.h"

namespace consort::plan {
namespace {

using tests::any_release;
using tests::any_site;
using tests::build;
using tests::Instances;
using tests::instances_of;
using tests::Model;
using tests::Planning;
using tests::Release;
using tests::SiteSpec;
using tests::Variety;

// From `before` (as the first release runs) to a release that may do anything.
struct Upgrade {
  SiteSpec site = *any_site();
  Release release = *any_release(site, Variety::everything);
  Release first = tests::draw_chance(15) ? tests::nothing(site) : tests::first_release(site);
  Model before = build(site, first);
  Model after = build(site, release);

  [[nodiscard]] Planning planning() const {
    return {.before = &before, .after = &after, .allow_unsafe_removal = true};
  }

  // The plan, or nothing where the policy forbids this order of groups.
  [[nodiscard]] std::optional<Plan> plan(const Planning& planning) const {
    auto made = planning.plan();
    if (!made) {
      const bool forbidden =
          made.error().code() == ErrorCode::refused && !site.policy.one_at_a_time.empty();
      if (!forbidden) RC_FAIL(render_error(made.error()));
      return std::nullopt;
    }
    return std::move(*made);
  }

  [[nodiscard]] Plan need_plan() const {
    auto made = plan(planning());
    RC_PRE(made.has_value());
    return std::move(*made);
  }
};

std::int64_t running(const Observed& observed, const std::string& service) {
  std::int64_t count = 0;
  for (const auto& [host, seen] : observed) {
    const auto it = seen.instances.find(service);
    if (it != seen.instances.end() && it->second.applied &&
        it->second.applied->mode == Mode::running)
      ++count;
  }
  return count;
}

RC_GTEST_PROP(PlanProperty, BringsEveryInstanceWhereTheSiteWantsIt, ()) {
  const Upgrade upgrade;
  const Plan plan = upgrade.need_plan();
  Observed observed = upgrade.before.running();
  tests::perform(plan, observed);
  RC_ASSERT(instances_of(observed) == instances_of(upgrade.after.running()));
}

RC_GTEST_PROP(PlanProperty, I8_ThePlanOfWhatWasDeployedIsEmpty, ()) {
  const Upgrade upgrade;
  const Plan plan = upgrade.need_plan();
  Observed observed = upgrade.before.running();
  tests::perform(plan, observed);
  Planning again = upgrade.planning();
  again.before = &upgrade.after;
  again.observed = observed;
  const auto second = again.plan();
  RC_ASSERT(second.has_value());
  RC_ASSERT(second->empty());
  RC_ASSERT(second->waves.empty());
}

RC_GTEST_PROP(PlanProperty, I8_WhatIsLeftOfAPlanThatStoppedHalfWayIsPlannedAgain, ()) {
  const Upgrade upgrade;
  const Plan plan = upgrade.need_plan();
  Observed observed = upgrade.before.running();
  const auto waves = tests::draw_between<std::size_t>(0, plan.waves.size());
  for (std::size_t w = 0; w < waves; ++w) {
    for (const int id : plan.waves[w].steps)
      tests::perform(plan.steps[static_cast<std::size_t>(id)], observed);
  }
  Planning again = upgrade.planning();
  again.observed = observed;
  const auto rest = upgrade.plan(again);
  RC_PRE(rest.has_value());
  tests::perform(*rest, observed);
  RC_ASSERT(instances_of(observed) == instances_of(upgrade.after.running()));
}

RC_GTEST_PROP(PlanProperty, I9_ARollbackRestoresInstancesAndManifests, ()) {
  const Upgrade upgrade;
  const Plan plan = upgrade.need_plan();
  Observed observed = upgrade.before.running();
  tests::perform(plan, observed);
  Planning back;
  back.before = &upgrade.after;
  back.after = &upgrade.before;
  back.observed = observed;
  back.backwards = true;
  back.allow_unsafe_removal = true;
  const auto way_back = upgrade.plan(back);
  RC_PRE(way_back.has_value());
  tests::perform(*way_back, observed);
  RC_ASSERT(instances_of(observed) == instances_of(upgrade.before.running()));
}

RC_GTEST_PROP(PlanProperty, I10_NamesNoServiceThatNeedsNothing, ()) {
  const Upgrade upgrade;
  const Plan plan = upgrade.need_plan();
  std::set<std::string> may;
  const Instances old_state = instances_of(upgrade.before.running());
  const Instances new_state = instances_of(upgrade.after.running());
  for (const auto& [key, state] : old_state) {
    const auto it = new_state.find(key);
    if (it == new_state.end() || it->second != state) may.insert(key.first);
  }
  for (const auto& [key, state] : new_state) {
    if (!old_state.contains(key)) may.insert(key.first);
  }
  for (const JointOutage& outage : plan.outages)
    may.insert(outage.dependents.begin(), outage.dependents.end());
  for (const Step& step : plan.steps) RC_ASSERT(may.contains(step.service));
}

RC_GTEST_PROP(PlanProperty, S29_OnlyChangesNothingElse, ()) {
  const Upgrade upgrade;
  std::set<std::string> names;
  for (const auto* model : {&upgrade.before, &upgrade.after}) {
    for (const auto& [name, record] : model->generation.services) names.insert(name);
  }
  auto chosen = names.begin();
  std::advance(chosen, tests::draw_between<std::size_t>(0, names.size() - 1));
  Planning planning = upgrade.planning();
  planning.only = {*chosen};
  const auto plan = upgrade.plan(planning);
  RC_PRE(plan.has_value());
  Observed observed = upgrade.before.running();
  const Instances before = instances_of(observed);
  tests::perform(*plan, observed);
  for (const auto& [key, state] : instances_of(observed)) {
    if (key.first != *chosen) RC_ASSERT(before.at(key) == state);
  }
}

// Each step starts from what the steps before it have left, and each is in exactly one wave.
RC_GTEST_PROP(PlanProperty, StepsFollowFromEachOther, ()) {
  const Upgrade upgrade;
  const Plan plan = upgrade.need_plan();
  Observed observed = upgrade.before.running();
  std::set<int> seen;
  for (const Wave& wave : plan.waves) {
    RC_ASSERT(!wave.steps.empty());
    for (const int id : wave.steps) {
      RC_ASSERT(seen.insert(id).second);
      const Step& step = plan.steps.at(static_cast<std::size_t>(id));
      RC_ASSERT(step.id == id);
      const Instances now = instances_of(observed);
      const auto it = now.find({step.service, step.host});
      RC_ASSERT(step.from == (it == now.end() ? std::nullopt : std::optional(it->second)));
      tests::perform(step, observed);
    }
  }
  RC_ASSERT(seen.size() == plan.steps.size());
}

// With every step successful the plan comes to its end: no step waits for what comes after it.
RC_GTEST_PROP(PlanProperty, I1_EveryStepFindsWhatItNeeds, ()) {
  const Upgrade upgrade;
  const Plan plan = upgrade.need_plan();
  Observed observed = upgrade.before.running();
  for (const Wave& wave : plan.waves) {
    const Observed at_its_beginning = observed;
    for (const int id : wave.steps) {
      const Step& step = plan.steps.at(static_cast<std::size_t>(id));
      const bool starts = step.to && step.to->mode == Mode::running && !step.duty;
      for (const NeededService& need : step.needs) {
        if (starts) RC_ASSERT(running(at_its_beginning, need.service) >= need.quorum);
      }
      tests::perform(step, observed);
    }
  }
}

// What a dependent that runs declares as its need is never fewer than its quorum, except in an
// outage that the plan declares.
RC_GTEST_PROP(PlanProperty, I2_ADependentThatRunsKeepsItsQuorum, ()) {
  const Upgrade upgrade;
  const Plan plan = upgrade.need_plan();
  std::set<std::string> excused;  // declared
  for (const JointOutage& outage : plan.outages) {
    excused.insert(outage.affected.begin(), outage.affected.end());
  }
  Observed observed = upgrade.before.running();
  for (const Wave& wave : plan.waves) {
    for (const int id : wave.steps) {
      const Step& step = plan.steps.at(static_cast<std::size_t>(id));
      Observed during = observed;
      if (!step.duty && step.from != step.to) during[step.host].instances.erase(step.service);
      for (const auto& [name, record] : upgrade.before.generation.services) {
        if (excused.contains(name) || running(during, name) == 0) continue;
        for (const Edge& edge : record.edges) {
          if (edge.kind != Edge::Kind::needs || edge.service != step.service) continue;
          // Only what still runs as it was bound: after its own change it has other needs.
          const bool bound = std::any_of(during.begin(), during.end(), [&](const auto& host) {
            const auto it = host.second.instances.find(name);
            return it != host.second.instances.end() && it->second.applied &&
                   it->second.applied->mode == Mode::running &&
                   it->second.applied->manifest == record.manifest;
          });
          if (!bound || !step.from || step.from->mode != Mode::running) continue;
          RC_ASSERT(running(during, step.service) >=
                    std::min<std::int64_t>(std::max<std::int64_t>(edge.quorum, 1),
                                           running(observed, step.service)));
        }
      }
      tests::perform(step, observed);
    }
  }
}

RC_GTEST_PROP(PlanProperty, TheOrderOfTheInputDoesNotChangeIt, ()) {
  const Upgrade upgrade;
  const Model before = build(upgrade.site, upgrade.first, tests::Order::turned_round);
  const Model after = build(upgrade.site, upgrade.release, tests::Order::turned_round);
  const auto one = upgrade.plan(upgrade.planning());
  Planning turned = upgrade.planning();
  turned.before = &before;
  turned.after = &after;
  const auto other = upgrade.plan(turned);
  RC_ASSERT(one.has_value() == other.has_value());
  RC_PRE(one.has_value());
  RC_ASSERT(plan_to_json(*one).dump() == plan_to_json(*other).dump());
}

RC_GTEST_PROP(PlanProperty, ReadsBackWhatItWrites, ()) {
  const Upgrade upgrade;
  const Plan plan = upgrade.need_plan();
  const Json json = plan_to_json(plan);
  const auto text = parse_json(json.dump());
  RC_ASSERT(text.has_value());
  const auto again = plan_from_json(*text);
  RC_ASSERT(again.has_value());
  RC_ASSERT(again->steps == plan.steps);
  RC_ASSERT(again->waves == plan.waves);
  RC_ASSERT(again->outages == plan.outages);
  RC_ASSERT(again->changes == plan.changes);
  RC_ASSERT(again->policy == plan.policy);
  RC_ASSERT(plan_to_json(*again).dump() == json.dump());
}

RC_GTEST_PROP(PlanProperty, S21_BatchesSumUpAndKeepTheirShare, ()) {
  const auto batches = *rc::gen::nonEmpty(rc::gen::container<std::vector<budget::Amount>>(
      rc::gen::exec([] { return tests::draw_amount(50); })));
  const auto total = *rc::gen::inRange<std::int64_t>(1, 500);
  const auto changed = static_cast<std::size_t>(*rc::gen::inRange<std::int64_t>(0, total + 1));
  const std::vector<std::size_t> sizes = batch_sizes(batches, total, changed);
  std::size_t sum = 0;
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    const budget::Amount& amount = batches[std::min(i, batches.size() - 1)];
    const std::int64_t share =
        amount.percent ? std::max<std::int64_t>(1, total * amount.value / 100) : amount.value;
    RC_ASSERT(sizes[i] >= 1U);
    RC_ASSERT(static_cast<std::int64_t>(sizes[i]) <= share);
    // Only the last one may be smaller than what it may take.
    if (i + 1 < sizes.size()) RC_ASSERT(static_cast<std::int64_t>(sizes[i]) == share);
    sum += sizes[i];
  }
  RC_ASSERT(sum == changed);
}

// Upgrades of one class in one wave never touch more hosts than the batch allows.
RC_GTEST_PROP(PlanProperty, S21_NoWaveChangesMoreHostsThanItsBatch, ()) {
  const Upgrade upgrade;
  const Plan plan = upgrade.need_plan();
  for (const Wave& wave : plan.waves) {
    std::map<std::string, std::set<std::string>> changed;
    for (const int id : wave.steps) {
      const Step& step = plan.steps[static_cast<std::size_t>(id)];
      const bool batched = step.from && step.to && step.from->manifest != step.to->manifest;
      if (batched)
        changed[upgrade.after.generation.services.at(step.service).host_class].insert(step.host);
    }
    for (const auto& [name, hosts] : changed) {
      std::int64_t most = 1;
      const auto total =
          static_cast<std::int64_t>(upgrade.after.generation.classes.at(name).size());
      for (const budget::Amount& amount : plan.policy.batches)
        most = std::max(most, budget::amount_of(amount, total));
      RC_ASSERT(static_cast<std::int64_t>(hosts.size()) <= most);
    }
  }
}

}  // namespace
}  // namespace consort::plan
