// A StateStore in one SQLite file (WAL, synchronous=FULL): the default of a controller. Commits
// that arrive while one is being made durable become the next group, in one fsync. Thread-safe.
// Callbacks run on its writer thread.
#pragma once

#include <memory>

#include "base/files.h"
#include "state/state_store.h"

namespace consort::state {

// Makes the file (and not its folder) when absent; checks it whole otherwise. `clock` must outlive
// the store. Errors: locked (another process has it open; says how to find it), corrupt,
// unsupported (a newer format), io.
[[nodiscard]] Result<std::unique_ptr<StateStore>> open_sqlite_store(const fs::path& file,
                                                                    const Clock& clock);

}  // namespace consort::state
