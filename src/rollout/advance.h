// One call of advance(): watch.cc looks after the steps that are under way, start.cc starts others,
// turn.cc decides about failures, the way back and the end.
#pragma once

#include "rollout/fleet_view.h"

namespace consort::rollout {

class Advance {
 public:
  Advance(Rollout& rollout, const plan::Observed& observed, budget::Budgets& budgets,
          const budget::Censuses& censuses, Instant now)
      : r_(rollout), budgets_(budgets), censuses_(censuses), now_(now), fleet_(rollout, observed) {}
  [[nodiscard]] Effects run();

 private:
  using Step = plan::Step;

  // --- the story so far (advance.cc)
  [[nodiscard]] Way way() const { return r_.reverting ? Way::back : Way::forward; }
  [[nodiscard]] Course& course() { return r_.reverting ? r_.back : r_.forward; }
  [[nodiscard]] const Step& step(int id) { return course().steps[static_cast<std::size_t>(id)]; }
  [[nodiscard]] StepRun& run_of(const Step& step) {
    return course().runs[static_cast<std::size_t>(step.id)];
  }
  // "upgrade", or on the way back "undo upgrade".
  [[nodiscard]] std::string activity(const Step& step) const {
    return std::string(r_.reverting ? "undo " : "") + std::string(action_name(step.action));
  }
  [[nodiscard]] std::string reason() const { return "rollout:" + r_.id; }
  // When it is too late for what has lasted since then. A pause does not count.
  [[nodiscard]] Instant limit(Instant since, Duration patience) const {
    return std::max(std::max(since, r_.resumed) + patience, r_.patient_until);
  }
  void wake_at(Instant at);
  void tell(std::string kind, std::string text, const Step* step = nullptr);
  void touch(const Step& step) { touch({way(), step.id}); }
  void touch(RunKey key);
  void set_phase(const Step& step, StepPhase phase, std::string kind, std::string text);
  void wait(const Step& step, const std::string& why);
  void give_up(const Step& step, StepPhase phase, const std::string& why);
  // True when it is out of sight for longer than that.
  [[nodiscard]] bool is_lost(const Step& step, Duration patience);
  // True when it was out of sight until now.
  bool seen_again(const Step& step);
  [[nodiscard]] bool wave_is_over();
  void next_wave();

  // --- watch.cc
  void watch_steps();
  void watch_late(Way way, const Step& step);
  // `soak`: of the step's own wave.
  void watch_active(const Step& step, Duration soak);
  void take_outcome(const Step& step, const plan::Outcome& outcome,
                    const plan::InstanceReport& report, Duration soak);
  void watch_soaking(const Step& step, Duration soak);
  [[nodiscard]] const plan::Outcome* outcome_of(Way way, const Step& step) const;
  void fail_soaking(const Step& step, StepPhase phase, const std::string& why);
  void finish_step(const Step& step);
  void give_back_slot(const Step& step) { give_back_slot({way(), step.id}, step.host); }
  void give_back_slot(RunKey key, const std::string& host);

  // --- start.cc
  void start_steps();
  void try_start(const Step& step);
  [[nodiscard]] std::string not_heard_yet() const;
  using NamesByHost = std::map<std::string, std::vector<std::string>>;  // of budgets
  [[nodiscard]] bool take_joint_slots(const plan::Wave& wave, std::string& why);
  [[nodiscard]] bool may_still_go_forward(const Step& back);
  [[nodiscard]] std::string why_provider_would_wait(const std::string& held,
                                                    const NamesByHost& joint);
  [[nodiscard]] bool is_there(const Step& step) const;
  [[nodiscard]] bool is_in_outage(const std::string& service) const;
  [[nodiscard]] bool in_outage() const;
  [[nodiscard]] bool runs_against_plan(const Step& step) const;
  [[nodiscard]] std::string blocked_by(const Step& step);
  [[nodiscard]] std::vector<std::string> budgets_of(const std::string& host) const;
  [[nodiscard]] std::optional<Instant> limit_of_waiting();
  void wait_or_give_up(const Step& step, const std::string& why);

  // --- turn.cc
  [[nodiscard]] bool too_many_failures() const;
  void turn_back();
  [[nodiscard]] std::string what_is_lost() const;
  void finish();
  void end(Result result, std::string summary);

  Rollout& r_;
  budget::Budgets& budgets_;
  const budget::Censuses& censuses_;
  Instant now_;
  FleetView fleet_;
  Effects out_;
};

// Unique per step, way and rollout: an agent tries each attempt once.
[[nodiscard]] std::string attempt_name(const Rollout& rollout, RunKey key);
// Of a step of the current course.
[[nodiscard]] plan::TargetEntry target_entry(const Rollout& rollout, const plan::Step& step);

}  // namespace consort::rollout
