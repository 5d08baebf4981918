#include "sim/world.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>

#include "controller/commit_order.h"

namespace consort::sim {

using transition::Step;
using transition::StepResult;
using transition::StepStatus;

World::World(std::uint64_t seed, Faults faults) : random_(seed), faults_(std::move(faults)) {
  start_controller();
}

void World::schedule(Duration delay, std::function<void()> act) {
  queue_.push({now_ + delay, order_++, std::move(act)});
}

void World::say(const std::string& text) const {
  if (trace_)
    fmt::print(stderr, "{:>9.3f}s  {}\n",
               static_cast<double>(to_millis(now_) - 1'700'000'000'000) / 1000.0, text);
}

void World::violate(const std::string& invariant, const std::string& text) {
  say(fmt::format("VIOLATION {} {}", invariant, text));
  violations_.push_back({invariant, text});
}

// A message arrives later, twice, or never.
void World::send(const std::string& host, std::function<void()> deliver) {
  if (now_ < agents_.at(host).cut_until || random_.chance(faults_.lose_message)) return;
  // No connection outlives the controller whose store is exchanged.
  auto arrive = [this, lost_life = lost_lives_, deliver = std::move(deliver)] {
    if (lost_life == lost_lives_) deliver();
  };
  if (random_.chance(faults_.double_message)) schedule(delay(), arrive);
  schedule(delay(), std::move(arrive));
}

// --- the controller
// -----------------------------------------------------------------------------------

void World::start_controller() {
  auto core = controller::Core::restore(controller_disk_);
  if (!core) {
    violate("restore", render_error(core.error()));
    return;
  }
  controller_.emplace(std::move(*core));
  ++controller_life_;
  deaf_until_ = now_;
  say(fmt::format("controller starts (life {})", controller_life_));
  controller_output(controller_->start(now_));
}

void World::crash_controller() {
  say("controller crashes");
  controller_.reset();
  schedule(Duration{random_.between(100, faults_.longest_outage.count())},
           [this] { start_controller(); });
}

void World::kill_controller() {
  if (controller_) crash_controller();
}

bool World::has_told_since(const controller::Store& copy) const {
  return std::any_of(controller_disk_.begin(), controller_disk_.end(), [&](const auto& item) {
    if (!item.first.starts_with("targets/")) return false;
    const auto then = copy.find(item.first);
    return then == copy.end() || plan::target_from_json(*parse_json(then->second))->instances !=
                                     plan::target_from_json(*parse_json(item.second))->instances;
  });
}

void World::put_back(controller::Store copy) {
  say("the controller's store is put back");
  controller_disk_ = std::move(copy);
  ++lost_lives_;
  ++controller_life_;
  for (auto& [host, agent] : agents_) agent.on_its_own = true;
  start_controller();
}

void World::controller_output(controller::Output output) {
  bool wrote = false;
  // Small transactions, so that one Output is often many and the crash falls between two of them.
  const controller::TransactionLimits limits{static_cast<std::size_t>(random_.between(1, 8)), 4096};
  for (const controller::Writes& writes :
       controller::in_transactions(std::move(output.writes), limits)) {
    if (random_.chance(faults_.crash_controller)) return crash_controller();
    controller::apply_writes(controller_disk_, writes);
    wrote = true;
  }
  check_budgets();
  for (const controller::Event& event : output.events) {
    ++told_[event.kind];
    say(fmt::format("  [{}] {} {}@{} {}", event.rollout, event.kind, event.service, event.host,
                    event.text));
  }
  if (wrote && random_.chance(faults_.crash_controller))
    return crash_controller();  // after the last one, before any effect
  for (const std::string& host : output.targets) {
    if (agents_.contains(host)) schedule(delay(), [this, host] { poll(host); });
  }
  wake_controller();
}

void World::wake_controller() {
  if (!controller_ || !controller_->wake()) return;
  const Duration wait =
      std::max(Duration{1}, std::chrono::duration_cast<Duration>(*controller_->wake() - now_));
  schedule(wait, [this, life = controller_life_] {
    if (controller_ && controller_life_ == life) tick_controller();
  });
}

void World::tick_controller() {
  if (!controller_->wake() || *controller_->wake() > now_) return;
  if (now_ < deaf_until_) {
    schedule(std::chrono::duration_cast<Duration>(deaf_until_ - now_),
             [this, life = controller_life_] {
               if (controller_ && controller_life_ == life) tick_controller();
             });
    return;
  }
  if (random_.chance(faults_.stall_controller)) {
    stall_controller(Duration{random_.between(1000, 90'000)});
    return tick_controller();
  }
  controller_output(controller_->tick(now_));
}

void World::stall_controller(Duration duration) {
  say(fmt::format("controller stands still for {}", human_duration(duration)));
  deaf_until_ = now_ + duration;
}

int World::times_told(const std::string& kind) const {
  const auto it = told_.find(kind);
  return it == told_.end() ? 0 : it->second;
}

controller::DeployRequest World::request(plan::Generation candidate, bool allow_outage) const {
  controller::DeployRequest out;
  out.candidate = std::move(candidate);
  out.manifests = manifests_;
  out.allow_outage = allow_outage;
  out.allow_shrink = true;
  out.by = "the simulation";
  return out;
}

Result<std::string> World::deploy(plan::Generation candidate, bool allow_outage) {
  if (!controller_) return fail(ErrorCode::unavailable, "the controller is down");
  controller::Output output;
  for (const auto& [host, record] : candidate.hosts) classes_[host] = record.classes.front();
  auto id = controller_->deploy(request(std::move(candidate), allow_outage), now_, output);
  if (!id) return id;
  controller_output(std::move(output));
  // What was not durable when the controller died was never acknowledged.
  if (!id->empty() && !controller_disk_.contains("rollouts/" + *id))
    return fail(ErrorCode::unavailable, "the controller died before it answered");
  return id;
}

Result<std::string> World::rollback() {
  if (!controller_) return fail(ErrorCode::unavailable, "the controller is down");
  return deploy(TRY(controller_->rollback_candidate(0)));
}

Result<plan::Plan> World::plan(plan::Generation candidate) const {
  if (!controller_) return fail(ErrorCode::unavailable, "the controller is down");
  return controller_->plan(request(std::move(candidate), true));
}

const rollout::Rollout* World::rollout(const std::string& id) const {
  if (!controller_) return nullptr;
  const auto it = controller_->rollouts().find(id);
  return it == controller_->rollouts().end() ? nullptr : &it->second;
}

Status World::control(const std::string& rollout, controller::Core::Control what) {
  if (!controller_) return fail(ErrorCode::unavailable, "the controller is down");
  controller::Output output;
  TRYV(controller_->control(rollout, what, "the simulation", now_, output));
  controller_output(std::move(output));
  return {};
}

Status World::remove_host(const std::string& host) {
  if (!controller_) return fail(ErrorCode::unavailable, "the controller is down");
  controller::Output output;
  TRYV(controller_->remove_host(host, now_, output));
  agents_.at(host).on_its_own = true;
  controller_output(std::move(output));
  return {};
}

// --- agents
// -----------------------------------------------------------------------------------------------

void World::add_host(const std::string& name) {
  agents_.try_emplace(name);
  start_agent(name);
}

Digest World::publish(const plan::Manifest& manifest) {
  const Digest digest = Digest::of(*plan::manifest_bytes(manifest));
  manifests_.insert_or_assign(digest, manifest);
  return digest;
}

void World::start_agent(const std::string& host) {
  Agent& agent = agents_.at(host);
  auto core = agent::Core::restore(agent.disk);
  if (!core) {
    violate("restore", render_error(core.error()));
    return;
  }
  for (const auto& [service, remedy] : core->damaged()) violate("restore", remedy);
  agent.core.emplace(std::move(*core));
  // What it took without writing it down, it has never taken.
  agent.highest_epoch = std::max(agent.highest_epoch, agent.core->target().epoch);
  ++agent.life;
  say(fmt::format("agent {} starts (life {})", host, agent.life));
  std::map<Digest, plan::Manifest> here;
  for (const Digest& digest : agent.core->manifests_in_use()) {
    if (const auto it = manifests_.find(digest); it != manifests_.end()) here.insert(*it);
  }
  agent.core->learn(here);
  if (agent.core->target().admissions) guard(host);
  agent_output(host, agent.core->start());
  watch_health(host, agent.life);
  schedule(Duration{random_.between(1, 1000)},
           [this, host, life = agent.life] { keep_polling(host, life); });
}

// The converge loop: it looks again and again how the instances are.
void World::watch_health(const std::string& host, std::uint64_t life) {
  schedule(seconds(1), [this, host, life] {
    Agent& agent = agents_.at(host);
    if (!agent.core || agent.life != life) return;
    std::map<std::string, bool> good;
    for (const auto& [service, instance] : agent.core->instances()) {
      if (!instance.applied || instance.applied->mode != plan::Mode::running ||
          !agent.core->is_settled(service))
        continue;
      good[service] = agent.machines[service].running == instance.applied->manifest ||
                      !manifests_.at(instance.applied->manifest).runs();
    }
    for (const auto& [service, healthy] : good) {
      if (!agent.core || agent.life != life) return;
      agent_output(host, agent.core->on_health(
                             service, healthy ? plan::Health::healthy : plan::Health::unhealthy,
                             healthy ? "" : "does not run"));
    }
    watch_health(host, life);
  });
}

void World::crash_agent(const std::string& host) {
  say(fmt::format("agent {} crashes", host));
  agents_.at(host).core.reset();
  schedule(Duration{random_.between(100, faults_.longest_outage.count())},
           [this, host] { start_agent(host); });
}

void World::agent_output(const std::string& host, agent::Output output) {
  Agent& agent = agents_.at(host);
  if (!output.writes.empty() && random_.chance(faults_.crash_agent)) return crash_agent(host);
  for (const auto& [key, value] : output.writes) {
    if (value) {
      agent.disk[key] = *value;
    } else {
      agent.disk.erase(key);
    }
  }
  if (!output.writes.empty() && random_.chance(faults_.crash_agent)) return crash_agent(host);
  for (agent::Work& work : output.work) {
    if (std::holds_alternative<agent::GuardPorts>(work)) guard(host);
    if (auto* manifests = std::get_if<agent::LoadManifests>(&work)) load(host, *manifests);
    if (auto* step = std::get_if<agent::PerformStep>(&work)) perform(host, *step);
  }
  if (output.report) report(host);
}

// The firewall is written at once, as a whole.
void World::guard(const std::string& host) {
  Agent& agent = agents_.at(host);
  agent.rules = agent.core->admissions();
  static_cast<void>(agent.core->on_access({true, "", plan::admissions_digest(agent.rules)}));
}

void World::cut(const std::string& host, Duration duration) {
  say(fmt::format("{} is cut off for {}", host, human_duration(duration)));
  agents_.at(host).cut_until = now_ + duration;
}

void World::heal() {
  for (auto& [host, agent] : agents_) agent.cut_until = {};
}

void World::restart(const std::string& host, Disk disk) {
  Agent& agent = agents_.at(host);
  agent.core.reset();
  if (disk == Disk::wiped) {
    agent.disk.clear();
    agent.machines.clear();
    agent.rules.clear();
    agent.taken.clear();
    agent.highest_epoch = 0;
  }
  start_agent(host);
}

// The long-poll: it tells the controller that the host is there and brings the target.
void World::poll(const std::string& host) {
  Agent& agent = agents_.at(host);
  if (!agent.core) return;
  send(host, [this, host, epoch = agent.core->target().epoch, seq = agent.core->target().seq] {
    if (!hears()) return;
    controller_output(controller_->on_poll(host, epoch, seq, now_));
    if (!controller_) return;
    const auto target = controller_->target_of(host);
    if (!target) return;
    send(host, [this, host, target = *target] {
      Agent& a = agents_.at(host);
      if (!a.core) return;
      auto output = a.core->on_target(target);
      if (!output) return;
      if (target.epoch < a.highest_epoch)
        violate("I12",
                fmt::format("{} took epoch {} after {}", host, target.epoch, a.highest_epoch));
      agent_output(host, std::move(*output));
      if (a.core) a.highest_epoch = std::max(a.highest_epoch, a.core->target().epoch);
    });
  });
}

// It asks again and again as long as it lives.
void World::keep_polling(const std::string& host, std::uint64_t life) {
  if (agents_.at(host).life != life || !agents_.at(host).core) return;
  poll(host);
  report(host);
  schedule(seconds(4), [this, host, life] { keep_polling(host, life); });
}

void World::report(const std::string& host) {
  Agent& agent = agents_.at(host);
  if (!agent.core) return;
  plan::HostReport out = agent.core->report();
  out.host = host;
  out.boot_id = "boot";
  out.number = ++agent.reports;
  send(host, [this, out = std::move(out)] {
    if (hears()) controller_output(controller_->on_report(out, now_));
  });
}

void World::load(const std::string& host, const agent::LoadManifests& work) {
  schedule(delay(), [this, host, work, life = agents_.at(host).life] {
    Agent& agent = agents_.at(host);
    if (!agent.core || agent.life != life) return;
    std::map<Digest, plan::Manifest> found;
    for (const Digest& digest : work.digests) found.emplace(digest, manifests_.at(digest));
    agent_output(host, agent.core->on_manifests(work.service, found));
  });
}

// A crash may fall before the effect, between the effect and its record, or not at all.
void World::perform(const std::string& host, const agent::PerformStep& work) {
  touched_.insert(work.service);
  schedule(Duration{random_.between(1, 3000)}, [this, host, work, life = agents_.at(host).life] {
    Agent& agent = agents_.at(host);
    if (!agent.core || agent.life != life) return;
    if (random_.chance(faults_.crash_agent)) return crash_agent(host);
    const StepResult result = effect(host, work);
    say(fmt::format("    {}@{} {} → {}", work.service, host, work.order.token,
                    result.status == StepStatus::ok ? "ok" : result.message));
    if (random_.chance(faults_.crash_agent)) return crash_agent(host);
    agent_output(host, agent.core->on_step(work.service, work.order.token, result));
  });
}

StepResult World::effect(const std::string& host, const agent::PerformStep& work) {
  const transition::Transition& t = work.transition;
  Machine& machine = agents_.at(host).machines[work.service];
  const auto digest_of = [](const std::optional<plan::InstanceState>& state) {
    return state ? std::optional(state->manifest) : std::nullopt;
  };
  const std::optional<Digest> old_digest = digest_of(t.from);
  const std::optional<Digest> new_digest = t.duty ? std::optional(t.duty->owner) : digest_of(t.to);
  const auto owner_digest =
      work.order.owner == transition::Owner::old_manifest ? old_digest : new_digest;
  const plan::Manifest* owner = owner_digest ? &manifests_.at(*owner_digest) : nullptr;
  const plan::Hook* hook =
      owner != nullptr && !work.order.hook.empty() ? owner->hook(work.order.hook) : nullptr;
  if (hook != nullptr && !hook->idempotent && ++runs_of_token_[host + "|" + work.order.token] > 1)
    violate("I7", fmt::format("{} ran twice on {}", work.order.token, host));
  StepResult result;
  if (hook != nullptr && random_.chance(faults_.ask_again)) {
    result.status = StepStatus::again;
    result.message = "asked to try again";
    return result;
  }
  if (owner != nullptr) {
    const auto broken = faults_.broken_hooks.find(
        {work.service, owner->version, std::string(transition::step_name(work.order.step))});
    if (broken != faults_.broken_hooks.end()) {
      if (work.order.step == Step::migrate && broken->second == 70) machine.data += "+dirt";
      result.exit_status = broken->second;
      result.status = transition::status_of_exit(broken->second, false);
      result.message = "broken on purpose";
      return result;
    }
  }
  check_taking(host, work);
  switch (work.order.step) {
    case Step::drain:
      machine.serving = false;
      break;
    case Step::undrain:
    case Step::undrain_old:
      machine.serving = true;
      break;
    case Step::stop:
    case Step::stop_new:
      check_stop(host, work.service);
      machine.running.reset();
      machine.serving = false;
      break;
    case Step::backup:
    case Step::backup_running:
      result.snapshot = Digest::of(machine.data).str();
      machine.snapshots[result.snapshot] = machine.data;
      break;
    case Step::restore:
      machine.data = machine.snapshots.at(t.snapshot);
      break;
    case Step::migrate:
      machine.data += "+" + manifests_.at(*new_digest).version;
      break;
    case Step::switch_over:
      machine.switched = new_digest;
      break;
    case Step::switch_back:
      machine.switched = old_digest;
      break;
    case Step::start:
    case Step::start_old: {
      const Digest digest = work.order.step == Step::start ? *new_digest : *old_digest;
      if (machine.running && *machine.running != digest)
        violate("I3", fmt::format("{}@{} starts while its other version runs", work.service, host));
      if (machine.switched != digest)
        violate("I5", fmt::format("{}@{} starts a version whose files are not in place",
                                  work.service, host));
      check_start(host, manifests_.at(digest));
      if (expect_admission_) check_admission(host, manifests_.at(digest));
      machine.running = digest;
      const auto& mode = work.order.step == Step::start ? t.to : t.from;
      machine.serving = mode && mode->mode == plan::Mode::running;
      break;
    }
    case Step::remove:
      machine.switched.reset();
      break;
    default:
      break;
  }
  return result;
}

// --- time
// -----------------------------------------------------------------------------------------------------

bool World::has_ended() const {
  return controller_ &&
         std::none_of(controller_->rollouts().begin(), controller_->rollouts().end(),
                      [](const auto& item) { return item.second.result == rollout::Result::open; });
}

bool World::at_rest() const {
  if (!has_ended()) return false;
  for (const auto& [name, agent] : agents_) {
    if (!agent.core) return false;
    const auto target = controller_->target_of(name);
    if (target &&
        (target->epoch != agent.core->target().epoch || target->seq != agent.core->target().seq))
      return false;
    for (const auto& [service, instance] : agent.core->instances()) {
      if (!agent.core->is_settled(service)) return false;
    }
  }
  return true;
}

void World::turn() {
  const Entry entry = queue_.top();
  queue_.pop();
  now_ = entry.at;
  entry.act();
}

bool World::run_until_ended(Duration limit) {
  const Instant end = now_ + limit;
  while (!has_ended() && !queue_.empty() && queue_.top().at <= end) turn();
  return has_ended();
}

bool World::run(Duration limit, Duration rest) {
  const Instant end = now_ + limit;
  Instant rest_since = now_;
  while (!queue_.empty() && queue_.top().at <= end) {
    turn();
    if (!at_rest()) {
      rest_since = now_;
    } else if (now_ - rest_since >= rest) {
      for (auto& [host, agent] : agents_) agent.on_its_own = false;
      return true;
    }
  }
  now_ = end;
  return at_rest();
}

}  // namespace consort::sim
