// Planning, deploying, rolling back: the operators' half of the core.
#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "controller/core.h"

namespace consort::controller {

// What holds when this rollout has succeeded: what its steps change, and of the other services what
// the candidate says (they run it already: that is why they have no steps), unless another rollout
// has changed them meanwhile. The candidate is confined to what was asked for.
plan::Generation Core::merged(const plan::Generation& candidate,
                              const rollout::Rollout& rollout) const {
  plan::Generation out = candidate;
  const plan::Generation* base = current();
  if (base == nullptr) return out;
  std::set<std::string> changed;
  for (const plan::Step& step : rollout.forward.steps) changed.insert(step.service);
  const auto then = generations_.find(rollout.plan.base);
  const auto before = [&](const std::string& name) -> const plan::ServiceRecord* {
    if (then == generations_.end()) return nullptr;
    const auto it = then->second.services.find(name);
    return it == then->second.services.end() ? nullptr : &it->second;
  };
  std::set<std::string> names;
  for (const auto* services : {&candidate.services, &base->services}) {
    for (const auto& [name, record] : *services) names.insert(name);
  }
  for (const std::string& name : names) {
    const auto now = base->services.find(name);
    const plan::ServiceRecord* old = before(name);
    const bool same =
        now == base->services.end() ? old == nullptr : old != nullptr && *old == now->second;
    if (same || changed.contains(name)) continue;
    if (now == base->services.end()) {
      out.services.erase(name);
    } else {
      out.services.insert_or_assign(name, now->second);
    }
  }
  for (const auto& [name, service] : out.services) {
    for (const std::string& host : service.hosts) {
      if (const auto it = base->hosts.find(host); it != base->hosts.end())
        out.hosts.try_emplace(host, it->second);
    }
  }
  return out;
}

Result<plan::Plan> Core::make_plan(const DeployRequest& request) const {
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
  input.access_in_doubt = access_in_doubt_;
  input.access_left = ports_are_guarded();
  TRYV(check_access(plan::confined(request.candidate, current(), request.only, request.except)));
  return plan::make_plan(input);
}

Result<plan::Plan> Core::plan(const DeployRequest& request) const {
  TRYV(check_shrink(request));
  return make_plan(request);
}

// A class that loses more than a tenth of its hosts at once has most likely lost its inventory.
Status Core::check_shrink(const DeployRequest& request) const {
  const plan::Generation* base = current();
  if (base == nullptr || request.allow_shrink) return {};
  for (const auto& [name, before] : base->classes) {
    const auto after = request.candidate.classes.find(name);
    if (after == request.candidate.classes.end() || before.empty()) continue;
    std::vector<std::string> gone;
    std::set_difference(before.begin(), before.end(), after->second.begin(), after->second.end(),
                        std::back_inserter(gone));
    if (gone.size() * 10 <= before.size() || after->second.size() >= before.size()) continue;
    return fail(ErrorCode::refused,
                fmt::format("host class {} shrinks from {} to {} hosts (gone: {})", name,
                            before.size(), after->second.size(), join(gone, ", ")))
        .hint(
            "if that is meant, say --allow-shrink; the hosts that are gone keep what they run "
            "until `consort host remove`");
  }
  return {};
}

Status Core::check_locks(const std::set<std::string>& services) const {
  for (const auto& [id, rollout] : rollouts_) {
    if (rollout.result != rollout::Result::open) continue;
    for (const plan::Step& step : rollout.forward.steps) {
      if (!services.contains(step.service)) continue;
      return fail(ErrorCode::locked,
                  fmt::format("service {} is being changed by rollout {} of {}, since {}{}",
                              step.service, id, rollout.by.empty() ? "somebody" : rollout.by,
                              format_instant(rollout.started),
                              rollout.message.empty() ? "" : " (" + rollout.message + ")"))
          .hint(fmt::format(
              "watch it: consort status; wait for it: --wait; stop it: consort rollout abort {}",
              id));
    }
  }
  return {};
}

void Core::size_budgets(const plan::Generation& generation) {
  for (const auto& [name, hosts] : generation.classes) {
    budgets_[name].slots = generation.policy.max_unavailable.value_or(
        budget::default_max_unavailable(static_cast<std::int64_t>(hosts.size())));
  }
}

// Hosts that are away take slots. Where they take all, the rollout would wait for their return.
Status Core::check_slots(const plan::Plan& plan) const {
  const std::set<std::string> away(plan.unreachable.begin(), plan.unreachable.end());
  if (away.empty()) return {};
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
      return fail(ErrorCode::refused,
                  fmt::format("{} of the {} hosts of {} may be away, and {} cannot be reached: {} "
                              "would wait for its return; nothing was changed",
                              slots, size->second, name, join(down, ", "), step.host))
          .hint("bring it back, take it out of the inventory, or raise policy.maxUnavailable");
    }
  }
  return {};
}

Result<std::string> Core::deploy(const DeployRequest& request, Instant now, Output& out) {
  TRYV(check_shrink(request));
  plan::Plan plan = TRY(make_plan(request));
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
  if (plan.empty()) return std::string();
  TRYV(check_locks(plan.services()));
  std::set<std::string> hosts;
  for (const plan::Step& step : plan.steps) hosts.insert(step.host);
  const std::int64_t allowed =
      budget::amount_of(plan.policy.max_failures, static_cast<std::int64_t>(hosts.size()));
  if (static_cast<std::int64_t>(plan.unreachable.size()) > allowed) {
    return fail(ErrorCode::refused,
                fmt::format("{} of the {} hosts that change cannot be reached ({}), and "
                            "maxFailures allows {}; nothing was changed",
                            plan.unreachable.size(), hosts.size(), join(plan.unreachable, ", "),
                            allowed))
        .hint("bring them back, take them out of the inventory, or raise policy.maxFailures");
  }
  TRYV(check_slots(plan));
  // Attempts are named after it: a host must not remember the name from a life of the store that
  // was lost, and no two lives share an epoch.
  const std::string id = fmt::format("r{:06}{}", next_rollout_++,
                                     epoch_ > 1 ? fmt::format(".e{}", epoch_) : std::string());
  plan::Generation candidate =
      plan::confined(request.candidate, current(), request.only, request.except);
  size_budgets(candidate);
  out.writes["budgets"] = budget::budgets_to_json(budgets_).dump();
  out.writes["candidates/" + id] = plan::generation_to_json(candidate).dump();
  candidates_.emplace(id, std::move(candidate));
  auto [it, made] = rollouts_.emplace(
      id, rollout::begin(id, std::move(plan), current_, request.by, request.message, now));
  save_plan(it->second, out);
  trust_access(out);
  hold_for_admission(id, refresh_access(out), now);
  tell(out, {0, now, "rollout", id, "", "",
             fmt::format("started by {}", request.by.empty() ? "somebody" : request.by)});
  advance(now, out);
  return id;
}

namespace {

using Hosts = std::vector<std::string>;

bool has(const Hosts& hosts, const std::string& host) {
  return std::binary_search(hosts.begin(), hosts.end(), host);
}

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
  if (number == 0)
    number = base->rollback_of != 0 ? generations_.at(base->rollback_of).parent : base->parent;
  const auto it = generations_.find(number);
  if (it == generations_.end()) {
    return fail(ErrorCode::not_found,
                number == 0 ? std::string("there is no generation before the current one")
                            : fmt::format("no generation {} to go back to", number))
        .hint("see them with: consort history");
  }
  plan::Generation out = it->second;
  out.rollback_of = number;
  out.number = 0;
  // The fleet of today, the services of then.
  out.hosts = base->hosts;
  out.classes = base->classes;
  for (auto& [name, service] : out.services)
    TRYV(place_again(name, service, it->second, *base, out));
  out.policy.batches = {{100, true}};
  out.policy.soak = Duration{0};
  return out;
}

Status Core::control(const std::string& id, Control what, Instant now, Output& out) {
  const auto it = rollouts_.find(id);
  if (it == rollouts_.end())
    return fail(ErrorCode::not_found, fmt::format("no rollout '{}'", id))
        .hint("see them with: consort history");
  rollout::Rollout& rollout = it->second;
  if (rollout.result != rollout::Result::open)
    return fail(ErrorCode::conflict, fmt::format("rollout {} has ended already: {}", id,
                                                 rollout::result_name(rollout.result)));
  if (what == Control::abort) rollout.abort = true;
  if (rollout.paused && what != Control::pause) rollout.resumed = now;
  rollout.paused = what == Control::pause;
  save_head(rollout, out);
  tell(out, {0, now,
             what == Control::pause    ? "paused"
             : what == Control::resume ? "resumed"
                                       : "aborted",
             id, "", "", "by the operator"});
  advance(now, out);
  return {};
}

}  // namespace consort::controller
