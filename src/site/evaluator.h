// One run of libjsonnet in a child process. Internal to this room.
#pragma once

#include <string>
#include <vector>

#include "site/site.h"

namespace consort::site {

struct Snippet {
  std::string name;  // names the result: "" for the only one, or a service
  std::string code;
};

struct Evaluated {
  std::map<std::string, Json> values;          // snippet → value
  std::map<std::string, Error> errors;         // snippet → what was wrong
  std::map<std::string, std::string> sources;  // path → digest of what was read
};

// Evaluates each snippet in one child, in order; stops at the first error unless `all`.
enum class OnError : std::uint8_t { stop, go_on };
[[nodiscard]] Result<Evaluated> run_evaluator(const std::vector<Snippet>& snippets,
                                              const EndpointTable* endpoints,
                                              const EvaluationLimits& limits, OnError on_error);

// Turns libjsonnet's error text into an Error with place and excerpt.
[[nodiscard]] Error parse_jsonnet_error(std::string_view text);

}  // namespace consort::site
