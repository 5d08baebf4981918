// The two evaluations (DESIGN.md section 4).
#include <fmt/format.h>

#include <algorithm>

#include "base/json_reader.h"
#include "base/text.h"
#include "site/evaluator.h"
#include "site/schema.h"

namespace consort::site {
namespace {

std::string list_literal(const std::vector<std::string_view>& names) {
  Json::Array out;
  for (const std::string_view name : names) out.emplace_back(name);
  return Json(out).dump();
}

// Only the fields named, and beside them the names of all fields, so that unknown ones are found
// early.
std::string static_snippet(const fs::path& file) {
  return fmt::format(R"(
local site = import {};
local pick(o, names) = if std.isObject(o) then {{ [k]: o[k] for k in names if std.objectHas(o, k) }} else o;
local fields(o) = if std.isObject(o) then std.objectFields(o) else [];
local each(o, names) = if std.isObject(o)
  then {{ [k]: {{ static: pick(o[k], names), fields: fields(o[k]) }} for k in std.objectFields(o) }} else o;
if !std.isObject(site) then {{ notAnObject: std.type(site) }} else {{
  top: pick(site, ['name', 'purpose', 'policy', 'access']),
  fields: fields(site),
  hostClasses: if std.objectHas(site, 'hostClasses') then each(site.hostClasses, {}) else {{}},
  services: if std.objectHas(site, 'services') then each(site.services, {}) else {{}},
}})",
                     Json(file.string()).dump(), list_literal(static_host_class_fields()),
                     list_literal(static_service_fields()));
}

std::string body_snippet(const fs::path& file, std::string_view collection,
                         const std::vector<std::string>& names, std::string_view fields) {
  return fmt::format(R"(
local site = import {};
{{ [name]: {{ [k]: site.{}[name][k] for k in {} if std.objectHas(site.{}[name], k) }} for name in {} }})",
                     Json(file.string()).dump(), collection, fields, collection,
                     Json::array_of(names).dump());
}

constexpr std::string_view kServiceBody = "['artifacts', 'resources', 'daemon', 'hooks']";
constexpr std::string_view kClassBody = "['artifacts', 'resources', 'hooks']";

// A stand-in for the fields that the first evaluation does not look into.
Status check_field_names(const Json& item, const Schema& schema, const std::string& path) {
  const Json* fields = item.find("fields");
  if (fields == nullptr || !fields->is_array()) return {};
  for (const Json& field : fields->as_array()) {
    const bool known = std::any_of(schema.fields.begin(), schema.fields.end(),
                                   [&](const Field& f) { return f.name == field.as_string(); });
    if (!known) return check(Json::object({{field.as_string(), Json()}}), schema, path);
  }
  return {};
}

std::map<std::string, std::string> text_map(const Json* json) {
  std::map<std::string, std::string> out;
  if (json == nullptr || !json->is_object()) return out;
  for (const auto& [key, value] : json->as_object()) {
    if (value.is_string()) out.emplace(key, value.as_string());
  }
  return out;
}

std::map<std::string, Need> needs_of(const Json* json) {
  std::map<std::string, Need> out;
  if (json == nullptr || !json->is_object()) return out;
  for (const auto& [name, need] : json->as_object()) {
    out[name] = {need.string_or("service"), need.string_or("endpoint"), need.int_or("quorum"),
                 need.string_or("onChange") != "ignore"};
  }
  return out;
}

HostClass host_class_of(const std::string& name, const Json& json) {
  HostClass out;
  out.name = name;
  out.inventory = *json.find("inventory");
  out.min = json.int_or("min", 1);
  out.labels = text_map(json.find("labels"));
  out.purpose = json.string_or("purpose");
  out.owner = json.string_or("owner");
  return out;
}

Service service_of(const std::string& name, const Json& json) {
  Service out;
  out.name = name;
  out.on = json.string_or("on");
  if (json.find("replicas") != nullptr) out.replicas = json.int_or("replicas");
  out.when = json.string_or("when");
  out.needs = needs_of(json.find("needs"));
  out.uses = needs_of(json.find("uses"));
  if (const Json* after = json.find("after"); after != nullptr && after->is_array()) {
    for (const Json& item : after->as_array()) out.after.push_back(item.as_string());
  }
  if (const Json* provides = json.find("provides"); provides != nullptr && provides->is_object()) {
    for (const auto& [endpoint, value] : provides->as_object()) out.provides[endpoint] = value;
  }
  if (const Json* access = json.find("access")) out.access = *access;
  out.version = json.string_or("version");
  out.data_version = json.int_or("dataVersion");
  out.purpose = json.string_or("purpose");
  out.owner = json.string_or("owner");
  return out;
}

// Checks one entry of the first evaluation: the static fields by type, the others by name.
Status check_entry(const Json& item, Schema schema,
                   const std::vector<std::string_view>& static_fields, const std::string& path) {
  TRYV(check_field_names(item, schema, path));
  for (Field& field : schema.fields) {
    if (std::find(static_fields.begin(), static_fields.end(), field.name) == static_fields.end())
      field.required = false;
  }
  const Json* value = item.find("static");
  return check(value != nullptr ? *value : item, schema, path);
}

Digest digest_of_sources(const std::map<std::string, std::string>& sources,
                         const fs::path& folder) {
  Json json = Json::object();
  for (const auto& [path, digest] : sources)
    json[fs::path(path).lexically_relative(folder).string()] = digest;
  return Digest::of(json.dump());
}

Status take_body(Service& service, const Json& body, const std::string& path) {
  for (const auto& [key, value] : body.as_object()) {
    if (value.is_null()) continue;
    const auto& fields = service_schema().fields;
    const auto field = std::find_if(fields.begin(), fields.end(),
                                    [&key = key](const Field& f) { return f.name == key; });
    Schema only{"service", "", {*field}};
    only.fields.front().required = false;
    TRYV(check(Json::object({{key, value}}), only, path));
  }
  const auto object = [&](std::string_view key) {
    return body.find(key) != nullptr && body.find(key)->is_object() ? body.find(key)->as_object()
                                                                    : Json::Object{};
  };
  service.artifacts = object("artifacts");
  service.resources = object("resources");
  service.hooks = object("hooks");
  if (const Json* daemon = body.find("daemon"); daemon != nullptr && !daemon->is_null())
    service.daemon = *daemon;
  if (service.daemon && (service.hooks.contains("start") || service.hooks.contains("stop"))) {
    return fail(ErrorCode::invalid_input,
                fmt::format("{}: has a daemon and a start or stop hook", path))
        .hint("the hooks start and stop run a service that has no daemon; give one or the other");
  }
  return {};
}

}  // namespace

Result<Site> evaluate_static(const fs::path& file, const EvaluationLimits& limits) {
  std::error_code ec;
  const fs::path path = fs::absolute(file, ec).lexically_normal();
  if (!fs::exists(path, ec)) {
    return fail(ErrorCode::not_found, fmt::format("there is no site file {}", file.string()))
        .hint("name it with --site FILE, or begin with: consort init");
  }
  Evaluated evaluated =
      TRY(run_evaluator({{"", static_snippet(path)}}, nullptr, limits, OnError::stop));
  if (const auto error = evaluated.errors.find(""); error != evaluated.errors.end())
    return fail(error->second);
  const Json& value = evaluated.values.at("");
  if (const Json* type = value.find("notAnObject")) {
    return fail(ErrorCode::invalid_input,
                fmt::format("{} is {}, not a site", file.string(), type->as_string()))
        .hint("a site is an object: c.site('name') { hostClasses: …, services: … }");
  }
  TRYV(check_field_names(value, site_schema(), ""));
  Site site;
  site.file = path;
  site.sources = digest_of_sources(evaluated.sources, path.parent_path());
  Json top = *value.find("top");
  Json probe = top;
  probe["hostClasses"] = Json::object();
  TRYV(check(probe, site_schema(), ""));
  site.name = top.string_or("name");
  site.purpose = top.string_or("purpose");
  site.policy = top.find("policy") != nullptr ? *top.find("policy") : Json::object();
  if (const Json* access = top.find("access")) site.access = *access;
  const Json& classes = *value.find("hostClasses");
  const Json& services = *value.find("services");
  if (!classes.is_object() || !services.is_object())
    return fail(ErrorCode::invalid_input, "hostClasses and services must be objects");
  for (const auto& [name, item] : classes.as_object()) {
    if (!is_name(name))
      return fail(ErrorCode::invalid_input,
                  fmt::format("hostClasses: '{}' is not a good name", name));
    TRYV(check_entry(item, host_class_schema(), static_host_class_fields(), "hostClasses." + name));
    site.host_classes.emplace(name, host_class_of(name, *item.find("static")));
    const Json* fields = item.find("fields");
    const auto has = [&](std::string_view f) {
      return std::find(fields->as_array().begin(), fields->as_array().end(), Json(f)) !=
             fields->as_array().end();
    };
    if (has("resources") || has("hooks")) {
      Service base;
      base.name = base_service(name);
      base.on = name;
      base.purpose = site.host_classes.at(name).purpose;
      base.owner = site.host_classes.at(name).owner;
      site.services.emplace(base.name, std::move(base));
    }
  }
  for (const auto& [name, item] : services.as_object()) {
    if (!is_name(name))
      return fail(ErrorCode::invalid_input, fmt::format("services: '{}' is not a good name", name));
    TRYV(check_entry(item, service_schema(), static_service_fields(), "services." + name));
    site.services.insert_or_assign(name, service_of(name, *item.find("static")));
  }
  TRYV(check_references(site));
  return site;
}

Status evaluate_bodies(Site& site, const EndpointTable& endpoints, const EvaluationLimits& limits) {
  std::vector<std::string> services;
  std::vector<std::string> classes;
  for (const auto& [name, service] : site.services)
    (name.starts_with("class:") ? classes : services)
        .push_back(name.starts_with("class:") ? service.on : name);
  std::map<std::string, Json> bodies;
  const auto take = [&](const Json& value, bool of_classes) {
    for (const auto& [name, body] : value.as_object())
      bodies[of_classes ? base_service(name) : name] = body;
  };
  const std::vector<Snippet> whole = {
      {"services", body_snippet(site.file, "services", services, kServiceBody)},
      {"classes", body_snippet(site.file, "hostClasses", classes, kClassBody)}};
  const Evaluated all = TRY(run_evaluator(whole, &endpoints, limits, OnError::go_on));
  for (const bool of_classes : {false, true}) {
    const std::string key = of_classes ? "classes" : "services";
    if (const auto value = all.values.find(key); value != all.values.end()) {
      take(value->second, of_classes);
      continue;
    }
    // Something is broken: one by one, to tell the broken from the sound.
    std::vector<Snippet> each;
    for (const std::string& name : of_classes ? classes : services) {
      each.push_back({name, body_snippet(site.file, of_classes ? "hostClasses" : "services", {name},
                                         of_classes ? kClassBody : kServiceBody)});
    }
    const Evaluated parts = TRY(run_evaluator(each, &endpoints, limits, OnError::go_on));
    for (const auto& [name, value_of_one] : parts.values) take(value_of_one, of_classes);
    for (const auto& [name, error] : parts.errors) {
      Error copy = error;
      copy.add_context(fmt::format("in {}.{}", of_classes ? "hostClasses" : "services", name));
      site.broken.insert_or_assign(of_classes ? base_service(name) : name, std::move(copy));
    }
  }
  for (auto& [name, service] : site.services) {
    const auto body = bodies.find(name);
    if (body == bodies.end()) continue;
    const std::string path =
        name.starts_with("class:") ? "hostClasses." + service.on : "services." + name;
    if (auto status = take_body(service, body->second, path); !status)
      site.broken.insert_or_assign(name, std::move(status).error());
  }
  return {};
}

}  // namespace consort::site
