// What an operator's own program checks before it signs what a controller has written down. Pure.
#pragma once

#include <string>
#include <vector>

#include "plan/generation.h"
#include "plan/statement.h"

namespace consort::signing {

// What the operator knows without the controller. Null: nothing of that kind.
struct Evidence {
  const plan::Generation* compiled = nullptr;  // from the operator's own sources
  const plan::Statement* previous = nullptr;   // signed, the one in force
  const plan::Statement* earlier = nullptr;    // signed, which a rollback brings back
};

// So far a number may be ahead of the one before.
inline constexpr std::uint64_t kSequenceLead = 1'000'000;

// Every service must be as compiled, or as in the statement in force, or as the earlier one had it;
// one that goes must not be wanted by what was compiled. Returns the services that stay as they
// were signed before, although the sources say something else. Error forbidden, with the first that
// is nothing of that.
[[nodiscard]] Result<std::vector<std::string>> review(const plan::Statement& statement,
                                                      const Evidence& evidence);

}  // namespace consort::signing
