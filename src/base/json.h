// JSON values. Parsing is bounded (bytes, depth, values) and done by Boost.JSON inside json.cc;
// this header is cheap. Objects are sorted by key, so every text we write is stable; canonical() is
// what digests are taken of.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <map>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "base/error.h"

namespace consort {

class Json {
 public:
  using Array = std::vector<Json>;
  using Object = std::map<std::string, Json, std::less<>>;

  Json() = default;
  Json(std::nullptr_t) {}  // NOLINT(google-explicit-constructor): literals read as JSON
  template <class T>
  requires std::is_same_v<T, bool> Json(T value)
      : value_(value) {}  // NOLINT(google-explicit-constructor)
  template <class T>
  requires(std::is_integral_v<T> && !std::is_same_v<T, bool>) Json(T value)
      : value_(static_cast<std::int64_t>(value)) {}        // NOLINT(google-explicit-constructor)
  Json(double value) : value_(value) {}                    // NOLINT(google-explicit-constructor)
  Json(const char* value) : value_(std::string(value)) {}  // NOLINT(google-explicit-constructor)
  Json(std::string_view value)
      : value_(std::string(value)) {}                    // NOLINT(google-explicit-constructor)
  Json(std::string value) : value_(std::move(value)) {}  // NOLINT(google-explicit-constructor)
  Json(Array value) : value_(std::move(value)) {}        // NOLINT(google-explicit-constructor)
  Json(Object value) : value_(std::move(value)) {}       // NOLINT(google-explicit-constructor)

  [[nodiscard]] static Json object(
      std::initializer_list<std::pair<const std::string, Json>> items = {}) {
    return Json(Object(items));
  }
  [[nodiscard]] static Json array() { return Json(Array{}); }
  template <class Range>
  [[nodiscard]] static Json array_of(const Range& items) {
    Array out;
    for (const auto& item : items) out.emplace_back(item);
    return Json(std::move(out));
  }

  [[nodiscard]] bool is_null() const { return std::holds_alternative<std::monostate>(value_); }
  [[nodiscard]] bool is_bool() const { return std::holds_alternative<bool>(value_); }
  [[nodiscard]] bool is_int() const { return std::holds_alternative<std::int64_t>(value_); }
  [[nodiscard]] bool is_double() const { return std::holds_alternative<double>(value_); }
  [[nodiscard]] bool is_number() const { return is_int() || is_double(); }
  [[nodiscard]] bool is_string() const { return std::holds_alternative<std::string>(value_); }
  [[nodiscard]] bool is_array() const { return std::holds_alternative<Array>(value_); }
  [[nodiscard]] bool is_object() const { return std::holds_alternative<Object>(value_); }
  // "null", "boolean", "number", "string", "array", "object": for messages.
  [[nodiscard]] std::string_view type_name() const;

  // Precondition: the matching is_…(). Throws std::bad_variant_access otherwise (a bug).
  [[nodiscard]] bool as_bool() const { return std::get<bool>(value_); }
  [[nodiscard]] std::int64_t as_int() const { return std::get<std::int64_t>(value_); }
  [[nodiscard]] double as_double() const {
    return is_int() ? static_cast<double>(as_int()) : std::get<double>(value_);
  }
  [[nodiscard]] const std::string& as_string() const { return std::get<std::string>(value_); }
  [[nodiscard]] std::string& as_string() { return std::get<std::string>(value_); }
  [[nodiscard]] const Array& as_array() const { return std::get<Array>(value_); }
  [[nodiscard]] Array& as_array() { return std::get<Array>(value_); }
  [[nodiscard]] const Object& as_object() const { return std::get<Object>(value_); }
  [[nodiscard]] Object& as_object() { return std::get<Object>(value_); }

  // The member, or nullptr when this is no object or has no such member.
  [[nodiscard]] const Json* find(std::string_view key) const;
  // Member with a default, for data that we wrote ourselves or have validated before.
  [[nodiscard]] std::string string_or(std::string_view key, std::string_view otherwise = "") const;
  [[nodiscard]] std::int64_t int_or(std::string_view key, std::int64_t otherwise = 0) const;
  [[nodiscard]] bool bool_or(std::string_view key, bool otherwise = false) const;
  // Adds or replaces a member; null becomes an object.
  Json& operator[](std::string_view key);
  void push_back(Json item);

  friend bool operator==(const Json&, const Json&) = default;

  // Compact text. UTF-8 is kept; control characters are escaped.
  [[nodiscard]] std::string dump() const;
  // Indented by two spaces, for people; no trailing newline.
  [[nodiscard]] std::string pretty() const;
  // The bytes that digests are taken of: compact, sorted keys, integers only.
  // Error invalid_input when there is a double that is no integer.
  [[nodiscard]] Result<std::string> canonical() const;

 private:
  std::variant<std::monostate, bool, std::int64_t, double, std::string, Array, Object> value_;
};

// A value takes 60 to 200 bytes of memory, but may take two of text.
struct JsonLimits {
  std::size_t max_bytes = 64U << 20U;
  std::size_t max_depth = 100;
  std::size_t max_values = 4U << 20U;  // scalars, arrays and objects
};

// Errors: invalid_input with line and column; too_large. Duplicate keys: the last one wins, as in
// RFC 8259 parsers at large. Integers beyond 2^53 that came as doubles are the caller's to reject.
[[nodiscard]] Result<Json> parse_json(std::string_view text, std::string_view origin = "",
                                      JsonLimits limits = {});

[[nodiscard]] Json error_to_json(const Error& error);
[[nodiscard]] Error error_from_json(const Json& json);

}  // namespace consort
