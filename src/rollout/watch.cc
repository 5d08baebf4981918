// Steps that are under way: their outcomes, their silence, their soak.
#include <fmt/format.h>

#include <algorithm>

#include "rollout/advance.h"

namespace consort::rollout {

using plan::Health;
using plan::Mode;

namespace {

std::string describe(const plan::Outcome& outcome) {
  return fmt::format("{} at {}{}: {}", outcome_name(outcome.result),
                     outcome.step.empty() ? "start" : outcome.step,
                     outcome.exit_status != 0 && !says_exit_status(outcome)
                         ? fmt::format(" (exit status {})", outcome.exit_status)
                         : "",
                     outcome.message);
}

}  // namespace

void Advance::watch_steps() {
  if (r_.reverting) {
    // What was under way when it turned back goes on until its host has gone back.
    for (const Step& step : r_.forward.steps) watch_late(Way::forward, step);
  }
  const Course& c = course();
  if (c.wave >= c.waves.size()) return;
  for (std::size_t w = 0; w <= c.wave; ++w) {
    const Duration soak = r_.reverting ? Duration{0} : c.waves[w].soak;
    for (const int id : c.waves[w].steps) {
      const Step& watched = step(id);
      const StepRun& run = run_of(watched);
      if (run.phase == StepPhase::active || run.phase == StepPhase::unreachable) {
        watch_active(watched, soak);
      } else if (run.phase == StepPhase::soaking) {
        watch_soaking(watched, soak);
      } else {
        watch_late(way(), watched);
      }
    }
  }
}

// How the agent says that this attempt ended, or null as long as it has not.
const plan::Outcome* Advance::outcome_of(Way way, const Step& step) const {
  const plan::InstanceReport* report = fleet_.report_of(step);
  if (report == nullptr) return nullptr;
  const std::string attempt = attempt_name(r_, {way, step.id});
  const plan::Outcome* outcome = nullptr;
  if (step.duty) {
    const auto it = report->duties.find(attempt);
    if (it != report->duties.end()) outcome = &it->second;
  } else if (report->outcome && report->outcome->attempt == attempt) {
    outcome = &*report->outcome;
  }
  const bool ended = outcome != nullptr && outcome->result != plan::Outcome::Result::waiting;
  return ended ? outcome : nullptr;
}

// A step that was given up may still be under way on its host: the slot is free when it ends.
void Advance::watch_late(Way way, const Step& step) {
  Course& c = way == Way::forward ? r_.forward : r_.back;
  StepRun& run = c.runs[static_cast<std::size_t>(step.id)];
  if (!is_unanswered(run)) return;
  const plan::Outcome* outcome = outcome_of(way, step);
  if (outcome == nullptr) return;
  run.outcome = *outcome;
  touch({way, step.id});
  fleet_.changed(step);
  give_back_slot({way, step.id}, step.host);
}

void Advance::watch_active(const Step& step, Duration soak) {
  const StepRun& run = run_of(step);
  const plan::Outcome* outcome = run.sent ? outcome_of(way(), step) : nullptr;
  if (outcome != nullptr && (run.phase == StepPhase::active || !run.outcome))
    return take_outcome(step, *outcome, *fleet_.report_of(step), soak);
  if (run.phase != StepPhase::active || r_.paused) return;
  if (!fleet_.reachable(step.host)) {
    const std::string why = fmt::format("{} does not answer", step.host);
    return is_lost(step, kUnreachableGrace) ? give_up(step, StepPhase::unreachable, why)
                                            : wait(step, why);
  }
  seen_again(step);
  const Instant end = limit(run.since, r_.plan.policy.step_timeout);
  if (now_ < end) return wake_at(end);
  give_up(step, StepPhase::failed,
          fmt::format("no answer within {}", human_duration(r_.plan.policy.step_timeout)));
}

void Advance::take_outcome(const Step& step, const plan::Outcome& outcome,
                           const plan::InstanceReport& report, Duration soak) {
  StepRun& run = run_of(step);
  const auto fail_with = [&](const std::string& why) {
    run.outcome = outcome;
    give_up(step, StepPhase::failed, why);
    give_back_slot(step);
  };
  if (outcome.result != plan::Outcome::Result::done) return fail_with(describe(outcome));
  // An agent answers for an attempt that it remembers; only what it runs proves that it is this
  // one.
  if (!step.duty && report.applied != step.to)
    return fail_with("the agent calls it done, but runs something else");
  const bool should_run = step.to && step.to->mode == Mode::running && !step.duty;
  if (should_run && report.health != Health::healthy) {
    if (report.health == Health::unhealthy)
      wait(step, report.health_reason.empty() ? "not healthy yet" : report.health_reason);
    if (r_.paused) return;
    const Instant end = limit(run.since, r_.plan.policy.step_timeout);
    if (now_ < end) return wake_at(end);
    return fail_with(
        fmt::format("not healthy within {}", human_duration(r_.plan.policy.step_timeout)));
  }
  run.outcome = outcome;
  if (!should_run || soak.count() == 0) return finish_step(step);
  set_phase(step, StepPhase::soaking, "step-soaking",
            fmt::format("healthy; soaks for {}", human_duration(soak)));
  wake_at(now_ + soak);
}

// The whole soak is spent healthy and in sight; whatever interrupts it makes it begin again.
void Advance::watch_soaking(const Step& step, Duration soak) {
  StepRun& run = run_of(step);
  const plan::InstanceReport* report = fleet_.report_of(step);
  if (report != nullptr && report->health == Health::unhealthy)
    return fail_soaking(step, StepPhase::failed,
                        fmt::format("became unhealthy while soaking: {}", report->health_reason));
  if (r_.paused) return;
  if (fleet_.reachable(step.host) && !fleet_.heard(step.host))
    return wait(step, fmt::format("{} has not spoken since the controller has started", step.host));
  const bool silent = !fleet_.reachable(step.host);
  if (silent || report == nullptr || report->health != Health::healthy) {
    const std::string why = silent ? fmt::format("{} does not answer while it soaks", step.host)
                                   : "its health is not known";
    const Duration patience = silent ? Duration(kUnreachableGrace) : r_.plan.policy.step_timeout;
    if (!is_lost(step, patience)) return wait(step, why);
    return fail_soaking(step, silent ? StepPhase::unreachable : StepPhase::failed, why);
  }
  if (seen_again(step)) run.since = now_;
  const Instant until = std::max(run.since, r_.resumed) + soak;
  if (now_ < until) return wake_at(until);
  finish_step(step);
}

void Advance::fail_soaking(const Step& step, StepPhase phase, const std::string& why) {
  plan::Outcome outcome;
  outcome.attempt = attempt_name(r_, {way(), step.id});
  outcome.result = plan::Outcome::Result::failed;
  outcome.step = "soak";
  outcome.message = why;
  run_of(step).outcome = outcome;
  give_up(step, phase, why);
  give_back_slot(step);
}

void Advance::finish_step(const Step& step) {
  const auto& outcome = run_of(step).outcome;
  const bool is_remarkable = outcome && !outcome->message.empty();  // well, but for something
  set_phase(step, StepPhase::done, "step-done",
            activity(step) + (is_remarkable ? "; " + outcome->message : ""));
  const bool is_back = !step.to || step.to->mode == Mode::running;
  if (is_back && !step.duty) give_back_slot(step);
}

// What is sick counts against the budget by itself; what went back by itself needs no slot.
// A host keeps its slot while any other of its instances is still on its way, and its part of a
// joint outage until everything that was stopped for it is back.
void Advance::give_back_slot(RunKey key, const std::string& host) {
  if (fleet_.is_at_work(host, key)) return;
  out_.budgets_changed = budget::release(budgets_, host, reason()) || out_.budgets_changed;
  const Course& c = course();
  const std::vector<RunKey>& keys = fleet_.steps_on(host);
  const bool is_held = std::any_of(keys.begin(), keys.end(), [&](RunKey other) {
    if (other.way != way()) return false;
    const Step& next = c.steps[static_cast<std::size_t>(other.step)];
    const plan::InstanceReport* report = fleet_.report_of(next);
    return c.runs[static_cast<std::size_t>(other.step)].phase == StepPhase::pending && !next.duty &&
           next.to && next.to->mode == Mode::running && report != nullptr && report->applied &&
           report->applied->mode != Mode::running;
  });
  if (is_held) return;
  out_.budgets_changed = budget::release_joint(budgets_, host, reason()) || out_.budgets_changed;
}

}  // namespace consort::rollout
