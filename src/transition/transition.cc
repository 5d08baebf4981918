#include "transition/transition.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace consort::transition {
namespace {

using plan::Manifest;
using plan::Mode;

constexpr int kMostTries = 3;

struct StepRow {
  Step step;
  std::string_view name;
  std::string_view hook;
};

constexpr std::array kSteps = {
    StepRow{Step::fetch, "fetch", ""},
    StepRow{Step::preflight, "preflight", ""},
    StepRow{Step::drain, "drain", "drain"},
    StepRow{Step::backup_running, "backup_running", "backup"},
    StepRow{Step::stop, "stop", "stop"},
    StepRow{Step::backup, "backup", "backup"},
    StepRow{Step::migrate, "migrate", "migrate"},
    StepRow{Step::switch_over, "switch", ""},
    StepRow{Step::setup, "setup", "setup"},
    StepRow{Step::start, "start", "start"},
    StepRow{Step::validate, "validate", "validate"},
    StepRow{Step::confirm, "confirm", ""},
    StepRow{Step::commit, "commit", ""},
    StepRow{Step::undrain, "undrain", "undrain"},
    StepRow{Step::remove, "remove", ""},
    StepRow{Step::duty, "duty", ""},
    StepRow{Step::stop_new, "stop_new", "stop"},
    StepRow{Step::restore, "restore", "restore"},
    StepRow{Step::migrate_back, "migrate_back", "migrate"},
    StepRow{Step::switch_back, "switch_back", ""},
    StepRow{Step::start_old, "start_old", "start"},
    StepRow{Step::validate_old, "validate_old", "validate"},
    StepRow{Step::undrain_old, "undrain_old", "undrain"},
};

const StepRow& row(Step step) {
  return *std::find_if(kSteps.begin(), kSteps.end(),
                       [step](const StepRow& r) { return r.step == step; });
}

// Each hook acts on one version; migrate belongs to the newer one in both directions.
Owner owner_of(const Transition& transition, Step step) {
  switch (step) {
    case Step::drain:
    case Step::backup_running:
    case Step::stop:
    case Step::backup:
    case Step::restore:
    case Step::start_old:
    case Step::validate_old:
    case Step::undrain_old:
      return Owner::old_manifest;
    case Step::migrate:
    case Step::migrate_back:
      return transition.downwards ? Owner::old_manifest : Owner::new_manifest;
    case Step::setup:
    case Step::start:
    case Step::validate:
    case Step::undrain:
    case Step::stop_new:
      return Owner::new_manifest;
    default:
      return Owner::none;
  }
}

bool may_run_twice(const Transition& transition, Step step) {
  return std::find(transition.once.begin(), transition.once.end(), row(step).name) ==
         transition.once.end();
}

class Planner {
 public:
  explicit Planner(const Begin& input) : in_(input) {
    out_.service = in_.service;
    out_.attempt = in_.attempt;
    out_.from = in_.from;
    out_.to = in_.to;
    out_.downwards = in_.downwards;
  }

  Transition make() {
    note_hooks_that_run_once();
    out_.drain_may_fail = may_drain_fail(in_.old_manifest) || may_drain_fail(in_.new_manifest);
    if (!in_.to) {
      if (in_.from) leave();
    } else if (!in_.from) {
      install();
    } else if (plan::same_version(*in_.from, *in_.to)) {
      change_mode();
    } else {
      change_manifest();
    }
    return std::move(out_);
  }

 private:
  [[nodiscard]] const Manifest& before() const { return *in_.old_manifest; }
  [[nodiscard]] const Manifest& after() const { return *in_.new_manifest; }
  [[nodiscard]] bool was(Mode mode) const { return in_.from && in_.from->mode == mode; }
  [[nodiscard]] bool will_be(Mode mode) const { return in_.to && in_.to->mode == mode; }

  // Also the word of the version that comes: else one whose own hook is broken could not be left.
  static bool may_drain_fail(const Manifest* manifest) {
    const plan::Hook* drain = manifest == nullptr ? nullptr : manifest->hook("drain");
    return drain != nullptr && drain->may_fail;
  }

  void add(Step step) {
    StepRecord record;
    record.step = step;
    record.token = fmt::format("{}/{}/{}", in_.attempt, in_.service, step_name(step));
    record.idempotent = may_run_twice(out_, step);
    out_.forward.push_back(std::move(record));
  }

  void add_hook(Step step, const Manifest& manifest) {
    if (manifest.hook(row(step).hook) != nullptr) add(step);
  }

  void leave() {
    if (was(Mode::running)) add_hook(Step::drain, before());
    if (!was(Mode::stopped) && before().runs()) add(Step::stop);
    add(Step::remove);
    add(Step::commit);
  }

  void install() {
    add(Step::fetch);
    add(Step::preflight);
    add(Step::switch_over);
    if (!in_.has_data) add_hook(Step::setup, after());
    finish_up();
  }

  // A migration with scope 'service' is a duty of its own: it runs once for all instances.
  [[nodiscard]] bool migrates_here() const {
    const plan::Hook* migrate = (in_.downwards ? before() : after()).hook("migrate");
    return migrate != nullptr && migrate->scope == plan::Hook::Scope::instance;
  }

  // Which steps of a way back must not be run twice.
  void note_hooks_that_run_once() {
    for (const StepRow& step : kSteps) {
      const Owner owner = owner_of(out_, step.step);
      const Manifest* manifest = owner == Owner::old_manifest   ? in_.old_manifest
                                 : owner == Owner::new_manifest ? in_.new_manifest
                                                                : nullptr;
      const plan::Hook* hook =
          manifest != nullptr && !step.hook.empty() ? manifest->hook(step.hook) : nullptr;
      if (hook != nullptr && !hook->idempotent) out_.once.emplace_back(step.name);
    }
  }

  // From the switched state to the wanted mode.
  void finish_up() {
    if (!will_be(Mode::stopped)) {
      if (after().runs()) add(Step::start);
      add(Step::validate);
    }
    add(Step::confirm);
    add(Step::commit);
    if (will_be(Mode::running)) add_hook(Step::undrain, after());
  }

  void change_mode() {
    if (in_.from->mode == in_.to->mode) return;
    if (will_be(Mode::running) || (was(Mode::stopped) && will_be(Mode::drained))) {
      if (was(Mode::stopped)) {
        if (after().runs()) add(Step::start);
        add(Step::validate);
      }
      add(Step::commit);
      if (will_be(Mode::running)) add_hook(Step::undrain, after());
      return;
    }
    // Whoever wants it drained, and no more, relies on that.
    if (!will_be(Mode::stopped)) out_.drain_may_fail = false;
    if (was(Mode::running)) add_hook(Step::drain, before());
    if (will_be(Mode::stopped) && before().runs()) add(Step::stop);
    add(Step::commit);
  }

  void change_manifest() {
    out_.data_changes = before().data_version != after().data_version && before().data_version != 0;
    const plan::Hook* backup = before().hook("backup");
    const bool back_up = out_.data_changes && backup != nullptr;
    // What is written after a snapshot that no fence guards would be lost on the way back. A
    // drained instance is drained again: nobody knows whether its hook has run since it was
    // started.
    const bool back_up_running = back_up && backup->while_running && !was(Mode::stopped) &&
                                 before().hook("drain") != nullptr;
    if (back_up_running) out_.drain_may_fail = false;
    add(Step::fetch);
    add(Step::preflight);
    if (was(Mode::running) || back_up_running) add_hook(Step::drain, before());
    if (back_up_running) add(Step::backup_running);
    if (!was(Mode::stopped) && before().runs()) add(Step::stop);
    if (back_up && !back_up_running) add(Step::backup);
    if (out_.data_changes && migrates_here()) add(Step::migrate);
    add(Step::switch_over);
    if (!in_.has_data) add_hook(Step::setup, after());
    finish_up();
  }

  const Begin& in_;
  Transition out_;
};

bool attempted(const StepRecord& record) { return record.progress != Progress::planned; }

const StepRecord* find(const Transition& transition, Step step) {
  const auto it = std::find_if(transition.forward.begin(), transition.forward.end(),
                               [step](const StepRecord& r) { return r.step == step; });
  return it == transition.forward.end() ? nullptr : &*it;
}

bool was_attempted(const Transition& transition, Step step) {
  const StepRecord* record = find(transition, step);
  return record != nullptr && attempted(*record);
}

// Data may have been touched: a migration that did not fail cleanly, or a new version that ran on
// them.
bool data_touched(const Transition& transition) {
  if (!transition.data_changes) return false;
  const StepRecord* migrate = find(transition, Step::migrate);
  if (migrate != nullptr && attempted(*migrate) && migrate->progress != Progress::failed)
    return true;
  return was_attempted(transition, Step::start);
}

void plan_way_back(Transition& transition) {
  const auto add = [&](Step step) {
    StepRecord record;
    record.step = step;
    record.token = fmt::format("{}/{}/{}", transition.attempt, transition.service, step_name(step));
    record.idempotent = may_run_twice(transition, step);
    transition.back.push_back(std::move(record));
  };
  transition.walking_back = true;
  if (was_attempted(transition, Step::start)) add(Step::stop_new);
  if (data_touched(transition)) {
    if (!transition.snapshot.empty()) {
      add(Step::restore);
    } else if (find(transition, Step::migrate) != nullptr) {
      add(Step::migrate_back);
    }
  }
  if (was_attempted(transition, Step::switch_over)) add(Step::switch_back);
  if (was_attempted(transition, Step::remove)) add(Step::switch_back);
  if (transition.from && was_attempted(transition, Step::stop)) {
    add(Step::start_old);
    add(Step::validate_old);
  }
  if (transition.from && transition.from->mode == Mode::running &&
      was_attempted(transition, Step::drain)) {
    add(Step::undrain_old);
  }
}

// The first record that is not done, in the list that is being walked.
template <class T>
auto* current(T& transition) {
  auto& list = transition.walking_back ? transition.back : transition.forward;
  for (auto& record : list) {
    if (record.progress == Progress::planned || record.progress == Progress::intent) return &record;
  }
  return static_cast<decltype(&list.front())>(nullptr);
}

// What is on the host when the walk back broke off: old only if the switch back was not needed or
// is done.
std::optional<plan::InstanceState> truth_when_stuck(const Transition& transition) {
  const bool switched =
      std::any_of(transition.back.begin(), transition.back.end(), [](const StepRecord& r) {
        return r.step == Step::switch_back && r.progress != Progress::done;
      });
  auto state = switched ? transition.to : transition.from;
  if (state) state->mode = Mode::stopped;
  return state;
}

Ended end_of(const Transition& transition) {
  Ended end;
  end.outcome.attempt = transition.attempt;
  end.outcome.unconfirmed = transition.unconfirmed;
  const auto tell = [&](const Failure& failure) {
    end.outcome.step = failure.step;
    end.outcome.exit_status = failure.exit_status;
    end.outcome.message = failure.message;
    end.outcome.tail = failure.tail;
  };
  if (transition.failure) tell(*transition.failure);
  using Result = plan::Outcome::Result;
  if (transition.mending && !transition.back_failure) {
    end.mended = true;
    end.applied = transition.from;
    if (end.applied) end.applied->mode = Mode::stopped;
  } else if (transition.mending) {
    end.outcome.result = Result::inconsistent;
    tell(*transition.back_failure);
    end.outcome.message =
        fmt::format("an earlier change was not walked back to its end, and that comes first: {}",
                    transition.back_failure->message);
    end.applied = truth_when_stuck(transition);
  } else if (!transition.failure) {
    end.applied = transition.to;
  } else if (transition.duty) {
    end.outcome.result = Result::failed;
  } else if (transition.committed) {
    end.outcome.result = Result::failed;
    end.applied = transition.to;
    if (end.applied && end.applied->mode == Mode::running) end.applied->mode = Mode::drained;
  } else if (transition.back_failure) {
    end.outcome.result = Result::inconsistent;
    end.outcome.message +=
        fmt::format("; and the way back failed at {}: {}", transition.back_failure->step,
                    transition.back_failure->message);
    if (!transition.back_failure->tail.empty())
      end.outcome.tail += (end.outcome.tail.empty() ? "" : "\n") + transition.back_failure->tail;
    end.applied = truth_when_stuck(transition);
  } else {
    end.outcome.result = Result::reverted;
    end.applied = transition.from;
  }
  end.outcome.lost = transition.lost;
  for (const std::string* text : {&transition.passed_over, &transition.lost}) {
    if (!text->empty()) end.outcome.message += (end.outcome.message.empty() ? "" : "; ") + *text;
  }
  return end;
}

void note_failure(Transition& transition, StepRecord& record, const StepResult& result) {
  if (record.step == Step::drain && transition.drain_may_fail && !transition.walking_back) {
    record.progress = Progress::done;
    transition.passed_over =
        fmt::format("drain failed and was passed over, as onFailure says: {}", result.message);
    return;
  }
  // Who asked to be tried again, and never came to an end, may have left anything; and a run that
  // failed cleanly says nothing about what an earlier run of the same step has left.
  const bool clean =
      result.status == StepStatus::failed && record.tries == 0 && record.crashes == 0;
  record.progress = clean ? Progress::failed : Progress::failed_dirty;
  Failure failure{std::string(step_name(record.step)), result.exit_status, result.message,
                  result.tail};
  if (transition.walking_back) {
    transition.back_failure = std::move(failure);
    return;
  }
  transition.failure = std::move(failure);
  if (!transition.committed && !transition.duty) plan_way_back(transition);
}

}  // namespace

std::string_view step_name(Step step) { return row(step).name; }

Result<Step> step_from_name(std::string_view name) {
  for (const StepRow& r : kSteps) {
    if (r.name == name) return r.step;
  }
  return fail(ErrorCode::invalid_input, fmt::format("'{}' is no step of a transition", name));
}

Transition begin(const Begin& input) { return Planner(input).make(); }

Transition begin_duty(const std::string& service, const plan::Duty& duty, const plan::Hook& hook) {
  Transition out;
  out.service = service;
  out.attempt = duty.token;
  out.duty = duty;
  for (const Step step : {Step::fetch, Step::duty}) {
    StepRecord record;
    record.step = step;
    record.token = duty.token;
    record.idempotent = step != Step::duty || hook.idempotent;
    out.forward.push_back(record);
  }
  return out;
}

std::optional<Transition> owed_by(const Transition& stuck) {
  if (!stuck.back_failure) return std::nullopt;
  Transition out = stuck;
  out.mending = true;
  out.back.clear();
  out.failure.reset();
  out.back_failure.reset();
  const auto add = [&](Step step) {
    StepRecord record;
    record.step = step;
    record.idempotent = may_run_twice(out, step);
    out.back.push_back(std::move(record));
  };
  bool old_may_run = false;
  for (const StepRecord& record : stuck.back) {
    // Of what was to bring the old version into service, only its process is left: it may run half.
    const bool serves = record.step == Step::start_old || record.step == Step::validate_old ||
                        record.step == Step::undrain_old;
    if (serves) {
      old_may_run = old_may_run || (record.step == Step::start_old && attempted(record));
    } else if (record.step == Step::stop) {
      old_may_run = true;
    } else if (record.progress != Progress::done) {
      add(record.step);
    }
  }
  if (old_may_run) add(Step::stop);
  if (out.back.empty()) return std::nullopt;
  return out;
}

Transition mend(Transition owed, const std::string& attempt) {
  owed.attempt = attempt;
  for (StepRecord& record : owed.back)
    record.token = fmt::format("{}/{}/{}/mend", attempt, owed.service, step_name(record.step));
  return owed;
}

Decision decide(const Transition& transition) {
  const bool broken = transition.back_failure || (transition.failure && !transition.walking_back);
  const StepRecord* record = broken ? nullptr : current(transition);
  if (record == nullptr) return end_of(transition);
  StepOrder order;
  order.step = record->step;
  order.token = record->token;
  order.hook = transition.duty && record->step == Step::duty ? transition.duty->hook
                                                             : std::string(row(record->step).hook);
  order.owner = owner_of(transition, record->step);
  order.again = record->progress == Progress::intent || record->tries > 0;
  return order;
}

StepStatus status_of_exit(int exit_status, bool timed_out) {
  if (timed_out) return StepStatus::dirty;
  switch (exit_status) {
    case 0:
      return StepStatus::ok;
    case 75:
      return StepStatus::again;
    case 70:
      return StepStatus::dirty;
    default:
      return exit_status > 128 ? StepStatus::killed : StepStatus::failed;
  }
}

Transition with_intent(Transition transition) {
  if (StepRecord* record = current(transition)) record->progress = Progress::intent;
  return transition;
}

Transition with_result(Transition transition, const StepResult& result) {
  StepRecord* record = current(transition);
  if (record == nullptr || record->progress != Progress::intent) return transition;
  // The way forward has the way back as its remedy. The way back has none, and must not end because
  // the host was short of memory for a moment.
  const bool may_be_well = result.status == StepStatus::again ||
                           (result.status == StepStatus::killed && transition.walking_back);
  if (may_be_well && record->idempotent && ++record->tries <= kMostTries) {
    record->progress = Progress::planned;
    return transition;
  }
  if (result.status != StepStatus::ok) {
    note_failure(transition, *record, result);
    return transition;
  }
  record->progress = Progress::done;
  if (record->step == Step::commit) transition.committed = true;
  if (record->step == Step::confirm) transition.unconfirmed = result.unconfirmed;
  if (record->step == Step::switch_back) transition.lost = result.message;
  if (record->step == Step::backup || record->step == Step::backup_running)
    transition.snapshot = result.snapshot;
  return transition;
}

Transition recover(Transition transition) {
  StepRecord* record = current(transition);
  if (record == nullptr || record->progress != Progress::intent) return transition;
  const bool hook = record->step == Step::duty || !std::string_view(row(record->step).hook).empty();
  record->crashes = std::min(record->crashes + 1, 100);
  if (record->idempotent && (!hook || record->crashes < kMostCrashes)) return transition;
  StepResult result;
  result.status = StepStatus::dirty;
  if (record->idempotent) {
    result.message = fmt::format("the agent ended {} times while {} ran: its hook may be the cause",
                                 record->crashes, step_name(record->step));
    note_failure(transition, *record, result);
    return transition;
  }
  result.message = fmt::format(
      "the agent stopped while {} ran, and its hook says idempotent: false, so it is not run again",
      step_name(record->step));
  note_failure(transition, *record, result);
  return transition;
}

}  // namespace consort::transition
