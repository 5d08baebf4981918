// Planning, deploying, rolling back: the operators' half of the core.
#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "controller/core.h"

namespace consort::controller {

namespace {

using Hosts = std::vector<std::string>;

bool has(const Hosts& hosts, const std::string& host) {
  return std::binary_search(hosts.begin(), hosts.end(), host);
}

const Hosts& class_in(const plan::Generation& generation, const std::string& name) {
  static const Hosts none;
  const auto it = generation.classes.find(name);
  return it == generation.classes.end() ? none : it->second;
}

// The fleet of `out` was read when `start` was current. What others have changed since (`now`)
// stays: a host that has left meanwhile does not come back, one that has joined stays.
void merge_fleet(const plan::Generation& start, const plan::Generation& now,
                 plan::Generation& out) {
  const auto hosts = std::exchange(out.hosts, now.hosts);
  const auto classes = std::exchange(out.classes, now.classes);
  for (const auto& [name, record] : hosts) {
    const auto before = start.hosts.find(name);
    if (before == start.hosts.end() || before->second != record)
      out.hosts.insert_or_assign(name, record);
  }
  for (const auto& [name, record] : start.hosts) {
    if (!hosts.contains(name)) out.hosts.erase(name);
  }
  for (const auto& [name, members] : classes) {
    Hosts& merged = out.classes[name];
    for (const std::string& host : members) {
      if (!has(class_in(start, name), host) && !has(merged, host))
        merged.insert(std::upper_bound(merged.begin(), merged.end(), host), host);
    }
  }
  for (const auto& [name, members] : start.classes) {
    const auto mine = classes.find(name);
    if (mine == classes.end()) {
      out.classes.erase(name);
      continue;
    }
    std::erase_if(out.classes[name], [&, &before = members](const std::string& host) {
      return has(before, host) && !has(mine->second, host);
    });
  }
  // A host that both have changed may be gone on one side, or in classes of which either knows
  // some.
  for (auto& [name, members] : out.classes)
    std::erase_if(members, [&](const std::string& host) { return !out.hosts.contains(host); });
  plan::derive_classes(out);
}

std::set<std::string> names_in(const plan::Generation& one, const plan::Generation& other) {
  std::set<std::string> out;
  for (const auto* generation : {&one, &other}) {
    for (const auto& [name, record] : generation->services) out.insert(name);
  }
  return out;
}

std::optional<plan::Need> too_many_away(const plan::Plan& plan) {
  std::set<std::string> hosts;
  for (const plan::Step& step : plan.steps) hosts.insert(step.host);
  const std::int64_t allowed =
      budget::amount_of(plan.policy.max_failures, static_cast<std::int64_t>(hosts.size()));
  if (static_cast<std::int64_t>(plan.unreachable.size()) <= allowed) return std::nullopt;
  return plan::Need{
      "",
      fmt::format("{} of the {} host{} that change cannot be reached ({}), and maxFailures allows "
                  "{}",
                  plan.unreachable.size(), hosts.size(), hosts.size() == 1 ? "" : "s",
                  join(plan.unreachable, ", "), allowed),
      "bring them back, take them out of the inventory, or raise policy.maxFailures"};
}

// Hosts that are away take slots. Where they take all, the rollout would wait for their return.
std::optional<plan::Need> no_slot_left(const plan::Plan& plan) {
  const std::set<std::string> away(plan.unreachable.begin(), plan.unreachable.end());
  for (const plan::Step& step : plan.steps) {
    if (!step.disrupts || away.contains(step.host)) continue;
    for (const std::string& name : plan.budgets.at(step.host)) {
      const auto size = plan.class_sizes.find(name);
      if (size == plan.class_sizes.end()) continue;
      std::vector<std::string> down;
      for (const std::string& host : away) {
        const auto budgets = plan.budgets.find(host);
        if (budgets != plan.budgets.end() &&
            std::count(budgets->second.begin(), budgets->second.end(), name) > 0)
          down.push_back(host);
      }
      const std::int64_t slots = budget::amount_of(
          plan.policy.max_unavailable.value_or(budget::default_max_unavailable(size->second)),
          size->second);
      if (static_cast<std::int64_t>(down.size()) < slots) continue;
      if (down.empty())
        return plan::Need{"",
                          fmt::format("none of the {} hosts of {} may be away, and {} has to be "
                                      "for its change",
                                      size->second, name, step.host),
                          "raise policy.maxUnavailable"};
      return plan::Need{
          "",
          fmt::format("{} of the {} hosts of {} may be away, and {} cannot be reached: {} would "
                      "wait for its return",
                      slots, size->second, name, join(down, ", "), step.host),
          "bring it back, take it out of the inventory, or raise policy.maxUnavailable"};
    }
  }
  return std::nullopt;
}

// Of two services that claim one port of a host the more lenient would decide: a site says so by
// mistake only, and a candidate that was made by hand on purpose.
std::vector<plan::Need> contradictions(const plan::Generation& wanted) {
  std::map<std::pair<std::string, std::int64_t>, std::pair<std::string, plan::AccessMode>> first;
  std::vector<plan::Need> out;
  for (const auto& [name, record] : wanted.services) {
    for (const auto& [endpoint, value] : record.endpoints) {
      if (value.port == 0) continue;
      for (const std::string& host : record.hosts) {
        const auto [it, made] = first.try_emplace({host, value.port}, name, value.access);
        if (made || it->second.second == value.access || it->second.first == name) continue;
        out.push_back({"",
                       fmt::format("{} and {} both offer port {} on {}, and access to it is {} for "
                                   "one and {} for the other",
                                   it->second.first, name, value.port, host,
                                   plan::access_mode_name(it->second.second),
                                   plan::access_mode_name(value.access)),
                       "let one of them have another port, or say the same access for both"});
        return out;
      }
    }
  }
  return out;
}

}  // namespace

// What was current when something began: nothing before the first deploy, null when the store does
// not know it.
const plan::Generation* Core::started_at(std::uint64_t number) const {
  static const plan::Generation nothing;
  if (number == 0) return &nothing;
  const auto it = generations_.find(number);
  return it == generations_.end() ? nullptr : &it->second;
}

// What holds when this rollout has succeeded: what its steps change, and of the other services what
// the candidate says (they run it already: that is why they have no steps), unless another rollout
// has changed them meanwhile. The candidate is confined to what was asked for. A host that has left
// the inventory keeps what it runs, but is no place for anything any more.
plan::Generation Core::merged(const plan::Generation& candidate, std::uint64_t started_from,
                              const std::set<std::string>& changed) const {
  const plan::Generation* base = current();
  if (base == nullptr) return candidate;
  const plan::Generation* start = started_at(started_from);
  plan::Generation out = candidate;
  if (start != nullptr && start != base) merge_fleet(*start, *base, out);
  for (const std::string& name : names_in(candidate, *base)) {
    const plan::ServiceRecord* now = plan::find_service(base, name);
    if (changed.contains(name) ||
        plan::says_the_same(plan::find_service(start, name), now, out.hosts))
      continue;
    if (now == nullptr) {
      out.services.erase(name);
    } else {
      out.services.insert_or_assign(name, *now);
    }
  }
  for (auto& [name, service] : out.services)
    std::erase_if(service.hosts, [&](const auto& host) { return !out.hosts.contains(host); });
  return out;
}

plan::Generation Core::merged(const plan::Generation& candidate,
                              const rollout::Rollout& rollout) const {
  std::set<std::string> changed;
  for (const plan::Step& step : rollout.forward.steps) changed.insert(step.service);
  return merged(candidate, rollout.plan.base, changed);
}

// A rollback passes by what protects a site from mistakes, so it is what the history says.
Status Core::check_rollback(const plan::Generation& candidate) const {
  if (candidate.rollback_of == 0) return {};
  const plan::Generation told = TRY(rollback_candidate(candidate.rollback_of));
  if (plan::generation_to_json(candidate).dump() == plan::generation_to_json(told).dump())
    return {};
  return fail(ErrorCode::stale, fmt::format("this is not generation {} as it would come back now",
                                            candidate.rollback_of))
      .hint("see what it would be: consort rollback");
}

Result<plan::Plan> Core::plan(const DeployRequest& request) const {
  TRYV(check_rollback(request.candidate));
  const plan::Observed seen = observed();
  plan::PlanInput input;
  input.wanted = &request.candidate;
  input.base = current();
  input.observed = &seen;
  input.manifests = &request.manifests;
  input.first_deployed = &first_deployed_;
  input.only = request.only;
  input.except = request.except;
  input.backwards = request.candidate.rollback_of != 0;
  input.allow_outage = request.allow_outage;
  input.allow_unsafe_removal = request.allow_unsafe_removal;
  input.access_in_doubt = access_in_doubt_ && says_all_of_access(request);
  input.access_left = ports_are_guarded();
  plan::Plan plan = TRY(plan::make_plan(input));
  if (auto need = renaming(request)) plan.needs.push_back(std::move(*need));
  for (plan::Need& need : shrinking(request)) plan.needs.push_back(std::move(need));
  for (auto& need : {too_many_away(plan), no_slot_left(plan)}) {
    if (need) plan.needs.push_back(*need);
  }
  const plan::Generation wanted =
      plan::confined(request.candidate, current(), request.only, request.except);
  for (plan::Need& need : unenforceable(wanted)) plan.needs.push_back(std::move(need));
  for (plan::Need& need : contradictions(wanted)) plan.needs.push_back(std::move(need));
  return plan;
}

// A controller has one site. Another one takes its place, services and all, and most likely was
// meant for another controller. Who goes back has seen the name before.
std::optional<plan::Need> Core::renaming(const DeployRequest& request) const {
  const plan::Generation* base = current();
  const plan::Generation& wanted = request.candidate;
  if (base == nullptr || request.allow_rename || wanted.rollback_of != 0 ||
      wanted.site == base->site)
    return std::nullopt;
  return plan::Need{"--allow-rename",
                    fmt::format("the site {} takes the place of {}, which is deployed here",
                                wanted.site, base->site),
                    "a controller has one site: is this the right controller (consort context)? If "
                    "it is, say --allow-rename"};
}

// A class that loses more than a tenth of its hosts at once has most likely lost its inventory.
std::vector<plan::Need> Core::shrinking(const DeployRequest& request) const {
  std::vector<plan::Need> out;
  const plan::Generation* base = current();
  if (base == nullptr || request.allow_shrink) return out;
  for (const auto& [name, before] : base->classes) {
    const auto after = request.candidate.classes.find(name);
    if (after == request.candidate.classes.end() || before.empty()) continue;
    std::vector<std::string> gone;
    std::set_difference(before.begin(), before.end(), after->second.begin(), after->second.end(),
                        std::back_inserter(gone));
    if (gone.size() * 10 <= before.size() || after->second.size() >= before.size()) continue;
    out.push_back({"--allow-shrink",
                   fmt::format("host class {} shrinks from {} to {} hosts (gone: {})", name,
                               before.size(), after->second.size(), join(gone, ", ")),
                   "if that is meant, say --allow-shrink; the hosts that are gone keep what they "
                   "run, and nobody looks after it: stop their agents, then forget them with "
                   "`consort host remove`"});
  }
  return out;
}

// A service is being changed by whoever has a step for it, and by whoever says something else of
// it: whom it lets in changes without a step, and the record of a service is taken as a whole.
Status Core::check_locks(const std::set<std::string>& services) const {
  const auto locked = [](const std::string& service, const rollout::Rollout& rollout) {
    return fail(ErrorCode::locked,
                fmt::format("service {} is being changed by rollout {} of {}, since {}{}", service,
                            rollout.id, rollout.by.empty() ? "somebody" : rollout.by,
                            format_instant(rollout.started),
                            rollout.message.empty() ? "" : " (" + rollout.message + ")"))
        .hint(fmt::format("watch it: consort status; wait for it: --wait; stop it: consort rollout "
                          "abort {}",
                          rollout.id));
  };
  for (const auto& [id, rollout] : rollouts_) {
    if (rollout.result != rollout::Result::open) continue;
    for (const plan::Step& step : rollout.forward.steps) {
      if (services.contains(step.service)) return locked(step.service, rollout);
    }
    const auto candidate = candidates_.find(id);
    if (candidate == candidates_.end()) continue;
    const plan::Generation* start = started_at(rollout.plan.base);
    for (const std::string& name : services) {
      if (!plan::says_the_same(plan::find_service(start, name),
                               plan::find_service(&candidate->second, name),
                               candidate->second.hosts))
        return locked(name, rollout);
    }
  }
  return {};
}

// Those with steps, and those of which it says something else than what holds now.
std::set<std::string> Core::changed_by(const plan::Plan& plan,
                                       const plan::Generation& candidate) const {
  std::set<std::string> out = plan.services();
  const plan::Generation* base = started_at(current_);
  if (base == nullptr) return out;
  out.merge(plan::services_that_differ(base, candidate));
  return out;
}

// Each class has the slots of the site that is being deployed, of several the fewest: who deploys
// beside somebody else does not widen his limits. Otherwise those of the current generation.
bool Core::size_budgets() {
  struct Size {
    budget::Amount slots;
    std::int64_t hosts = 0;
  };
  std::map<std::string, Size> sizes;
  const auto collect = [](const plan::Generation& generation, std::map<std::string, Size>& out) {
    for (const auto& [name, hosts] : generation.classes) {
      const auto count = static_cast<std::int64_t>(hosts.size());
      const budget::Amount slots =
          generation.policy.max_unavailable.value_or(budget::default_max_unavailable(count));
      const auto [it, made] = out.try_emplace(name, Size{slots, count});
      if (!made &&
          budget::amount_of(slots, count) < budget::amount_of(it->second.slots, it->second.hosts))
        it->second = {slots, count};
    }
  };
  for (const auto& [id, candidate] : candidates_) collect(candidate, sizes);
  std::map<std::string, Size> kept;
  if (const plan::Generation* generation = current()) collect(*generation, kept);
  sizes.merge(kept);
  bool changed = false;
  for (const auto& [name, size] : sizes) {
    const auto [it, made] = budgets_.try_emplace(name);
    changed = changed || made || !(it->second.slots == size.slots);
    it->second.slots = size.slots;
  }
  return changed;
}

namespace {

Status check_size(std::string_view what, const std::string& text, std::size_t most,
                  std::string_view hint) {
  if (text.size() <= most) return {};
  return fail(ErrorCode::too_large,
              fmt::format("{} would be {:.1f} MB; at most {:.1f} MB can be deployed at once", what,
                          static_cast<double>(text.size()) / 1e6, static_cast<double>(most) / 1e6))
      .hint(std::string(hint));
}

}  // namespace

Result<std::string> Core::deploy(const DeployRequest& request, Instant now, Output& out) {
  if (request.candidate.rollback_of != 0 && !generations_.contains(request.candidate.rollback_of))
    return fail(ErrorCode::not_found, fmt::format("there is no generation {} to go back to",
                                                  request.candidate.rollback_of))
        .hint("see them with: consort history");
  plan::Plan plan = TRY(this->plan(request));
  if (request.expect && *request.expect != plan.inputs) {
    const plan::Generation* base = current();
    return fail(
               ErrorCode::stale,
               fmt::format("the plan is stale: what it was made for has changed meanwhile (now "
                           "generation {}{})",
                           current_,
                           base != nullptr && !base->by.empty() ? ", deployed by " + base->by : ""))
        .hint("look at the difference and plan again: consort plan");
  }
  TRYV(plan::check_permitted(plan));
  if (plan.empty()) return std::string();
  plan::Generation candidate =
      plan::confined(request.candidate, current(), request.only, request.except);
  if (request.permit) TRYV(request.permit(plan, candidate));
  TRYV(check_locks(changed_by(plan, candidate)));
  TRYV(check_signing(request, plan));
  // Attempts are named after it: a host must not remember the name from a life of the store that
  // was lost, and no two lives share an epoch.
  const std::string id = fmt::format("r{:06}{}", next_rollout_,
                                     epoch_ > 1 ? fmt::format(".e{}", epoch_) : std::string());
  candidate.statement = request.statement ? request.statement->statement.sequence : 0;
  rollout::Rollout rollout =
      rollout::begin(id, std::move(plan), current_, request.by, request.message, now);
  std::string candidate_text = plan::generation_to_json(candidate).dump();
  std::string plan_text = rollout::plan_to_json(rollout).dump();
  TRYV(check_size("the site", candidate_text, request.most_bytes,
                  "its hosts and services are too many for one controller"));
  TRYV(check_size("the plan", plan_text, request.most_bytes,
                  "deploy some services after the others: consort deploy --only SERVICE"));
  ++next_rollout_;
  if (request.statement) keep_statement(*request.statement, out);
  out.writes["candidates/" + id] = std::move(candidate_text);
  candidates_.emplace(id, std::move(candidate));
  size_budgets();
  save_budgets(out);
  out.writes["rollouts/" + id + "/plan"] = std::move(plan_text);
  save_head(rollouts_.emplace(id, std::move(rollout)).first->second, out);
  settle_access(request, id, now, out);
  hold_for_admission(id, refresh_access(out), now);
  tell(out, {0, now, "rollout", id, "", "",
             fmt::format("started by {}", request.by.empty() ? "somebody" : request.by)});
  advance(now, out);
  return id;
}

namespace {

// A class that the site has given up comes back with those of its hosts that are still there.
const Hosts& class_of_today(const std::string& name, const Hosts& then, plan::Generation& out) {
  const auto known = out.classes.find(name);
  if (known != out.classes.end()) return known->second;
  Hosts& today = out.classes[name];
  for (const std::string& host : then) {
    const auto record = out.hosts.find(host);
    if (record == out.hosts.end()) continue;
    today.push_back(host);
    auto& classes = record->second.classes;
    classes.insert(std::upper_bound(classes.begin(), classes.end(), name), name);
  }
  return today;
}

// Where a service of then runs today: everywhere, if it ran everywhere; else where it ran, and
// where it runs now on hosts that have joined since.
Status place_again(const std::string& name, plan::ServiceRecord& service,
                   const plan::Generation& then, const plan::Generation& base,
                   plan::Generation& out) {
  const auto found = then.classes.find(service.host_class);
  const Hosts members = found == then.classes.end() ? service.hosts : found->second;
  const Hosts& today = class_of_today(service.host_class, members, out);
  if (today.empty() && !service.hosts.empty()) {
    return fail(ErrorCode::refused,
                fmt::format("generation {} runs {} on the host class {}, of which no host is left",
                            then.number, name, service.host_class))
        .hint("deploy the sources of then with an inventory of today instead");
  }
  if (service.hosts == members) {
    service.hosts = today;
    return {};
  }
  const auto now = base.services.find(name);
  Hosts hosts;
  for (const std::string& host : today) {
    const bool joined_since =
        !has(members, host) && now != base.services.end() && has(now->second.hosts, host);
    if (has(service.hosts, host) || joined_since) hosts.push_back(host);
  }
  if (hosts.empty() && !service.hosts.empty()) {
    return fail(ErrorCode::refused,
                fmt::format("generation {} runs {} on {}, of which nothing is left in the host "
                            "class {}",
                            then.number, name, join(service.hosts, ", "), service.host_class))
        .hint("deploy the sources of then with an inventory of today instead");
  }
  service.hosts = std::move(hosts);
  return {};
}

}  // namespace

Result<plan::Generation> Core::rollback_candidate(std::uint64_t number) const {
  const plan::Generation* base = current();
  if (base == nullptr)
    return fail(ErrorCode::not_found, "nothing has been deployed yet")
        .hint("begin with: consort deploy");
  if (number == 0) {
    const auto back = generations_.find(base->rollback_of);
    number = back == generations_.end() ? base->parent : back->second.parent;
  }
  const auto it = generations_.find(number);
  if (it == generations_.end() && number == 0 && base->rollback_of != 0)
    return fail(ErrorCode::not_found,
                fmt::format("generation {} is generation {} again, and there is none before that",
                            base->number, base->rollback_of))
        .hint("name one: consort rollback --to NUMBER; see them with: consort history");
  if (it == generations_.end()) {
    return fail(ErrorCode::not_found,
                number == 0 ? std::string("there is no generation before the current one")
                            : fmt::format("no generation {} to go back to", number))
        .hint("see them with: consort history");
  }
  plan::Generation out = it->second;
  out.rollback_of = number;
  out.statement = 0;
  out.number = 0;
  // The fleet of today, the services of then.
  out.hosts = base->hosts;
  out.classes = base->classes;
  for (auto& [name, service] : out.services)
    TRYV(place_again(name, service, it->second, *base, out));
  // It is sent back by who asks for it, and looked at as any other (plan::check_agreement): what an
  // older controller has stored may not agree with itself.
  plan::derive_classes(out);
  out.policy.batches = {{100, true}};
  out.policy.soak = Duration{0};
  return out;
}

Status Core::control(const std::string& id, Control what, const std::string& by, Instant now,
                     Output& out) {
  const auto it = rollouts_.find(id);
  if (it == rollouts_.end())
    return fail(ErrorCode::not_found, fmt::format("no rollout '{}'", id))
        .hint("see them with: consort rollout list");
  rollout::Rollout& rollout = it->second;
  if (rollout.result != rollout::Result::open)
    return fail(ErrorCode::conflict, fmt::format("rollout {} has ended already: {}", id,
                                                 rollout::result_name(rollout.result)))
        .hint(fmt::format("see what it did: consort rollout show {}", id));
  // Said again: as it is already.
  if (what != Control::abort && rollout.paused == (what == Control::pause)) return {};
  if (what == Control::abort) {
    rollout.abort = true;
    rollout.aborted_by = by;
  }
  if (rollout.paused && what != Control::pause) rollout.resumed = now;
  rollout.paused = what == Control::pause;
  save_head(rollout, out);
  const std::string kind = what == Control::pause    ? "paused"
                           : what == Control::resume ? "resumed"
                                                     : "aborted";
  // Where it is shown, the kind may not be.
  tell(out,
       {0, now, kind, id, "", "", fmt::format("{} by {}", kind, by.empty() ? "an operator" : by)});
  advance(now, out);
  return {};
}

}  // namespace consort::controller
