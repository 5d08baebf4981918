// The transition engine: one instance going from its old manifest to its new one, or back.
// Pure: no I/O, no clock. The shell journals the Transition after every change of it, performs the
// one step that decide() names, and hands back its result:
//
//   fetch → preflight → drain → stop → backup → migrate → switch → setup → start → validate
//         → confirm → commit → undrain
//
// A failure before commit walks back: stop_new, restore | migrate_back, switch_back, start_old,
// validate_old, undrain_old. After commit nothing is restored any more (DESIGN.md section 7).
// A drain hook that fails is passed over where a version says onFailure: 'continue'.
//
// Crash rule: a step is journaled as `intent` before it runs. After a crash recover() decides
// whether it may run again (with the same token) or whether the transition must walk back.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "plan/manifest.h"
#include "plan/target.h"

namespace consort::transition {

enum class Step : std::uint8_t {
  fetch,
  preflight,
  drain,
  backup_running,
  stop,
  backup,
  migrate,
  switch_over,
  setup,
  start,
  validate,
  confirm,
  commit,
  undrain,
  remove,
  duty,
  stop_new,
  restore,
  migrate_back,
  switch_back,
  start_old,
  validate_old,
  undrain_old
};
[[nodiscard]] std::string_view step_name(Step step);
[[nodiscard]] Result<Step> step_from_name(std::string_view name);

enum class Progress : std::uint8_t { planned, intent, done, failed, failed_dirty };

struct StepRecord {
  Step step = Step::fetch;
  std::string token;
  Progress progress = Progress::planned;
  bool idempotent = true;
  int tries = 0;    // how often it is to be tried again
  int crashes = 0;  // how often the agent ended while it ran
};

struct Failure {
  std::string step;
  int exit_status = 0;
  std::string message;
  std::string tail;
};

// The journal: everything that must survive a crash.
struct Transition {
  std::string service;
  std::string attempt;
  std::optional<plan::InstanceState> from;
  std::optional<plan::InstanceState> to;
  bool downwards = false;  // `from` is the newer manifest: its hooks know the way down
  bool data_changes = false;
  bool drain_may_fail = false;  // one of its versions says so, and no snapshot relies on the fence
  std::optional<plan::Duty> duty;
  std::vector<std::string> once;  // names of steps whose hook says idempotent: false
  std::vector<StepRecord> forward;
  std::vector<StepRecord> back;
  bool walking_back = false;
  bool mending = false;  // it finishes a way back that broke off, and nothing else
  bool committed = false;
  bool unconfirmed = false;
  std::string snapshot;     // digest of the snapshot that `backup` made, or ""
  std::string lost;         // what the way back could not bring back, as a sentence; or ""
  std::string passed_over;  // the drain hook that failed and might, as a sentence; or ""
  std::optional<Failure> failure;
  std::optional<Failure> back_failure;
};

struct Begin {
  std::string service;
  std::string attempt;
  std::optional<plan::InstanceState> from;
  std::optional<plan::InstanceState> to;
  const plan::Manifest* old_manifest = nullptr;  // null when `from` is nullopt
  const plan::Manifest* new_manifest = nullptr;  // null when `to` is nullopt
  bool downwards = false;
  bool has_data = false;  // the data folder already holds data of this service
};

[[nodiscard]] Transition begin(const Begin& input);
[[nodiscard]] Transition begin_duty(const std::string& service, const plan::Duty& duty,
                                    const plan::Hook& hook);

// What a way back that broke off still owes, as a transition of its own (all of it in `back`):
// restoring the data, switching back, no process of either version left. Nothing else may be done
// with the instance before it; nullopt when nothing is owed. It has no tokens before mend().
[[nodiscard]] std::optional<Transition> owed_by(const Transition& stuck);
// The same, to be performed for this attempt. Its end is `mended`, or inconsistent again.
[[nodiscard]] Transition mend(Transition owed, const std::string& attempt);

// Whose hook a step runs, and which.
enum class Owner : std::uint8_t { none, old_manifest, new_manifest };
struct StepOrder {
  Step step = Step::fetch;
  std::string token;
  std::string hook;  // "" when the step runs no hook
  Owner owner = Owner::none;
  bool again = false;  // resumed after a crash, or retried
};

struct Ended {
  plan::Outcome outcome;
  std::optional<plan::InstanceState> applied;  // the truth: what is on the host now
  bool mended = false;  // only the debt is paid: the attempt itself is still to begin
};

using Decision = std::variant<StepOrder, Ended>;
[[nodiscard]] Decision decide(const Transition& transition);

// `killed`: a signal from outside ended it, which says nothing about what it does. On a way back it
// is tried again as often as after `again`; on the way forward, and after that, it has left dirt.
enum class StepStatus : std::uint8_t { ok, again, failed, dirty, killed };
struct StepResult {
  StepStatus status = StepStatus::ok;
  int exit_status = 0;
  std::string message;  // of switch_back also when it is ok: what could not be brought back
  std::string tail;
  std::string snapshot;      // of backup
  bool unconfirmed = false;  // of confirm
};
// sysexits-like: 0 ok, 75 again, 70 dirty, above 128 killed, else failed. A time-out leaves dirt.
[[nodiscard]] StepStatus status_of_exit(int exit_status, bool timed_out);

// Marks the step that decide() named as begun; the result must be durable before the step runs.
[[nodiscard]] Transition with_intent(Transition transition);
// Records how the step that is in `intent` ended.
[[nodiscard]] Transition with_result(Transition transition, const StepResult& result);
// After a crash: an idempotent intent runs again; any other is a failure that left dirt. So is a
// hook under which the agent has ended kMostCrashes times: it would do so for ever.
inline constexpr int kMostCrashes = 12;
[[nodiscard]] Transition recover(Transition transition);

[[nodiscard]] Json transition_to_json(const Transition& transition);
[[nodiscard]] Result<Transition> transition_from_json(const Json& json);

}  // namespace consort::transition
