#include "site/schema.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <set>
#include <utility>

#include "base/text.h"
#include "base/time.h"

namespace consort::site {
namespace {

Failure wrong(const std::string& path, std::string_view expected, const Json& found) {
  return fail(ErrorCode::invalid_input,
              fmt::format("{}: expected {}, found {}", path, expected,
                          found.is_object() || found.is_array() ? std::string(found.type_name())
                                                                : found.dump().substr(0, 60)));
}

bool is_octal(const Json& json) {
  if (!json.is_string()) return false;
  const std::string& text = json.as_string();
  return text.size() >= 3 && text.size() <= 5 &&
         text.find_first_not_of("01234567") == std::string::npos;
}

bool is_amount(const Json& json) {
  if (json.is_int()) return json.as_int() >= 0;
  if (!json.is_string()) return false;
  std::string_view text = json.as_string();
  if (text.ends_with('%')) text.remove_suffix(1);
  return !text.empty() && text.size() < 8 &&
         text.find_first_not_of("0123456789") == std::string_view::npos;
}

bool is_some(const Json& json) {
  if (!is_amount(json)) return false;
  return json.is_int() ? json.as_int() > 0
                       : json.as_string().find_first_of("123456789") != std::string::npos;
}

Status check_list(const Json& json, const std::string& path, std::string_view what,
                  const std::function<bool(const Json&)>& good) {
  if (!json.is_array()) return wrong(path, fmt::format("a list of {}", what), json);
  std::size_t i = 0;
  for (const Json& item : json.as_array()) {
    if (!good(item))
      return wrong(fmt::format("{}[{}]", path, i), fmt::format("one of a list of {}", what), item);
    ++i;
  }
  return {};
}

Status check_choice(const Field& field, const Json& json, const std::string& path) {
  if (!json.is_string()) return wrong(path, "a string", json);
  if (field.choices.empty() || std::find(field.choices.begin(), field.choices.end(),
                                         json.as_string()) != field.choices.end())
    return {};
  const std::string guess = did_you_mean(json.as_string(), field.choices);
  return fail(ErrorCode::invalid_input,
              fmt::format("{}: '{}' is none of {}", path, json.as_string(),
                          fmt::join(field.choices, ", ")))
      .hint(guess.empty() ? "" : fmt::format("did you mean '{}'?", guess));
}

Status check_map(const Json& json, const std::string& path,
                 const std::function<Status(const Json&, const std::string&)>& each) {
  if (!json.is_object()) return wrong(path, "an object", json);
  for (const auto& [key, item] : json.as_object()) {
    if (!is_name(key)) {
      return fail(ErrorCode::invalid_input, fmt::format("{}: '{}' is not a good name", path, key))
          .hint(
              "use letters, digits, '-', '_' and '.', beginning with a letter or digit, at most "
              "63");
    }
    TRYV(each(item, path + "." + key));
  }
  return {};
}

Status check_variables(const Json& json, const std::string& path) {
  if (!json.is_object()) return wrong(path, "an object of strings", json);
  for (const auto& [key, item] : json.as_object()) {
    if (!is_variable_name(key))
      return fail(ErrorCode::invalid_input, fmt::format("{}: one has no good name", path))
          .hint("variables have letters, digits and '_', and do not begin with a digit");
    if (!item.is_string()) return wrong(path + "." + key, "a string", item);
    if (item.as_string().find('\0') != std::string::npos)
      return fail(ErrorCode::invalid_input,
                  fmt::format("{}.{}: no variable can hold a NUL byte", path, key));
  }
  return {};
}

Status check_field(const Field& field, const Json& json, const std::string& path) {
  switch (field.kind) {
    case Kind::string:
      return check_choice(field, json, path);
    case Kind::path:
    case Kind::selector:
      return json.is_string() && !json.as_string().empty() ? Status()
                                                           : wrong(path, "a string", json);
    case Kind::name:
      return json.is_string() && is_name(json.as_string()) ? Status() : wrong(path, "a name", json);
    case Kind::integer:
      return json.is_int() && json.as_int() >= 0 ? Status()
                                                 : wrong(path, "an integer of at least 0", json);
    case Kind::port:
      return json.is_int() && json.as_int() >= 1 && json.as_int() <= 65535
                 ? Status()
                 : wrong(path, "a port, 1 to 65535", json);
    case Kind::boolean:
      return json.is_bool() ? Status() : wrong(path, "true or false", json);
    case Kind::octal:
      return is_octal(json) ? Status() : wrong(path, "permission bits like '0644'", json);
    case Kind::amount:
      return is_amount(json) ? Status() : wrong(path, "a number or a percentage like '30%'", json);
    case Kind::some:
      return is_some(json) ? Status()
                           : wrong(path, "a number of at least 1 or a percentage like '30%'", json);
    case Kind::duration: {
      if (!json.is_string()) return wrong(path, "a duration like '90s'", json);
      auto parsed = parse_duration(json.as_string());
      if (!parsed) return fail(std::move(parsed).error().context("in " + path));
      return {};
    }
    case Kind::strings:
      return check_list(json, path, "strings", [](const Json& j) { return j.is_string(); });
    case Kind::amounts:
      if (json.is_array() && json.as_array().empty())
        return wrong(path, "at least one number or percentage", json);
      return check_list(json, path, "numbers of at least 1 or percentages", is_some);
    case Kind::integers:
      return check_list(json, path, "integers", [](const Json& j) { return j.is_int(); });
    case Kind::text_map:
      if (!json.is_object()) return wrong(path, "an object of strings", json);
      for (const auto& [key, item] : json.as_object()) {
        if (!item.is_string()) return wrong(path + "." + key, "a string", item);
      }
      return {};
    case Kind::variables:
      return check_variables(json, path);
    case Kind::object:
      return check(json, *field.schema, path);
    case Kind::map:
      return check_map(json, path, [&](const Json& item, const std::string& p) {
        return check(item, *field.schema, p);
      });
    case Kind::tagged:
      return check_tagged(json, *field.variants, path);
    case Kind::tagged_map:
      return check_map(json, path, [&](const Json& item, const std::string& p) {
        return check_tagged(item, *field.variants, p);
      });
  }
  return {};
}

Json schema_of(const Field& field);

Json schema_of(const Schema& schema) {
  Json properties = Json::object();
  Json::Array required;
  for (const Field& field : schema.fields) {
    properties[field.name] = schema_of(field);
    if (field.required) required.emplace_back(field.name);
  }
  Json out = Json::object({{"type", "object"},
                           {"description", schema.doc},
                           {"properties", properties},
                           {"additionalProperties", false}});
  if (!required.empty()) out["required"] = required;
  if (!schema.one_of.empty()) {
    Json::Array choices;
    for (const std::string_view name : schema.one_of)
      choices.push_back(Json::object({{"required", Json::Array{Json(name)}}}));
    out["oneOf"] = choices;
  }
  return out;
}

Json schema_of_variants(const std::vector<Schema>& variants) {
  Json::Array out;
  for (const Schema& variant : variants) {
    Json one = schema_of(variant);
    one["properties"]["type"] = Json::object({{"const", variant.name}});
    out.push_back(std::move(one));
  }
  return Json::object({{"oneOf", out}});
}

Json schema_of(const Field& field) {
  Json out = Json::object({{"description", field.doc}});
  const auto list_of = [&](Json item) {
    out["type"] = "array";
    out["items"] = std::move(item);
  };
  const Json amount = Json::object(
      {{"type", Json::Array{"integer", "string"}}, {"pattern", "^[0-9]+%?$"}, {"minimum", 0}});
  const Json some = Json::object({{"type", Json::Array{"integer", "string"}},
                                  {"pattern", "^0*[1-9][0-9]*%?$"},
                                  {"minimum", 1}});
  switch (field.kind) {
    case Kind::string:
    case Kind::path:
    case Kind::selector:
      out["type"] = "string";
      if (!field.choices.empty()) out["enum"] = Json::array_of(field.choices);
      break;
    case Kind::name:
      out["type"] = "string";
      out["pattern"] = "^[a-zA-Z0-9][a-zA-Z0-9._-]{0,62}$";
      break;
    case Kind::integer:
      out["type"] = "integer";
      out["minimum"] = 0;
      break;
    case Kind::port:
      out["type"] = "integer";
      out["minimum"] = 1;
      out["maximum"] = 65535;
      break;
    case Kind::boolean:
      out["type"] = "boolean";
      break;
    case Kind::duration:
      out["type"] = "string";
      out["pattern"] = "^([0-9]+(ms|s|m|h|d))+$";
      break;
    case Kind::octal:
      out["type"] = "string";
      out["pattern"] = "^[0-7]{3,5}$";
      break;
    case Kind::amount:
      for (const auto& [key, value] : amount.as_object()) out[key] = value;
      break;
    case Kind::some:
      for (const auto& [key, value] : some.as_object()) out[key] = value;
      break;
    case Kind::strings:
      list_of(Json::object({{"type", "string"}}));
      break;
    case Kind::integers:
      list_of(Json::object({{"type", "integer"}}));
      break;
    case Kind::amounts:
      list_of(some);
      out["minItems"] = 1;
      break;
    case Kind::text_map:
      out["type"] = "object";
      out["additionalProperties"] = Json::object({{"type", "string"}});
      break;
    case Kind::variables:
      out["type"] = "object";
      out["propertyNames"] = Json::object({{"pattern", "^[A-Za-z_][A-Za-z0-9_]*$"}});
      out["additionalProperties"] = Json::object({{"type", "string"}});
      break;
    case Kind::object:
      out = schema_of(*field.schema);
      out["description"] = field.doc;
      break;
    case Kind::map:
      out["type"] = "object";
      out["additionalProperties"] = schema_of(*field.schema);
      break;
    case Kind::tagged:
      out = schema_of_variants(*field.variants);
      break;
    case Kind::tagged_map:
      out["type"] = "object";
      out["additionalProperties"] = schema_of_variants(*field.variants);
      break;
  }
  return out;
}

std::string_view kind_name(const Field& field) {
  switch (field.kind) {
    case Kind::string:
      return field.choices.empty() ? "string" : "choice";
    case Kind::name:
      return "name";
    case Kind::path:
      return "path";
    case Kind::integer:
      return "integer";
    case Kind::port:
      return "port";
    case Kind::boolean:
      return "boolean";
    case Kind::duration:
      return "duration";
    case Kind::amount:
    case Kind::some:
      return "count or %";
    case Kind::octal:
      return "octal string";
    case Kind::selector:
      return "label selector";
    case Kind::strings:
      return "list of strings";
    case Kind::amounts:
      return "list of counts or %";
    case Kind::integers:
      return "list of integers";
    case Kind::text_map:
    case Kind::variables:
      return "object of strings";
    case Kind::object:
      return "object";
    case Kind::map:
      return "object by name";
    case Kind::tagged:
      return "object with `type`";
    case Kind::tagged_map:
      return "objects by name, each with `type`";
  }
  return "";
}

// "How long to wait; default 60s." is a meaning and a default.
std::pair<std::string, std::string> without_default(std::string_view doc) {
  constexpr std::string_view mark = "; default";
  const std::size_t at = doc.rfind(mark);
  if (at == std::string_view::npos || !doc.ends_with('.')) return {std::string(doc), ""};
  std::string_view standard = doc.substr(at + mark.size());
  standard.remove_suffix(1);
  standard.remove_prefix(std::min(standard.find_first_not_of(": "), standard.size()));
  return {std::string(doc.substr(0, at)) + ".", std::string(standard)};
}

void document(const Schema& schema, const std::string& heading, std::string& out,
              std::set<const void*>& seen) {
  if (!seen.insert(&schema).second) return;
  out += fmt::format("\n## {}\n\n{}\n\n| field | type | default | meaning |\n|---|---|---|---|\n",
                     heading, schema.doc);
  for (const Field& field : schema.fields) {
    auto [doc, standard] = without_default(field.doc);
    if (!field.choices.empty())
      doc += fmt::format(" One of `{}`.", fmt::join(field.choices, "`, `"));
    if (field.schema != nullptr) doc += fmt::format(" See [{0}](#{0}).", field.schema->name);
    out += fmt::format("| `{}`{} | {} | {} | {} |\n", field.name,
                       field.required ? " (required)" : "", kind_name(field), standard, doc);
  }
  for (const Field& field : schema.fields) {
    if (field.schema != nullptr)
      document(*field.schema, std::string(field.schema->name), out, seen);
  }
}

}  // namespace

Status check(const Json& json, const Schema& schema, const std::string& path) {
  if (!json.is_object())
    return wrong(path.empty() ? "the site" : path, fmt::format("an object ({})", schema.name),
                 json);
  const auto in = [&](std::string_view field) {
    return path.empty() ? std::string(field) : fmt::format("{}.{}", path, field);
  };
  for (const auto& [key, value] : json.as_object()) {
    const auto field = std::find_if(schema.fields.begin(), schema.fields.end(),
                                    [&key = key](const Field& f) { return f.name == key; });
    if (field == schema.fields.end()) {
      std::vector<std::string_view> names;
      for (const Field& f : schema.fields) names.push_back(f.name);
      const std::string guess = closest(key, names);
      return fail(ErrorCode::invalid_input,
                  fmt::format("{}: unknown field '{}'", path.empty() ? "site" : path, key))
          .hint(guess.empty()
                    ? fmt::format("a {} has the fields {}", schema.name, fmt::join(names, ", "))
                    : fmt::format("did you mean '{}'?", guess));
    }
    if (!value.is_null()) TRYV(check_field(*field, value, in(key)));
  }
  for (const Field& field : schema.fields) {
    const Json* value = json.find(field.name);
    if (field.required && (value == nullptr || value->is_null())) {
      return fail(ErrorCode::invalid_input, fmt::format("{} is missing", in(field.name)))
          .hint(std::string(field.doc));
    }
  }
  if (!schema.one_of.empty()) {
    const auto given =
        std::count_if(schema.one_of.begin(), schema.one_of.end(),
                      [&](std::string_view name) { return json.find(name) != nullptr; });
    if (given != 1)
      return fail(ErrorCode::invalid_input,
                  fmt::format("{}: give exactly one of {}", path, fmt::join(schema.one_of, ", ")));
  }
  return {};
}

Status check_tagged(const Json& json, const std::vector<Schema>& variants,
                    const std::string& path) {
  if (!json.is_object()) return wrong(path, "an object with a 'type'", json);
  const Json* type = json.find("type");
  std::vector<std::string_view> names;
  for (const Schema& variant : variants) names.push_back(variant.name);
  if (type == nullptr || !type->is_string())
    return fail(ErrorCode::invalid_input, fmt::format("{}.type is missing", path))
        .hint(fmt::format("one of {}", fmt::join(names, ", ")));
  for (const Schema& variant : variants) {
    if (variant.name == type->as_string()) return check(json, variant, path);
  }
  const std::string guess = closest(type->as_string(), names);
  return fail(ErrorCode::invalid_input,
              fmt::format("{}.type: there is no '{}'", path, type->as_string()))
      .hint(guess.empty() ? fmt::format("one of {}", fmt::join(names, ", "))
                          : fmt::format("did you mean '{}'?", guess));
}

Json json_schema() {
  Json out = schema_of(site_schema());
  out["$schema"] = "https://json-schema.org/draft/2020-12/schema";
  out["title"] = "Consort site";
  return out;
}

std::string site_reference() {
  std::string out =
      "# Site reference\n\n<!-- Generated from src/site/schema_table.cc by `consort docs site`. Do "
      "not edit. -->\n\n"
      "A site is Jsonnet, or plain JSON. Unknown fields are errors. Paths are relative to the site "
      "file.\n";
  std::set<const void*> seen;
  document(site_schema(), "site", out, seen);
  for (const Schema& schema : inventory_schemas())
    document(schema, fmt::format("inventory: {}", schema.name), out, seen);
  for (const Schema& schema : resource_schemas())
    document(schema, fmt::format("resource: {}", schema.name), out, seen);
  return out;
}

}  // namespace consort::site
