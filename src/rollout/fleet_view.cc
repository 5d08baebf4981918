#include "rollout/fleet_view.h"

#include <algorithm>

namespace consort::rollout {

using plan::Health;
using plan::Mode;

bool is_unanswered(const StepRun& run) { return run.sent && !run.outcome; }

bool FleetView::reachable(const std::string& host) const {
  const auto it = observed_.find(host);
  return it != observed_.end() && it->second.reachable;
}

bool FleetView::heard(const std::string& host) const {
  const auto it = observed_.find(host);
  return it != observed_.end() && it->second.heard;
}

const plan::InstanceReport* FleetView::report_of(const plan::Step& step) const {
  const auto host = observed_.find(step.host);
  if (host == observed_.end()) return nullptr;
  const auto it = host->second.instances.find(step.service);
  return it == host->second.instances.end() ? nullptr : &it->second;
}

bool FleetView::sick(const plan::Step& step) const {
  const plan::InstanceReport* report = report_of(step);
  return report != nullptr && report->health == Health::unhealthy;
}

bool FleetView::down(const plan::Step& step) const {
  return sick(step) && !report_of(step)->serves;
}

const plan::Step& FleetView::step(RunKey key) const {
  const Course& course = key.way == Way::forward ? rollout_.forward : rollout_.back;
  return course.steps[static_cast<std::size_t>(key.step)];
}

const StepRun& FleetView::run(RunKey key) const {
  const Course& course = key.way == Way::forward ? rollout_.forward : rollout_.back;
  return course.runs[static_cast<std::size_t>(key.step)];
}

// What was told last counts: it takes the place of what was told before, or comes after it.
bool FleetView::is_changing(const std::string& service, const std::string& host) {
  index();
  const auto it = by_instance_.find({service, host});
  if (it == by_instance_.end()) return false;
  for (auto key = it->second.rbegin(); key != it->second.rend(); ++key) {
    if (run(*key).outcome) return false;
    if (run(*key).sent && !step(*key).duty) return true;
  }
  return false;
}

bool FleetView::is_unanswered(RunKey key) {
  if (!rollout::is_unanswered(run(key))) return false;
  const std::vector<RunKey>& told = steps_of(step(key));
  return std::none_of(std::find(told.begin(), told.end(), key), told.end(),
                      [&](RunKey later) { return run(later).outcome.has_value(); });
}

bool FleetView::is_at_work(const std::string& host, RunKey besides) {
  const Way way = rollout_.reverting ? Way::back : Way::forward;
  const std::vector<RunKey>& keys = steps_on(host);
  return std::any_of(keys.begin(), keys.end(), [&](RunKey key) {
    const bool soaks = key.way == way && run(key).phase == StepPhase::soaking;
    return key != besides && (soaks || is_unanswered(key));
  });
}

std::int64_t FleetView::healthy(const std::string& service, const std::string& except_host) {
  index();
  const auto it = steady_.find(service);
  if (it == steady_.end()) return 0;
  return static_cast<std::int64_t>(it->second.size()) - (it->second.contains(except_host) ? 1 : 0);
}

const std::vector<RunKey>& FleetView::steps_on(const std::string& host) {
  static const std::vector<RunKey> none;
  index();
  const auto it = by_host_.find(host);
  return it == by_host_.end() ? none : it->second;
}

const std::vector<RunKey>& FleetView::steps_of(const plan::Step& step) {
  static const std::vector<RunKey> none;
  index();
  const auto it = by_instance_.find({step.service, step.host});
  return it == by_instance_.end() ? none : it->second;
}

bool FleetView::is_steady(const std::string& host, const plan::ObservedHost& observed,
                          const std::string& service, const plan::InstanceReport& report) {
  return observed.reachable && observed.heard && report.applied &&
         report.applied->mode == Mode::running && report.health == Health::healthy &&
         !is_changing(service, host);
}

void FleetView::changed(const plan::Step& step) {
  if (!indexed_) return;
  const auto host = observed_.find(step.host);
  if (host == observed_.end()) return;
  const auto it = host->second.instances.find(step.service);
  if (it == host->second.instances.end()) return;
  if (is_steady(host->first, host->second, it->first, it->second)) {
    steady_[it->first].insert(host->first);
  } else {
    steady_[it->first].erase(host->first);
  }
}

void FleetView::index() {
  if (indexed_) return;
  indexed_ = true;
  by_instance_.clear();
  by_host_.clear();
  for (const Way way : {Way::forward, Way::back}) {
    for (const plan::Step& step : (way == Way::forward ? rollout_.forward : rollout_.back).steps) {
      by_instance_[{step.service, step.host}].push_back({way, step.id});
      by_host_[step.host].push_back({way, step.id});
    }
  }
  steady_.clear();
  for (const auto& [host, observed] : observed_) {
    for (const auto& [service, report] : observed.instances) {
      if (is_steady(host, observed, service, report)) steady_[service].insert(host);
    }
  }
}

}  // namespace consort::rollout
