// The table of what --json prints. docs/reference/json.md is generated from it; a test compares it
// with what the commands really print.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace consort::cli {

struct RecordField {
  std::string_view name;
  // "string", "int", "bool", "any", "list of T", "map of T", the name of another record; "T or
  // null".
  std::string_view type;
  std::string_view doc;
};

struct JsonRecord {
  std::string_view name;
  std::string_view printed_by;  // commands, comma separated; "" for a part of other records
  std::vector<RecordField> fields;
};

[[nodiscard]] const std::vector<JsonRecord>& json_records();
[[nodiscard]] std::vector<JsonRecord> records_of_access();  // a part of those
[[nodiscard]] std::vector<JsonRecord> records_of_secrets();
[[nodiscard]] std::vector<JsonRecord> records_of_machines();
[[nodiscard]] std::string json_reference();  // docs/reference/json.md
[[nodiscard]] Json json_reference_data();    // docs/reference/json.json, for programs

}  // namespace consort::cli
