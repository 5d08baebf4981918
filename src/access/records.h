// What the codecs of this room share. Internal to it.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "base/digest.h"
#include "base/json_reader.h"
#include "base/time.h"

namespace consort::access {

inline constexpr std::size_t kMaxLabels = 64;
inline constexpr std::size_t kMaxTextBytes = 256;  // of names of people, addresses, machine ids

// Each notes an error and returns a default when the member is missing or malformed.
[[nodiscard]] Instant read_instant(JsonReader& reader, std::string_view key);
[[nodiscard]] std::optional<Instant> read_optional_instant(JsonReader& reader,
                                                           std::string_view key);
[[nodiscard]] Digest read_digest(JsonReader& reader, std::string_view key);
[[nodiscard]] std::string read_name(JsonReader& reader, std::string_view key);  // is_name()
[[nodiscard]] std::string read_text(JsonReader& reader, std::string_view key);  // short UTF-8
[[nodiscard]] std::map<std::string, std::string> read_labels(JsonReader& reader,
                                                             std::string_view key);
[[nodiscard]] Json optional_instant(const std::optional<Instant>& instant);

}  // namespace consort::access
