#include "access/records.h"

#include <fmt/format.h>

#include "base/text.h"

namespace consort::access {

Instant read_instant(JsonReader& reader, std::string_view key) {
  const auto at = parse_instant(reader.string(key));
  if (at) return *at;
  reader.note(Error(at.error()).context(reader.path_of(key)));
  return {};
}

std::optional<Instant> read_optional_instant(JsonReader& reader, std::string_view key) {
  const auto text = reader.optional_string(key);
  if (!text) return std::nullopt;
  const auto at = parse_instant(*text);
  if (at) return *at;
  reader.note(Error(at.error()).context(reader.path_of(key)));
  return std::nullopt;
}

Digest read_digest(JsonReader& reader, std::string_view key) {
  const auto digest = Digest::parse(reader.string(key));
  if (digest) return *digest;
  reader.note(fail(ErrorCode::invalid_input, fmt::format("{}: not a digest", reader.path_of(key))));
  return {};
}

std::string read_name(JsonReader& reader, std::string_view key) {
  std::string name = reader.string(key);
  if (!is_name(name))
    reader.note(fail(ErrorCode::invalid_input, fmt::format("{}: not a name", reader.path_of(key))));
  return name;
}

std::string read_text(JsonReader& reader, std::string_view key) {
  std::string text = reader.string(key, "");
  if (text.size() > kMaxTextBytes || !is_utf8(text)) {
    reader.note(fail(ErrorCode::invalid_input, fmt::format("{}: more than {} bytes, or no UTF-8",
                                                           reader.path_of(key), kMaxTextBytes)));
    text.clear();
  }
  return text;
}

std::map<std::string, std::string> read_labels(JsonReader& reader, std::string_view key) {
  const Json::Object& labels = reader.object(key);
  std::map<std::string, std::string> out;
  if (labels.size() > kMaxLabels) {
    reader.note(fail(ErrorCode::too_large,
                     fmt::format("{}: more than {} labels", reader.path_of(key), kMaxLabels)));
    return out;
  }
  for (const auto& [name, value] : labels) {
    if (!is_name(name) || !value.is_string() || value.as_string().size() > kMaxTextBytes ||
        !is_utf8(value.as_string())) {
      reader.note(fail(ErrorCode::invalid_input,
                       fmt::format("{}: not a set of labels", reader.path_of(key))));
      return {};
    }
    out.emplace(name, value.as_string());
  }
  return out;
}

Json optional_instant(const std::optional<Instant>& instant) {
  return instant ? Json(format_instant(*instant)) : Json();
}

}  // namespace consort::access
