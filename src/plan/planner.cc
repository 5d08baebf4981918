#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "plan/claims.h"
#include "plan/groups.h"
#include "plan/outages.h"
#include "plan/waves.h"

namespace consort::plan {
namespace {

// Whoever deploys a plan later compares this: what it would do, and by which policy.
Digest fingerprint(const Plan& plan) {
  // In no order: which batch a host is in follows its health, which comes and goes.
  std::vector<std::vector<std::string>> texts;
  for (const Step& step : plan.steps)
    texts.push_back({step.service, step.host, std::string(action_name(step.action)),
                     step.from ? instance_state_to_json(*step.from).dump() : "",
                     step.to ? instance_state_to_json(*step.to).dump() : ""});
  std::sort(texts.begin(), texts.end());
  Json::Array steps;
  for (const std::vector<std::string>& text : texts) steps.push_back(Json::array_of(text));
  Json waves = Json::array();
  for (const Wave& wave : plan.waves) waves.push_back(wave.name);
  Json inputs =
      Json::object({{"steps", steps}, {"waves", waves}, {"policy", policy_to_json(plan.policy)}});
  for (const AccessChange& change : plan.access)
    inputs["access"].push_back(access_change_to_json(change));
  if (!plan.leaving.empty()) inputs["leaving"] = Json::array_of(plan.leaving);
  return Digest::of(inputs.dump());
}

std::vector<AccessChange> changes_of_access(const PlanInput& input) {
  const Generation after = confined(*input.wanted, input.base, input.only, input.except);
  std::vector<AccessChange> out =
      access_changes(input.access_in_doubt ? nullptr : input.base, after);
  if (!input.access_in_doubt || !input.access_left) return out;
  // Nobody knows which ports those rules guard: all that shall be open are opened.
  for (const auto& [name, record] : after.services) {
    for (const auto& [endpoint, value] : record.endpoints) {
      if (value.access != AccessMode::off) continue;
      AccessChange change;
      change.service = name;
      change.endpoint = endpoint;
      change.port = value.port;
      change.before = AccessMode::enforce;
      out.push_back(std::move(change));
    }
  }
  return out;
}

// Who asks for some services only does not deploy a loss of hosts for its own sake.
std::vector<std::string> hosts_that_leave(const PlanInput& input) {
  std::vector<std::string> out;
  if (input.base == nullptr || !input.only.empty() || !input.except.empty()) return out;
  for (const auto& [name, record] : input.base->hosts) {
    if (!input.wanted->hosts.contains(name)) out.push_back(name);
  }
  return out;
}

void add_hosts(Plan& plan, const PlanInput& input) {
  std::set<std::string> unreachable;
  for (const Step& step : plan.steps) {
    const auto host = input.observed->find(step.host);
    if (host == input.observed->end() || !host->second.reachable) unreachable.insert(step.host);
    plan.budgets[step.host] = input.wanted->hosts.at(step.host).classes;
  }
  plan.unreachable.assign(unreachable.begin(), unreachable.end());
  for (const auto& [name, hosts] : input.wanted->classes)
    plan.class_sizes[name] = static_cast<std::int64_t>(hosts.size());
}

std::vector<std::string> sick_instances(const PlanInput& input) {
  std::vector<std::string> out;
  for (const auto& [name, service] : input.wanted->services) {
    if ((!input.only.empty() && !input.only.contains(name)) || input.except.contains(name))
      continue;
    for (const std::string& host : service.hosts) {
      const auto observed = input.observed->find(host);
      if (observed == input.observed->end() || !observed->second.reachable) continue;
      const auto it = observed->second.instances.find(name);
      if (it == observed->second.instances.end() || it->second.health != Health::unhealthy)
        continue;
      const std::string& why = it->second.health_reason;
      out.push_back(fmt::format("{}@{}{}", name, host, why.empty() ? "" : ": " + why));
    }
  }
  return out;
}

}  // namespace

Result<Plan> make_plan(const PlanInput& input) {
  const Generation& wanted = *input.wanted;
  const std::map<std::string, int> levels = TRY(service_levels(wanted.services));
  std::map<std::string, int> base_levels;
  if (input.base != nullptr) {
    // A generation that was deployed has no cycles; one from elsewhere may not be sorted.
    if (auto found = service_levels(input.base->services)) base_levels = std::move(*found);
  }
  TRYV(check_claims(wanted, *input.manifests));
  Difference difference = TRY(find_difference(input));
  const Dependents dependents = running_dependents(input, difference);
  const Outages outages = Outages::find(input, difference, dependents, levels);
  const Groups groups = TRY(Groups::find(input, difference));
  StepsInWaves ordered =
      make_waves({input, difference, dependents, outages, groups, levels, base_levels});

  Plan plan;
  plan.site = wanted.site;
  plan.base = input.base != nullptr ? input.base->number : 0;
  plan.backwards = input.backwards;
  plan.policy = wanted.policy;
  plan.steps = std::move(ordered.steps);
  plan.waves = std::move(ordered.waves);
  plan.outages = outages.all();
  plan.needs = outages.needs(input);
  plan.needs.insert(plan.needs.end(), difference.needs.begin(), difference.needs.end());
  plan.changes = std::move(difference.changes);
  plan.detached = std::move(difference.detached);
  plan.leaving = hosts_that_leave(input);
  plan.kept = std::move(difference.kept);
  plan.access = changes_of_access(input);
  plan.sick = sick_instances(input);
  add_hosts(plan, input);
  plan.inputs = fingerprint(plan);
  return plan;
}

Status check_permitted(const Plan& plan) {
  if (plan.needs.empty()) return {};
  const Need& first = plan.needs.front();
  if (plan.needs.size() == 1) return fail(ErrorCode::refused, first.reason).hint(first.hint);
  std::set<std::string> options;
  bool words_are_enough = true;
  for (const Need& need : plan.needs) {
    if (!need.option.empty()) options.insert(need.option);
    words_are_enough = words_are_enough && !need.option.empty();
  }
  return fail(ErrorCode::refused, fmt::format("{}; and {} more that consort plan shows",
                                              first.reason, plan.needs.size() - 1))
      .hint(words_are_enough ? fmt::format("if all of it is meant, say {}", fmt::join(options, " "))
                             : first.hint);
}

std::set<std::string> Plan::services() const {
  std::set<std::string> out;
  for (const Step& step : steps) out.insert(step.service);
  return out;
}

}  // namespace consort::plan
