#include "budget/budget.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/json_reader.h"

namespace consort::budget {
namespace {

std::string describe_holders(const Budget& budget) {
  std::string out;
  for (const auto& [host, reasons] : budget.holders) {
    for (const auto& [name, reason] : reasons) {
      if (!out.empty()) out += ", ";
      out += fmt::format("{} ({} since {})", host, name, format_instant(reason.since));
    }
  }
  return out.empty() ? "nobody" : out;
}

using Reasons = std::map<std::string, Reason>;

bool pays(const Reasons& reasons) {
  return std::any_of(reasons.begin(), reasons.end(),
                     [](const auto& item) { return !item.second.costs_nothing; });
}

bool in_own_outage(const Budget& budget, const std::string& reason, const std::string& host) {
  return budget.joint && budget.joint->reason == reason && budget.joint->hosts.contains(host);
}

// What is left for the claim. The hosts of its own outage are away as declared: it must not wait
// for itself. For a host that is away already, other sick hosts leave as much as before; those that
// do not answer have nothing left that works.
std::int64_t left_for(const Claim& claim, const Budget& budget, const Census& census) {
  const bool is_away = budget.holders.contains(claim.host) ||
                       census.unhealthy.contains(claim.host) ||
                       in_own_outage(budget, claim.reason, claim.host);
  const std::set<std::string>& away = is_away ? census.unreachable : census.unhealthy;
  const auto others = std::count_if(away.begin(), away.end(), [&](const std::string& host) {
    return host != claim.host && !budget.holders.contains(host) &&
           !in_own_outage(budget, claim.reason, host);
  });
  const auto held =
      is_away ? paying_holders(budget) : static_cast<std::int64_t>(budget.holders.size());
  return amount_of(budget.slots, census.hosts) - held - others;
}

// Why this host may not have a slot of this budget, or "".
std::string refusal(const std::string& name, const Budget& budget, const Census& census,
                    const Claim& claim) {
  if (claim.in_outage && in_own_outage(budget, claim.reason, claim.host)) return "";
  // Who holds it as a whole may take ordinary slots besides.
  if (budget.joint && budget.joint->reason != claim.reason)
    return fmt::format("budget {} is held as a whole by {} since {} ({})", name,
                       budget.joint->reason, format_instant(budget.joint->data.since),
                       budget.joint->data.text);
  const auto held = budget.holders.find(claim.host);
  if (claim.costs_nothing || (held != budget.holders.end() && pays(held->second))) return "";
  if (budget.paused) return fmt::format("budget {} is paused", name);
  if (left_for(claim, budget, census) > 0) return "";
  std::string down;
  for (const std::string& sick : census.unhealthy) {
    if (!budget.holders.contains(sick)) down += (down.empty() ? "" : ", ") + sick;
  }
  return fmt::format("budget {} is used up ({} of {} hosts may be away): held by {}{}", name,
                     amount_of(budget.slots, census.hosts), census.hosts, describe_holders(budget),
                     down.empty() ? "" : "; not healthy: " + down);
}

Json joint_to_json(const std::optional<Joint>& joint) {
  if (!joint) return {};
  return Json::object({{"reason", joint->reason},
                       {"since", format_instant(joint->data.since)},
                       {"text", joint->data.text},
                       {"hosts", Json::array_of(joint->hosts)}});
}

const Census& census_of(const Censuses& censuses, const std::string& name) {
  static const Census none;
  const auto it = censuses.find(name);
  return it == censuses.end() ? none : it->second;
}

}  // namespace

Result<Amount> amount_from_json(const Json& json, const std::string& path) {
  const auto bad = [&](std::string_view what) {
    return fail(ErrorCode::invalid_input,
                fmt::format("{}: {} is not a number of hosts or a percentage", path, what))
        .hint("write 2 or '30%'");
  };
  if (json.is_int()) {
    if (json.as_int() < 0 || json.as_int() > 1'000'000) return bad(json.dump());
    return Amount{json.as_int(), false};
  }
  if (!json.is_string() || json.as_string().empty() || json.as_string().size() > 8)
    return bad(json.dump().substr(0, 60));
  std::string_view text = json.as_string();
  Amount out;
  out.value = 0;
  if (text.back() == '%') {
    out.percent = true;
    text.remove_suffix(1);
  }
  if (text.empty()) return bad(json.dump());
  for (const char c : text) {
    if (c < '0' || c > '9') return bad(json.dump());
    out.value = out.value * 10 + (c - '0');
  }
  if (out.value > (out.percent ? 100 : 1'000'000)) return bad(json.dump());
  return out;
}

Json amount_to_json(const Amount& amount) {
  if (amount.percent) return fmt::format("{}%", amount.value);
  return amount.value;
}

std::int64_t amount_of(const Amount& amount, std::int64_t total) {
  if (!amount.percent) return amount.value;
  if (amount.value == 0) return 0;
  return std::max<std::int64_t>(1, total * amount.value / 100);
}

Amount default_max_unavailable(std::int64_t hosts) {
  return hosts <= 10 ? Amount{1, false} : Amount{10, true};
}

std::int64_t paying_holders(const Budget& budget) {
  return std::count_if(budget.holders.begin(), budget.holders.end(),
                       [](const auto& item) { return pays(item.second); });
}

Grant acquire(Budgets& budgets, const std::vector<std::string>& names, const Censuses& censuses,
              const Claim& claim, Instant now) {
  std::vector<Budget*> wanted;
  for (const std::string& name : names) {
    const Census& census = census_of(censuses, name);
    auto [it, made] = budgets.try_emplace(name);
    if (made) it->second.slots = default_max_unavailable(census.hosts);
    const std::string why = refusal(name, it->second, census, claim);
    if (!why.empty()) return {false, why};
    wanted.push_back(&it->second);
  }
  for (Budget* budget : wanted) {
    if (claim.in_outage && in_own_outage(*budget, claim.reason, claim.host)) continue;
    const auto [it, fresh] = budget->holders[claim.host].try_emplace(
        claim.reason, Reason{now, claim.text, claim.costs_nothing});
    if (!fresh && !claim.costs_nothing) it->second.costs_nothing = false;
  }
  return {true, ""};
}

Grant acquire_jointly(Budgets& budgets,
                      const std::map<std::string, std::vector<std::string>>& names_by_host,
                      const Censuses& censuses, const std::string& reason, const std::string& text,
                      Instant now) {
  std::map<std::string, std::set<std::string>> hosts_by_name;
  for (const auto& [host, names] : names_by_host) {
    for (const std::string& name : names) hosts_by_name[name].insert(host);
  }
  for (const auto& [name, hosts] : hosts_by_name) {
    auto [it, made] = budgets.try_emplace(name);
    Budget& budget = it->second;
    if (made) budget.slots = default_max_unavailable(census_of(censuses, name).hosts);
    if (budget.paused) return {false, fmt::format("budget {} is paused", name)};
    if (budget.joint && budget.joint->reason != reason)
      return {false, fmt::format("budget {} is held as a whole by {}", name, budget.joint->reason)};
    for (const auto& [host, reasons] : budget.holders) {
      if (reasons.size() > 1 || !reasons.contains(reason))
        return {false, fmt::format("a joint outage needs budget {} as a whole; held by {}", name,
                                   describe_holders(budget))};
    }
  }
  for (const auto& [name, hosts] : hosts_by_name) {
    Budget& budget = budgets.at(name);
    if (!budget.joint) budget.joint = Joint{reason, {now, text}, {}};
    budget.joint->hosts.insert(hosts.begin(), hosts.end());
  }
  return {true, ""};
}

bool release_joint(Budgets& budgets, const std::string& host, const std::string& reason) {
  bool changed = false;
  for (auto& [name, budget] : budgets) {
    if (!budget.joint || budget.joint->reason != reason || budget.joint->hosts.erase(host) == 0)
      continue;
    changed = true;
    if (budget.joint->hosts.empty()) budget.joint.reset();
  }
  return changed;
}

bool release(Budgets& budgets, const std::string& host, const std::string& reason) {
  bool changed = false;
  for (auto& [name, budget] : budgets) {
    const auto holder = budget.holders.find(host);
    if (holder == budget.holders.end() || holder->second.erase(reason) == 0) continue;
    changed = true;
    if (holder->second.empty()) budget.holders.erase(holder);
  }
  return changed;
}

bool forget_host(Budgets& budgets, const std::string& host) {
  bool changed = false;
  for (auto& [name, budget] : budgets) {
    changed = budget.holders.erase(host) > 0 || changed;
    if (!budget.joint || budget.joint->hosts.erase(host) == 0) continue;
    changed = true;
    if (budget.joint->hosts.empty()) budget.joint.reset();
  }
  return changed;
}

bool release_all(Budgets& budgets, const std::string& reason,
                 const std::set<std::string>& besides) {
  std::set<std::string> hosts;
  for (const auto& [name, budget] : budgets) {
    for (const auto& [host, reasons] : budget.holders) {
      if (!besides.contains(host)) hosts.insert(host);
    }
  }
  bool changed = false;
  for (const std::string& host : hosts) changed = release(budgets, host, reason) || changed;
  for (auto& [name, budget] : budgets) {
    if (!budget.joint || budget.joint->reason != reason) continue;
    budget.joint.reset();
    changed = true;
  }
  return changed;
}

bool hold_for(Budgets& budgets, const std::string& host, const std::string& held,
              const std::string& reason, const std::string& text) {
  bool changed = false;
  for (auto& [name, budget] : budgets) {
    const auto holder = budget.holders.find(host);
    if (holder == budget.holders.end()) continue;
    const auto found = holder->second.find(held);
    if (found == holder->second.end()) continue;
    Reason data = found->second;
    data.text = text;
    changed = holder->second.try_emplace(reason, std::move(data)).second || changed;
  }
  return changed;
}

std::set<std::string> reasons(const Budgets& budgets) {
  std::set<std::string> out;
  for (const auto& [name, budget] : budgets) {
    if (budget.joint) out.insert(budget.joint->reason);
    for (const auto& [host, held] : budget.holders) {
      for (const auto& [reason, data] : held) out.insert(reason);
    }
  }
  return out;
}

Json budgets_to_json(const Budgets& budgets) {
  Json::Object out;
  for (const auto& [name, budget] : budgets) {
    Json::Object holders;
    for (const auto& [host, reasons] : budget.holders) {
      Json::Object list;
      for (const auto& [reason, data] : reasons)
        list.emplace(reason, Json::object({{"since", format_instant(data.since)},
                                           {"text", data.text},
                                           {"costsNothing", data.costs_nothing}}));
      holders.emplace(host, std::move(list));
    }
    out.emplace(name, Json::object({{"slots", amount_to_json(budget.slots)},
                                    {"paused", budget.paused},
                                    {"joint", joint_to_json(budget.joint)},
                                    {"holders", std::move(holders)}}));
  }
  return out;
}

Result<Budgets> budgets_from_json(const Json& json) {
  Budgets out;
  if (!json.is_object()) return fail(ErrorCode::invalid_input, "budgets: expected an object");
  for (const auto& [name, item] : json.as_object()) {
    JsonReader reader(item, "budgets." + name);
    Budget budget;
    if (const Json* slots = reader.any("slots"))
      budget.slots = TRY(amount_from_json(*slots, reader.path_of("slots")));
    budget.paused = reader.boolean("paused", false);
    if (const Json* joint = reader.any("joint")) {
      JsonReader inner(*joint, reader.path_of("joint"));
      budget.joint = Joint{inner.string("reason"),
                           {TRY(parse_instant(inner.string("since"))), inner.string("text", "")},
                           {}};
      for (std::string& host : inner.strings("hosts")) budget.joint->hosts.insert(std::move(host));
      TRYV(inner.finish(UnknownMembers::ignore));
    }
    for (const auto& [host, reasons] : reader.object("holders")) {
      if (!reasons.is_object()) continue;
      for (const auto& [reason, data] : reasons.as_object()) {
        budget.holders[host][reason] = {TRY(parse_instant(data.string_or("since"))),
                                        data.string_or("text"), data.bool_or("costsNothing")};
      }
    }
    TRYV(reader.finish(UnknownMembers::ignore));
    out.emplace(name, std::move(budget));
  }
  return out;
}

}  // namespace consort::budget
