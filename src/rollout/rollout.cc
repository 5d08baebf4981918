#include "rollout/rollout.h"

#include <algorithm>
#include <array>

#include "base/text.h"
#include "rollout/fleet_view.h"

namespace consort::rollout {
namespace {

constexpr std::array<std::string_view, 6> kPhases = {"pending", "active", "soaking",
                                                     "done",    "failed", "unreachable"};
constexpr std::array<std::string_view, 5> kResults = {"open", "done", "partial", "reverted",
                                                      "inconsistent"};

template <class Enum, std::size_t N>
std::optional<Enum> named(const std::array<std::string_view, N>& names, std::string_view name) {
  const auto it = std::find(names.begin(), names.end(), name);
  if (it == names.end()) return std::nullopt;
  return static_cast<Enum>(it - names.begin());
}

}  // namespace

std::string_view step_phase_name(StepPhase phase) {
  return kPhases.at(static_cast<std::size_t>(phase));
}
std::string_view result_name(Result result) {
  return kResults.at(static_cast<std::size_t>(result));
}

std::optional<StepPhase> step_phase_from_name(std::string_view name) {
  return named<StepPhase>(kPhases, name);
}
std::optional<Result> result_from_name(std::string_view name) {
  return named<Result>(kResults, name);
}

Rollout begin(std::string id, plan::Plan plan, std::uint64_t generation, std::string by,
              std::string message, Instant now) {
  Rollout out;
  out.id = std::move(id);
  out.by = std::move(by);
  out.message = std::move(message);
  out.started = now;
  out.generation = generation;
  out.plan = std::move(plan);
  out.plan.sick.clear();  // of the moment in which it was planned
  out.forward.steps = std::move(out.plan.steps);
  out.forward.waves = std::move(out.plan.waves);
  out.plan.steps.clear();
  out.plan.waves.clear();
  out.forward.runs.resize(out.forward.steps.size());
  out.forward.wave_since = now;
  return out;
}

namespace {

std::string failure_in(const Course& course) {
  for (const plan::Step& step : course.steps) {
    const StepRun& run = course.runs[static_cast<std::size_t>(step.id)];
    const std::string where = step.service + "@" + step.host;
    if (run.phase == StepPhase::unreachable) return where + ": the host does not answer";
    if (run.phase != StepPhase::failed) continue;
    if (!run.outcome) return where + ": " + run.waiting;
    return where + ": " + outcome_text(*run.outcome);
  }
  return "";
}

}  // namespace

void shorten_texts(Rollout& rollout, std::size_t most) {
  constexpr std::size_t kBeginning = 100;
  rollout.summary = beginning_of(std::move(rollout.summary), most);
  std::size_t kept = 0;
  std::size_t beginnings = 0;
  for (Course* course : {&rollout.forward, &rollout.back}) {
    for (StepRun& run : course->runs) {
      plan::Outcome nothing;
      plan::Outcome& outcome = run.outcome ? *run.outcome : nothing;
      const std::array texts = {&run.waiting, &outcome.step, &outcome.message, &outcome.lost};
      std::size_t size = outcome.tail.size();
      for (const std::string* text : texts) size += text->size();
      if (kept + size <= most) {
        kept += size;
        continue;
      }
      outcome.tail.clear();
      for (std::string* text : texts) {
        *text = beginning_of(std::move(*text), beginnings < most ? kBeginning : 0);
        beginnings += text->size();
      }
    }
  }
}

bool says_exit_status(const plan::Outcome& outcome) {
  return outcome.message.ends_with(" status " + std::to_string(outcome.exit_status));
}

std::string outcome_text(const plan::Outcome& outcome) {
  const std::size_t hint = outcome.message.find("; hint: ");
  std::string out = outcome.message.substr(0, hint);
  // In brackets: what comes before may end with words of others.
  std::vector<std::string> where;
  if (!outcome.step.empty()) where.push_back("at step " + outcome.step);
  if (outcome.exit_status != 0 && !says_exit_status(outcome))
    where.push_back("exit status " + std::to_string(outcome.exit_status));
  if (!where.empty()) out += " (" + join(where, ", ") + ")";
  return hint == std::string::npos ? out : out + outcome.message.substr(hint);
}

std::string aborted_text(const Rollout& rollout) {
  return "aborted by " + (rollout.aborted_by.empty() ? "an operator" : rollout.aborted_by);
}

std::string first_failure(const Rollout& rollout) {
  std::string out = failure_in(rollout.forward);
  if (out.empty() && rollout.abort) out = aborted_text(rollout);
  return out.empty() ? failure_in(rollout.back) : out;
}

std::vector<plan::Step> open_tail(const Rollout& rollout) {
  std::vector<plan::Step> out;
  // Who was halted is left as it is.
  if (!rollout.reverting && rollout.result != Result::partial) return out;
  const Course& course = rollout.reverting ? rollout.back : rollout.forward;
  for (const plan::Step& step : course.steps) {
    const StepPhase phase = course.runs[static_cast<std::size_t>(step.id)].phase;
    if (rollout.reverting ? phase == StepPhase::unreachable : phase != StepPhase::done)
      out.push_back(step);
  }
  return out;
}

std::vector<plan::Step> unanswered(const Rollout& rollout) {
  std::vector<plan::Step> out;
  const plan::Observed nothing;
  FleetView view(rollout, nothing);
  for (const Way way : {Way::forward, Way::back}) {
    for (const plan::Step& step : (way == Way::forward ? rollout.forward : rollout.back).steps) {
      if (view.is_unanswered({way, step.id})) out.push_back(step);
    }
  }
  return out;
}

}  // namespace consort::rollout
