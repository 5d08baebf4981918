// Failures, the way back, the end.
#include <fmt/format.h>

#include <algorithm>

#include "rollout/advance.h"

namespace consort::rollout {

using plan::Mode;

namespace {

// The step with its ends exchanged; nullopt where nothing was done that must be undone.
std::optional<plan::Step> reversed(const plan::Step& step, const StepRun& run) {
  if (!run.sent) return std::nullopt;
  plan::Step back = step;
  if (step.duty) {
    const bool touched = run.phase != StepPhase::failed || !run.outcome ||
                         run.outcome->exit_status == 70 || run.outcome->exit_status > 128;
    if (!touched) return std::nullopt;
    back.duty->direction = step.duty->direction == "up" ? "down" : "up";
    std::swap(back.duty->from, back.duty->to);
    return back;
  }
  std::swap(back.from, back.to);
  back.reason = "goes back";
  // An instance that failed is away already; one that succeeded is taken away once more.
  back.disrupts = back.from && back.from->mode == Mode::running;
  return back;
}

}  // namespace

bool Advance::too_many_failures() const {
  std::set<std::string_view> failed;
  std::set<std::string_view> hosts;
  for (const Step& step : r_.forward.steps) {
    hosts.insert(step.host);
    const StepPhase phase = r_.forward.runs[static_cast<std::size_t>(step.id)].phase;
    if (phase == StepPhase::failed || phase == StepPhase::unreachable) failed.insert(step.host);
  }
  return static_cast<std::int64_t>(failed.size()) >
         budget::amount_of(r_.plan.policy.max_failures, static_cast<std::int64_t>(hosts.size()));
}

// The way back: every wave that was begun, last first.
void Advance::turn_back() {
  for (std::size_t w = std::min(r_.forward.wave + 1, r_.forward.waves.size()); w-- > 0;) {
    plan::Wave wave;
    wave.name = "back · " + r_.forward.waves[w].name;
    for (const int id : r_.forward.waves[w].steps) {
      auto back = reversed(r_.forward.steps[static_cast<std::size_t>(id)],
                           r_.forward.runs[static_cast<std::size_t>(id)]);
      if (!back) continue;
      back->id = static_cast<int>(r_.back.steps.size());
      wave.steps.push_back(back->id);
      r_.back.steps.push_back(std::move(*back));
    }
    if (!wave.steps.empty()) r_.back.waves.push_back(std::move(wave));
  }
  r_.back.runs.resize(r_.back.steps.size());
  r_.back.wave_since = now_;
  r_.reverting = true;
  fleet_.turned();
  out_.changed = true;
  out_.turned_back = true;
  tell("reverting", r_.abort ? aborted_text(r_) + ": going back" : "a step failed: going back");
}

// What hosts have told that their ways back could not bring back.
std::string Advance::what_is_lost() const {
  std::map<std::string, std::string> lost;
  for (const Course* course : {&r_.forward, &r_.back}) {
    for (const Step& step : course->steps) {
      const auto& outcome = course->runs[static_cast<std::size_t>(step.id)].outcome;
      if (outcome && !outcome->lost.empty())
        lost[fmt::format("{}@{}", step.service, step.host)] = outcome->lost;
    }
  }
  std::string out;
  for (const auto& [instance, text] : lost)
    out += fmt::format("{}{}: {}", out.empty() ? "" : "; ", instance, text);
  return out;
}

void Advance::finish() {
  std::set<std::string> failed;
  for (const Step& step : course().steps) {
    if (run_of(step).phase != StepPhase::done)
      failed.insert(fmt::format("{}@{}", step.service, step.host));
  }
  const std::string names = fmt::format("{}", fmt::join(failed, ", "));
  if (r_.reverting) {
    if (failed.empty()) {
      const std::string lost = what_is_lost();
      return end(Result::reverted, lost.empty() ? "everything is as it was before"
                                                : "all is as it was before, but for " + lost);
    }
    return end(Result::inconsistent, fmt::format("could not go back: {}", names));
  }
  if (failed.empty()) return end(Result::done, "all steps are done");
  end(Result::partial, fmt::format("left behind: {}", names));
}

void Advance::end(Result result, std::string summary) {
  r_.result = result;
  r_.summary = std::move(summary);
  r_.ended = now_;
  out_.changed = true;
  std::set<std::string> at_it;
  for (const Step& step : unanswered(r_)) at_it.insert(step.host);
  out_.budgets_changed = budget::release_all(budgets_, reason(), at_it) || out_.budgets_changed;
  tell("ended", fmt::format("{}: {}", result_name(result), r_.summary));
}

}  // namespace consort::rollout
