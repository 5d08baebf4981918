// advance(): what the engine does next. It looks at the whole current wave each time; nothing
// depends on the order in which reports arrive.
#include "rollout/advance.h"

#include <fmt/format.h>

#include <algorithm>

namespace consort::rollout {

std::string attempt_name(const Rollout& rollout, RunKey key) {
  return fmt::format("{}/{}{}", rollout.id, key.step, key.way == Way::back ? "/back" : "");
}

plan::TargetEntry target_entry(const Rollout& rollout, const plan::Step& step) {
  plan::TargetEntry entry;
  entry.wanted = step.to;
  entry.attempt = attempt_name(rollout, {rollout.reverting ? Way::back : Way::forward, step.id});
  if (step.duty) {
    entry.duty = step.duty;
    entry.duty->token = entry.attempt;
  }
  return entry;
}

Effects Advance::run() {
  if (r_.result != Result::open) return std::move(out_);
  watch_steps();
  if (!r_.reverting && (r_.abort || too_many_failures())) {
    if (r_.abort || r_.plan.policy.on_failure == plan::OnFailure::revert) {
      turn_back();
    } else {
      end(Result::inconsistent, "halted after a failure, as the policy says (onFailure: halt)");
    }
  }
  while (r_.result == Result::open && !r_.paused && wave_is_over()) next_wave();
  if (r_.result == Result::open && !r_.paused) start_steps();
  return std::move(out_);
}

void Advance::wake_at(Instant at) {
  if (!out_.wake || at < *out_.wake) out_.wake = at;
}

void Advance::tell(std::string kind, std::string text, const Step* step) {
  Event event{std::move(kind), std::move(text), "", "", -1};
  if (step != nullptr) {
    event.service = step->service;
    event.host = step->host;
    event.step = step->id;
  }
  out_.events.push_back(std::move(event));
}

void Advance::touch(RunKey key) {
  out_.changed = true;
  out_.runs.insert(key);
}

void Advance::set_phase(const Step& step, StepPhase phase, std::string kind, std::string text) {
  StepRun& run = run_of(step);
  run.phase = phase;
  run.since = now_;
  if (phase == StepPhase::active) run.began = now_;
  run.waiting.clear();
  run.unseen.reset();
  touch(step);
  fleet_.changed(step);
  tell(std::move(kind), std::move(text), &step);
}

// Why something waits is for those who look, and changes often: it is not journaled, and told once
// a wave.
void Advance::wait(const Step& step, const std::string& why) {
  StepRun& run = run_of(step);
  if (run.waiting == why) return;
  const Course& c = course();
  const auto& ids = c.waves[c.wave].steps;
  const bool told = std::any_of(ids.begin(), ids.end(), [&](int id) {
    const StepRun& other = c.runs[static_cast<std::size_t>(id)];
    return other.phase < StepPhase::done && !other.waiting.empty();
  });
  run.waiting = why;
  if (!told) tell("step-waiting", why, &step);
}

void Advance::give_up(const Step& step, StepPhase phase, const std::string& why) {
  set_phase(step, phase, phase == StepPhase::failed ? "step-failed" : "unreachable", why);
  run_of(step).waiting = why;
}

bool Advance::is_lost(const Step& step, Duration patience) {
  StepRun& run = run_of(step);
  if (!run.unseen) {
    run.unseen = now_;
    touch(step);
  }
  const Instant end = limit(*run.unseen, patience);
  if (now_ >= end) return true;
  wake_at(end);
  return false;
}

bool Advance::seen_again(const Step& step) {
  StepRun& run = run_of(step);
  if (!run.unseen) return false;
  run.unseen.reset();
  run.waiting.clear();
  touch(step);
  return true;
}

// The last wave is not over while what was given up in an earlier one has turned out well and
// soaks.
bool Advance::wave_is_over() {
  const Course& c = course();
  if (c.wave >= c.waves.size()) return true;
  const bool over =
      std::all_of(c.waves[c.wave].steps.begin(), c.waves[c.wave].steps.end(), [&](int id) {
        const StepPhase phase = c.runs[static_cast<std::size_t>(id)].phase;
        return phase == StepPhase::done || phase == StepPhase::failed ||
               phase == StepPhase::unreachable;
      });
  return over && (c.wave + 1 < c.waves.size() ||
                  std::none_of(c.runs.begin(), c.runs.end(),
                               [](const StepRun& run) { return run.phase == StepPhase::soaking; }));
}

void Advance::next_wave() {
  Course& c = course();
  if (c.wave < c.waves.size()) {
    ++c.wave;
    c.wave_since = now_;
    out_.changed = true;
  }
  if (c.wave < c.waves.size()) return tell("wave", c.waves[c.wave].name);
  finish();
}

Effects advance(Rollout& rollout, const plan::Observed& observed, budget::Budgets& budgets,
                const budget::Censuses& censuses, Instant now) {
  return Advance(rollout, observed, budgets, censuses, now).run();
}

std::map<std::string, std::map<std::string, plan::TargetEntry>> open_targets(
    const Rollout& rollout) {
  std::map<std::string, std::map<std::string, plan::TargetEntry>> out;
  if (rollout.result != Result::open) return out;
  const Way way = rollout.reverting ? Way::back : Way::forward;
  const Course& course = rollout.reverting ? rollout.back : rollout.forward;
  const plan::Observed nothing;
  FleetView view(rollout, nothing);
  for (const plan::Step& step : course.steps) {
    const StepRun& run = course.runs[static_cast<std::size_t>(step.id)];
    const bool was_left_a_word = rollout.reverting && run.phase == StepPhase::unreachable;
    if ((run.phase == StepPhase::active || was_left_a_word) && view.is_unanswered({way, step.id}))
      out[step.host][step.service] = target_entry(rollout, step);
  }
  return out;
}

}  // namespace consort::rollout
