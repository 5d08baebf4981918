// Processes and what they have started, from /proc. A process is known by its pid and its start
// time, so that a pid that was given to somebody else is never mistaken for it.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/time.h"

namespace consort::platform {

struct ProcessId {
  pid_t pid = 0;
  std::uint64_t started = 0;  // clock ticks since boot, proc(5)
  friend bool operator==(const ProcessId&, const ProcessId&) = default;
};

[[nodiscard]] ProcessId identify(pid_t pid);  // started 0: there is no such process
[[nodiscard]] bool is_alive(const ProcessId& process);
[[nodiscard]] std::vector<pid_t> children_of(pid_t pid);
// The process's children, theirs and so on; not itself.
[[nodiscard]] std::vector<pid_t> descendants_of(pid_t pid);
// Every process (but our own) whose environment holds exactly this "NAME=value".
[[nodiscard]] std::vector<pid_t> marked_with(const std::string& variable);
// SIGKILL to these and to all that they have started. They are stopped (SIGSTOP) first, so that
// none of them starts another one meanwhile. Returns when they are gone or the time is over.
void kill_trees(const std::vector<pid_t>& roots, Duration limit = seconds(10));
// kill_trees of all that are marked, again and again until nobody is: also what lost its parent
// between two looks is found by its mark.
void kill_marked(const std::string& variable, Duration limit = seconds(10));
// Waits until it is gone. False: it still runs after `limit`.
[[nodiscard]] bool wait_for_end(const ProcessId& process, Duration limit);

[[nodiscard]] Json process_id_to_json(const ProcessId& process);
[[nodiscard]] ProcessId process_id_from_json(const Json& json);

}  // namespace consort::platform
