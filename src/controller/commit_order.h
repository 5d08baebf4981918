// One Output may be more than one transaction of the store can hold. It is split so that a crash
// between two of them loses nothing: what a host has reported comes before what was decided upon it
// (or the next leader would hold a host for away that has just given its slot to another one), what
// is referred to before what refers to it, slots are taken before a step counts as begun, a step is
// journaled before its target is set, and only then is anything erased. Core::restore() understands
// every prefix. Pure.
#pragma once

#include <cstddef>
#include <vector>

#include "controller/core.h"

namespace consort::controller {

struct TransactionLimits {
  std::size_t writes = 1000;
  std::size_t bytes = 1'400'000;  // keys and values
};

// Small writes stay one transaction. A value that is over the limit alone gets one of its own.
[[nodiscard]] std::vector<Writes> in_transactions(Writes writes, const TransactionLimits& limits);

}  // namespace consort::controller
