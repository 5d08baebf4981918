// One run of libjsonnet in a child process. Internal to this room.
#pragma once

#include <string>
#include <vector>

#include "site/site.h"

namespace consort::site {

// Part of a list that was tried by itself. Jsonnet has no way to catch an error, but a process that
// is forked in the middle of an evaluation can fail alone, and nothing is read or parsed twice:
// std.native('consort.attempt')(from, to) forks, and gives 'try' in the new process, which ends
// with std.native('consort.done')(text of a list) or its error; in the old one it then gives 'done'
// or 'failed'.
struct Attempt {
  std::size_t from = 0;
  std::size_t to = 0;
  Result<Json> result;  // a list of `to - from` values; errors are told of single ones alone
};

struct Evaluated {
  Result<Json> value;                          // of the snippet itself
  std::vector<Attempt> attempts;               // in the order of their ends
  std::map<std::string, std::string> sources;  // path → digest of what was read
};

// Evaluates a Jsonnet program in a child process. Errors: timeout, too_large; what is wrong with
// the program itself is in `value`.
[[nodiscard]] Result<Evaluated> run_evaluator(const std::string& snippet,
                                              const EndpointTable* endpoints,
                                              const EvaluationLimits& limits);

// Turns libjsonnet's error text into an Error with place and excerpt.
[[nodiscard]] Error parse_jsonnet_error(std::string_view text);

}  // namespace consort::site
