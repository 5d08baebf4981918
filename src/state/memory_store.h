// A StateStore in memory, for simulation: the same rules, no threads, no clock of its own, nothing
// lasting. Commits are acknowledged and watched before the call returns. Not thread-safe.
#pragma once

#include <memory>

#include "state/state_store.h"

namespace consort::state {

// `clock` must outlive the store.
[[nodiscard]] std::unique_ptr<StateStore> make_memory_store(const Clock& clock);

}  // namespace consort::state
