// The one table of what a site may contain. It drives the strict checks, the published JSON Schema
// and the site reference in the docs; a field that is not here does not exist.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace consort::site {

enum class Kind : std::uint8_t {
  string,
  name,
  path,
  integer,
  port,  // 1 to 65535
  boolean,
  duration,
  amount,
  some,  // an amount that is not 0
  octal,
  selector,
  strings,    // a list of strings
  amounts,    // a list of amounts that are not 0, not empty
  integers,   // a list of integers
  text_map,   // an object of strings
  variables,  // an object of strings without NUL, whose names are those of variables
  object,     // an object of `schema`
  map,        // an object whose values are of `schema`
  tagged,     // an object, its `type` chooses among `variants`
  tagged_map  // an object whose values are tagged
};

struct Schema;

struct Field {
  std::string_view name;
  Kind kind = Kind::string;
  std::string_view doc;
  bool required = false;
  const Schema* schema = nullptr;                 // of object and map
  const std::vector<Schema>* variants = nullptr;  // of tagged and tagged_map
  std::vector<std::string_view> choices = {};     // of string
};

struct Schema {
  std::string_view name;
  std::string_view doc;
  std::vector<Field> fields;
  // At least one of these fields must be there (and at most one): artifacts, hooks.
  std::vector<std::string_view> one_of = {};
};

[[nodiscard]] const Schema& site_schema();
[[nodiscard]] const Schema& service_schema();
[[nodiscard]] const Schema& host_class_schema();
[[nodiscard]] const std::vector<Schema>& resource_schemas();
[[nodiscard]] const std::vector<Schema>& inventory_schemas();

// The first mistake: unknown field (did you mean …?), wrong type, missing field. `path` is the
// place in the site: "services.shop". Errors: invalid_input.
[[nodiscard]] Status check(const Json& json, const Schema& schema, const std::string& path);
[[nodiscard]] Status check_tagged(const Json& json, const std::vector<Schema>& variants,
                                  const std::string& path);

// Names of the fields that are known before the fleet is: they may not use endpoints' addresses.
[[nodiscard]] const std::vector<std::string_view>& static_service_fields();
[[nodiscard]] const std::vector<std::string_view>& static_host_class_fields();

// JSON Schema, draft 2020-12.
[[nodiscard]] Json json_schema();
// docs/reference/site.md
[[nodiscard]] std::string site_reference();

}  // namespace consort::site
