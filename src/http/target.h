// The request target (RFC 3986, RFC 9112 section 3.2): taking it apart, and percent-encoding. Pure.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "base/error.h"

namespace consort::http {

// Errors: invalid_input on a cut or non-hex escape, or one that hides a NUL.
[[nodiscard]] Result<std::string> percent_decode(std::string_view text);
// Encodes all but unreserved characters: safe as one segment of a path and as a query value.
[[nodiscard]] std::string percent_encode(std::string_view text);

struct Target {
  std::string path;
  std::map<std::string, std::string> query;
};
// Origin form and absolute form ("http://host/path"). Errors: invalid_input.
[[nodiscard]] Result<Target> parse_target(std::string_view target);

}  // namespace consort::http
