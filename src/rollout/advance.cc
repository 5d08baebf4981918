// advance(): what the engine does next. It looks at the whole current wave each time; nothing
// depends on the order in which reports arrive.
#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "rollout/rollout.h"

namespace consort::rollout {
namespace {

using plan::Health;
using plan::Mode;
using plan::Step;

// Where a step that has ended was never given to its host, StepRun::waiting says so.
constexpr std::string_view kNeverSent = "never sent";

std::string attempt_name(const Rollout& rollout, const Step& step) {
  return fmt::format("{}/{}{}", rollout.id, step.id, rollout.reverting ? "/back" : "");
}

plan::TargetEntry target_entry(const Rollout& rollout, const Step& step) {
  plan::TargetEntry entry;
  entry.wanted = step.to;
  entry.attempt = attempt_name(rollout, step);
  if (step.duty) {
    entry.duty = step.duty;
    entry.duty->token = entry.attempt;
  }
  return entry;
}

class Advance {
 public:
  Advance(Rollout& rollout, const plan::Observed& observed, budget::Budgets& budgets,
          const budget::Censuses& censuses, Instant now)
      : r_(rollout), observed_(observed), budgets_(budgets), censuses_(censuses), now_(now) {}

  Effects run() {
    if (r_.result != Result::open) return std::move(out_);
    watch_steps();
    if (!r_.reverting && (r_.abort || too_many_failures())) {
      if (r_.abort || r_.plan.policy.on_failure == plan::OnFailure::revert) {
        turn_back();
      } else {
        halt();
        return std::move(out_);
      }
    }
    while (r_.result == Result::open && !r_.paused && wave_is_over()) next_wave();
    if (r_.result == Result::open && !r_.paused) start_steps();
    return std::move(out_);
  }

 private:
  [[nodiscard]] Course& course() { return r_.reverting ? r_.back : r_.forward; }
  [[nodiscard]] std::string reason() const { return "rollout:" + r_.id; }
  [[nodiscard]] std::string attempt_of(const Step& step) const { return attempt_name(r_, step); }
  [[nodiscard]] StepRun& run_of(const Step& step) {
    return course().runs[static_cast<std::size_t>(step.id)];
  }

  [[nodiscard]] const plan::ObservedHost* host(const std::string& name) const {
    const auto it = observed_.find(name);
    return it == observed_.end() ? nullptr : &it->second;
  }

  [[nodiscard]] bool reachable(const std::string& name) const {
    const auto* h = host(name);
    return h != nullptr && h->reachable;
  }

  [[nodiscard]] const plan::InstanceReport* report_of(const Step& step) const {
    const auto* h = host(step.host);
    if (h == nullptr) return nullptr;
    const auto it = h->instances.find(step.service);
    return it == h->instances.end() ? nullptr : &it->second;
  }

  // An instance that was told to change still reports healthy until it begins. When a rollout turns
  // back, steps of the way forward may still be under way, until their own way back is done.
  [[nodiscard]] bool is_changing(const std::string& service, const std::string& host) const {
    const auto any = [&](const Course& c, auto fits) {
      return std::any_of(c.steps.begin(), c.steps.end(), [&](const Step& step) {
        return step.host == host && step.service == service && !step.duty &&
               fits(c.runs[static_cast<std::size_t>(step.id)]);
      });
    };
    const auto under_way = [](const StepRun& run) {
      return run.phase == StepPhase::active || is_abandoned(run);
    };
    if (!r_.reverting) return any(r_.forward, under_way);
    if (any(r_.back, under_way)) return true;
    return any(r_.forward, under_way) &&
           !any(r_.back, [](const StepRun& run) { return run.phase == StepPhase::done; });
  }

  // Given up, but its host may still be at it.
  [[nodiscard]] static bool is_abandoned(const StepRun& run) {
    const bool given_up = run.phase == StepPhase::failed || run.phase == StepPhase::unreachable;
    return given_up && !run.outcome && run.waiting != kNeverSent;
  }

  [[nodiscard]] std::int64_t healthy_instances(const std::string& service,
                                               const std::string& except_host) const {
    std::int64_t count = 0;
    for (const auto& [name, h] : observed_) {
      if (name == except_host || !h.reachable || is_changing(service, name)) continue;
      const auto it = h.instances.find(service);
      if (it != h.instances.end() && it->second.applied &&
          it->second.applied->mode == Mode::running && it->second.health == Health::healthy)
        ++count;
    }
    return count;
  }

  void wake_at(Instant at) {
    if (!out_.wake || at < *out_.wake) out_.wake = at;
  }

  void tell(std::string kind, std::string text, const Step* step = nullptr) {
    Event event{std::move(kind), std::move(text), "", "", -1};
    if (step != nullptr) {
      event.service = step->service;
      event.host = step->host;
      event.step = step->id;
    }
    out_.events.push_back(std::move(event));
  }

  void touch(const Step& step) {
    out_.changed = true;
    out_.runs.insert({r_.reverting ? Way::back : Way::forward, step.id});
  }

  void set_phase(const Step& step, StepPhase phase, std::string kind, std::string text) {
    StepRun& run = run_of(step);
    run.phase = phase;
    run.since = now_;
    run.waiting.clear();
    touch(step);
    tell(std::move(kind), std::move(text), &step);
  }

  void wait(const Step& step, const std::string& why) {
    StepRun& run = run_of(step);
    if (run.waiting == why) return;
    run.waiting = why;
    touch(step);
    tell("step-waiting", why, &step);
  }

  // --- steps that are under way ------------------------------------------------------------------

  void watch_steps() {
    Course& c = course();
    if (c.wave >= c.waves.size()) return;
    for (std::size_t w = 0; w <= c.wave; ++w) {
      for (const int id : c.waves[w].steps) {
        const Step& step = c.steps[static_cast<std::size_t>(id)];
        const StepPhase phase = run_of(step).phase;
        if (phase == StepPhase::active || phase == StepPhase::unreachable) watch_active(step);
        if (phase == StepPhase::soaking) watch_soaking(step);
        if (phase == StepPhase::failed && is_open(step)) watch_late(step);
      }
    }
  }

  // How the agent says that this attempt ended, or null as long as it has not.
  [[nodiscard]] const plan::Outcome* outcome_of(const Step& step) const {
    const plan::InstanceReport* report = report_of(step);
    if (report == nullptr) return nullptr;
    const plan::Outcome* outcome = nullptr;
    if (step.duty) {
      const auto it = report->duties.find(attempt_of(step));
      if (it != report->duties.end()) outcome = &it->second;
    } else if (report->outcome && report->outcome->attempt == attempt_of(step)) {
      outcome = &*report->outcome;
    }
    const bool ended = outcome != nullptr && outcome->result != plan::Outcome::Result::waiting;
    return ended ? outcome : nullptr;
  }

  // A step that was given up may still be under way on its host: the slot is free when it ends.
  void watch_late(const Step& step) {
    const plan::Outcome* outcome = outcome_of(step);
    if (outcome == nullptr) return;
    run_of(step).outcome = *outcome;
    touch(step);
    give_back_slot(step);
  }

  void watch_active(const Step& step) {
    StepRun& run = run_of(step);
    const plan::InstanceReport* report = report_of(step);
    const plan::Outcome* outcome = outcome_of(step);
    if (outcome != nullptr) return take_outcome(step, *outcome, *report);
    if (run.phase != StepPhase::active) return;
    if (!reachable(step.host)) return watch_silence(step);
    if (r_.paused) return;
    const Instant limit = run.since + r_.plan.policy.step_timeout;
    if (now_ >= limit) {
      set_phase(step, StepPhase::failed, "step-failed",
                fmt::format("no answer within {}", human_duration(r_.plan.policy.step_timeout)));
    } else {
      wake_at(limit);
    }
  }

  void watch_silence(const Step& step) {
    const Instant limit = std::max(run_of(step).since, course().wave_since) + kUnreachableGrace;
    if (now_ < limit) return wake_at(limit);
    set_phase(step, StepPhase::unreachable, "unreachable",
              fmt::format("{} does not answer", step.host));
  }

  void take_outcome(const Step& step, const plan::Outcome& outcome,
                    const plan::InstanceReport& report) {
    StepRun& run = run_of(step);
    if (outcome.result != plan::Outcome::Result::done) {
      run.outcome = outcome;
      set_phase(
          step, StepPhase::failed, "step-failed",
          fmt::format(
              "{} at {}{}: {}", outcome_name(outcome.result),
              outcome.step.empty() ? "start" : outcome.step,
              outcome.exit_status != 0 ? fmt::format(" (exit status {})", outcome.exit_status) : "",
              outcome.message));
      give_back_slot(step);
      return;
    }
    const bool should_run = step.to && step.to->mode == Mode::running && !step.duty;
    if (should_run && report.health != Health::healthy) {
      if (report.health == Health::unhealthy)
        wait(step, report.health_reason.empty() ? "not healthy yet" : report.health_reason);
      const Instant limit = run.since + r_.plan.policy.step_timeout;
      if (now_ < limit) return wake_at(limit);
      run.outcome = outcome;
      set_phase(step, StepPhase::failed, "step-failed",
                fmt::format("not healthy within {}", human_duration(r_.plan.policy.step_timeout)));
      return give_back_slot(step);
    }
    run.outcome = outcome;
    const Duration soak = r_.reverting ? Duration{0} : course().waves[course().wave].soak;
    if (should_run && soak.count() > 0) {
      set_phase(step, StepPhase::soaking, "step-soaking",
                fmt::format("healthy; soaks for {}", human_duration(soak)));
      wake_at(now_ + soak);
      return;
    }
    finish_step(step);
  }

  void watch_soaking(const Step& step) {
    StepRun& run = run_of(step);
    const plan::InstanceReport* report = report_of(step);
    if (report != nullptr && report->health == Health::unhealthy) {
      plan::Outcome outcome;
      outcome.attempt = attempt_of(step);
      outcome.result = plan::Outcome::Result::failed;
      outcome.step = "soak";
      outcome.message = report->health_reason;
      run.outcome = outcome;
      set_phase(step, StepPhase::failed, "step-failed",
                fmt::format("became unhealthy while soaking: {}", report->health_reason));
      return give_back_slot(step);
    }
    const Instant until = run.since + course().waves[course().wave].soak;
    if (now_ < until) return wake_at(until);
    finish_step(step);
  }

  void finish_step(const Step& step) {
    set_phase(step, StepPhase::done, "step-done", std::string(action_name(step.action)));
    const bool is_back = !step.to || step.to->mode == Mode::running;
    if (is_back && !step.duty) give_back_slot(step);
  }

  // On its way on the host, as far as is known.
  [[nodiscard]] bool is_open(const Step& step) {
    const StepRun& run = run_of(step);
    return run.phase == StepPhase::active || run.phase == StepPhase::soaking || is_abandoned(run);
  }

  // What is sick counts against the budget by itself; what went back by itself needs no slot.
  // A host keeps its slot while any other of its instances is still on its way.
  void give_back_slot(const Step& step) {
    const Course& c = course();
    const bool busy = std::any_of(c.steps.begin(), c.steps.end(), [&](const Step& other) {
      return other.id != step.id && other.host == step.host && is_open(other);
    });
    if (busy) return;
    out_.budgets_changed = budget::release(budgets_, step.host, reason()) || out_.budgets_changed;
    out_.budgets_changed =
        budget::release_joint(budgets_, step.host, reason()) || out_.budgets_changed;
  }

  // --- failures
  // -----------------------------------------------------------------------------------

  [[nodiscard]] bool too_many_failures() const {
    std::set<std::string> failed;
    std::set<std::string> hosts;
    for (const Step& step : r_.forward.steps) {
      hosts.insert(step.host);
      const StepPhase phase = r_.forward.runs[static_cast<std::size_t>(step.id)].phase;
      if (phase == StepPhase::failed || phase == StepPhase::unreachable) failed.insert(step.host);
    }
    return static_cast<std::int64_t>(failed.size()) >
           budget::amount_of(r_.plan.policy.max_failures, static_cast<std::int64_t>(hosts.size()));
  }

  void halt() {
    end(Result::inconsistent, "halted after a failure, as the policy says (onFailure: halt)");
  }

  // The way back: every wave that was begun, last first, each step with its ends exchanged.
  void turn_back() {
    for (std::size_t w = std::min(r_.forward.wave + 1, r_.forward.waves.size()); w-- > 0;) {
      plan::Wave wave;
      wave.name = "back · " + r_.forward.waves[w].name;
      for (const int id : r_.forward.waves[w].steps) {
        const StepRun& run = r_.forward.runs[static_cast<std::size_t>(id)];
        if (run.phase == StepPhase::pending) continue;
        if (run.phase == StepPhase::unreachable && !run.outcome && run.waiting == kNeverSent)
          continue;
        if (auto step = reversed(r_.forward.steps[static_cast<std::size_t>(id)], run)) {
          step->id = static_cast<int>(r_.back.steps.size());
          wave.steps.push_back(step->id);
          r_.back.steps.push_back(std::move(*step));
        }
      }
      if (!wave.steps.empty()) r_.back.waves.push_back(std::move(wave));
    }
    r_.back.runs.resize(r_.back.steps.size());
    r_.back.wave_since = now_;
    r_.reverting = true;
    out_.changed = true;
    out_.turned_back = true;
    tell("reverting",
         r_.abort ? "aborted by the operator: going back" : "a step failed: going back");
  }

  static std::optional<Step> reversed(const Step& step, const StepRun& run) {
    Step back = step;
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

  // --- waves
  // ------------------------------------------------------------------------------------------

  [[nodiscard]] bool wave_is_over() {
    Course& c = course();
    if (c.wave >= c.waves.size()) return true;
    return std::all_of(c.waves[c.wave].steps.begin(), c.waves[c.wave].steps.end(), [&](int id) {
      const StepPhase phase = c.runs[static_cast<std::size_t>(id)].phase;
      return phase == StepPhase::done || phase == StepPhase::failed ||
             phase == StepPhase::unreachable;
    });
  }

  void next_wave() {
    Course& c = course();
    if (c.wave < c.waves.size()) {
      ++c.wave;
      c.wave_since = now_;
      out_.changed = true;
    }
    if (c.wave < c.waves.size()) return tell("wave", c.waves[c.wave].name);
    finish();
  }

  void finish() {
    std::set<std::string> failed;
    for (const Step& step : course().steps) {
      if (run_of(step).phase != StepPhase::done)
        failed.insert(fmt::format("{}@{}", step.service, step.host));
    }
    const std::string names = fmt::format("{}", fmt::join(failed, ", "));
    if (r_.reverting) {
      if (failed.empty()) return end(Result::reverted, "everything is as it was before");
      return end(Result::inconsistent, fmt::format("could not go back: {}", names));
    }
    if (failed.empty()) return end(Result::done, "all steps are done");
    end(Result::partial, fmt::format("left behind: {}", names));
  }

  void end(Result result, std::string summary) {
    r_.result = result;
    r_.summary = std::move(summary);
    r_.ended = now_;
    out_.changed = true;
    out_.budgets_changed = budget::release_all(budgets_, reason()) || out_.budgets_changed;
    tell("ended", fmt::format("{}: {}", result_name(result), r_.summary));
  }

  // --- starting steps
  // ------------------------------------------------------------------------------------

  void start_steps() {
    Course& c = course();
    if (c.wave >= c.waves.size()) return;
    const plan::Wave& wave = c.waves[c.wave];
    if (!take_joint_slots(wave)) return;
    std::vector<int> order = wave.steps;
    // What is sick already is changed first: it costs no availability.
    std::stable_sort(order.begin(), order.end(), [&](int a, int b) {
      return sick(c.steps[static_cast<std::size_t>(a)]) &&
             !sick(c.steps[static_cast<std::size_t>(b)]);
    });
    for (const int id : order) {
      const Step& step = c.steps[static_cast<std::size_t>(id)];
      if (run_of(step).phase == StepPhase::pending) try_start(step);
    }
    if (wave_is_over()) wake_at(now_);
  }

  [[nodiscard]] bool sick(const Step& step) const {
    const plan::InstanceReport* report = report_of(step);
    return report != nullptr && report->health == Health::unhealthy;
  }

  // A declared outage takes all its slots together, or none.
  bool take_joint_slots(const plan::Wave& wave) {
    std::map<std::string, std::vector<std::string>> names_by_host;
    const Step* first = nullptr;
    for (const int id : wave.steps) {
      const Step& step = course().steps[static_cast<std::size_t>(id)];
      const bool holds = step.to && step.to->mode != Mode::running && step.from &&
                         step.from->mode == Mode::running && !step.duty;
      if (!holds || run_of(step).phase != StepPhase::pending) continue;
      first = first == nullptr ? &step : first;
      names_by_host[step.host] = budgets_of(step.host);
    }
    if (names_by_host.empty()) return true;
    const budget::Grant grant =
        budget::acquire_jointly(budgets_, names_by_host, censuses_, reason(), first->reason, now_);
    if (!grant.granted) {
      wait(*first, grant.why);
      return false;
    }
    out_.budgets_changed = true;
    return true;
  }

  [[nodiscard]] std::vector<std::string> budgets_of(const std::string& host) const {
    const auto it = r_.plan.budgets.find(host);
    return it == r_.plan.budgets.end() ? std::vector<std::string>{} : it->second;
  }

  void try_start(const Step& step) {
    if (!reachable(step.host)) {
      const bool known = std::find(r_.plan.unreachable.begin(), r_.plan.unreachable.end(),
                                   step.host) != r_.plan.unreachable.end();
      if (!known && now_ < course().wave_since + kUnreachableGrace) {
        wait(step, fmt::format("{} does not answer", step.host));
        return wake_at(course().wave_since + kUnreachableGrace);
      }
      set_phase(step, StepPhase::unreachable, "unreachable",
                fmt::format("{} does not answer; it keeps what it has", step.host));
      run_of(step).waiting = kNeverSent;
      return;
    }
    if (const std::string why = blocked_by(step); !why.empty()) {
      wait(step, why);
      const Instant limit = course().wave_since + r_.plan.policy.step_timeout;
      if (now_ < limit) return wake_at(limit);
      set_phase(step, StepPhase::failed, "step-failed",
                fmt::format("could not start within {}: {}",
                            human_duration(r_.plan.policy.step_timeout), why));
      run_of(step).waiting = kNeverSent;
      return;
    }
    if (step.disrupts) {
      const auto grant =
          budget::acquire(budgets_, budgets_of(step.host), censuses_, step.host, reason(),
                          fmt::format("{} {}", action_name(step.action), step.service), now_);
      if (!grant.granted) {
        wait(step, grant.why);
        // Going forward can wait for other people's slots. The way back must come to an end, and
        // say so.
        const Instant limit = course().wave_since + r_.plan.policy.step_timeout;
        if (!r_.reverting) return;
        if (now_ < limit) return wake_at(limit);
        set_phase(step, StepPhase::failed, "step-failed",
                  fmt::format("got no slot within {}: {}",
                              human_duration(r_.plan.policy.step_timeout), grant.why));
        run_of(step).waiting = kNeverSent;
        return;
      }
      out_.budgets_changed = true;
    }
    send(step);
  }

  [[nodiscard]] std::string blocked_by(const Step& step) const {
    const bool starts = step.to && step.to->mode == Mode::running && !step.duty;
    if (starts) {
      for (const plan::NeededService& need : step.needs) {
        const std::int64_t have = healthy_instances(need.service, "");
        if (have < need.quorum)
          return fmt::format("needs {} healthy instance{} of {}, there {} {}", need.quorum,
                             need.quorum == 1 ? "" : "s", need.service, have == 1 ? "is" : "are",
                             have);
      }
    }
    // An instance that is sick or away is no loss: its dependents do without it already.
    const bool up = !sick(step) && !is_changing(step.service, step.host);
    if (step.keep_healthy > 0 && up) {
      const std::int64_t others = healthy_instances(step.service, step.host);
      if (others < step.keep_healthy)
        return fmt::format("{} other instance{} of {} must stay healthy, there {} {}",
                           step.keep_healthy, step.keep_healthy == 1 ? "" : "s", step.service,
                           others == 1 ? "is" : "are", others);
    }
    return "";
  }

  void send(const Step& step) {
    out_.targets[step.host][step.service] = target_entry(r_, step);
    set_phase(step, StepPhase::active, "step-started", std::string(action_name(step.action)));
    wake_at(now_ + r_.plan.policy.step_timeout);
  }

  Rollout& r_;
  const plan::Observed& observed_;
  budget::Budgets& budgets_;
  const budget::Censuses& censuses_;
  Instant now_;
  Effects out_;
};

}  // namespace

Effects advance(Rollout& rollout, const plan::Observed& observed, budget::Budgets& budgets,
                const budget::Censuses& censuses, Instant now) {
  return Advance(rollout, observed, budgets, censuses, now).run();
}

std::map<std::string, std::map<std::string, plan::TargetEntry>> open_targets(
    const Rollout& rollout) {
  std::map<std::string, std::map<std::string, plan::TargetEntry>> out;
  if (rollout.result != Result::open) return out;
  const Course& course = rollout.reverting ? rollout.back : rollout.forward;
  for (const Step& step : course.steps) {
    if (course.runs[static_cast<std::size_t>(step.id)].phase == StepPhase::active)
      out[step.host][step.service] = target_entry(rollout, step);
  }
  return out;
}

}  // namespace consort::rollout
