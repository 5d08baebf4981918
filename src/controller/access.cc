// Declared access: which host is told to admit whom, and when. It follows from the generations in
// force, so nobody has to remember it; what the targets hold is only what was told last.
#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "controller/core.h"

namespace consort::controller {
namespace {

// A rollout waits so long for those who must let its new instances in, then it begins all the same:
// what does not get through fails its own validation.
constexpr Duration kAdmissionPatience = seconds(10);

bool places(const plan::Generation& generation, const std::string& service, const Digest& manifest,
            const std::string& host) {
  const auto record = generation.services.find(service);
  return record != generation.services.end() && record->second.manifest == manifest &&
         std::binary_search(record->second.hosts.begin(), record->second.hosts.end(), host);
}

std::string hosts_text(const std::vector<std::string>& hosts) {
  constexpr std::size_t kShown = 4;
  if (hosts.size() == 1) return "host " + hosts.front();
  const auto shown = static_cast<std::ptrdiff_t>(std::min(hosts.size(), kShown));
  std::string out = "hosts " + join({hosts.begin(), hosts.begin() + shown}, ", ");
  if (hosts.size() > kShown) out += fmt::format(" and {} more", hosts.size() - kShown);
  return out;
}

}  // namespace

// In force are the current generation and what every open rollout brings.
bool Core::is_placed(const std::string& service, const std::string& host) const {
  const auto in = [&](const plan::Generation& generation) {
    const auto record = generation.services.find(service);
    return record != generation.services.end() &&
           std::binary_search(record->second.hosts.begin(), record->second.hosts.end(), host);
  };
  const plan::Generation* generation = current();
  return (generation != nullptr && in(*generation)) ||
         std::any_of(candidates_.begin(), candidates_.end(),
                     [&](const auto& item) { return in(item.second); });
}

void Core::note_placements() {
  const auto note = [this](const plan::Generation& generation) {
    for (const auto& [service, record] : generation.services) {
      for (const std::string& name : record.hosts) {
        if (const auto host = hosts_.find(name); host != hosts_.end())
          host->second.placed.insert(service);
      }
    }
  };
  if (const plan::Generation* generation = current()) note(*generation);
  for (const auto& [id, candidate] : candidates_) note(candidate);
}

// Of what an earlier life of the store has placed only its host can tell.
void Core::believe(HostState& host) {
  for (const auto& [service, instance] : host.report.instances) {
    if (instance.applied) host.placed.insert(service);
  }
}

// A report that is older than the host's target says nothing of how that ended.
void Core::note_the_gone(const std::string& host) {
  HostState& state = hosts_.at(host);
  const auto target = targets_.find(host);
  if (target != targets_.end() && std::pair(state.report.epoch, state.report.seq) <
                                      std::pair(target->second.epoch, target->second.seq))
    return;
  std::erase_if(state.placed, [&](const std::string& service) {
    const auto report = state.report.instances.find(service);
    const bool there = report != state.report.instances.end() &&
                       (report->second.applied || !report->second.step.empty());
    return !there && !is_placed(service, host);
  });
}

void Core::note_the_gone() {
  for (const auto& [name, host] : hosts_) note_the_gone(name);
}

// Instances of an older manifest, or on a host where nothing places them any more. A host that has
// left every inventory has left the site: it counts no more.
std::vector<plan::StillRunning> Core::still_running(
    const std::vector<const plan::Generation*>& in_force) const {
  const auto any = [&](auto&& holds) {
    return std::any_of(in_force.begin(), in_force.end(),
                       [&](const plan::Generation* g) { return holds(*g); });
  };
  std::vector<plan::StillRunning> out;
  for (const auto& [host, state] : hosts_) {
    if (!any([&, &host = host](const auto& g) { return g.hosts.contains(host); })) continue;
    for (const auto& [service, report] : state.report.instances) {
      if (!report.applied || !state.placed.contains(service)) continue;
      const Digest& manifest = report.applied->manifest;
      if (any([&, &host = host, &service = service](const auto& g) {
            return places(g, service, manifest, host);
          }))
        continue;
      for (auto it = generations_.rbegin(); it != generations_.rend(); ++it) {
        const auto record = it->second.services.find(service);
        if (record == it->second.services.end() || record->second.manifest != manifest) continue;
        out.push_back({host, service, &record->second});
        break;
      }
    }
  }
  return out;
}

// What it says itself, whoever told it to.
bool Core::guards_ports(const std::string& host) const {
  const auto it = hosts_.find(host);
  if (it == hosts_.end()) return false;
  const auto& access = it->second.report.access;
  return access && !access->admitted.is_none();
}

bool Core::ports_are_guarded() const {
  return std::any_of(hosts_.begin(), hosts_.end(),
                     [this](const auto& host) { return guards_ports(host.first); });
}

std::set<std::string> Core::refresh_access(Output& out) {
  std::set<std::string> changed;
  note_placements();
  if (access_in_doubt_) return changed;
  std::vector<const plan::Generation*> in_force;
  if (const plan::Generation* generation = current()) in_force.push_back(generation);
  std::vector<plan::Generation> brought;
  brought.reserve(candidates_.size());
  for (const auto& [id, candidate] : candidates_) {
    brought.push_back(merged(candidate, rollouts_.at(id)));
    in_force.push_back(&brought.back());
  }
  const bool before =
      std::exchange(guarded_, std::any_of(in_force.begin(), in_force.end(),
                                          [](const auto* g) { return plan::guards_access(*g); }));
  if (!guarded_ && !before && !ports_are_guarded()) return changed;
  plan::AccessInput input;
  input.generations = in_force;
  input.still = still_running(in_force);
  for (const auto& [name, host] : hosts_) {
    if (const auto fact = host.report.facts.find("address"); fact != host.report.facts.end())
      input.told.emplace(name, fact->second);
  }
  const std::map<std::string, plan::Admissions> table = plan::admissions(input);
  std::set<std::string> hosts;
  for (const plan::Generation* generation : in_force) {
    for (const auto& [name, record] : generation->hosts) hosts.insert(name);
  }
  for (const std::string& host : hosts) {
    const auto wanted = table.find(host);
    const auto target = targets_.find(host);
    const bool told = target != targets_.end() && target->second.admissions.has_value();
    if (wanted == table.end() && !told && !guards_ports(host)) continue;
    plan::Admissions admissions = wanted == table.end() ? plan::Admissions() : wanted->second;
    if (told && *target->second.admissions == admissions) continue;
    for (auto& [id, holdback] : held_back_) {
      if (const auto held = holdback.hosts.find(host); held != holdback.hosts.end())
        held->second = plan::admissions_digest(admissions);
    }
    targets_[host].admissions = std::move(admissions);
    save_target(host, out);
    changed.insert(host);
  }
  return changed;
}

// What the last report changes for others: an address, or an instance that is gone at last.
bool Core::moves_access(const plan::HostReport& before, const plan::HostReport& after) const {
  if (!guarded_) return false;
  const auto address = [](const plan::HostReport& report) {
    const auto fact = report.facts.find("address");
    return fact == report.facts.end() ? std::string() : fact->second;
  };
  if (address(before) != address(after)) return true;
  const auto applied = [](const plan::HostReport& report) {
    std::map<std::string, Digest> out;
    for (const auto& [service, instance] : report.instances) {
      if (instance.applied) out.emplace(service, instance.applied->manifest);
    }
    return out;
  };
  // While a rollout is open, both of its ends are in force.
  return candidates_.empty() && applied(before) != applied(after);
}

bool Core::waits_for_admission(const std::string& rollout, Instant now) {
  const auto held = held_back_.find(rollout);
  if (held == held_back_.end()) return false;
  std::erase_if(held->second.hosts, [&](const auto& item) {
    const auto& [name, digest] = item;
    const auto host = hosts_.find(name);
    const auto target = targets_.find(name);
    if (host == hosts_.end() || !host->second.reachable || target == targets_.end()) return true;
    const auto& access = host->second.report.access;
    if (!access || !access->able || !access->problem.empty() || !target->second.admissions)
      return true;
    return access->admitted == digest;
  });
  if (held->second.hosts.empty() || now >= held->second.until) {
    held_back_.erase(held);
    return false;
  }
  wake_at(held->second.until);
  return true;
}

void Core::hold_for_admission(const std::string& rollout, const std::set<std::string>& hosts,
                              Instant now) {
  if (hosts.empty()) return;
  Holdback& holdback = held_back_[rollout];
  holdback.until = now + kAdmissionPatience;
  for (const std::string& host : hosts) {
    if (const auto& admissions = targets_.at(host).admissions)
      holdback.hosts.emplace(host, plan::admissions_digest(*admissions));
  }
}

// A promise that its host cannot keep is in the way of a deploy. What it was promised before, an
// operator is told of by the health of the instance there.
std::vector<plan::Need> Core::unenforceable(const plan::Generation& wanted) const {
  const plan::Generation* base = current();
  const auto promised = [&](const std::string& name, const std::string& endpoint,
                            const std::string& host) {
    if (base == nullptr) return false;
    const auto record = base->services.find(name);
    if (record == base->services.end()) return false;
    const auto value = record->second.endpoints.find(endpoint);
    return value != record->second.endpoints.end() &&
           value->second.access == plan::AccessMode::enforce &&
           std::binary_search(record->second.hosts.begin(), record->second.hosts.end(), host);
  };
  std::vector<plan::Need> out;
  for (const auto& [name, record] : wanted.services) {
    for (const auto& [endpoint, value] : record.endpoints) {
      if (value.access != plan::AccessMode::enforce) continue;
      std::map<std::string, std::vector<std::string>> unable;  // reason → hosts
      for (const std::string& host : record.hosts) {
        const auto known = hosts_.find(host);
        if (known == hosts_.end() || known->second.report.facts.empty()) continue;
        const auto& access = known->second.report.access;
        if ((access && access->able) || promised(name, endpoint, host)) continue;
        unable[access ? access->problem : "its agent is too old to know how"].push_back(host);
      }
      for (const auto& [reason, hosts] : unable) {
        out.push_back({"",
                       fmt::format("services.{}: access to {} shall be enforced, and {} cannot: {}",
                                   name, endpoint, hosts_text(hosts), reason),
                       "make that possible there, or say access: { mode: 'audit' } or 'off' for "
                       "this service"});
      }
    }
  }
  return out;
}

void Core::doubt_access(Output& out) {
  access_in_doubt_ = true;
  for (auto& [name, host] : hosts_) believe(host);
  settling_access_.clear();
  out.writes["access-in-doubt"] = std::string(kAccessInDoubt);
}

// The rollout that was to end the doubt may have ended with the life of the last leader.
void Core::restore_access_doubt() {
  if (settling_access_.empty()) return;
  const auto it = rollouts_.find(settling_access_);
  const auto result = it == rollouts_.end() ? rollout::Result::inconsistent : it->second.result;
  access_in_doubt_ = result != rollout::Result::open && !commits(result);
  if (result == rollout::Result::open) return;
  settling_access_.clear();
  if (!access_in_doubt_) leftovers_.insert("access-in-doubt");
}

// The word of the whole site is needed: a part of it, or a generation of this very store, knows
// nothing of those who have joined in the life that is lost. What is found later, while that
// rollout is under way, is a doubt of its own.
bool says_all_of_access(const DeployRequest& request) {
  return request.only.empty() && request.except.empty() && request.candidate.broken.empty() &&
         request.candidate.rollback_of == 0;
}

void Core::settle_access(const DeployRequest& request, const std::string& rollout, Instant now,
                         Output& out) {
  if (!access_in_doubt_) return;
  if (says_all_of_access(request)) {
    access_in_doubt_ = false;
    settling_access_ = rollout;
    out.writes["access-in-doubt"] = rollout;
    return;
  }
  if (!guarded_ && !ports_are_guarded() && !plan::guards_access(candidates_.at(rollout))) return;
  tell(out, {0, now, "access-in-doubt", rollout, "", "",
             "whom hosts let in stays as it is: this store is older than its hosts; deploy the "
             "whole site, without --only and --except, to say it anew"});
}

// What did not succeed has not been said: without the doubt the generation of the old store would
// be in force alone, and those who have joined in the life that is lost would be cut off.
void Core::settle_access_at_end(const rollout::Rollout& rollout, Instant now, Output& out) {
  if (settling_access_ != rollout.id) return;
  settling_access_.clear();
  if (commits(rollout.result)) {
    out.writes["access-in-doubt"] = std::nullopt;
    return;
  }
  doubt_access(out);
  tell(out, {0, now, "access-in-doubt", rollout.id, "", "",
             "whom hosts let in stays as it is: this store is older than its hosts, and the "
             "rollout that was to say it anew did not succeed; deploy the whole site again"});
}

}  // namespace consort::controller
