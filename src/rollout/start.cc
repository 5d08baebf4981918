// Starting the steps of a wave: slots, quorums, and how long a step waits for them.
#include <fmt/format.h>

#include <algorithm>

#include "rollout/advance.h"

namespace consort::rollout {

using plan::Mode;

namespace {

// It takes a running instance away for a while, as a declared outage does with many.
bool holds(const plan::Step& step) {
  return step.to && step.to->mode != Mode::running && step.from &&
         step.from->mode == Mode::running && !step.duty;
}

}  // namespace

void Advance::start_steps() {
  const Course& c = course();
  if (c.wave >= c.waves.size()) return;
  const plan::Wave& wave = c.waves[c.wave];
  if (const std::string host = not_heard_yet(); !host.empty()) {
    for (const int id : wave.steps) {
      if (run_of(step(id)).phase == StepPhase::pending)
        wait(step(id), fmt::format("{} has not spoken since the controller has started", host));
    }
    return;
  }
  std::string why;
  const bool joint = take_joint_slots(wave, why);
  std::vector<int> order = wave.steps;
  // What is sick already is changed first: it costs no availability.
  std::stable_partition(order.begin(), order.end(), [&](int id) { return fleet_.sick(step(id)); });
  for (const int id : order) {
    const Step& next = step(id);
    if (run_of(next).phase != StepPhase::pending) continue;
    if (!joint && holds(next)) {
      wait_or_give_up(next, why);
    } else {
      try_start(next);
    }
  }
  if (wave_is_over()) wake_at(now_);
}

// A new leader that began with what it knows least of could take a host away beside one that has
// died unheard; and one whose store is older than its hosts learns that from them alone.
std::string Advance::not_heard_yet() const {
  for (const auto& [host, classes] : r_.plan.budgets) {
    if (fleet_.reachable(host) && !fleet_.heard(host)) return host;
  }
  return "";
}

// A declared outage takes all its slots together, or none.
bool Advance::take_joint_slots(const plan::Wave& wave, std::string& why) {
  NamesByHost names_by_host;
  const Step* first = nullptr;
  for (const int id : wave.steps) {
    const Step& held = step(id);
    if (!holds(held) || run_of(held).phase != StepPhase::pending) continue;
    if (first == nullptr) first = &held;
    names_by_host[held.host] = budgets_of(held.host);
  }
  if (first == nullptr) return true;
  // Nobody is stopped for a provider that would only wait for its own slot then.
  why = why_provider_would_wait(first->service, names_by_host);
  if (!why.empty()) return false;
  const budget::Grant grant =
      budget::acquire_jointly(budgets_, names_by_host, censuses_, reason(), first->reason, now_);
  why = grant.why;
  out_.budgets_changed = out_.budgets_changed || grant.granted;
  return grant.granted;
}

// Of the outages in which this service is stopped. Providers may take turns: each is looked at as
// if it were alone.
std::string Advance::why_provider_would_wait(const std::string& held, const NamesByHost& joint) {
  const auto is_provider = [&](const std::string& service) {
    return std::any_of(r_.plan.outages.begin(), r_.plan.outages.end(), [&](const auto& outage) {
      return outage.provider == service &&
             std::find(outage.dependents.begin(), outage.dependents.end(), held) !=
                 outage.dependents.end();
    });
  };
  for (const Step& step : course().steps) {
    const StepRun& run = course().runs[static_cast<std::size_t>(step.id)];
    if (run.phase != StepPhase::pending || !step.disrupts || step.duty || holds(step) ||
        joint.contains(step.host) || !is_provider(step.service) || is_there(step) ||
        !fleet_.reachable(step.host))
      continue;
    budget::Budgets alone = budgets_;
    const budget::Claim claim{step.host, reason(), "", fleet_.down(step), true};
    const budget::Grant grant =
        budget::acquire(alone, budgets_of(step.host), censuses_, claim, now_);
    if (!grant.granted) return fmt::format("{} of {}: {}", step.service, step.host, grant.why);
  }
  return "";
}

// What else changes on the hosts of an outage has to stay up as ever.
bool Advance::is_in_outage(const std::string& service) const {
  return std::any_of(r_.plan.outages.begin(), r_.plan.outages.end(), [&](const auto& outage) {
    return outage.provider == service ||
           std::find(outage.dependents.begin(), outage.dependents.end(), service) !=
               outage.dependents.end();
  });
}

std::vector<std::string> Advance::budgets_of(const std::string& host) const {
  const auto it = r_.plan.budgets.find(host);
  return it == r_.plan.budgets.end() ? std::vector<std::string>{} : it->second;
}

// Nothing has to change there: it disturbs nobody, and only its target is set.
bool Advance::is_there(const Step& step) const {
  const plan::InstanceReport* report = fleet_.report_of(step);
  return !step.duty && report != nullptr && report->applied == step.to && report->step.empty();
}

// It was to be stopped or not to be there before, and runs: a step that failed, or a host that is
// not as it was when this was planned.
bool Advance::runs_against_plan(const Step& step) const {
  const plan::InstanceReport* report = fleet_.report_of(step);
  return !step.duty && (!step.from || step.from->mode != Mode::running) && report != nullptr &&
         report->applied && report->applied->mode == Mode::running;
}

// Whether what its host was told last has to be replaced. Of two steps of the way back the later
// one leads further; but a target with a duty is kept until that is done.
bool Advance::may_still_go_forward(const Step& back) {
  const std::vector<RunKey>& told = fleet_.steps_of(back);
  const auto last = std::find_if(told.rbegin(), told.rend(),
                                 [&](RunKey key) { return fleet_.is_unanswered(key); });
  if (last == told.rend()) return false;
  return last->way == Way::forward ||
         r_.back.steps[static_cast<std::size_t>(last->step)].duty.has_value() ==
             back.duty.has_value();
}

bool Advance::in_outage() const {
  return std::any_of(budgets_.begin(), budgets_.end(), [&](const auto& item) {
    return item.second.joint && item.second.joint->reason == reason();
  });
}

void Advance::try_start(const Step& step) {
  if (!fleet_.reachable(step.host)) {
    const bool known = std::find(r_.plan.unreachable.begin(), r_.plan.unreachable.end(),
                                 step.host) != r_.plan.unreachable.end();
    if (!known && !is_lost(step, kUnreachableGrace))
      return wait(step, fmt::format("{} does not answer", step.host));
    // What it was told last and has not answered must not be what it does when it returns. What it
    // has done it takes back when it is back, by slots.
    if (r_.reverting && may_still_go_forward(step)) {
      out_.targets[step.host][step.service] = target_entry(r_, step);
      run_of(step).sent = true;
    }
    return give_up(step, StepPhase::unreachable,
                   fmt::format("{} does not answer; it {}", step.host,
                               r_.reverting ? "goes back when it returns" : "keeps what it has"));
  }
  seen_again(step);
  if (!is_there(step)) {
    if (const std::string why = blocked_by(step); !why.empty()) return wait_or_give_up(step, why);
    if (step.disrupts || runs_against_plan(step)) {
      const budget::Claim claim{step.host, reason(),
                                fmt::format("{} {}", activity(step), step.service),
                                fleet_.down(step), is_in_outage(step.service)};
      const auto grant = budget::acquire(budgets_, budgets_of(step.host), censuses_, claim, now_);
      if (!grant.granted) {
        // Going forward can wait for other people's slots. The way back must come to an end, and
        // say so; and so must an outage, during which others are stopped.
        return r_.reverting || in_outage() ? wait_or_give_up(step, grant.why)
                                           : wait(step, grant.why);
      }
      out_.budgets_changed = true;
    }
  }
  out_.targets[step.host][step.service] = target_entry(r_, step);
  run_of(step).sent = true;
  set_phase(step, StepPhase::active, "step-started", activity(step));
  wake_at(now_ + r_.plan.policy.step_timeout);
}

// When what waits for others has waited too long: `stepTimeout` after the wave's last progress, and
// never while another step of it goes on.
std::optional<Instant> Advance::limit_of_waiting() {
  const Course& c = course();
  Instant last = c.wave_since;
  for (const int id : c.waves[c.wave].steps) {
    const StepRun& run = c.runs[static_cast<std::size_t>(id)];
    if (run.phase == StepPhase::active || run.phase == StepPhase::soaking) return std::nullopt;
    if (run.phase != StepPhase::pending) last = std::max(last, run.since);
  }
  return limit(last, r_.plan.policy.step_timeout);
}

void Advance::wait_or_give_up(const Step& step, const std::string& why) {
  wait(step, why);
  const std::optional<Instant> end = limit_of_waiting();
  if (!end) return;
  if (now_ < *end) return wake_at(*end);
  give_up(step, StepPhase::failed,
          fmt::format("could not start within {}: {}", human_duration(r_.plan.policy.step_timeout),
                      why));
}

std::string Advance::blocked_by(const Step& step) {
  const auto sentence = [](std::int64_t count) {
    return fmt::format("there {} {}", count == 1 ? "is" : "are", count);
  };
  if (step.to && step.to->mode == Mode::running && !step.duty) {
    for (const plan::NeededService& need : step.needs) {
      const std::int64_t have = fleet_.healthy(need.service, "");
      if (have < need.quorum)
        return fmt::format("needs {} healthy instance{} of {}, {}", need.quorum,
                           need.quorum == 1 ? "" : "s", need.service, sentence(have));
    }
  }
  // An instance that is sick or away is no loss: its dependents do without it already.
  const bool up = !fleet_.sick(step) && !fleet_.is_changing(step.service, step.host);
  if (step.keep_healthy > 0 && up) {
    const std::int64_t others = fleet_.healthy(step.service, step.host);
    if (others < step.keep_healthy)
      return fmt::format("{} other instance{} of {} must stay healthy, {}", step.keep_healthy,
                         step.keep_healthy == 1 ? "" : "s", step.service, sentence(others));
  }
  return "";
}

}  // namespace consort::rollout
