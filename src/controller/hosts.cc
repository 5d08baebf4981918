// What hosts say, and their coming and going.
#include <fmt/format.h>

#include <algorithm>

#include "base/address_range.h"
#include "base/text.h"
#include "controller/core.h"
#include "controller/host_texts.h"

namespace consort::controller {
namespace {

// So late a tick has its cause in this process or its machine, not in the hosts.
constexpr Duration kStall = seconds(3);

std::string name_of(const Json& event, std::string_view member, std::string_view otherwise) {
  std::string name = event.string_or(member, otherwise);
  const std::size_t prefix = name.starts_with("class:") ? 6 : 0;
  return is_name(std::string_view(name).substr(prefix)) ? name : std::string(otherwise);
}

// Nobody can count on this instance: in the middle of a transition, whoever ordered that; sick, or
// not known to be well, as after its agent's start; left stopped by a way back that failed.
bool is_away(const plan::InstanceReport& instance) {
  if (!instance.step.empty() || instance.health == plan::Health::unhealthy) return true;
  if (instance.health == plan::Health::healthy) return false;
  const bool should_run = instance.applied && instance.applied->mode == plan::Mode::running;
  const bool left_behind =
      instance.outcome && instance.outcome->result == plan::Outcome::Result::inconsistent;
  return should_run || left_behind;
}

}  // namespace

// Silence counts only while we would have heard: a core that was not woken in time was deaf, and
// connections that broke meanwhile broke because of us.
void Core::notice_stall(Instant now, Output& out) {
  if (!wake_ || now < *wake_ + kStall) return;
  const Duration late = std::chrono::duration_cast<Duration>(now - *wake_);
  wake_.reset();
  patient_until_ = std::max(patient_until_.value_or(now), now + kSilence);
  for (auto& [name, host] : hosts_) {
    if (host.reachable) host.last_contact = now;
  }
  for (auto& [id, rollout] : rollouts_)
    rollout.patient_until =
        std::max(rollout.patient_until, now + std::min<Duration>(late, rollout::kTimeToHear));
  wake_at(*patient_until_);
  tell(out, {0, now, "stalled", "", "", "",
             fmt::format("the controller itself stood still for {} or more: hosts have {} to be "
                         "heard before any of them counts as unreachable",
                         human_duration(late), human_duration(kSilence))});
}

Output Core::on_contact(const std::string& name, Instant now) {
  Output out;
  if (meet(name, now, out)) advance(now, out);
  return out;
}

// True where somebody may go on because of it.
bool Core::meet(const std::string& name, Instant now, Output& out) {
  notice_stall(now, out);
  auto [it, made] = hosts_.try_emplace(name);
  HostState& host = it->second;
  host.last_contact = now;
  host.heard = now;
  if (made) {
    host.joined = now;
    host.known_epoch = restored_epoch_;
    host.report.host = name;
    out.writes["hosts/" + name] = Json::object({{"report", plan::host_report_to_json(host.report)},
                                                {"joined", to_millis(now)}})
                                      .dump();
    // What it was given before it was removed is no news from a life that is lost.
    if (const auto gone = removed_.find(name); gone != removed_.end()) {
      host.known_epoch = epoch_;
      host.known_seq = gone->second;
      save_target(name, out);
      out.writes["removed/" + name] = std::nullopt;
      removed_.erase(gone);
    }
    tell(out, {0, now, "host-joined", "", "", name, "joined"});
  }
  const bool first = unheard_.erase(name) > 0;
  wake_at(now + kSilence);
  if (!host.reachable) {
    host.reachable = true;
    if (!made) tell(out, {0, now, "host-back", "", "", name, "answers again"});
    return true;
  }
  return first && (unheard_.empty() || is_waited_for(name));
}

Output Core::on_poll(const std::string& name, std::uint64_t epoch, std::uint64_t seq, Instant now) {
  Output out = on_contact(name, now);
  take_position(name, epoch, seq, Telling::poll, now, out);
  return out;
}

Output Core::on_silence(const std::string& name, Instant now) {
  Output out;
  notice_stall(now, out);
  const auto it = hosts_.find(name);
  if (it == hosts_.end() || !it->second.reachable) return out;
  if (patient_until_ && now < *patient_until_) return out;
  it->second.reachable = false;
  it->second.last_contact.reset();
  tell(out, {0, now, "host-unreachable", "", "", name, "does not answer"});
  advance(now, out);
  return out;
}

Output Core::on_report(plan::HostReport report, Instant now) {
  tame(report);
  // What it says comes before anybody goes on because it speaks.
  Output out;
  const bool is_awaited = meet(report.host, now, out);
  HostState& host = hosts_.at(report.host);
  if (report.boot_id == host.report.boot_id && report.number < host.report.number) {
    if (is_awaited) advance(now, out);
    return out;  // overtaken on its way
  }
  take_position(report.host, report.epoch, report.seq, Telling::report, now, out);
  std::set<std::pair<std::int64_t, std::string>> told;
  for (const Json& item : report.events) {
    const std::pair id(item.int_or("n"), beginning_of(item.string_or("at"), kMostHostName));
    if (id.first > 0) told.insert(id);
    if (host.told.contains(id)) continue;
    std::string text = printable(item.string_or("text"), Lines::many);
    if (const std::string resource = printable(item.string_or("resource"), Lines::one);
        !resource.empty())
      text = resource + ": " + text;
    if (const std::string diff = printable(item.string_or("diff"), Lines::many);
        !diff.empty() && diff.size() < 4000)
      text += "\n" + diff;
    // It may have waited long for its delivery; a clock that is ahead cannot tell of the future.
    const Instant at = std::min(parse_instant(id.second).value_or(now), now);
    tell(out, {0, at, name_of(item, "kind", "report"), "", name_of(item, "service", ""),
               report.host, std::move(text)});
  }
  host.told = std::move(told);
  const bool moves = moves_access(host.report, report);
  host.report = report;
  host.report.events.clear();
  if (access_in_doubt_) believe(host);
  note_the_gone(report.host);
  // What a host says of itself becomes rules of others' firewalls and lines of their files.
  const auto address = host.report.facts.find("address");
  if (address != host.report.facts.end() && !is_address_or_name(address->second))
    host.report.facts.erase(address);
  out.writes["hosts/" + report.host] =
      Json::object(
          {{"report", plan::host_report_to_json(host.report)},
           {"joined", to_millis(host.joined)},
           {"placed", Json::array_of(std::vector(host.placed.begin(), host.placed.end()))}})
          .dump();
  adopt(report, out);
  if (moves) refresh_access(out);
  advance(now, out);
  return out;
}

std::optional<plan::Target> Core::target_of(const std::string& host) const {
  const auto it = targets_.find(host);
  return it == targets_.end() ? std::nullopt : std::optional(it->second);
}

// Each class as those see it who change it now: who takes a host out of the inventory does not wait
// for its return.
std::map<std::string, std::set<std::string>> Core::members_of_classes() const {
  std::map<std::string, std::set<std::string>> out;
  for (const auto& [id, candidate] : candidates_) {
    for (const auto& [name, hosts] : candidate.classes)
      out[name].insert(hosts.begin(), hosts.end());
  }
  const plan::Generation* generation = current();
  if (generation == nullptr) return out;
  for (const auto& [name, hosts] : generation->classes)
    out.try_emplace(name, hosts.begin(), hosts.end());
  return out;
}

// Some rollout wants to change it, or it has something to catch up with.
bool Core::is_waited_for(const std::string& host) const {
  const auto tail = tail_.lower_bound({host, ""});
  return (tail != tail_.end() && tail->first.first == host) ||
         std::any_of(rollouts_.begin(), rollouts_.end(), [&](const auto& item) {
           return item.second.result == rollout::Result::open &&
                  item.second.plan.budgets.contains(host);
         });
}

budget::Censuses Core::censuses() const {
  budget::Censuses out;
  for (const auto& [name, hosts] : members_of_classes()) {
    budget::Census& census = out[name];
    census.hosts = static_cast<std::int64_t>(hosts.size());
    for (const std::string& host : hosts) {
      const auto it = hosts_.find(host);
      // What an earlier leader heard of a host may be long past.
      const bool silent = it == hosts_.end() || !it->second.reachable || !it->second.heard;
      if (silent) census.unreachable.insert(host);
      const bool sick =
          silent ||
          std::any_of(it->second.report.instances.begin(), it->second.report.instances.end(),
                      [](const auto& instance) { return is_away(instance.second); });
      if (sick) census.unhealthy.insert(host);
    }
  }
  return out;
}

Status Core::remove_host(const std::string& name, Instant now, Output& out) {
  const auto it = hosts_.find(name);
  if (it == hosts_.end())
    return fail(ErrorCode::not_found, fmt::format("no host '{}'", name))
        .hint("see the hosts with: consort host list");
  if (it->second.reachable)
    return fail(ErrorCode::refused, fmt::format("host {} is alive", name))
        .hint(
            fmt::format("stop its agent first; then it can be removed. One that must not come back "
                        "is locked out with: consort host revoke {}",
                        name));
  const plan::Generation* generation = current();
  if (generation != nullptr && generation->hosts.contains(name)) {
    return fail(ErrorCode::refused, fmt::format("host {} is still in the inventory of {}", name,
                                                join(generation->hosts.at(name).classes, ", ")))
        .hint("take it out of the inventory and deploy; then remove it");
  }
  for (const auto& [id, candidate] : candidates_) {
    if (!candidate.hosts.contains(name)) continue;
    return fail(ErrorCode::refused,
                fmt::format("host {} is in the inventory of rollout {}, which is under way", name,
                            id))
        .hint(fmt::format("wait for its end, or stop it: consort rollout abort {}", id));
  }
  hosts_.erase(it);
  unheard_.erase(name);
  if (const auto target = targets_.find(name); target != targets_.end()) {
    removed_[name] = target->second.seq;
    out.writes["removed/" + name] = std::to_string(target->second.seq);
    targets_.erase(target);
  }
  forget_tail(name, out);
  if (budget::forget_host(budgets_, name)) save_budgets(out);
  out.writes["hosts/" + name] = std::nullopt;
  out.writes["targets/" + name] = std::nullopt;
  out.targets.insert(name);
  tell(out, {0, now, "host-removed", "", "", name, "removed by the operator"});
  return {};
}

}  // namespace consort::controller
