#include "plan/generation.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <functional>
#include <set>

#include "base/address_range.h"
#include "base/json_reader.h"
#include "base/text.h"

namespace consort::plan {
namespace {

constexpr std::array<std::string_view, 3> kEdgeKinds = {"needs", "uses", "after"};

Json labels_to_json(const std::map<std::string, std::string>& labels) {
  Json::Object out;
  for (const auto& [key, value] : labels) out.emplace(key, value);
  return out;
}

Result<EndpointRecord> endpoint_from_json(const Json& json, const std::string& path) {
  JsonReader reader(json, path);
  EndpointRecord out;
  out.port = reader.integer("port", std::nullopt, 1, 65535);
  const std::string access = reader.string("access", "off");
  const std::vector<std::string> also = reader.strings("also");
  TRYV(reader.finish(UnknownMembers::ignore));
  out.access = TRY(access_mode_from_name(access));
  for (const std::string& text : also) out.also.push_back(TRY(AddressRange::parse(text)).str());
  return out;
}

Json endpoints_to_json(const std::map<std::string, EndpointRecord>& endpoints) {
  Json::Object out;
  for (const auto& [name, endpoint] : endpoints) {
    out.emplace(name, Json::object({{"port", endpoint.port},
                                    {"access", access_mode_name(endpoint.access)},
                                    {"also", Json::array_of(endpoint.also)}}));
  }
  return out;
}

Result<ServiceRecord> service_from_json(const Json& json, const std::string& path) {
  JsonReader reader(json, path);
  ServiceRecord out;
  out.host_class = reader.string("hostClass");
  out.manifest = TRY(Digest::parse(reader.string("manifest")));
  out.version = reader.string("version", "");
  out.hosts = reader.strings("hosts");
  out.purpose = reader.string("purpose", "");
  out.owner = reader.string("owner", "");
  out.host_values = reader.strings("hostValues");
  for (const Json& item : reader.array("edges")) {
    JsonReader edge(item, path + ".edges");
    Edge e;
    const std::string kind = edge.string("kind");
    const auto it = std::find(kEdgeKinds.begin(), kEdgeKinds.end(), kind);
    if (it == kEdgeKinds.end())
      return fail(ErrorCode::invalid_input, fmt::format("{}.edges: unknown kind '{}'", path, kind));
    e.kind = static_cast<Edge::Kind>(it - kEdgeKinds.begin());
    e.name = edge.string("name", "");
    e.service = edge.string("service");
    e.endpoint = edge.string("endpoint", "");
    e.quorum = edge.integer("quorum", 0, 0, 1'000'000);
    TRYV(edge.finish(UnknownMembers::ignore));
    out.edges.push_back(std::move(e));
  }
  for (const auto& [name, endpoint] : reader.object("endpoints"))
    out.endpoints.emplace(
        name, TRY(endpoint_from_json(endpoint, fmt::format("{}.endpoints.{}", path, name))));
  TRYV(reader.finish(UnknownMembers::ignore));
  return out;
}

Json service_to_json(const ServiceRecord& service) {
  Json::Array edges;
  for (const Edge& edge : service.edges) {
    edges.push_back(Json::object({{"kind", kEdgeKinds.at(static_cast<std::size_t>(edge.kind))},
                                  {"name", edge.name},
                                  {"service", edge.service},
                                  {"endpoint", edge.endpoint},
                                  {"quorum", edge.quorum}}));
  }
  return Json::object({{"hostClass", service.host_class},
                       {"manifest", service.manifest.str()},
                       {"version", service.version},
                       {"hosts", Json::array_of(service.hosts)},
                       {"edges", edges},
                       {"purpose", service.purpose},
                       {"owner", service.owner},
                       {"hostValues", Json::array_of(service.host_values)},
                       {"endpoints", endpoints_to_json(service.endpoints)}});
}

}  // namespace

InstanceState wanted_state(const Generation& generation, const ServiceRecord& service,
                           const std::string& host) {
  InstanceState out{service.manifest, Mode::running};
  const auto record = generation.hosts.find(host);
  if (record == generation.hosts.end()) return out;
  for (const std::string& name : service.host_values) {
    if (name == "address") {
      if (!record->second.address.empty()) out.host.emplace(name, record->second.address);
      continue;
    }
    const auto label = record->second.labels.find(name.substr(name.find('.') + 1));
    if (label != record->second.labels.end()) out.host.emplace(name, label->second);
  }
  return out;
}

Generation confined(const Generation& candidate, const Generation* base,
                    const std::set<std::string>& only, const std::set<std::string>& except) {
  const auto asked_for = [&](const std::string& name) {
    return !candidate.broken.contains(name) && !except.contains(name) &&
           (only.empty() || only.contains(name));
  };
  Generation out = candidate;
  std::erase_if(out.services, [&](const auto& item) { return !asked_for(item.first); });
  if (base == nullptr) return out;
  for (const auto& [name, record] : base->services) {
    if (asked_for(name)) continue;
    ServiceRecord& kept = out.services.insert_or_assign(name, record).first->second;
    std::erase_if(kept.hosts, [&](const auto& host) { return !out.hosts.contains(host); });
  }
  return out;
}

namespace {

using Classes = std::map<std::string, std::vector<std::string>>;  // host → classes, sorted

Classes classes_by_host(const Generation& generation) {
  Classes out;
  for (const auto& [name, members] : generation.classes) {
    for (const std::string& host : members) out[host].push_back(name);
  }
  return out;
}

Status check_list(const std::vector<std::string>& list, const std::string& path) {
  const auto wrong = std::adjacent_find(list.begin(), list.end(), std::greater_equal<>());
  if (wrong == list.end()) return {};
  return fail(ErrorCode::invalid_input, fmt::format("{}: '{}' and '{}' are not in order, or twice",
                                                    path, *wrong, *std::next(wrong)))
      .hint("lists of hosts and of host classes are sorted, and each is named once");
}

}  // namespace

Status check_agreement(const Generation& candidate) {
  for (const auto& [name, members] : candidate.classes) {
    const std::string path = "generation.classes." + name;
    TRYV(check_list(members, path));
    for (const std::string& host : members) {
      if (!candidate.hosts.contains(host))
        return fail(ErrorCode::invalid_input, fmt::format("{}: unknown host '{}'", path, host));
    }
  }
  const Classes classes = classes_by_host(candidate);
  for (const auto& [name, host] : candidate.hosts) {
    const auto its = classes.find(name);
    if (its == classes.end() ? host.classes.empty() : host.classes == its->second) continue;
    return fail(ErrorCode::invalid_input,
                fmt::format("generation.hosts.{0}.classes: not the classes that have {0} as a host",
                            name))
        .hint("generation.classes and the classes of each host say the same, sorted");
  }
  for (const auto& [name, service] : candidate.services) {
    const std::string path = fmt::format("generation.services.{}.hosts", name);
    TRYV(check_list(service.hosts, path));
    for (const std::string& host : service.hosts) {
      const auto its = classes.find(host);
      if (its != classes.end() &&
          std::binary_search(its->second.begin(), its->second.end(), service.host_class))
        continue;
      return fail(ErrorCode::invalid_input,
                  fmt::format("{}: {} is no host of the service's host class {}", path, host,
                              service.host_class));
    }
  }
  return {};
}

void derive_classes(Generation& generation) {
  Classes classes = classes_by_host(generation);
  for (auto& [name, host] : generation.hosts) {
    const auto its = classes.find(name);
    host.classes = its == classes.end() ? std::vector<std::string>() : std::move(its->second);
  }
}

const ServiceRecord* find_service(const Generation* generation, const std::string& name) {
  if (generation == nullptr) return nullptr;
  const auto it = generation->services.find(name);
  return it == generation->services.end() ? nullptr : &it->second;
}

bool says_the_same(const ServiceRecord* one, const ServiceRecord* other,
                   const std::map<std::string, HostRecord>& fleet) {
  if (one == nullptr || other == nullptr) return one == other;
  if (*one == *other) return true;
  const auto of_today = [&](ServiceRecord record) {
    std::erase_if(record.hosts, [&](const auto& host) { return !fleet.contains(host); });
    return record;
  };
  return of_today(*one) == of_today(*other);
}

std::set<std::string> services_that_differ(const Generation* base, const Generation& candidate) {
  std::set<std::string> out;
  for (const auto* generation : {base, &candidate}) {
    if (generation == nullptr) continue;
    for (const auto& [name, record] : generation->services) {
      if (!says_the_same(find_service(base, name), find_service(&candidate, name), candidate.hosts))
        out.insert(name);
    }
  }
  return out;
}

Json policy_to_json(const Policy& policy) {
  Json::Array batches;
  for (const auto& batch : policy.batches) batches.push_back(budget::amount_to_json(batch));
  return Json::object(
      {{"batches", batches},
       {"maxUnavailable",
        policy.max_unavailable ? budget::amount_to_json(*policy.max_unavailable) : Json()},
       {"maxFailures", budget::amount_to_json(policy.max_failures)},
       {"soak", format_duration(policy.soak)},
       {"stepTimeout", format_duration(policy.step_timeout)},
       {"onFailure", policy.on_failure == OnFailure::halt ? "halt" : "revert"},
       {"oneAtATime", policy.one_at_a_time.empty() ? Json() : Json(policy.one_at_a_time)},
       {"allowOutage", policy.allow_outage}});
}

Result<Policy> policy_from_json(const Json& json, const std::string& path) {
  JsonReader reader(json, path);
  Policy out;
  const auto& batches = reader.array("batches");
  if (!batches.empty()) out.batches.clear();
  for (const Json& item : batches) {
    out.batches.push_back(TRY(
        budget::amount_from_json(item, fmt::format("{}.batches[{}]", path, out.batches.size()))));
    if (out.batches.back().value == 0) {
      return fail(ErrorCode::invalid_input,
                  fmt::format("{}.batches: a batch of 0 never ends", path))
          .hint("write at least 1");
    }
  }
  if (const Json* amount = reader.any("maxUnavailable"))
    out.max_unavailable = TRY(budget::amount_from_json(*amount, path + ".maxUnavailable"));
  if (const Json* amount = reader.any("maxFailures"))
    out.max_failures = TRY(budget::amount_from_json(*amount, path + ".maxFailures"));
  const auto duration = [&](std::string_view key, Duration otherwise) -> Result<Duration> {
    const auto text = reader.optional_string(key);
    if (!text) return otherwise;
    auto parsed = parse_duration(*text);
    if (!parsed) return fail(std::move(parsed).error().context(fmt::format("in {}.{}", path, key)));
    return parsed;
  };
  out.soak = TRY(duration("soak", out.soak));
  out.step_timeout = TRY(duration("stepTimeout", out.step_timeout));
  const std::string on_failure = reader.string("onFailure", "revert");
  if (on_failure != "revert" && on_failure != "halt") {
    return fail(ErrorCode::invalid_input,
                fmt::format("{}.onFailure: '{}' is neither 'halt' nor 'revert'", path, on_failure));
  }
  out.on_failure = on_failure == "halt" ? OnFailure::halt : OnFailure::revert;
  out.one_at_a_time = reader.string("oneAtATime", "");
  out.allow_outage = reader.boolean("allowOutage", false);
  TRYV(reader.finish());
  return out;
}

Json generation_to_json(const Generation& g) {
  Json::Object hosts;
  for (const auto& [name, host] : g.hosts) {
    hosts.emplace(name, Json::object({{"address", host.address},
                                      {"labels", labels_to_json(host.labels)},
                                      {"classes", Json::array_of(host.classes)}}));
  }
  Json::Object classes;
  for (const auto& [name, members] : g.classes) classes.emplace(name, Json::array_of(members));
  Json::Object services;
  for (const auto& [name, service] : g.services) services.emplace(name, service_to_json(service));
  return Json::object({{"number", g.number},
                       {"parent", g.parent},
                       {"site", g.site},
                       {"by", g.by},
                       {"message", g.message},
                       {"created", format_instant(g.created)},
                       {"sources", g.sources.is_none() ? Json() : Json(g.sources.str())},
                       {"rollbackOf", g.rollback_of},
                       {"statement", g.statement},
                       {"hosts", hosts},
                       {"classes", classes},
                       {"services", services},
                       {"broken", labels_to_json(g.broken)},
                       {"policy", policy_to_json(g.policy)}});
}

Result<Generation> generation_from_json(const Json& json) {
  JsonReader reader(json, "generation");
  Generation g;
  g.number = static_cast<std::uint64_t>(reader.integer("number", 0, 0));
  g.parent = static_cast<std::uint64_t>(reader.integer("parent", 0, 0));
  g.site = reader.string("site");
  g.by = reader.string("by", "");
  g.message = reader.string("message", "");
  if (const auto created = reader.optional_string("created"))
    g.created = TRY(parse_instant(*created));
  if (const auto sources = reader.optional_string("sources"))
    g.sources = TRY(Digest::parse(*sources));
  g.rollback_of = static_cast<std::uint64_t>(reader.integer("rollbackOf", 0, 0));
  g.statement = static_cast<std::uint64_t>(reader.integer("statement", 0, 0));
  for (const auto& [name, item] : reader.object("hosts")) {
    JsonReader host(item, "generation.hosts." + name);
    HostRecord record;
    record.address = host.string("address");
    for (const auto& [key, value] : host.object("labels")) {
      if (value.is_string()) record.labels.emplace(key, value.as_string());
    }
    record.classes = host.strings("classes");
    TRYV(host.finish(UnknownMembers::ignore));
    g.hosts.emplace(name, std::move(record));
  }
  for (const auto& [name, item] : reader.object("classes")) {
    if (!item.is_array())
      return fail(ErrorCode::invalid_input,
                  fmt::format("generation.classes.{}: expected an array", name));
    for (const Json& host : item.as_array()) {
      if (host.is_string()) g.classes[name].push_back(host.as_string());
    }
    g.classes.try_emplace(name);
  }
  for (const auto& [name, item] : reader.object("services")) {
    g.services.emplace(name, TRY(service_from_json(item, "generation.services." + name)));
  }
  for (const auto& [name, item] : reader.object("broken")) {
    if (item.is_string()) g.broken.emplace(name, item.as_string());
  }
  if (const Json* policy = reader.any("policy"))
    g.policy = TRY(policy_from_json(*policy, "generation.policy"));
  TRYV(reader.finish(UnknownMembers::ignore));
  for (const auto& [name, service] : g.services) {
    for (const std::string& host : service.hosts) {
      if (!g.hosts.contains(host))
        return fail(ErrorCode::invalid_input,
                    fmt::format("generation.services.{}: unknown host '{}'", name, host));
    }
  }
  return g;
}

namespace {
constexpr std::size_t kLongestChain = 1000;
}

Result<std::map<std::string, int>> service_levels(
    const std::map<std::string, ServiceRecord>& services) {
  std::map<std::string, int> levels;
  std::vector<std::string> path;
  const std::function<Status(const std::string&)> visit = [&](const std::string& name) -> Status {
    if (levels.contains(name)) return {};
    if (const auto again = std::find(path.begin(), path.end(), name); again != path.end()) {
      std::vector<std::string> cycle(again, path.end());
      cycle.push_back(name);
      return fail(ErrorCode::invalid_input,
                  fmt::format("services need each other in a circle: {}", join(cycle, " → ")))
          .hint(
              "make one of these edges soft: move it from 'needs' to 'uses' (parameters without "
              "order), or leave an 'after' away");
    }
    // A bound for the recursion: a candidate comes from a client.
    if (path.size() >= kLongestChain)
      return fail(ErrorCode::invalid_input,
                  fmt::format("a chain of more than {} services that need each other ends at {}",
                              kLongestChain, name))
          .hint("let services need what they really use, not their neighbour in a list");
    path.push_back(name);
    const ServiceRecord& service = services.at(name);
    int level = 0;
    const auto after = [&](const std::string& other) -> Status {
      TRYV(visit(other));
      level = std::max(level, levels.at(other) + 1);
      return {};
    };
    for (const Edge& edge : service.edges) {
      if (is_hard(edge) && services.contains(edge.service)) TRYV(after(edge.service));
    }
    const std::string base = "class:" + service.host_class;
    if (name != base && services.contains(base)) TRYV(after(base));
    path.pop_back();
    levels.emplace(name, level);
    return {};
  };
  for (const auto& [name, service] : services) TRYV(visit(name));
  return levels;
}

}  // namespace consort::plan
