#include "site/model.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "base/text.h"
#include "site/schema.h"

namespace consort::site {
namespace {

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

// Checks the part of a site that concerns no class and no service.
Status take_top(Site& site, const Json& part) {
  TRYV(check_field_names(part, site_schema(), ""));
  const Json& top = *part.find("top");
  Json probe = top;
  probe["hostClasses"] = Json::object();
  TRYV(check(probe, site_schema(), ""));
  site.name = top.string_or("name");
  site.purpose = top.string_or("purpose");
  site.policy = top.find("policy") != nullptr ? *top.find("policy") : Json::object();
  if (const Json* access = top.find("access")) site.access = *access;
  TRYV(take_secrets(site, top.find("secrets")));
  if (!part.find("hostClasses")->is_array() || !part.find("services")->is_array())
    return fail(ErrorCode::invalid_input, "hostClasses and services must be objects");
  return {};
}

Status check_name(const std::string& name, std::string_view collection) {
  if (is_name(name)) return {};
  return fail(ErrorCode::invalid_input,
              fmt::format("{}: '{}' is not a good name", collection, name));
}

Status take_class(Site& site, const std::string& name, const Json& item) {
  TRYV(check_name(name, "hostClasses"));
  TRYV(check_entry(item, host_class_schema(), static_host_class_fields(), "hostClasses." + name));
  site.host_classes.insert_or_assign(name, host_class_of(name, *item.find("static")));
  const Json::Array& fields = item.find("fields")->as_array();
  const bool carries = std::any_of(fields.begin(), fields.end(), [](const Json& field) {
    return field.as_string() == "resources" || field.as_string() == "hooks";
  });
  if (!carries) return {};
  Service base;
  base.name = base_service(name);
  base.on = name;
  base.purpose = site.host_classes.at(name).purpose;
  base.owner = site.host_classes.at(name).owner;
  site.services.emplace(base.name, std::move(base));
  return {};
}

Status take_service(Site& site, const std::string& name, const Json& item) {
  TRYV(check_name(name, "services"));
  TRYV(check_entry(item, service_schema(), static_service_fields(), "services." + name));
  site.services.insert_or_assign(name, service_of(name, *item.find("static")));
  return {};
}

}  // namespace

Site site_of(const Json& part, std::vector<Error>& mistakes) {
  Site site;
  if (auto top = take_top(site, part); !top) mistakes.push_back(std::move(top).error());
  const auto each = [&](std::string_view collection, auto take, auto leave_name) {
    const Json& items = *part.find(collection);
    if (!items.is_array()) return;
    for (const Json& item : items.as_array()) {
      const std::string name = item.string_or("name");
      auto taken = take(site, name, item);
      if (taken) continue;
      mistakes.push_back(std::move(taken).error());
      // What is broken is there all the same: others may refer to it.
      leave_name(name);
    }
  };
  std::set<std::string> broken;
  each("hostClasses", take_class,
       [&](const std::string& name) { site.host_classes[name].name = name; });
  each("services", take_service, [&](const std::string& name) {
    site.services[name].name = name;
    broken.insert(name);
  });
  for (Error& mistake : reference_mistakes(site, broken)) mistakes.push_back(std::move(mistake));
  return site;
}

Status take_body(Service& service, const Json& body, const std::string& path) {
  if (!body.is_object())
    return fail(ErrorCode::invalid_input, fmt::format("{} is no object any more", path))
        .hint("the site changed while it was read: try again");
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

}  // namespace consort::site
