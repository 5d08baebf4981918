// The rollout engine: executes a plan's waves under budgets and gates. Pure: advance(state,
// observed, now) changes the state and says which targets to set; the leader journals the state
// before it acts on them. A rollout that is resumed by another controller goes on from its journal
// alone.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "budget/budget.h"
#include "plan/plan.h"

namespace consort::rollout {

enum class StepPhase : std::uint8_t { pending, active, soaking, done, failed, unreachable };
[[nodiscard]] std::string_view step_phase_name(StepPhase phase);

struct StepRun {
  StepPhase phase = StepPhase::pending;
  Instant since{};                       // of this phase
  std::string waiting;                   // why a pending or active step does not go on; for people
  std::optional<plan::Outcome> outcome;  // as the agent reported it
};

enum class Result : std::uint8_t { open, done, partial, reverted, inconsistent };
[[nodiscard]] std::string_view result_name(Result result);

// One direction of travel: the plan's own waves, or the way back.
struct Course {
  std::vector<plan::Step> steps;
  std::vector<plan::Wave> waves;
  std::vector<StepRun> runs;  // one per step
  std::size_t wave = 0;       // the current one
  Instant wave_since{};
};

struct Rollout {
  std::string id;
  std::string by;
  std::string message;
  Instant started{};
  std::optional<Instant> ended;
  std::uint64_t generation = 0;  // what is committed when it succeeds
  bool paused = false;
  bool abort = false;  // the operator's word: go back
  bool reverting = false;
  Result result = Result::open;
  std::string summary;
  plan::Plan plan;  // without its steps: they are in `forward`
  Course forward;
  Course back;
};

[[nodiscard]] Rollout begin(std::string id, plan::Plan plan, std::uint64_t generation,
                            std::string by, std::string message, Instant now);

struct Event {
  std::string kind;  // wave | step-started | step-done | step-failed | step-waiting | unreachable |
                     // reverting | ended
  std::string text;
  std::string service;
  std::string host;
  int step = -1;
};

struct Effects {
  bool changed = false;  // the state must be journaled before the targets are set
  bool budgets_changed = false;
  std::map<std::string, std::map<std::string, plan::TargetEntry>>
      targets;  // host → service → entry
  std::vector<Event> events;
  std::optional<Instant> wake;  // call again then, if nothing happens before
};

// Precondition: `budgets` are the live ones; they are changed in place.
[[nodiscard]] Effects advance(Rollout& rollout, const plan::Observed& observed,
                              budget::Budgets& budgets, const budget::Censuses& censuses,
                              Instant now);

// How long a host may be silent before a step on it counts as unreachable.
inline constexpr Duration kUnreachableGrace = seconds(20);

[[nodiscard]] Json rollout_to_json(const Rollout& rollout);
[[nodiscard]] ::consort::Result<Rollout> rollout_from_json(const Json& json);

// Steps that were not reached or failed within the policy's limit: the open tail of a partial
// rollout.
[[nodiscard]] std::vector<int> open_tail(const Rollout& rollout);

}  // namespace consort::rollout
