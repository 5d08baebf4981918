// The other half of the caretaker: what happens between transitions.
#include <fmt/format.h>

#include <algorithm>

#include "agent/caretaker.h"
#include "agent/history.h"
#include "agent/readiness.h"
#include "agent/steps.h"
#include "agent/supervisors/supervisor.h"
#include "base/log.h"

namespace consort::agent {
namespace {

constexpr Duration kFirstRetry = seconds(5);
constexpr Duration kLongestRetry = minutes(5);
constexpr Duration kSickInterval = seconds(2);
constexpr Duration kProbeLimit = seconds(2);
constexpr Duration kHealthHookLimit = seconds(60);
// The native supervisor's longest pause between restarts is 30 s: later than that it has given up.
constexpr Duration kSupervisorPatience = seconds(40);
constexpr Duration kAuditTick = seconds(60);
constexpr std::int64_t kPassMinutes = 5;
constexpr std::int64_t kFullAuditMinutes = 60;

}  // namespace

Caretaker::ServicePtr Caretaker::service(const std::string& name) {
  ServicePtr& out = services_[name];
  if (!out) {
    out = std::make_shared<Service>();
    out->name = name;
  }
  return out;
}

bool Caretaker::is_kept(const Service& service) const {
  const auto it = core_.instances().find(service.name);
  if (service.busy || it == core_.instances().end() || !it->second.applied) return false;
  // Nobody knows what is right on a host that stands between two versions.
  if (it->second.owed) return false;
  return !it->second.outcome || it->second.outcome->result != plan::Outcome::Result::inconsistent;
}

bool Caretaker::is_gone(const Service& service) const {
  if (service.busy || core_.damaged().contains(service.name)) return false;
  const auto it = core_.instances().find(service.name);
  return it == core_.instances().end() ||
         (!it->second.applied && !it->second.transition && !it->second.owed);
}

Status Caretaker::make_keeper(Workshop& workshop, Service& service) {
  if (!service.keeper) service.keeper = TRY(Keeper::create(workshop, service.name));
  return {};
}

// --- resources
// --------------------------------------------------------------------------------------------------

// From now on the service is kept as applied; begins with one look at everything.
void Caretaker::settle(const ServicePtr& s) {
  if (core_.damaged().contains(s->name)) return;
  const std::uint64_t generation = ++s->generation;
  s->care.reset();
  s->failing.clear();
  s->failures = 0;
  s->restarts = -1;
  s->check_timer.cancel();
  s->retry_timer.cancel();
  if (!is_kept(*s)) {
    // What stands between two versions is left alone, and keeps its claims.
    if (is_gone(*s)) release_rest(s);
    work_.submit(s->name, [this, s] { arm(s->name, {}); });
    return;
  }
  const plan::InstanceState applied = *core_.instances().at(s->name).applied;
  work_.submit(s->name, [this, s, generation, applied] {
    auto care = std::make_shared<Care>();
    PassResult result;
    const auto keep = [&]() -> Status {
      TRYV(make_keeper(shop_, *s));
      const ServiceFiles files(shop_.host, s->name);
      care->version = {applied.manifest, TRY(plan::get_manifest(shop_.store, applied.manifest)),
                       applied.host};
      TRYV(files.unpack(shop_.store, care->version));
      const bool runs = applied.mode != plan::Mode::stopped;
      TRYV(s->keeper->set(care->version, runs ? DaemonPart::with : DaemonPart::without));
      if (runs) care->daemon = s->keeper->daemon();
      // Watched before it is looked at: nothing falls between.
      arm(s->name, s->keeper->watches());
      if (runs) TRYV(Steps(shop_, s->name, *s->keeper).start_after_boot(care->version));
      // The keeper has them in its own form; what is cared for from here on are hooks and daemon.
      care->version.manifest.resources.clear();
      result = tell_pass(*s, {});
      return {};
    };
    if (const Status status = keep(); !status) {
      result.failing["(service)"] = status.error().message();
      result.failures.push_back(
          make_event(SystemClock().now(), "failed", s->name, "", status.error().message()));
      care.reset();
    }
    loop_.post([this, s, generation, care, result] { settled(s, generation, care, result); });
  });
}

// What a service that is gone has left because it could not be undone.
void Caretaker::release_rest(const ServicePtr& s) {
  work_.submit(s->name, [this, s] {
    const auto release = [&]() -> Status {
      if (!s->keeper) {
        const fs::path ledger = shop_.host.data / "state/converge" / s->name / "ledger.jsonl";
        if (TRY(Ledger::open(ledger))->names().empty()) return {};
        TRYV(make_keeper(shop_, *s));
      }
      TRYV(s->keeper->clear());
      return s->keeper->release_leftovers();
    };
    if (const Status status = release(); !status)
      log_warn("what {} has left is not undone: {}", s->name, status.error().message());
  });
}

void Caretaker::settled(const ServicePtr& s, std::uint64_t generation,
                        const std::shared_ptr<const Care>& care, const PassResult& result) {
  if (s->generation != generation || closing_) return;
  s->care = care;
  if (care) {
    passed(s, generation, result);
    // What drifted while the first look went on: it may have been looked at before that.
    bool drifted = false;
    {
      const std::lock_guard lock(s->mutex);
      drifted = !s->drifted.empty() || s->all;
    }
    if (drifted) queue_pass(s, {});
    return check(s);
  }
  for (const Json& event : result.failures) shop_.note(event);
  take(core_.on_health(s->name, plan::Health::unhealthy, result.failing.begin()->second));
  s->retry_timer = loop_.after(kFirstRetry, [this, s, generation] {
    if (s->generation == generation && !closing_) settle(s);
  });
}

void Caretaker::queue_pass(const ServicePtr& s, const std::set<std::string>& resources) {
  if (!is_kept(*s)) return;
  {
    const std::lock_guard lock(s->mutex);
    s->drifted.insert(resources.begin(), resources.end());
    if (!s->care || std::exchange(s->queued, true)) return;
  }
  work_.submit(s->name, [this, s, generation = s->generation] { run_pass(s, generation); });
}

// On the service's strand.
void Caretaker::run_pass(const ServicePtr& s, std::uint64_t generation) {
  PassOptions options;
  {
    const std::lock_guard lock(s->mutex);
    options.only = std::exchange(s->drifted, {});
    if (std::exchange(s->all, false)) options.only.clear();
    if (std::exchange(s->full, false)) options.audit = Audit::full;
    s->queued = false;
  }
  if (!s->keeper || closing_) return;
  const PassResult result = tell_pass(*s, options);
  loop_.post([this, s, generation, result] { passed(s, generation, result); });
}

Caretaker::PassResult Caretaker::tell_pass(Service& service, const PassOptions& options) const {
  const PassReport report = service.keeper->pass(options);
  // What could not be undone when it was given up.
  if (options.only.empty()) {
    if (const Status status = service.keeper->release_leftovers(); !status)
      log_warn("what {} no longer has is not undone: {}", service.name, status.error().message());
  }
  PassResult out;
  out.only = options.only;
  out.repaired = report.repaired;
  for (const ResourceReport& item : report.resources) {
    if (item.outcome == Outcome::failed)
      out.failing[item.name] =
          fmt::format("{}: {}", service.keeper->resource_of(item.name), item.reason);
  }
  for (Json& event : events_of(*service.keeper, service.name, report, SystemClock().now())) {
    const std::string kind = event.string_or("kind");
    if (kind == "failed" || kind == "flapping") {
      out.failures.push_back(std::move(event));
    } else {
      shop_.note(std::move(event));
    }
  }
  return out;
}

void Caretaker::passed(const ServicePtr& s, std::uint64_t generation, const PassResult& result) {
  if (s->generation != generation || closing_) return;
  auto now_failing = result.failing;
  if (!result.only.empty()) {
    for (const auto& [name, reason] : s->failing) {
      if (!result.only.contains(name)) now_failing.emplace(name, reason);
    }
  }
  const bool changed = now_failing != s->failing;
  // A failure is told once, not at every try.
  if (changed) {
    for (const Json& event : result.failures) shop_.note(event);
  }
  s->failing = std::move(now_failing);
  s->retry_timer.cancel();
  if (s->failing.empty()) {
    s->failures = 0;
  } else {
    const Duration pause = std::min(kFirstRetry * (1 << std::min(s->failures++, 6)), kLongestRetry);
    s->retry_timer = loop_.after(pause, [this, s, generation] {
      if (s->generation != generation || closing_) return;
      std::set<std::string> names;
      for (const auto& [name, reason] : s->failing) names.insert(name);
      queue_pass(s, names);
    });
  }
  if (changed || result.repaired > 0) check(s);
}

void Caretaker::on_drift(const Drift& drift) {
  if (closing_) return;
  if (drift.everything) {
    shop_.note(make_event(SystemClock().now(), "warning", "", "", drift.warning));
    for (const auto& [name, s] : services_) {
      {
        const std::lock_guard lock(s->mutex);
        s->all = true;
      }
      queue_pass(s, {});
    }
  }
  for (const auto& [name, resources] : drift.resources) {
    const auto it = services_.find(name);
    if (it != services_.end()) queue_pass(it->second, resources);
  }
}

void Caretaker::arm(const std::string& service,
                    const std::map<std::string, std::vector<std::string>>& paths) {
  const std::lock_guard lock(watch_mutex_);
  if (watch_) watch_->set(service, paths);
}

// The slot of the full audit follows from the host's name, so that a fleet does not hash in step.
void Caretaker::audit() {
  if (closing_) return;
  const std::int64_t minute = to_millis(SystemClock().now()) / 60'000;
  const auto slot = static_cast<std::int64_t>(stable_hash(shop_.host.name) %
                                              static_cast<std::uint64_t>(kFullAuditMinutes));
  if (audited_ != 0 && minute != audited_) {
    const bool full = (minute + slot) % kFullAuditMinutes == 0;
    for (const auto& [name, s] : services_) {
      if (!full && (minute + slot) % kPassMinutes != 0) break;
      if (is_gone(*s)) {
        release_rest(s);
        continue;
      }
      {
        const std::lock_guard lock(s->mutex);
        s->all = true;
        s->full = s->full || full;
      }
      queue_pass(s, {});
    }
  }
  if (audited_ != 0) check_access();
  audited_ = minute;
  loop_.after(kAuditTick, [this] { audit(); });
}

// --- health
// -------------------------------------------------------------------------------------------------------

void Caretaker::on_daemon(const std::string& name) {
  const auto it = services_.find(name);
  if (it == services_.end() || closing_) return;
  const ServicePtr s = it->second;
  check(s);
  // The check may wait for a hook that hangs; what only we can start again does not.
  if (!s->care || !s->care->daemon) return;
  // On a thread of its own: to ask systemd may take as long as it is busy with others.
  work_.submit(
      "daemon " + s->name,
      [this, s] {
        const auto status = shop_.supervisor->status(s->name);
        if (!status || !ended_unseen(*status)) return;
        loop_.post([this, s] { revive(s); });
      },
      Strands::Pace::slow);
}

// What could not be started is tried again by and by, not at each of its ends.
void Caretaker::revive(const ServicePtr& s) {
  if (!closing_ && !s->failing.contains(s->name)) queue_pass(s, {s->name});
}

void Caretaker::check(const ServicePtr& s) {
  if (!s->care || !is_kept(*s) ||
      core_.instances().at(s->name).applied->mode == plan::Mode::stopped)
    return;
  if (s->checking) {
    s->check_again = true;
    return;
  }
  s->checking = true;
  s->check_timer.cancel();
  health_.submit(s->name, [this, s, care = s->care, generation = s->generation] {
    const Finding finding = examine(*s, *care);
    loop_.post([this, s, generation, finding] { checked(s, generation, finding); });
  });
}

// On a worker of its own: a hook that hangs keeps no repair waiting.
Caretaker::Finding Caretaker::examine(const Service& service, const Care& care) const {
  Finding out;
  const auto sick = [&](std::string reason) {
    out.well = false;
    out.reason = std::move(reason);
    return out;
  };
  if (care.daemon) {
    const auto status = shop_.supervisor->status(service.name);
    if (!status) return sick(status.error().message());
    out.restarts = status->restarts;
    out.exit_status = status->exit_status;
    if (!status->running && !has_done_its_work(*care.daemon, *status)) {
      // The supervisor starts again what it saw end; what ended unseen is started here.
      out.revive = ended_unseen(*status) || status->stopped ||
                   SystemClock().now() - status->since > kSupervisorPatience;
      return sick(status->exit_status
                      ? fmt::format("its daemon does not run: it ended with status {}",
                                    *status->exit_status)
                      : "its daemon does not run");
    }
    if (status->running && (!status->ready || !probe(care.daemon->readiness, kProbeLimit)))
      return sick("its daemon runs but is not ready");
  }
  HookRun run;
  run.name = "validate";
  run.token = fmt::format("health/{}", service.name);
  run.owner = run.new_version = &care.version;
  run.limit = kHealthHookLimit;
  run.log_failures_only = true;
  if (closing_ || care.version.manifest.hook("validate") == nullptr) return out;
  const transition::StepResult result = run_hook(shop_, service.name, run);
  if (result.status == transition::StepStatus::ok) return out;
  // The reason is one line wherever it is shown. The end of what the hook said goes with the event
  // that tells of the change, and to the service's log.
  if (result.tail.find('\n') != std::string::npos) out.output = "\n" + result.tail;
  return sick(result.message + last_words(result.tail));
}

void Caretaker::checked(const ServicePtr& s, std::uint64_t generation, const Finding& finding) {
  s->checking = false;
  const bool again = std::exchange(s->check_again, false);
  if (closing_) return;
  if (s->generation != generation) return check(s);
  if (finding.restarts > s->restarts && s->restarts >= 0) {
    shop_.note(make_event(SystemClock().now(), "restarted", s->name, "daemon",
                          finding.exit_status
                              ? fmt::format("the daemon ended with status {} and was started again",
                                            *finding.exit_status)
                              : "the daemon was started again"));
  }
  s->restarts = finding.restarts;
  const bool well = finding.well && s->failing.empty();
  const std::string reason = !finding.well        ? finding.reason
                             : s->failing.empty() ? ""
                                                  : s->failing.begin()->second;
  if (core_.instances().at(s->name).applied->mode == plan::Mode::running) {
    const plan::Health before = core_.instances().at(s->name).health;
    const plan::Health now = well ? plan::Health::healthy : plan::Health::unhealthy;
    // What fails beside a daemon that works takes nothing away from those who use it.
    const bool serves = !well && finding.well;
    take(core_.on_health(s->name, now, presentable(reason, 2048), serves));
    if (before != now && before != plan::Health::unknown)
      shop_.note(make_event(SystemClock().now(), std::string(plan::health_name(now)), s->name, "",
                            reason + finding.output));
  }
  if (finding.revive) revive(s);
  if (again) return check(s);
  s->check_timer = loop_.after(
      finding.well ? health_interval_ : std::min(kSickInterval, health_interval_), [this, s] {
        if (!closing_) check(s);
      });
}

}  // namespace consort::agent
