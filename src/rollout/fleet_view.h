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
  // back, steps of the way forward may still be under way, until their own way back is done.
  [[nodiscard]] bool is_changing(const std::string& service, const std::string& host);
  // Instances that are healthy and not changing, those on `except_host` aside.
  [[nodiscard]] std::int64_t healthy(const std::string& service, const std::string& except_host);
  // The steps of the current course on this host.
  [[nodiscard]] const std::vector<int>& steps_on(const std::string& host);

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
  struct Steps {
    std::map<Instance, std::vector<int>> by_instance;
    std::map<std::string_view, std::vector<int>> by_host;
  };
  void index();
  [[nodiscard]] bool under_way(const Course& course, const Steps& steps,
                               const Instance& instance) const;
  [[nodiscard]] bool is_steady(const std::string& host, const plan::ObservedHost& observed,
                               const std::string& service, const plan::InstanceReport& report);

  const Rollout& rollout_;
  const plan::Observed& observed_;
  bool indexed_ = false;
  Steps forward_;
  Steps back_;
  std::unordered_map<std::string_view, std::unordered_set<std::string_view>> steady_;
};

// Given up, but its host may still be at it.
[[nodiscard]] bool is_abandoned(const StepRun& run);

}  // namespace consort::rollout
