// What an operator's own program checks before it signs what a controller has written down. Pure.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "plan/generation.h"
#include "plan/statement.h"

namespace consort::signing {

// What the operator knows and wants without the controller's word. Null: nothing of that kind.
struct Evidence {
  // From the operator's own sources; null: it is a rollback, which the operator has asked for.
  const plan::Generation* compiled = nullptr;
  const plan::Statement* previous = nullptr;  // signed, the one in force
  const plan::Statement* earlier = nullptr;   // signed, which a rollback brings back
  std::uint64_t seen = 0;                     // the newest number that the operator has seen
  std::set<std::string> only{};               // as the operator has said; empty: all
  std::set<std::string> except{};
  bool outage = false;  // services may be drained or stopped for a while
  // The statement as of which services may stay although numbers after it are skipped; 0: none.
  std::uint64_t as_of = 0;
};

// Every service must be as compiled, or as in the statement in force: on those of its hosts that
// the compiled inventory still has, with its values of them. In a rollback as the earlier one had
// it, or as in force. What was left out (--only, --except, broken) must be as in force, or missing
// there, too; without a statement in force nothing may be left out, and nothing be broken. Where
// numbers are skipped, somebody may have signed what is not shown, and nothing stays without the
// operator's word. Returns the services that stay as they were signed before, although the sources
// say something else. Error forbidden, with the first that is nothing of that.
[[nodiscard]] Result<std::vector<std::string>> review(const plan::Statement& statement,
                                                      const Evidence& evidence);

}  // namespace consort::signing
