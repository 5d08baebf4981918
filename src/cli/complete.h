// What may be typed next, from the command table: the shells' completions ask `consort __complete`.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "cli/command.h"

namespace consort::cli {

struct Candidate {
  std::string word;
  std::string about;  // one line, may be empty
  friend bool operator==(const Candidate&, const Candidate&) = default;
};

struct Completion {
  enum class Files : std::uint8_t { none, any, folders };
  std::vector<Candidate> candidates;
  Files files = Files::none;  // the shell completes those itself
};

// Names of things that are there, by what the command table calls them: "HOST", "SERVICE", "CLASS",
// "ROLLOUT", "GENERATION", "LABHOST". May be slow or know nothing; asked only when it matters.
using NameSource = std::function<std::vector<Candidate>(std::string_view kind)>;

// `words`: what was typed after `consort`; the last one, which may be "", is being typed.
[[nodiscard]] Completion complete(const std::vector<std::string>& words, const NameSource& names);

}  // namespace consort::cli
