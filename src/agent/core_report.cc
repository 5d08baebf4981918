// What the controller is told of this host.
#include <algorithm>

#include "agent/core.h"

namespace consort::agent {

// A port that shall be guarded and is not is a promise that is not kept.
bool Core::is_unguarded(const std::string& service) const {
  if (!access_ || access_->problem.empty()) return false;
  const plan::Admissions guarded = admissions();
  return std::any_of(guarded.begin(), guarded.end(), [&](const plan::Admission& admission) {
    return admission.service == service && admission.mode == plan::AccessMode::enforce;
  });
}

// Whoever waits for an attempt or a duty learns at once that it will not come.
plan::InstanceReport Core::report_damaged(const std::string& service) const {
  plan::InstanceReport out;
  out.health = plan::Health::unhealthy;
  out.health_reason = damaged_.at(service);
  plan::Outcome outcome;
  outcome.result = plan::Outcome::Result::inconsistent;
  outcome.step = "record";
  outcome.message = damaged_.at(service);
  const auto entry = target_.instances.find(service);
  if (entry == target_.instances.end()) return out;
  outcome.attempt = entry->second.attempt;
  out.outcome = outcome;
  if (entry->second.duty) {
    outcome.attempt = entry->second.duty->token;
    out.duties.emplace(outcome.attempt, outcome);
  }
  return out;
}

plan::HostReport Core::report() const {
  plan::HostReport out;
  for (const auto& [service, why] : damaged_)
    out.instances.emplace(service, report_damaged(service));
  out.epoch = target_.epoch;
  out.seq = target_.seq;
  out.access = access_;
  // Where nothing listens of what the target names beside them, all of it is in force.
  const bool well = access_ && access_->able && access_->problem.empty();
  if (well && target_.admissions && access_->admitted == plan::admissions_digest(admissions()))
    out.access->admitted = plan::admissions_digest(*target_.admissions);
  for (const auto& [service, instance] : instances_) {
    if (!instance.applied && !instance.transition && !target_.instances.contains(service)) continue;
    plan::InstanceReport report;
    report.applied = instance.applied;
    report.health = instance.health;
    report.health_reason = instance.health_reason;
    report.serves = instance.serves;
    if (instance.applied && instance.applied->mode == plan::Mode::running &&
        is_unguarded(service)) {
      report.serves = report.serves || report.health == plan::Health::healthy;
      report.health = plan::Health::unhealthy;
      report.health_reason = "access to it is not enforced: " + access_->problem;
    }
    report.outcome = instance.outcome;
    report.duties = instance.duties;
    if (instance.transition) {
      const transition::Decision decision = transition::decide(*instance.transition);
      if (const auto* order = std::get_if<transition::StepOrder>(&decision))
        report.step = transition::step_name(order->step);
    }
    out.instances.emplace(service, std::move(report));
  }
  return out;
}

}  // namespace consort::agent
