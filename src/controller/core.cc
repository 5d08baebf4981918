#include "controller/core.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"

namespace consort::controller {
namespace {

std::string generation_key(std::uint64_t number) {
  return fmt::format("generations/{:010}", number);
}
}  // namespace

std::string event_key(std::uint64_t number) { return fmt::format("log/{:012}", number); }

Json event_to_json(const Event& event) {
  return Json::object({{"number", event.number},
                       {"at", format_instant(event.at)},
                       {"kind", event.kind},
                       {"rollout", event.rollout},
                       {"service", event.service},
                       {"host", event.host},
                       {"text", event.text}});
}

Output Core::start(Instant now) {
  Output out;
  ++epoch_;
  out.writes["epoch"] = std::to_string(epoch_);
  for (const std::string& key : leftovers_) out.writes[key] = std::nullopt;
  leftovers_.clear();
  std::set<std::string> lost;
  for (const std::string& reason : budget::reasons(budgets_)) {
    if (!holds_slots(reason)) lost.insert(reason);
  }
  for (const std::string& reason : lost) budget::release_all(budgets_, reason);
  if (!lost.empty()) save_budgets(out);
  hold_slots_of_the_unanswered(now, out);
  // Stored targets carry the epoch that wrote them; restore() gave them this one.
  for (auto& [host, target] : targets_) {
    target.epoch = epoch_;
    out.targets.insert(host);
  }
  // The leader before us may have died after it had journaled a step and before it set the target.
  for (const auto& [id, rollout] : rollouts_) {
    for (const auto& [host, entries] : rollout::open_targets(rollout)) {
      for (const auto& [service, entry] : entries) {
        const auto& known = targets_[host].instances;
        const auto it = known.find(service);
        if (it == known.end() || it->second != entry)
          set_target(host, service, entry, statement_of_rollout(id), out);
      }
    }
  }
  for (auto& [id, rollout] : rollouts_) rollout.patient_until = now + rollout::kTimeToHear;
  // Agents get the time to call in before anybody counts as unreachable. Until then nobody is taken
  // away beside those who have not.
  for (auto& [name, host] : hosts_) {
    host.last_contact = now;
    host.reachable = true;
    unheard_.insert(name);
  }
  wake_at(now + kSilence);
  refresh_access(out);
  advance(now, out);
  return out;
}

void Core::wake_at(Instant at) {
  if (!wake_ || at < *wake_) wake_ = at;
}

void Core::tell(Output& out, Event event) {
  event.number = next_event_++;
  event.text = beginning_of(std::move(event.text), kMostEventText);
  out.writes[event_key(event.number)] = event_to_json(event).dump();
  for (const std::uint64_t number : kept_events_.add(event.number, event.host, event.text.size()))
    out.writes[event_key(number)] = std::nullopt;
  out.events.push_back(std::move(event));
}

void Core::set_target(const std::string& host, const std::string& service, plan::TargetEntry entry,
                      std::uint64_t statement, Output& out) {
  plan::Target& target = targets_[host];
  attest(host, statement, target);
  target.instances.insert_or_assign(service, std::move(entry));
  save_target(host, out);
}

void Core::save_target(const std::string& host, Output& out) {
  plan::Target& target = targets_[host];
  if (const auto gone = removed_.find(host); gone != removed_.end())
    target.seq = std::max(target.seq, gone->second);
  target.epoch = epoch_;
  ++target.seq;
  out.writes["targets/" + host] = plan::target_to_json(target).dump();
  out.targets.insert(host);
}

void Core::save_budgets(Output& out) const {
  out.writes["budgets"] = budget::budgets_to_json(budgets_).dump();
}

// --- time
// ---------------------------------------------------------------------------------------

Output Core::tick(Instant now) {
  Output out;
  notice_stall(now, out);
  wake_.reset();
  for (auto& [name, host] : hosts_) {
    if (!host.reachable) continue;
    if (!host.last_contact || now >= *host.last_contact + kSilence) {
      host.reachable = false;
      tell(out, {0, now, "host-unreachable", "", "", name, "does not answer"});
    } else {
      wake_at(*host.last_contact + kSilence);
    }
  }
  advance(now, out);
  return out;
}

void Core::advance(Instant now, Output& out) {
  // Most reports come while nothing is under way: they must not cost a look at the whole fleet.
  if (candidates_.empty() && tail_.empty()) return;
  const plan::Observed seen = observed();
  const budget::Censuses counts = censuses();
  bool any_open = false;
  for (auto& [id, rollout] : rollouts_) {
    if (rollout.result != rollout::Result::open) continue;
    any_open = true;
    if (waits_for_admission(id, now)) continue;
    // What an advance sets in motion may let the next one go on at once, but never without end.
    for (int i = 0; i < 1000; ++i) {
      rollout::Effects effects = rollout::advance(rollout, seen, budgets_, counts, now);
      const bool again = effects.changed && rollout.result == rollout::Result::open;
      apply(rollout, std::move(effects), now, out);
      if (!again) break;
    }
  }
  if (!any_open || !tail_.empty()) converge_tail(now, out);
}

void Core::apply(rollout::Rollout& rollout, rollout::Effects effects, Instant now, Output& out) {
  for (auto& [host, entries] : effects.targets) {
    for (auto& [service, entry] : entries)
      set_target(host, service, std::move(entry), statement_of_rollout(rollout.id), out);
  }
  for (rollout::Event& event : effects.events) {
    tell(out, {0, now, std::move(event.kind), rollout.id, std::move(event.service),
               std::move(event.host), std::move(event.text)});
  }
  if (effects.budgets_changed) save_budgets(out);
  if (effects.wake) wake_at(*effects.wake);
  if (rollout.result != rollout::Result::open && candidates_.contains(rollout.id))
    conclude(rollout, now, out);
  if (effects.changed) save_changes(rollout, effects, out);
}

// What the end of a rollout means for everything else, whoever has ended it. Its steps are yet to
// be saved.
void Core::conclude(rollout::Rollout& rollout, Instant now, Output& out) {
  rollout::shorten_texts(rollout, kMostKeptTexts);
  if (commits(rollout.result)) commit(rollout, now, out);
  note_the_gone();
  leave_tail(rollout, now, out);
  settle_targets(rollout, out);
  out.writes["candidates/" + rollout.id] = std::nullopt;
  candidates_.erase(rollout.id);
  held_back_.erase(rollout.id);
  if (size_budgets()) save_budgets(out);
  settle_access_at_end(rollout, now, out);
  refresh_access(out);
}

void Core::save_head(const rollout::Rollout& rollout, Output& out) const {
  out.writes["rollouts/" + rollout.id] = rollout::head_to_json(rollout).dump();
}

// While it is open each step writes only itself; when it has ended all steps become one record.
void Core::save_changes(const rollout::Rollout& rollout, const rollout::Effects& effects,
                        Output& out) const {
  const std::string below = "rollouts/" + rollout.id + "/";
  if (effects.turned_back) out.writes[below + "back"] = rollout::back_to_json(rollout).dump();
  if (rollout.result == rollout::Result::open) {
    for (const rollout::RunKey& key : effects.runs) {
      const bool forward = key.way == rollout::Way::forward;
      const rollout::Course& course = forward ? rollout.forward : rollout.back;
      out.writes[fmt::format("{}runs/{}{}", below, forward ? "f" : "b", key.step)] =
          rollout::run_to_json(course.runs[static_cast<std::size_t>(key.step)]).dump();
    }
  } else {
    std::erase_if(out.writes, [&](const auto& w) { return w.first.starts_with(below + "runs/"); });
    out.writes[below + "runs"] = rollout::runs_to_json(rollout).dump();
    out.writes[below + "runs/"] = std::nullopt;
  }
  save_head(rollout, out);
}

void Core::commit(rollout::Rollout& rollout, Instant now, Output& out) {
  plan::Generation generation = merged(candidates_.at(rollout.id), rollout);
  generation.parent = current_;
  generation.number = generations_.empty() ? 1 : generations_.rbegin()->first + 1;
  generation.created = now;
  generation.by = rollout.by;
  generation.message = rollout.message;
  rollout.generation = generation.number;
  current_ = generation.number;
  for (const auto& [name, service] : generation.services) {
    if (first_deployed_.try_emplace(service.manifest, generation.number).second)
      out.writes["first/" + service.manifest.str()] = std::to_string(generation.number);
  }
  out.writes["current"] = std::to_string(current_);
  out.writes[generation_key(generation.number)] = plan::generation_to_json(generation).dump();
  tell(out, {0, now, "generation", rollout.id, "", "",
             fmt::format("generation {} is deployed", generation.number)});
  generations_.emplace(generation.number, std::move(generation));
}

void Core::settle_targets(const rollout::Rollout& rollout, Output& out) {
  for (const auto* course : {&rollout.forward, &rollout.back}) {
    for (const plan::Step& step : course->steps) settle_target(step.host, step.service, out);
  }
}

// An instance that shall be absent is taken out of the target once it is. A report from before that
// word does not know: the host may be at what it was told earlier.
void Core::settle_target(const std::string& host, const std::string& service, Output& out) {
  const auto target = targets_.find(host);
  const auto state = hosts_.find(host);
  if (target == targets_.end() || state == hosts_.end()) return;
  const auto entry = target->second.instances.find(service);
  if (entry == target->second.instances.end() || entry->second.wanted) return;
  const plan::HostReport& said = state->second.report;
  const bool knows =
      std::pair(said.epoch, said.seq) >= std::pair(target->second.epoch, target->second.seq);
  if (!knows && !has_answered(host, service, entry->second)) return;
  const auto report = said.instances.find(service);
  if (report != said.instances.end() && (report->second.applied || !report->second.step.empty()))
    return;
  target->second.instances.erase(entry);
  ++target->second.seq;
  out.writes["targets/" + host] = plan::target_to_json(target->second).dump();
  out.targets.insert(host);
}

// --- questions
// ---------------------------------------------------------------------------------------------

const plan::Generation* Core::candidate_of(const std::string& rollout) const {
  const auto it = candidates_.find(rollout);
  return it == candidates_.end() ? nullptr : &it->second;
}

const plan::Generation* Core::current() const {
  const auto it = generations_.find(current_);
  return it == generations_.end() ? nullptr : &it->second;
}

plan::Observed Core::observed() const {
  plan::Observed out;
  for (const auto& [name, host] : hosts_)
    out.emplace(name,
                plan::ObservedHost{host.reachable, host.report.instances, host.heard.has_value()});
  return out;
}

std::set<Digest> Core::manifests_in_use() const {
  std::set<Digest> out;
  for (const auto& [name, host] : hosts_) {
    for (const auto& [service, report] : host.report.instances) {
      if (report.applied) out.insert(report.applied->manifest);
    }
  }
  for (const auto& [name, target] : targets_) {
    for (const auto& [service, entry] : target.instances) {
      if (entry.wanted) out.insert(entry.wanted->manifest);
    }
  }
  for (const auto& [id, candidate] : candidates_) {
    for (const auto& [name, service] : candidate.services) out.insert(service.manifest);
  }
  out.merge(manifests_required());
  return out;
}

// Tried once, whatever came of it: what the host says that it has is the truth from then on.
bool Core::has_answered(const std::string& host, const std::string& service,
                        const plan::TargetEntry& entry) const {
  const auto state = hosts_.find(host);
  if (state == hosts_.end()) return false;
  const auto report = state->second.report.instances.find(service);
  if (report == state->second.report.instances.end()) return false;
  const plan::InstanceReport& said = report->second;
  return said.step.empty() && said.outcome && said.outcome->attempt == entry.attempt &&
         (!entry.duty || said.duties.contains(entry.duty->token));
}

std::map<std::string, std::set<std::string>> Core::users_of(
    const std::set<Digest>& manifests) const {
  std::map<std::string, std::set<std::string>> out;
  const auto add_wanted = [&](const plan::Generation& generation) {
    for (const auto& [name, service] : generation.services) {
      if (manifests.contains(service.manifest) && !service.hosts.empty())
        out[name].insert(service.hosts.begin(), service.hosts.end());
    }
  };
  if (const plan::Generation* generation = current()) add_wanted(*generation);
  for (const auto& [id, candidate] : candidates_) add_wanted(candidate);
  for (const auto& [name, target] : targets_) {
    for (const auto& [service, entry] : target.instances) {
      if (entry.wanted && manifests.contains(entry.wanted->manifest) &&
          !has_answered(name, service, entry))
        out[service].insert(name);
    }
  }
  for (const auto& [name, host] : hosts_) {
    for (const auto& [service, report] : host.report.instances) {
      if (report.applied && manifests.contains(report.applied->manifest)) out[service].insert(name);
    }
  }
  return out;
}

bool Core::has_caught_up(const rollout::Rollout& rollout) const {
  if (rollout.result != rollout::Result::partial) return false;
  const std::vector<plan::Step>& steps = rollout.forward.steps;
  const auto is_there = [&](const plan::Step& left) {
    // The last step of an instance says what it is to be in the end.
    const auto last = std::find_if(steps.rbegin(), steps.rend(), [&](const plan::Step& step) {
      return step.host == left.host && step.service == left.service;
    });
    const auto host = hosts_.find(left.host);
    if (left.duty || host == hosts_.end()) return false;
    const auto report = host->second.report.instances.find(left.service);
    if (report == host->second.report.instances.end()) return !last->to;
    // Whether it is well is told of the instance itself, and may change later.
    return report->second.applied == last->to;
  };
  const std::vector<plan::Step> left = rollout::open_tail(rollout);
  return std::all_of(left.begin(), left.end(), is_there);
}

bool Core::wants_one_of(const std::string& service, const std::set<Digest>& manifests) const {
  const auto has = [&](const plan::Generation* generation) {
    const plan::ServiceRecord* record = plan::find_service(generation, service);
    return record != nullptr && manifests.contains(record->manifest);
  };
  return has(current()) || std::any_of(candidates_.begin(), candidates_.end(),
                                       [&](const auto& one) { return has(&one.second); });
}

std::string Core::version_of(const std::string& service, const Digest& manifest) const {
  const auto in = [&](const plan::Generation& generation) -> const plan::ServiceRecord* {
    const auto it = generation.services.find(service);
    return it == generation.services.end() || it->second.manifest != manifest ? nullptr
                                                                              : &it->second;
  };
  for (auto it = generations_.rbegin(); it != generations_.rend(); ++it) {
    if (const auto* record = in(it->second)) return record->version;
  }
  for (const auto& [id, candidate] : candidates_) {
    if (const auto* record = in(candidate)) return record->version;
  }
  return "";
}

std::set<Digest> Core::manifests_kept() const {
  std::set<Digest> out = manifests_in_use();
  const auto keep = [&](const plan::Generation& generation) {
    for (const auto& [name, service] : generation.services) out.insert(service.manifest);
  };
  for (const auto& [number, generation] : generations_) keep(generation);
  for (const auto& [id, candidate] : candidates_) keep(candidate);
  return out;
}

std::set<Digest> Core::manifests_required() const {
  std::set<Digest> out;
  if (const plan::Generation* generation = current()) {
    for (const auto& [name, service] : generation->services) out.insert(service.manifest);
  }
  return out;
}

}  // namespace consort::controller
