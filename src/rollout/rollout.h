// The rollout engine: executes a plan's waves under budgets and gates. Pure: advance(state,
// observed, now) changes the state and says which targets to set; the leader journals the state
// before it acts on them. A rollout that is resumed by another controller goes on from its journal
// alone.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "budget/budget.h"
#include "plan/plan.h"

namespace consort::rollout {

enum class StepPhase : std::uint8_t { pending, active, soaking, done, failed, unreachable };
[[nodiscard]] std::string_view step_phase_name(StepPhase phase);
[[nodiscard]] std::optional<StepPhase> step_phase_from_name(std::string_view name);

struct StepRun {
  StepPhase phase = StepPhase::pending;
  Instant since{};               // of this phase
  std::optional<Instant> began;  // when it became active
  std::string waiting;           // why it does not go on, or was given up; for people
  bool sent = false;             // its host was told: there may be something to undo
  // Since when its host is silent, or its health unknown while it soaks.
  std::optional<Instant> unseen;
  std::optional<plan::Outcome> outcome;  // as the agent reported it
};

enum class Result : std::uint8_t { open, done, partial, reverted, inconsistent };
[[nodiscard]] std::string_view result_name(Result result);
[[nodiscard]] std::optional<Result> result_from_name(std::string_view name);

// One direction of travel: the plan's own waves, or the way back.
struct Course {
  std::vector<plan::Step> steps;
  std::vector<plan::Wave> waves;
  std::vector<StepRun> runs;  // one per step
  std::size_t wave = 0;       // the current one
  Instant wave_since{};
};

// Names one StepRun.
enum class Way : std::uint8_t { forward, back };
struct RunKey {
  Way way = Way::forward;
  int step = 0;
  friend auto operator<=>(const RunKey&, const RunKey&) = default;
};

struct Rollout {
  std::string id;
  std::string by;
  std::string message;
  Instant started{};
  std::optional<Instant> ended;
  std::uint64_t generation = 0;  // what is committed when it succeeds
  bool paused = false;
  Instant resumed{};  // from here limits count anew
  // Until then nothing is late: the leader was down or stood still, and may not have heard yet what
  // happened meanwhile. Not stored.
  Instant patient_until{};
  bool abort = false;      // an operator's word: go back
  std::string aborted_by;  // their name; "": not known
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
  bool changed = false;      // the state must be journaled before the targets are set
  std::set<RunKey> runs;     // whose StepRun has changed
  bool turned_back = false;  // the way back has got its steps
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

// So long after it has begun a leader has heard what happened before.
inline constexpr Duration kTimeToHear = seconds(30);

// What the targets must hold for the steps that are under way: a leader that comes back sets them
// again, because its predecessor may have died between the journal and the targets.
[[nodiscard]] std::map<std::string, std::map<std::string, plan::TargetEntry>> open_targets(
    const Rollout& rollout);

// "aborted by adm", also of one whose journal does not say by whom.
[[nodiscard]] std::string aborted_text(const Rollout& rollout);

// The whole rollout as one record, for people and clients.
[[nodiscard]] Json rollout_to_json(const Rollout& rollout);
[[nodiscard]] ::consort::Result<Rollout> rollout_from_json(const Json& json);

// The journal keeps it in pieces, so that a step of one host among thousands writes only itself:
// the plan and the way back are written once, the head and the runs as they change.
[[nodiscard]] Json head_to_json(const Rollout& rollout);
[[nodiscard]] Json plan_to_json(const Rollout& rollout);  // with its steps and waves
[[nodiscard]] Json back_to_json(const Rollout& rollout);
[[nodiscard]] Json run_to_json(const StepRun& run);
[[nodiscard]] Json runs_to_json(const Rollout& rollout);  // all of both ways
// A rollout is restored in this order: head, plan, way back (if it has one), runs.
[[nodiscard]] ::consort::Result<Rollout> head_from_json(const Json& json);
[[nodiscard]] Status restore_plan(Rollout& rollout, const Json& plan);
[[nodiscard]] Status restore_back(Rollout& rollout, const Json& back);
[[nodiscard]] Status restore_runs(Rollout& rollout, const Json& runs);
[[nodiscard]] Status restore_run(Rollout& rollout, RunKey key, const Json& run);

// Of what hosts have told of its steps, `most` bytes are kept, in the order of the steps; of the
// rest only how each text begins, and of these as many bytes. For one that has ended: it is kept
// for ever.
void shorten_texts(Rollout& rollout, std::size_t most);

// Whether its message ends with the exit status: it need not be told once more.
[[nodiscard]] bool says_exit_status(const plan::Outcome& outcome);

// "… (at step start, exit status 1); hint: …": the agent ends its message with the hint, and a
// command that people copy is the last thing that they read.
[[nodiscard]] std::string outcome_text(const plan::Outcome& outcome);

// What went wrong first, in one line: "shop@web1: … (at step start, exit status 1)"; "" when
// nothing did. Where the way back failed, too, what sent it back comes first.
[[nodiscard]] std::string first_failure(const Rollout& rollout);

// What a rollout that has ended leaves to be caught up with, as steps of its last course: of a
// partial one those that were not reached or failed within the policy's limit; of one that went
// back those whose host was away; of one that was halted nothing.
[[nodiscard]] std::vector<plan::Step> open_tail(const Rollout& rollout);
// Steps of either course whose host was told and has never answered, neither to them nor to what
// its instance was told later: it may be at them, or begin with them when it returns. A rollout
// that ends leaves their hosts the slots that they hold for it (`rollout:ID`): the caller decides
// for what they are held from then on.
[[nodiscard]] std::vector<plan::Step> unanswered(const Rollout& rollout);

}  // namespace consort::rollout
