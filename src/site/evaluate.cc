// The two evaluations (DESIGN.md section 4).
#include <fmt/format.h>

#include "base/text.h"
#include "site/evaluator.h"
#include "site/model.h"
#include "site/plain.h"
#include "site/schema.h"

namespace consort::site {
namespace {

// Where services are in a site, and which of their fields need the fleet.
struct Collection {
  std::string_view name;
  std::vector<std::string_view> body;
};
const Collection kServices{"services", {"artifacts", "resources", "daemon", "hooks"}};
const Collection kClasses{"hostClasses", {"artifacts", "resources", "hooks"}};
// What concerns no class and no service.
const std::vector<std::string_view> kTop = {"name", "purpose", "policy", "access", "secrets"};

std::string list_literal(const std::vector<std::string_view>& names) {
  Json::Array out;
  for (const std::string_view name : names) out.emplace_back(name);
  return Json(out).dump();
}

// Only the fields named, and beside them the names of all fields, so that unknown ones are found
// early. Lists made by std.makeArray, and the collections bound to a local: each `site.services`
// would make that object anew with all its fields, and libjsonnet's comprehensions copy what they
// have so far for each element; both make the time grow with the square of the services.
std::string static_snippet(const fs::path& file) {
  return fmt::format(R"(
local site = import {};
local pick(o, names) = if std.isObject(o) then {{ [k]: o[k] for k in names if std.objectHas(o, k) }} else o;
local fields(o) = if std.isObject(o) then std.objectFields(o) else [];
local each(o, names) = if std.isObject(o) then
  local keys = std.objectFields(o);
  std.makeArray(std.length(keys), function(i)
    local item = o[keys[i]];
    {{ name: keys[i], static: pick(item, names), fields: fields(item) }})
else null;
if !std.isObject(site) then {{ notAnObject: std.type(site) }} else {{
  top: pick(site, {}),
  fields: fields(site),
  hostClasses: if std.objectHas(site, 'hostClasses') then each(site.hostClasses, {}) else [],
  services: if std.objectHas(site, 'services') then each(site.services, {}) else [],
}})",
                     Json(file.string()).dump(), list_literal(kTop),
                     list_literal(static_host_class_fields()),
                     list_literal(static_service_fields()));
}

// The bodies in the order of `names`. Each half that fails is tried again by halves, down to the
// services that are broken; all in one program, whose site is read once (see Attempts in
// evaluator.h).
std::string body_snippet(const fs::path& file, const Collection& collection,
                         const std::vector<std::string>& names) {
  return fmt::format(R"(
local all = (import {}).{};
local names = {};
local body(name) =
  local item = all[name];
  {{ [k]: item[k] for k in {} if std.objectHas(item, k) }};
local attempt(from, to) =
  local outcome = std.native('consort.attempt')(from, to);
  local middle = std.floor((from + to) / 2);
  if outcome == 'try' then
    std.native('consort.done')(std.toString(std.makeArray(to - from, function(i) body(names[from + i]))))
  else if outcome == 'failed' && to - from > 1 then [attempt(from, middle), attempt(middle, to)]
  else null;
if std.isObject(all) then attempt(0, std.length(names)) else error '{} is no object')",
                     Json(file.string()).dump(), collection.name, Json::array_of(names).dump(),
                     list_literal(collection.body), collection.name);
}

// What the two programs give, of a site that needs none.
Json pick(const Json& object, const std::vector<std::string_view>& names) {
  if (!object.is_object()) return object;
  Json out = Json::object();
  for (const std::string_view name : names) {
    if (const Json* value = object.find(name)) out[name] = *value;
  }
  return out;
}

Json fields_of(const Json& object) {
  Json::Array out;
  if (object.is_object()) {
    for (const auto& [name, value] : object.as_object()) out.emplace_back(name);
  }
  return Json(std::move(out));
}

Json static_parts(const Json& site, std::string_view collection,
                  const std::vector<std::string_view>& names) {
  const Json* items = site.find(collection);
  if (items == nullptr) return Json::array();
  if (!items->is_object()) return {};
  Json::Array out;
  for (const auto& [name, item] : items->as_object())
    out.push_back(
        Json::object({{"name", name}, {"static", pick(item, names)}, {"fields", fields_of(item)}}));
  return Json(std::move(out));
}

Json static_part(const Json& site) {
  if (!site.is_object()) return Json::object({{"notAnObject", site.type_name()}});
  return Json::object(
      {{"top", pick(site, kTop)},
       {"fields", fields_of(site)},
       {"hostClasses", static_parts(site, "hostClasses", static_host_class_fields())},
       {"services", static_parts(site, "services", static_service_fields())}});
}

struct StaticPart {
  Json value;
  std::map<std::string, std::string> sources;
};

Result<StaticPart> read_static_part(const fs::path& file, const EvaluationLimits& limits) {
  if (const auto plain = read_plain_site(file, limits))
    return StaticPart{static_part(plain->value), {{file.string(), plain->digest}}};
  Evaluated evaluated = TRY(run_evaluator(static_snippet(file), nullptr, limits));
  if (!evaluated.value) return fail(std::move(evaluated.value).error());
  return StaticPart{std::move(*evaluated.value), std::move(evaluated.sources)};
}

Digest digest_of_sources(const std::map<std::string, std::string>& sources,
                         const fs::path& folder) {
  Json json = Json::object();
  for (const auto& [path, digest] : sources)
    json[fs::path(path).lexically_relative(folder).string()] = digest;
  return Digest::of(json.dump());
}

// name → its body, or what is wrong with it.
using Bodies = std::map<std::string, Result<Json>>;

Result<Bodies> read_bodies(const fs::path& file, const Collection& collection,
                           const std::vector<std::string>& names, const EndpointTable& endpoints,
                           const EvaluationLimits& limits) {
  Bodies out;
  if (names.empty()) return out;
  if (const auto plain = read_plain_site(file, limits)) {
    const Json* items = plain->value.find(collection.name);
    for (const std::string& name : names) {
      if (const Json* item = items != nullptr ? items->find(name) : nullptr)
        out.emplace(name, pick(*item, collection.body));
    }
    return out;
  }
  Evaluated evaluated =
      TRY(run_evaluator(body_snippet(file, collection, names), &endpoints, limits));
  if (!evaluated.value) return fail(std::move(evaluated.value).error());
  for (Attempt& attempt : evaluated.attempts) {
    for (std::size_t i = attempt.from; i < attempt.to && i < names.size(); ++i) {
      if (attempt.result)
        out.emplace(names[i], attempt.result->as_array().at(i - attempt.from));
      else
        out.emplace(names[i], tl::unexpected(attempt.result.error()));
    }
  }
  return out;
}

}  // namespace

Result<Site> evaluate_static(const fs::path& file, const EvaluationLimits& limits,
                             std::vector<Error>* mistakes) {
  std::error_code ec;
  const fs::path path = fs::absolute(file, ec).lexically_normal();
  if (!fs::exists(path, ec)) {
    return fail(ErrorCode::not_found, fmt::format("there is no site file {}", file.string()))
        .hint("name it with --site FILE, or begin with: consort init");
  }
  const StaticPart part = TRY(read_static_part(path, limits));
  if (const Json* type = part.value.find("notAnObject")) {
    return fail(ErrorCode::invalid_input,
                fmt::format("{} is {}, not a site", file.string(), type->as_string()))
        .hint("a site is an object: c.site('name') { hostClasses: …, services: … }");
  }
  std::vector<Error> found;
  Site site = site_of(part.value, found);
  site.file = path;
  site.sources = digest_of_sources(part.sources, path.parent_path());
  for (Error& mistake : secret_file_mistakes(site)) found.push_back(std::move(mistake));
  if (found.empty()) return site;
  Error first = found.front();
  if (found.size() > 1)
    first.add_context(
        fmt::format("the first of {} mistakes; `consort check` names them all", found.size()));
  if (mistakes != nullptr) *mistakes = std::move(found);
  return fail(std::move(first));
}

Status evaluate_bodies(Site& site, const EndpointTable& endpoints, const EvaluationLimits& limits) {
  std::vector<std::string> services;
  std::vector<std::string> classes;
  for (const auto& [name, service] : site.services)
    (name.starts_with("class:") ? classes : services)
        .push_back(name.starts_with("class:") ? service.on : name);
  for (const bool of_classes : {false, true}) {
    const Collection& collection = of_classes ? kClasses : kServices;
    Bodies bodies =
        TRY(read_bodies(site.file, collection, of_classes ? classes : services, endpoints, limits));
    for (auto& [name, body] : bodies) {
      const std::string place = fmt::format("{}.{}", collection.name, name);
      const std::string service = of_classes ? base_service(name) : name;
      if (!body)
        site.broken.insert_or_assign(service, std::move(body).error().context("in " + place));
      else if (auto status = take_body(site.services.at(service), *body, place); !status)
        site.broken.insert_or_assign(service, std::move(status).error());
    }
  }
  return {};
}

}  // namespace consort::site
