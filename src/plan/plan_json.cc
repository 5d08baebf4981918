// The plan as JSON: what the API carries, the store keeps and `plan --json` prints.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "base/json_reader.h"
#include "plan/plan.h"

namespace consort::plan {
namespace {

constexpr std::array<std::string_view, 10> kActions = {
    "install", "upgrade", "reconfigure", "restart", "move",
    "remove",  "drain",   "stop",        "resume",  "duty"};

Json optional_state(const std::optional<InstanceState>& state) {
  return state ? instance_state_to_json(*state) : Json();
}

}  // namespace

Json step_to_json(const Step& step) {
  Json::Array needs;
  for (const NeededService& need : step.needs)
    needs.push_back(Json::object({{"service", need.service}, {"quorum", need.quorum}}));
  return Json::object({{"id", step.id},
                       {"action", action_name(step.action)},
                       {"service", step.service},
                       {"host", step.host},
                       {"from", optional_state(step.from)},
                       {"to", optional_state(step.to)},
                       {"duty", step.duty ? duty_to_json(*step.duty) : Json()},
                       {"reason", step.reason},
                       {"disrupts", step.disrupts},
                       {"needs", needs},
                       {"keepHealthy", step.keep_healthy}});
}

Result<Step> step_from_json(const Json& json, int id) {
  const std::string path = fmt::format("plan.steps[{}]", id);
  JsonReader reader(json, path);
  Step step;
  step.id = static_cast<int>(reader.integer("id", std::nullopt, id, id));
  const std::string action = reader.string("action");
  const auto it = std::find(kActions.begin(), kActions.end(), action);
  if (it == kActions.end())
    return fail(ErrorCode::invalid_input, fmt::format("{}: unknown action '{}'", path, action));
  step.action = static_cast<Action>(it - kActions.begin());
  step.service = reader.string("service");
  step.host = reader.string("host");
  if (const Json* from = reader.any("from"))
    step.from = TRY(instance_state_from_json(*from, path + ".from"));
  if (const Json* to = reader.any("to")) step.to = TRY(instance_state_from_json(*to, path + ".to"));
  if (const Json* duty = reader.any("duty")) step.duty = TRY(duty_from_json(*duty, path + ".duty"));
  step.reason = reader.string("reason", "");
  step.disrupts = reader.boolean("disrupts", false);
  for (const Json& need : reader.array("needs"))
    step.needs.push_back({need.string_or("service"), need.int_or("quorum", 1)});
  step.keep_healthy = reader.integer("keepHealthy", 0, 0);
  TRYV(reader.finish(UnknownMembers::ignore));
  return step;
}

Json wave_to_json(const Wave& wave) {
  return Json::object({{"name", wave.name},
                       {"steps", Json::array_of(wave.steps)},
                       {"soak", format_duration(wave.soak)}});
}

Result<Wave> wave_from_json(const Json& json, std::size_t step_count, const std::string& path) {
  Wave wave;
  wave.name = json.string_or("name");
  wave.soak = TRY(parse_duration(json.string_or("soak", "0s")));
  const Json* steps = json.find("steps");
  if (steps == nullptr || !steps->is_array()) return wave;
  for (const Json& id : steps->as_array()) {
    if (!id.is_int() || id.as_int() < 0 || std::cmp_greater_equal(id.as_int(), step_count))
      return fail(ErrorCode::invalid_input, fmt::format("{}: no step {}", path, id.dump()));
    wave.steps.push_back(static_cast<int>(id.as_int()));
  }
  return wave;
}

std::string_view action_name(Action action) {
  return kActions.at(static_cast<std::size_t>(action));
}

std::string plan_totals(const Plan& plan) {
  std::map<std::string, int> counts;
  for (const Step& step : plan.steps) ++counts[std::string(action_name(step.action))];
  std::string out;
  const auto add = [&](std::string text) { out += (out.empty() ? "" : ", ") + std::move(text); };
  for (const std::string_view action : kActions) {
    const auto it = counts.find(std::string(action));
    if (it != counts.end())
      add(fmt::format("{} to {}", it->second,
                      action == "duty" ? "run once per service" : std::string(action)));
  }
  int kept = 0;
  for (const auto& [service, count] : plan.kept) kept += count;
  if (plan.empty()) add("nothing to do");
  if (!plan.access.empty())
    add(fmt::format("{} change{} of access", plan.access.size(),
                    plan.access.size() == 1 ? "" : "s"));
  if (!plan.leaving.empty())
    add(fmt::format("{} host{} the inventory", plan.leaving.size(),
                    plan.leaving.size() == 1 ? " leaves" : "s leave"));
  add(fmt::format("{} kept", kept));
  if (!plan.detached.empty()) add(fmt::format("{} detached", plan.detached.size()));
  if (!plan.waves.empty())
    out += fmt::format("; {} wave{}", plan.waves.size(), plan.waves.size() == 1 ? "" : "s");
  if (!plan.outages.empty())
    out += fmt::format("; {} joint outage{}", plan.outages.size(),
                       plan.outages.size() == 1 ? "" : "s");
  return out;
}

Json plan_to_json(const Plan& plan) {
  Json::Array steps, waves, outages, needs, changes;
  for (const Step& step : plan.steps) steps.push_back(step_to_json(step));
  for (const Wave& wave : plan.waves) waves.push_back(wave_to_json(wave));
  for (const JointOutage& outage : plan.outages) {
    outages.push_back(Json::object({{"provider", outage.provider},
                                    {"dependents", Json::array_of(outage.dependents)},
                                    {"affected", Json::array_of(outage.affected)},
                                    {"reason", outage.reason},
                                    {"needsPermission", outage.needs_permission}}));
  }
  for (const Need& need : plan.needs)
    needs.push_back(Json::object({{"option", need.option.empty() ? Json() : Json(need.option)},
                                  {"reason", need.reason},
                                  {"hint", need.hint}}));
  for (const Change& change : plan.changes) {
    changes.push_back(
        Json::object({{"service", change.service}, {"path", change.path}, {"diff", change.diff}}));
  }
  Json::Array access;
  for (const AccessChange& change : plan.access) access.push_back(access_change_to_json(change));
  Json::Object kept, budgets, sizes;
  for (const auto& [service, count] : plan.kept) kept.emplace(service, count);
  for (const auto& [host, names] : plan.budgets) budgets.emplace(host, Json::array_of(names));
  for (const auto& [name, size] : plan.class_sizes) sizes.emplace(name, size);
  return Json::object({{"site", plan.site},
                       {"base", plan.base},
                       {"inputs", plan.inputs.str()},
                       {"backwards", plan.backwards},
                       {"steps", steps},
                       {"waves", waves},
                       {"outages", outages},
                       {"needs", needs},
                       {"changes", changes},
                       {"access", access},
                       {"detached", Json::array_of(plan.detached)},
                       {"leaving", Json::array_of(plan.leaving)},
                       {"unreachable", Json::array_of(plan.unreachable)},
                       {"sick", Json::array_of(plan.sick)},
                       {"kept", kept},
                       {"policy", policy_to_json(plan.policy)},
                       {"budgets", budgets},
                       {"classSizes", sizes},
                       {"totals", plan_totals(plan)}});
}

Result<Plan> plan_from_json(const Json& json) {
  JsonReader reader(json, "plan");
  Plan plan;
  plan.site = reader.string("site");
  plan.base = static_cast<std::uint64_t>(reader.integer("base", 0, 0));
  plan.inputs = TRY(Digest::parse(reader.string("inputs")));
  plan.backwards = reader.boolean("backwards", false);
  for (const Json& item : reader.array("steps"))
    plan.steps.push_back(TRY(step_from_json(item, static_cast<int>(plan.steps.size()))));
  for (const Json& item : reader.array("waves"))
    plan.waves.push_back(TRY(wave_from_json(item, plan.steps.size(), "plan.waves")));
  const auto strings = [](const Json* array) {
    std::vector<std::string> out;
    if (array != nullptr && array->is_array()) {
      for (const Json& item : array->as_array()) {
        if (item.is_string()) out.push_back(item.as_string());
      }
    }
    return out;
  };
  for (const Json& item : reader.array("outages")) {
    plan.outages.push_back({item.string_or("provider"), strings(item.find("dependents")),
                            strings(item.find("affected")), item.string_or("reason"),
                            item.bool_or("needsPermission", true)});
  }
  for (const Json& item : reader.array("needs"))
    plan.needs.push_back(
        {item.string_or("option"), item.string_or("reason"), item.string_or("hint")});
  for (const Json& item : reader.array("changes"))
    plan.changes.push_back(
        {item.string_or("service"), item.string_or("path"), item.string_or("diff")});
  for (const Json& item : reader.array("access"))
    plan.access.push_back(TRY(access_change_from_json(item, "plan.access")));
  plan.detached = reader.strings("detached");
  plan.leaving = reader.strings("leaving");
  plan.unreachable = reader.strings("unreachable");
  plan.sick = reader.strings("sick");
  for (const auto& [service, count] : reader.object("kept"))
    plan.kept[service] = static_cast<int>(count.is_int() ? count.as_int() : 0);
  if (const Json* policy = reader.any("policy"))
    plan.policy = TRY(policy_from_json(*policy, "plan.policy"));
  for (const auto& [host, names] : reader.object("budgets")) plan.budgets[host] = strings(&names);
  for (const auto& [name, size] : reader.object("classSizes"))
    plan.class_sizes[name] = size.is_int() ? size.as_int() : 0;
  TRYV(reader.finish(UnknownMembers::ignore));
  return plan;
}

}  // namespace consort::plan
