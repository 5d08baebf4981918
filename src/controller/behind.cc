// A store that is older than its hosts: restored from a backup, or begun anew. What it does not
// know it must not undo.
#include <fmt/format.h>

#include <algorithm>

#include "controller/core.h"

namespace consort::controller {

Status Core::check_position(const std::string& name, std::uint64_t epoch, std::uint64_t seq,
                            Telling telling) const {
  const auto target = targets_.find(name);
  const std::uint64_t given = target == targets_.end() ? 0 : target->second.seq;
  // The lead is of all hosts of this life together, or each would move the epoch further.
  if (epoch > std::max(epoch_, restored_epoch_ + kEpochLead) || seq > std::max(given, kMostToldSeq))
    return fail(ErrorCode::invalid_input,
                fmt::format("no controller of this site can have given the position ({}, {}); its "
                            "epoch is {}",
                            epoch, seq, epoch_))
        .hint("does this agent belong to another site? its target is in its data folder");
  const auto host = hosts_.find(name);
  if (host == hosts_.end() || !is_ahead(name, epoch, seq)) return {};
  const HostState& told = host->second;
  if (!told.polled && (telling == Telling::poll || !told.ahead_by_report)) return {};
  return fail(ErrorCode::invalid_input,
              fmt::format("host {} has told this controller already which target it holds, and the "
                          "position ({}, {}) is beyond all that it was given since",
                          name, epoch, seq))
      .hint(
          "look at who writes to the agent's data folder; if another controller of this site has "
          "served it meanwhile, restart this one: then hosts are asked anew");
}

// Positions only grow, and a host gets one only after it has told its own. So whatever is beyond
// what the store has given, or given to this host before it first spoke, comes from a life of the
// store that is lost.
bool Core::is_ahead(const std::string& name, std::uint64_t epoch, std::uint64_t seq) const {
  const HostState& host = hosts_.at(name);
  const auto target = targets_.find(name);
  const std::uint64_t given = target == targets_.end() ? 0 : target->second.seq;
  return epoch > epoch_ || seq > given ||
         (!host.polled && (epoch > host.known_epoch || seq > host.known_seq));
}

// A life is lost before this one begins: a host that speaks of one later would stop rollouts and
// freeze whom others let in, at will.
void Core::take_position(const std::string& name, std::uint64_t epoch, std::uint64_t seq,
                         Telling telling, Instant now, Output& out) {
  HostState& host = hosts_.at(name);
  const bool ahead = is_ahead(name, epoch, seq);
  const bool believed = !host.polled && (telling == Telling::poll || !host.ahead_by_report);
  host.polled = host.polled || telling == Telling::poll;
  if (!ahead || !believed) return;
  host.ahead_by_report = host.ahead_by_report || telling == Telling::report;
  host.known_epoch = std::max(host.known_epoch, epoch);
  host.known_seq = std::max(host.known_seq, seq);
  const auto target = targets_.find(name);
  const std::uint64_t given = target == targets_.end() ? 0 : target->second.seq;
  if (epoch >= epoch_) {
    epoch_ = epoch + 1;
    out.writes["epoch"] = std::to_string(epoch_);
    for (auto& [other, its] : targets_) {
      its.epoch = epoch_;
      out.targets.insert(other);
    }
  }
  raise_secrets(out);
  const bool known = target != targets_.end();
  targets_[name].seq = std::max(given, seq);
  // An instance that its target does not name stays as it is, whatever is under way there; adopt()
  // takes it into the target when the host has said what became of it.
  targets_[name].instances.clear();
  // Whom it admits stays, too, here and everywhere: others may have joined in that lost life.
  targets_[name].admissions.reset();
  doubt_access(out);
  save_target(name, out);
  if (known) return fall_behind(name, now, out);
  tell(out, {0, now, "host-adopted", "", "", name,
             "holds a target that is not from this store; it keeps what it runs"});
}

// Each life that hosts tell of has an epoch of its own, and ours is above all of them now. Numbers
// that count from it are above those of each such life.
void Core::raise_secrets(Output& out) {
  constexpr std::uint64_t kMostEpochs = std::uint64_t{1} << 30U;  // a version stays below 2^52
  const std::uint64_t above = std::min(epoch_, kMostEpochs) * kSecretsOfALife;
  if (above <= secrets_above_) return;
  secrets_above_ = above;
  out.writes["secrets-above"] = std::to_string(above);
}

// What this store wanted of the host is out of date, and so is every rollout that changes it.
void Core::fall_behind(const std::string& name, Instant now, Output& out) {
  tell(out, {0, now, "store-behind", "", "", name,
             fmt::format(
                 "this store is older than what host {} has seen; its target is what it "
                 "runs; consort plan shows the difference; secrets that were set since it was put "
                 "back must be set again",
                 name)});
  for (auto& [id, rollout] : rollouts_) {
    const auto& steps = rollout.forward.steps;
    const bool touches = std::any_of(steps.begin(), steps.end(),
                                     [&](const plan::Step& s) { return s.host == name; });
    if (rollout.result != rollout::Result::open || !touches) continue;
    rollout.result = rollout::Result::inconsistent;
    rollout.ended = now;
    rollout.summary = fmt::format(
        "its record is older than what host {} has seen; hosts keep what they run", name);
    std::set<std::string> at_it;
    for (const plan::Step& step : rollout::unanswered(rollout)) at_it.insert(step.host);
    if (budget::release_all(budgets_, "rollout:" + id, at_it)) save_budgets(out);
    tell(out, {0, now, "ended", id, "", "", "inconsistent: " + rollout.summary});
    conclude(rollout, now, out);
    save_changes(rollout, {}, out);
  }
  forget_tail(name, out);
}

// What a host runs without being told to is what it is told to run from now on: the same state, and
// the attempt that it has made already, so that nothing happens.
void Core::adopt(const plan::HostReport& report, Output& out) {
  const auto it = targets_.find(report.host);
  if (it == targets_.end() ||
      std::pair(it->second.epoch, it->second.seq) != std::pair(report.epoch, report.seq))
    return;
  bool changed = false;
  for (const auto& [service, instance] : report.instances) {
    if (!instance.applied || !instance.step.empty() || !instance.outcome ||
        instance.outcome->attempt.empty())
      continue;
    changed = it->second.instances
                  .try_emplace(service, plan::TargetEntry{instance.applied,
                                                          instance.outcome->attempt, std::nullopt})
                  .second ||
              changed;
  }
  if (changed) save_target(report.host, out);
}

}  // namespace consort::controller
