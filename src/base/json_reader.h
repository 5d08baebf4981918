// Strict, bounded reading of a JSON object into a struct: each member is asked for once, by name
// and type; finish() refuses the members that nobody asked for. The first error is kept; reading
// goes on with defaults, so decoders read straight down. Errors name the path
// ("services.shop.needs.sql").
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace consort {

enum class UnknownMembers : std::uint8_t { refuse, ignore };

class JsonReader {
 public:
  // `path` is the place of `json` inside the document, empty for its root. `json` must outlive
  // this.
  JsonReader(const Json& json, std::string path);

  [[nodiscard]] std::string string(std::string_view key);  // required
  [[nodiscard]] std::string string(std::string_view key, std::string_view otherwise);
  [[nodiscard]] std::optional<std::string> optional_string(std::string_view key);
  [[nodiscard]] std::int64_t integer(std::string_view key,
                                     std::optional<std::int64_t> otherwise = std::nullopt,
                                     std::int64_t low = std::numeric_limits<std::int64_t>::min(),
                                     std::int64_t high = std::numeric_limits<std::int64_t>::max());
  [[nodiscard]] bool boolean(std::string_view key, bool otherwise);
  [[nodiscard]] std::vector<std::string> strings(std::string_view key);
  // The member whatever its type, nullptr when absent or null.
  [[nodiscard]] const Json* any(std::string_view key);
  // The member as object or array: an empty one when absent or null.
  [[nodiscard]] const Json::Object& object(std::string_view key);
  [[nodiscard]] const Json::Array& array(std::string_view key);

  [[nodiscard]] std::string path_of(std::string_view key) const;
  void note(Error error);  // keeps the first
  // The first error, if any; with `refuse` also the first member that was never asked for.
  [[nodiscard]] Status finish(UnknownMembers unknown = UnknownMembers::refuse);

 private:
  const Json* take(std::string_view key, std::string_view type, bool (Json::*is)() const,
                   bool required);

  const Json& json_;
  std::string path_;
  std::set<std::string, std::less<>> asked_;
  std::optional<Error> error_;
};

}  // namespace consort
