#include "base/json.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json/basic_parser_impl.hpp>
#include <boost/json/error.hpp>
#include <cctype>
#include <cmath>

#include "base/text.h"

namespace consort {
namespace {

namespace bj = boost::json;

// What Boost's parser calls while it reads: the values are ours from the start, and counted before
// memory is spent on them. Its names and signatures are the parser's (boost/json/basic_parser.hpp).
class Builder {
 public:
  static constexpr std::size_t max_object_size = static_cast<std::size_t>(-1);
  static constexpr std::size_t max_array_size = static_cast<std::size_t>(-1);
  static constexpr std::size_t max_key_size = static_cast<std::size_t>(-1);
  static constexpr std::size_t max_string_size = static_cast<std::size_t>(-1);
  using Error = boost::system::error_code;

  explicit Builder(std::size_t max_values) : left_(max_values) {}
  [[nodiscard]] bool has_too_many() const { return has_too_many_; }
  [[nodiscard]] Json release() { return std::move(root_); }

  bool on_document_begin(Error&) { return true; }
  bool on_document_end(Error&) { return true; }
  bool on_object_begin(Error& ec) { return open(Json::Object{}, ec); }
  bool on_object_end(std::size_t, Error&) { return close(); }
  bool on_array_begin(Error& ec) { return open(Json::Array{}, ec); }
  bool on_array_end(std::size_t, Error&) { return close(); }
  bool on_key_part(bj::string_view part, std::size_t, Error&) { return gather(part); }
  bool on_key(bj::string_view part, std::size_t, Error&) {
    gather(part);
    keys_.push_back(std::exchange(text_, {}));
    return true;
  }
  bool on_string_part(bj::string_view part, std::size_t, Error&) { return gather(part); }
  bool on_string(bj::string_view part, std::size_t, Error& ec) {
    gather(part);
    return add(std::exchange(text_, {}), ec);
  }
  bool on_number_part(bj::string_view, Error&) { return true; }
  bool on_int64(std::int64_t value, bj::string_view, Error& ec) { return add(value, ec); }
  bool on_uint64(std::uint64_t value, bj::string_view, Error& ec) {
    return add(static_cast<double>(value), ec);
  }
  bool on_double(double value, bj::string_view, Error& ec) { return add(value, ec); }
  bool on_bool(bool value, Error& ec) { return add(value, ec); }
  bool on_null(Error& ec) { return add(Json(), ec); }
  bool on_comment_part(bj::string_view, Error&) { return true; }
  bool on_comment(bj::string_view, Error&) { return true; }

 private:
  bool gather(bj::string_view part) {
    text_.append(part.data(), part.size());
    return true;
  }
  bool count(Error& ec) {
    has_too_many_ = left_ == 0;
    if (has_too_many_) {
      ec = bj::error::array_too_large;
      return false;
    }
    --left_;
    return true;
  }
  bool open(Json container, Error& ec) {
    if (!count(ec)) return false;
    open_.push_back(std::move(container));
    return true;
  }
  bool close() {
    Json whole = std::move(open_.back());
    open_.pop_back();
    put(std::move(whole));
    return true;
  }
  bool add(Json value, Error& ec) {
    if (!count(ec)) return false;
    put(std::move(value));
    return true;
  }
  void put(Json value) {
    if (open_.empty()) {
      root_ = std::move(value);
    } else if (open_.back().is_array()) {
      open_.back().as_array().push_back(std::move(value));
    } else {
      // What we wrote ourselves is sorted.
      Json::Object& object = open_.back().as_object();
      object.insert_or_assign(object.end(), std::move(keys_.back()), std::move(value));
      keys_.pop_back();
    }
  }

  std::size_t left_;
  bool has_too_many_ = false;
  Json root_;
  std::vector<Json> open_;         // the containers that are being read, outermost first
  std::vector<std::string> keys_;  // of the members of open_ whose values are being read
  std::string text_;               // the string or key that is being read
};

void write_string(std::string& out, std::string_view text) {
  out += '"';
  for (const char c : text) {
    switch (c) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      case '\t':
        out += "\\t";
        break;
      default:
        if (static_cast<unsigned char>(c) < 0x20) {
          out += fmt::format("\\u{:04x}", static_cast<unsigned>(static_cast<unsigned char>(c)));
        } else {
          out += c;
        }
    }
  }
  out += '"';
}

void write_double(std::string& out, double value) {
  if (!std::isfinite(value)) {
    out += "null";
  } else if (value == std::floor(value) && std::abs(value) < 9.007199254740992e15) {
    out += std::to_string(static_cast<std::int64_t>(value));
  } else {
    out += fmt::format("{}", value);
  }
}

// indent < 0: compact.
void write(std::string& out, const Json& json, int indent) {
  const auto newline = [&](int level) {
    if (indent >= 0) out += '\n' + std::string(static_cast<std::size_t>(level) * 2, ' ');
  };
  const int inner = indent >= 0 ? indent + 1 : -1;
  if (json.is_null()) {
    out += "null";
  } else if (json.is_bool()) {
    out += json.as_bool() ? "true" : "false";
  } else if (json.is_int()) {
    out += std::to_string(json.as_int());
  } else if (json.is_double()) {
    write_double(out, json.as_double());
  } else if (json.is_string()) {
    write_string(out, json.as_string());
  } else if (json.is_array()) {
    out += '[';
    bool first = true;
    for (const Json& item : json.as_array()) {
      if (!first) out += ',';
      first = false;
      newline(inner);
      write(out, item, inner);
    }
    if (!first) newline(indent);
    out += ']';
  } else {
    out += '{';
    bool first = true;
    for (const auto& [key, item] : json.as_object()) {
      if (!first) out += ',';
      first = false;
      newline(inner);
      write_string(out, key);
      out += indent >= 0 ? ": " : ":";
      write(out, item, inner);
    }
    if (!first) newline(indent);
    out += '}';
  }
}

Status check_canonical(const Json& json, const std::string& path) {
  if (json.is_double()) {
    const double value = json.as_double();
    if (value != std::floor(value) || std::abs(value) > 9.007199254740992e15) {
      return fail(ErrorCode::invalid_input,
                  fmt::format("{}: {} is not an integer that can be written exactly",
                              path.empty() ? "value" : path, value))
          .hint("write it as a string");
    }
  } else if (json.is_array()) {
    std::size_t i = 0;
    for (const Json& item : json.as_array())
      TRYV(check_canonical(item, fmt::format("{}[{}]", path, i++)));
  } else if (json.is_object()) {
    for (const auto& [key, item] : json.as_object())
      TRYV(check_canonical(item, path.empty() ? key : path + "." + key));
  }
  return {};
}

SourceSpan span_at(std::string_view text, std::size_t offset, std::string_view origin) {
  offset = std::min(offset, text.size());
  SourceSpan span;
  span.file = origin.empty() ? "JSON input" : std::string(origin);
  span.line = 1 + static_cast<int>(std::count(
                      text.begin(), text.begin() + static_cast<std::ptrdiff_t>(offset), '\n'));
  std::size_t start = offset == 0 ? std::string_view::npos : text.rfind('\n', offset - 1);
  start = start == std::string_view::npos ? 0 : start + 1;
  span.column = static_cast<int>(offset - start) + 1;
  const std::size_t end = text.find('\n', start);
  std::string_view line = text.substr(start, end == std::string_view::npos ? end : end - start);
  if (line.size() <= 200 && is_utf8(line)) span.excerpt = std::string(line);
  return span;
}

}  // namespace

std::string_view Json::type_name() const {
  if (is_null()) return "null";
  if (is_bool()) return "boolean";
  if (is_number()) return "number";
  if (is_string()) return "string";
  return is_array() ? "array" : "object";
}

const Json* Json::find(std::string_view key) const {
  if (!is_object()) return nullptr;
  const auto it = as_object().find(key);
  return it == as_object().end() ? nullptr : &it->second;
}

std::string Json::string_or(std::string_view key, std::string_view otherwise) const {
  const Json* member = find(key);
  return member != nullptr && member->is_string() ? member->as_string() : std::string(otherwise);
}

std::int64_t Json::int_or(std::string_view key, std::int64_t otherwise) const {
  const Json* member = find(key);
  if (member == nullptr || !member->is_number()) return otherwise;
  if (member->is_int()) return member->as_int();
  const double value = member->as_double();
  // Beyond 2^53 a double is no exact integer, and beyond 2^63 the conversion is undefined.
  return std::abs(value) <= 9.007199254740992e15 ? static_cast<std::int64_t>(value) : otherwise;
}

bool Json::bool_or(std::string_view key, bool otherwise) const {
  const Json* member = find(key);
  return member != nullptr && member->is_bool() ? member->as_bool() : otherwise;
}

Json& Json::operator[](std::string_view key) {
  if (is_null()) value_ = Object{};
  return as_object()[std::string(key)];
}

void Json::push_back(Json item) {
  if (is_null()) value_ = Array{};
  as_array().push_back(std::move(item));
}

std::string Json::dump() const {
  std::string out;
  write(out, *this, -1);
  return out;
}

std::string Json::pretty() const {
  std::string out;
  write(out, *this, 0);
  return out;
}

Result<std::string> Json::canonical() const {
  TRYV(check_canonical(*this, ""));
  return dump();
}

Result<Json> parse_json(std::string_view text, std::string_view origin, JsonLimits limits) {
  const std::string name = origin.empty() ? "JSON input" : std::string(origin);
  if (text.size() > limits.max_bytes) {
    return fail(ErrorCode::too_large, fmt::format("{} has {} bytes; the limit is {}", name,
                                                  text.size(), limits.max_bytes));
  }
  bj::parse_options options;
  options.max_depth = limits.max_depth;
  bj::basic_parser<Builder> parser(options, limits.max_values);
  boost::system::error_code ec;
  // write_some() says how far it came, which is the place of the mistake.
  const std::size_t read = parser.write_some(false, text.data(), text.size(), ec);
  if (!ec) {
    std::size_t rest = read;
    while (rest < text.size() && std::isspace(static_cast<unsigned char>(text[rest])) != 0) ++rest;
    if (rest == text.size()) return parser.handler().release();
    ec = bj::error::extra_data;
  }
  if (parser.handler().has_too_many()) {
    return fail(ErrorCode::too_large, fmt::format("{} has more than {} values, which is the limit",
                                                  name, limits.max_values))
        .at(span_at(text, read, origin));
  }
  return fail(ErrorCode::invalid_input, fmt::format("{} is not valid JSON: {}", name, ec.message()))
      .at(span_at(text, read, origin));
}

namespace {

// A message may quote what somebody typed or sent; what goes out must stay JSON.
std::string as_utf8(const std::string& text) {
  if (is_utf8(text)) return text;
  std::string out = text;
  std::replace_if(
      out.begin(), out.end(), [](char c) { return (c & 0x80) != 0; }, '?');
  return out;
}

}  // namespace

Json error_to_json(const Error& error) {
  Json contexts = Json::array();
  for (const std::string& context : error.contexts()) contexts.push_back(as_utf8(context));
  Json span;
  if (const auto& place = error.span()) {
    span = Json::object({{"file", place->file},
                         {"line", place->line},
                         {"column", place->column},
                         {"excerpt", as_utf8(place->excerpt)}});
  }
  return Json::object(
      {{"code", error_code_name(error.code())},
       {"message", as_utf8(error.message())},
       {"context", contexts},
       {"hint", error.hint_text().empty() ? Json() : Json(as_utf8(error.hint_text()))},
       {"span", span}});
}

Error error_from_json(const Json& json) {
  const auto code =
      error_code_from_name(json.string_or("code", "internal")).value_or(ErrorCode::internal);
  Error error(code, json.string_or("message", "no message"));
  error = std::move(error).hint(json.string_or("hint"));
  if (const Json* contexts = json.find("context"); contexts != nullptr && contexts->is_array()) {
    for (const Json& context : contexts->as_array()) {
      if (context.is_string()) error.add_context(context.as_string());
    }
  }
  if (const Json* span = json.find("span"); span != nullptr && span->is_object()) {
    error = std::move(error).at({.file = span->string_or("file"),
                                 .line = static_cast<int>(span->int_or("line")),
                                 .column = static_cast<int>(span->int_or("column")),
                                 .excerpt = span->string_or("excerpt")});
  }
  return error;
}

}  // namespace consort
