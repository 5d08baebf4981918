// The fleet as a rollout sees it at one moment: what the hosts report, less what is just changing.
#pragma once

#include <map>
#include <string_view>
#include <unordered_map>
#include <unordered_set>

#include "rollout/rollout.h"

namespace consort::rollout {

class FleetView {
 public:
  // Both must outlive it.
  FleetView(const Rollout& rollout, const plan::Observed& observed)
      : rollout_(rollout), observed_(observed) {}

  [[nodiscard]] bool reachable(const std::string& host) const;
  // Null where nothing is known.
  [[nodiscard]] const plan::InstanceReport* report_of(const plan::Step& step) const;
  [[nodiscard]] bool sick(const plan::Step& step) const;
  // An instance that was told to change still reports healthy until it begins. When a rollout turns
  // back, steps of the way forward may still be under way, until their own way back is answered.
  [[nodiscard]] bool is_changing(const std::string& service, const std::string& host);
  // Instances that are healthy and not changing, those on `except_host` aside.
  [[nodiscard]] std::int64_t healthy(const std::string& service, const std::string& except_host);
  // The steps of both ways on this host, as they are told.
  [[nodiscard]] const std::vector<RunKey>& steps_on(const std::string& host);
  [[nodiscard]] const std::vector<RunKey>& steps_of(const plan::Step& step);  // of its instance
  // It was told, and neither it nor what its instance was told later is answered: the host may be
  // at it, or begin with it when it returns.
  [[nodiscard]] bool is_unanswered(RunKey key);
  // Besides this step something is under way there, as far as is known.
  [[nodiscard]] bool is_at_work(const std::string& host, RunKey besides);

  // Its instance is sick, and not at work: nothing is lost where it is taken away.
  [[nodiscard]] bool down(const plan::Step& step) const;
  // Its host has spoken to this leader.
  [[nodiscard]] bool heard(const std::string& host) const;

  // The run of this step has another phase.
  void changed(const plan::Step& step);
  // The rollout has turned back.
  void turned() { indexed_ = false; }

 private:
  using Instance = std::pair<std::string_view, std::string_view>;  // service, host
  void index();
  [[nodiscard]] const plan::Step& step(RunKey key) const;
  [[nodiscard]] const StepRun& run(RunKey key) const;
  [[nodiscard]] bool is_steady(const std::string& host, const plan::ObservedHost& observed,
                               const std::string& service, const plan::InstanceReport& report);

  const Rollout& rollout_;
  const plan::Observed& observed_;
  bool indexed_ = false;
  // Forward and then back, each in the order of its waves.
  std::map<Instance, std::vector<RunKey>> by_instance_;
  std::map<std::string_view, std::vector<RunKey>> by_host_;
  std::unordered_map<std::string_view, std::unordered_set<std::string_view>> steady_;
};

// Its host was told, and has not said how it ended: whatever became of the step here, given up or
// turned away from, it may still be under way there.
[[nodiscard]] bool is_unanswered(const StepRun& run);

}  // namespace consort::rollout
