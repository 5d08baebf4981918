#include "site/plain.h"

#include <cmath>

#include "base/text.h"

namespace consort::site {
namespace {

// Jsonnet knows doubles alone.
constexpr double kMostExact = 9007199254740992.0;

// Numbers become what Jsonnet writes for them: 1.0 is 1. False for those that it would round.
bool take_numbers(Json& json) {
  if (json.is_array()) {
    for (Json& item : json.as_array()) {
      if (!take_numbers(item)) return false;
    }
  } else if (json.is_object()) {
    for (auto& [key, item] : json.as_object()) {
      if (!take_numbers(item)) return false;
    }
  } else if (json.is_number()) {
    const double value = json.as_double();
    if (!(std::abs(value) < kMostExact)) return false;
    if (json.is_double() && std::trunc(value) == value)
      json = Json(static_cast<std::int64_t>(value));
  }
  return true;
}

std::size_t count_members(const Json& json) {
  std::size_t out = 0;
  if (json.is_array()) {
    for (const Json& item : json.as_array()) out += count_members(item);
  } else if (json.is_object()) {
    out += json.as_object().size();
    for (const auto& [key, item] : json.as_object()) out += count_members(item);
  }
  return out;
}

// In JSON, each ':' outside of strings is one member. Our parser keeps the last of two members with
// one name; Jsonnet refuses them.
std::size_t count_members(std::string_view text) {
  std::size_t out = 0;
  bool in_string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '"') in_string = !in_string;
    if (in_string && text[i] == '\\') ++i;
    if (!in_string && text[i] == ':') ++out;
  }
  return out;
}

}  // namespace

std::optional<PlainSite> read_plain_site(const fs::path& file, const EvaluationLimits& limits) {
  const auto text = read_file(file, limits.source_bytes);
  if (!text || !is_utf8(*text)) return std::nullopt;
  auto json = parse_json(*text, file.string(), {limits.source_bytes, 100});
  if (!json || count_members(*json) != count_members(std::string_view(*text)) ||
      !take_numbers(*json))
    return std::nullopt;
  return PlainSite{std::move(*json), Digest::of(*text).str()};
}

}  // namespace consort::site
