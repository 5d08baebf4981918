#include "rollout/fleet_view.h"

#include <algorithm>

namespace consort::rollout {

using plan::Health;
using plan::Mode;

bool is_abandoned(const StepRun& run) {
  const bool given_up = run.phase == StepPhase::failed || run.phase == StepPhase::unreachable;
  return given_up && run.sent && !run.outcome;
}

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

bool FleetView::under_way(const Course& course, const Steps& steps,
                          const Instance& instance) const {
  const auto it = steps.by_instance.find(instance);
  return it != steps.by_instance.end() &&
         std::any_of(it->second.begin(), it->second.end(), [&](int id) {
           const StepRun& run = course.runs[static_cast<std::size_t>(id)];
           return run.phase == StepPhase::active || is_abandoned(run);
         });
}

bool FleetView::is_changing(const std::string& service, const std::string& host) {
  index();
  const Instance instance{service, host};
  if (!rollout_.reverting) return under_way(rollout_.forward, forward_, instance);
  if (under_way(rollout_.back, back_, instance)) return true;
  if (!under_way(rollout_.forward, forward_, instance)) return false;
  const auto it = back_.by_instance.find(instance);
  const bool is_back =
      it != back_.by_instance.end() &&
      std::any_of(it->second.begin(), it->second.end(), [&](int id) {
        return rollout_.back.runs[static_cast<std::size_t>(id)].phase == StepPhase::done;
      });
  return !is_back;
}

std::int64_t FleetView::healthy(const std::string& service, const std::string& except_host) {
  index();
  const auto it = steady_.find(service);
  if (it == steady_.end()) return 0;
  return static_cast<std::int64_t>(it->second.size()) - (it->second.contains(except_host) ? 1 : 0);
}

const std::vector<int>& FleetView::steps_on(const std::string& host) {
  static const std::vector<int> none;
  index();
  const Steps& steps = rollout_.reverting ? back_ : forward_;
  const auto it = steps.by_host.find(host);
  return it == steps.by_host.end() ? none : it->second;
}

bool FleetView::is_steady(const std::string& host, const plan::ObservedHost& observed,
                          const std::string& service, const plan::InstanceReport& report) {
  return observed.reachable && report.applied && report.applied->mode == Mode::running &&
         report.health == Health::healthy && !is_changing(service, host);
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
  const auto steps_of = [](const Course& course) {
    Steps out;
    for (const plan::Step& step : course.steps) {
      out.by_host[step.host].push_back(step.id);
      if (!step.duty) out.by_instance[{step.service, step.host}].push_back(step.id);
    }
    return out;
  };
  forward_ = steps_of(rollout_.forward);
  back_ = steps_of(rollout_.back);
  steady_.clear();
  for (const auto& [host, observed] : observed_) {
    for (const auto& [service, report] : observed.instances) {
      if (is_steady(host, observed, service, report)) steady_[service].insert(host);
    }
  }
}

}  // namespace consort::rollout
