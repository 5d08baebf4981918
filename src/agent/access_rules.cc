#include "agent/access_rules.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <map>
#include <set>

#include "base/text.h"

namespace consort::agent {
namespace {

constexpr std::size_t kMostStrangers = 1024;  // remembered per address family
constexpr std::size_t kShown = 8;             // of a difference
constexpr std::string_view kFirstChain = "admit";
constexpr std::string_view kStrangers4 = "strangers_v4";
constexpr std::string_view kStrangers6 = "strangers_v6";

std::string source_set(const plan::Admission& admission, bool v6) {
  std::vector<std::string> elements;
  for (const std::string& source : admission.sources) {
    if ((source.find(':') != std::string::npos) == v6) elements.push_back(source);
  }
  return fmt::format(
      "  set from_{}_v{} {{\n    type ipv{}_addr\n    flags interval\n{}  }}\n", admission.port,
      v6 ? 6 : 4, v6 ? 6 : 4,
      elements.empty() ? "" : fmt::format("    elements = {{ {} }}\n", join(elements, ", ")));
}

std::string port_chain(const plan::Admission& admission) {
  const std::int64_t port = admission.port;
  std::string out = fmt::format(
      "  chain port_{0} {{\n"
      "    ip saddr @from_{0}_v4 return\n"
      "    ip6 saddr @from_{0}_v6 return\n"
      "    update @{1} {{ ip saddr . tcp dport counter }}\n"
      "    update @{2} {{ ip6 saddr . tcp dport counter }}\n",
      port, kStrangers4, kStrangers6);
  out += admission.mode == plan::AccessMode::enforce ? "    counter reject with tcp reset\n"
                                                     : "    counter return\n";
  return out + "  }\n";
}

std::string stranger_set(std::string_view name, std::string_view type) {
  return fmt::format(
      "  set {} {{\n    type {} . inet_service\n    size {}\n    flags dynamic,timeout\n"
      "    timeout 1h\n  }}\n",
      name, type, kMostStrangers);
}

bool is_stranger_set(std::string_view name) { return name == kStrangers4 || name == kStrangers6; }

// Handles and counters change by themselves.
Json without_counts(const Json& json) {
  if (json.is_array()) {
    Json out = Json::array();
    for (const Json& item : json.as_array()) out.push_back(without_counts(item));
    return out;
  }
  if (!json.is_object()) return json;
  Json out = Json::object();
  for (const auto& [key, value] : json.as_object()) {
    if (key == "handle" || key == "packets" || key == "bytes") continue;
    out[key] = without_counts(value);
  }
  return out;
}

const Json::Array& items_of(const Json& listing) {
  static const Json::Array nothing;
  const Json* items = listing.find("nftables");
  return items != nullptr && items->is_array() ? items->as_array() : nothing;
}

const Json::Array& elements_of(const Json& set) {
  static const Json::Array nothing;
  const Json* elements = set.find("elem");
  return elements != nullptr && elements->is_array() ? elements->as_array() : nothing;
}

// Does any member of that name, however deep, hold what is asked for?
bool holds(const Json& json, std::string_view member, const std::function<bool(const Json&)>& is) {
  if (json.is_array()) {
    return std::any_of(json.as_array().begin(), json.as_array().end(),
                       [&](const Json& item) { return holds(item, member, is); });
  }
  if (!json.is_object()) return false;
  return std::any_of(json.as_object().begin(), json.as_object().end(), [&](const auto& item) {
    return (item.first == member && is(item.second)) || holds(item.second, member, is);
  });
}

// What is there of our table, by what it is for.
struct Listed {
  bool at_input = false;
  std::set<std::string> chains;
  std::set<std::string> jumps;                         // chains that the first one leads to
  std::set<std::string> refusing;                      // chains
  std::map<std::string, bool> sets;                    // name → has elements
  std::map<std::string, std::set<std::string>> asked;  // chain → sets that it looks into
};

Listed read_listing(const Json& listing) {
  Listed out;
  for (const Json& item : items_of(listing)) {
    if (const Json* chain = item.find("chain")) {
      out.chains.insert(chain->string_or("name"));
      if (chain->string_or("name") == kFirstChain)
        out.at_input = chain->string_or("hook") == "input";
    } else if (const Json* set = item.find("set")) {
      out.sets[set->string_or("name")] = !elements_of(*set).empty();
    } else if (const Json* rule = item.find("rule")) {
      const std::string place = rule->string_or("chain");
      const Json nothing = Json::array();
      const Json* found = rule->find("expr");
      const Json& what = found == nullptr ? nothing : *found;
      holds(what, "jump", [&](const Json& jump) {
        if (place == kFirstChain) out.jumps.insert(jump.string_or("target"));
        return false;
      });
      holds(what, "right", [&](const Json& right) {
        if (right.is_string()) out.asked[place].insert(right.as_string());
        return false;
      });
      if (holds(what, "reject", [](const Json&) { return true; })) out.refusing.insert(place);
    }
  }
  return out;
}

std::string element_text(const Json& element) {
  if (element.is_string()) return element.as_string();
  if (const Json* prefix = element.find("prefix"))
    return fmt::format("{}/{}", prefix->string_or("addr"), prefix->int_or("len"));
  return element.dump();
}

}  // namespace

std::string access_rules(const plan::Admissions& admissions) {
  // A table that is not there cannot be deleted: it is made first, in the same transaction.
  std::string out = fmt::format("table inet {0}\ndelete table inet {0}\n", kAccessTable);
  if (admissions.empty()) return out;
  out += fmt::format("table inet {} {{\n", kAccessTable);
  out += stranger_set(kStrangers4, "ipv4_addr") + stranger_set(kStrangers6, "ipv6_addr");
  std::vector<std::string> jumps;
  for (const plan::Admission& admission : admissions) {
    out += source_set(admission, false) + source_set(admission, true) + port_chain(admission);
    jumps.push_back(fmt::format("{0} : jump port_{0}", admission.port));
  }
  return out + fmt::format(
                   "  chain {} {{\n"
                   "    type filter hook input priority filter - 10; policy accept;\n"
                   "    iifname \"lo\" return\n"
                   "    tcp flags & (fin | syn | rst | ack) != syn return\n"
                   "    tcp dport vmap {{ {} }}\n"
                   "  }}\n}}\n",
                   kFirstChain, join(jumps, ", "));
}

std::vector<std::string> listed_rules(const Json& listing) {
  std::vector<std::string> out;
  std::map<std::string, int> places;  // the order of rules means something
  for (const Json& item : items_of(listing)) {
    if (!item.is_object() || item.as_object().empty()) continue;
    const auto& [kind, value] = *item.as_object().begin();
    const std::string name = value.string_or("name");
    if (kind == "rule") {
      const std::string chain = value.string_or("chain");
      out.push_back(fmt::format("rule {} of chain {}: {}", ++places[chain], chain,
                                without_counts(value).dump()));
    } else if (kind == "set") {
      Json bare = without_counts(value);
      bare.as_object().erase("elem");
      out.push_back(fmt::format("set {}: {}", name, bare.dump()));
      if (is_stranger_set(name)) continue;
      for (const Json& element : elements_of(value))
        out.push_back(fmt::format("{} in set {}", element_text(element), name));
    } else if (kind == "table" || kind == "chain") {
      out.push_back(fmt::format("{} {}: {}", kind, name, without_counts(value).dump()));
    } else if (kind != "metainfo") {
      out.push_back(fmt::format("{}: {}", kind, without_counts(value).dump()));
    }
  }
  std::sort(out.begin(), out.end());
  return out;
}

std::string missing_rules(const Json& listing, const plan::Admissions& admissions) {
  if (admissions.empty()) return {};
  const Listed there = read_listing(listing);
  if (there.chains.empty() && there.sets.empty()) return "the whole table";
  if (!there.at_input) return fmt::format("the chain {}", kFirstChain);
  for (const plan::Admission& admission : admissions) {
    const std::string chain = fmt::format("port_{}", admission.port);
    if (!there.jumps.contains(chain))
      return fmt::format("the way to {} in the chain {}", chain, kFirstChain);
    if (!there.chains.contains(chain)) return fmt::format("the chain {}", chain);
    if (admission.mode == plan::AccessMode::enforce && !there.refusing.contains(chain))
      return fmt::format("the refusal in the chain {}", chain);
    for (const bool v6 : {false, true}) {
      const std::string name = fmt::format("from_{}_v{}", admission.port, v6 ? 6 : 4);
      const bool some =
          std::any_of(admission.sources.begin(), admission.sources.end(),
                      [&](const auto& source) { return (source.find(':') != source.npos) == v6; });
      const auto set = there.sets.find(name);
      const auto asked = there.asked.find(chain);
      if (set == there.sets.end() || asked == there.asked.end() ||
          !asked->second.contains("@" + name))
        return fmt::format("the set {}", name);
      if (some && !set->second) return fmt::format("the addresses of the set {}", name);
    }
  }
  return {};
}

std::string rules_difference(const std::vector<std::string>& wanted,
                             const std::vector<std::string>& now) {
  if (now.empty() && !wanted.empty()) return "the whole table was gone";
  const auto list = [](const std::vector<std::string>& all, const std::vector<std::string>& some) {
    std::vector<std::string> out;
    std::set_difference(all.begin(), all.end(), some.begin(), some.end(), std::back_inserter(out));
    std::string text;
    for (std::size_t i = 0; i < std::min(out.size(), kShown); ++i)
      text += (i == 0 ? "" : ", ") + out[i].substr(0, out[i].find(": {"));
    if (out.size() > kShown) text += fmt::format(" and {} more", out.size() - kShown);
    return text;
  };
  const std::string missing = list(wanted, now);
  const std::string added = list(now, wanted);
  std::string out = missing.empty() ? "" : "missing: " + missing;
  if (!added.empty()) out += (out.empty() ? "" : "; ") + ("not ours: " + added);
  return out;
}

bool is_full_of_strangers(const Json& listing) {
  return std::any_of(items_of(listing).begin(), items_of(listing).end(), [](const Json& item) {
    const Json* set = item.find("set");
    return set != nullptr && is_stranger_set(set->string_or("name")) &&
           elements_of(*set).size() >= kMostStrangers;
  });
}

std::vector<Stranger> listed_strangers(const Json& listing) {
  std::vector<Stranger> out;
  for (const Json& item : items_of(listing)) {
    const Json* set = item.find("set");
    if (set == nullptr || !is_stranger_set(set->string_or("name"))) continue;
    for (const Json& entry : elements_of(*set)) {
      // { elem: { val: { concat: [address, port] }, expires, counter: { packets, bytes } } }
      const Json* element = entry.find("elem");
      const Json* value = element == nullptr ? nullptr : element->find("val");
      const Json* pair = value == nullptr ? nullptr : value->find("concat");
      if (pair == nullptr || !pair->is_array() || pair->as_array().size() != 2) continue;
      const Json& address = pair->as_array()[0];
      const Json& port = pair->as_array()[1];
      if (!address.is_string() || !port.is_int()) continue;
      const Json* counter = element->find("counter");
      out.push_back({address.as_string(), port.as_int(),
                     counter == nullptr ? 0 : counter->int_or("packets")});
    }
  }
  return out;
}

}  // namespace consort::agent
