// Counts system calls of a piece of work, by ptrace: no tool and no right beyond one's own
// processes.
#pragma once

#include <cstdint>
#include <functional>

namespace consort::bench {

// Runs `work` in a forked child (this process must have no other threads that it needs) and counts
// the system calls of all its threads.
[[nodiscard]] std::int64_t count_system_calls(const std::function<void()>& work);

}  // namespace consort::bench
