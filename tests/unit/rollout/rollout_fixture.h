// A rollout whose fleet is a table of reports; time is a number.
#pragma once

#include <gmock/gmock.h>

#include "fixtures/models.h"
#include "rollout/rollout.h"

namespace consort::rollout {

class RolloutTest : public ::testing::Test {
 protected:
  // An upgrade of `hosts` hosts of one class from v1 to v2.
  void given_an_upgrade_of(int hosts) {
    for (int i = 0; i < hosts; ++i) {
      const std::string name = "w" + std::to_string(10 + i);
      before.host(name, "web");
      after.host(name, "web");
    }
    before.service("app", "web", "v1");
    after.service("app", "web", "v2");
    observed = before.running();
    begin();
  }

  // Of db on two hosts at once, which app needs.
  void given_an_upgrade_of_both_providers() {
    policy.max_unavailable = budget::Amount{2, false};
    for (tests::Model* model : {&before, &after})
      model->host("d1", "db").host("d2", "db").host("w1", "web");
    before.service("db", "db", "v1").service("app", "web", "v1", {"db"});
    after.service("db", "db", "v2").service("app", "web", "v1", {"db"});
    observed = before.running();
    begin();
  }

  void begin() {
    after.generation.policy = policy;
    auto plan = tests::Planning{.before = before.generation.services.empty() ? nullptr : &before,
                                .after = &after,
                                .observed = observed}
                    .plan();
    ASSERT_TRUE(plan) << render_error(plan.error());
    rollout = rollout::begin("r1", std::move(*plan), 1, "me", "", now);
    for (const auto& [name, members] : after.generation.classes) {
      censuses[name].hosts = static_cast<std::int64_t>(members.size());
      budgets[name].slots =
          policy.max_unavailable.value_or(budget::default_max_unavailable(censuses[name].hosts));
    }
    go();
  }

  // Advances, and remembers which targets were set.
  void go() {
    for (auto& [name, census] : censuses) {
      census.unhealthy.clear();
      census.unreachable.clear();
      for (const std::string& host : after.generation.classes.at(name)) {
        const auto& seen = observed.at(host);
        const bool sick =
            !seen.reachable ||
            std::any_of(seen.instances.begin(), seen.instances.end(),
                        [](const auto& i) { return i.second.health == plan::Health::unhealthy; });
        if (sick) census.unhealthy.insert(host);
        if (!seen.reachable) census.unreachable.insert(host);
      }
    }
    for (int i = 0; i < 100; ++i) {
      Effects effects = advance(rollout, observed, budgets, censuses, now);
      for (auto& [host, entries] : effects.targets) {
        for (auto& [service, entry] : entries) sent[{service, host}] = entry;
      }
      // Whatever is journaled must be read back as it was: a new leader goes on from it.
      const auto again = rollout_from_json(rollout_to_json(rollout));
      ASSERT_TRUE(again) << render_error(again.error());
      ASSERT_EQ(rollout_to_json(*again).dump(), rollout_to_json(rollout).dump());
      rollout = *again;
      if (!effects.changed) return;
    }
  }

  // Every target that was sent and not answered yet succeeds (or fails, for these hosts).
  int answer(const std::set<std::string>& failing = {}) {
    int answered = 0;
    for (auto& [key, entry] : std::exchange(sent, {})) {
      const auto& [service, host] = key;
      if (!observed.at(host).reachable) continue;
      plan::InstanceReport& report = observed[host].instances[service];
      plan::Outcome outcome;
      outcome.attempt = entry.attempt;
      if (failing.contains(host) && !rollout.reverting) {
        outcome.result = plan::Outcome::Result::reverted;
        outcome.step = "validate";
        outcome.message = "broken";
      } else if (!entry.duty) {
        report.applied = entry.wanted;
        report.health = entry.wanted && entry.wanted->mode == plan::Mode::running
                            ? plan::Health::healthy
                            : plan::Health::unknown;
      }
      report.outcome = outcome;
      if (entry.duty) report.duties[entry.duty->token] = outcome;
      ++answered;
    }
    now += seconds(1);
    go();
    return answered;
  }

  [[nodiscard]] int at_version(const tests::Model& model) const {
    int count = 0;
    for (const auto& [host, seen] : observed) {
      const auto it = seen.instances.find("app");
      if (it != seen.instances.end() && it->second.applied &&
          it->second.applied->manifest == model.generation.services.at("app").manifest)
        ++count;
    }
    return count;
  }

  tests::Model before, after;
  plan::Policy policy;
  plan::Observed observed;
  budget::Budgets budgets;
  budget::Censuses censuses;
  Rollout rollout;
  Instant now = from_millis(1'700'000'000'000);
  std::map<std::pair<std::string, std::string>, plan::TargetEntry> sent;
};

}  // namespace consort::rollout
