#include "base/json_reader.h"

#include <fmt/format.h>

#include "base/text.h"

namespace consort {

JsonReader::JsonReader(const Json& json, std::string path) : json_(json), path_(std::move(path)) {
  if (!json_.is_object()) {
    note(fail(ErrorCode::invalid_input,
              fmt::format("{}: expected an object, found {}", path_.empty() ? "document" : path_,
                          json_.type_name())));
  }
}

std::string JsonReader::path_of(std::string_view key) const {
  return path_.empty() ? std::string(key) : fmt::format("{}.{}", path_, key);
}

void JsonReader::note(Error error) {
  if (!error_) error_ = std::move(error);
}

const Json* JsonReader::any(std::string_view key) {
  asked_.emplace(key);
  const Json* member = json_.find(key);
  return member != nullptr && !member->is_null() ? member : nullptr;
}

const Json* JsonReader::take(std::string_view key, std::string_view type, bool (Json::*is)() const,
                             bool required) {
  const Json* member = any(key);
  if (member == nullptr) {
    if (required)
      note(fail(ErrorCode::invalid_input, fmt::format("{} is missing (a {})", path_of(key), type)));
    return nullptr;
  }
  if (!(member->*is)()) {
    note(fail(ErrorCode::invalid_input,
              fmt::format("{}: expected {} {}, found {}", path_of(key),
                          type == "integer" || type == "array" || type == "object" ? "an" : "a",
                          type, member->type_name())));
    return nullptr;
  }
  return member;
}

std::string JsonReader::string(std::string_view key) {
  const Json* member = take(key, "string", &Json::is_string, true);
  return member != nullptr ? member->as_string() : std::string();
}

std::string JsonReader::string(std::string_view key, std::string_view otherwise) {
  const Json* member = take(key, "string", &Json::is_string, false);
  return member != nullptr ? member->as_string() : std::string(otherwise);
}

std::optional<std::string> JsonReader::optional_string(std::string_view key) {
  const Json* member = take(key, "string", &Json::is_string, false);
  return member != nullptr ? std::optional(member->as_string()) : std::nullopt;
}

std::int64_t JsonReader::integer(std::string_view key, std::optional<std::int64_t> otherwise,
                                 std::int64_t low, std::int64_t high) {
  const Json* member = take(key, "integer", &Json::is_int, !otherwise.has_value());
  if (member == nullptr) return otherwise.value_or(0);
  const std::int64_t value = member->as_int();
  if (value < low || value > high) {
    note(fail(ErrorCode::invalid_input,
              fmt::format("{}: {} is out of range ({} to {})", path_of(key), value, low, high)));
    return otherwise.value_or(low);
  }
  return value;
}

bool JsonReader::boolean(std::string_view key, bool otherwise) {
  const Json* member = take(key, "boolean", &Json::is_bool, false);
  return member != nullptr ? member->as_bool() : otherwise;
}

std::vector<std::string> JsonReader::strings(std::string_view key) {
  std::vector<std::string> out;
  std::size_t i = 0;
  for (const Json& item : array(key)) {
    if (!item.is_string()) {
      note(fail(ErrorCode::invalid_input, fmt::format("{}[{}]: expected a string, found {}",
                                                      path_of(key), i, item.type_name())));
      return {};
    }
    out.push_back(item.as_string());
    ++i;
  }
  return out;
}

const Json::Object& JsonReader::object(std::string_view key) {
  static const Json::Object empty;
  const Json* member = take(key, "object", &Json::is_object, false);
  return member != nullptr ? member->as_object() : empty;
}

const Json::Array& JsonReader::array(std::string_view key) {
  static const Json::Array empty;
  const Json* member = take(key, "array", &Json::is_array, false);
  return member != nullptr ? member->as_array() : empty;
}

Status JsonReader::finish(UnknownMembers unknown) {
  if (!error_ && unknown == UnknownMembers::refuse && json_.is_object()) {
    for (const auto& [key, value] : json_.as_object()) {
      if (asked_.contains(key)) continue;
      const std::string guess = did_you_mean(key, asked_);
      std::string hint;
      if (!guess.empty()) hint = fmt::format("did you mean '{}'?", guess);
      note(
          Error(fail(ErrorCode::invalid_input,
                     fmt::format("{}: unknown field '{}'", path_.empty() ? "document" : path_, key))
                    .hint(hint)));
      break;
    }
  }
  if (error_) return fail(*error_);
  return {};
}

}  // namespace consort
