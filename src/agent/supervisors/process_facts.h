// Telling processes apart for good: a pid is reused, a pid with its start time and the boot id is
// not.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

#include "base/files.h"

namespace consort::agent {

// Of this boot; "" when the kernel does not tell.
[[nodiscard]] std::string boot_id();
// Clock ticks since boot at which the process began; 0 when it is gone or only a zombie.
[[nodiscard]] std::uint64_t process_start_time(pid_t pid);
// Opened only if the pid still is the process that began then; invalid otherwise.
[[nodiscard]] Fd open_process(pid_t pid, std::uint64_t start_time);
// Waits for its end. False when `milliseconds` have passed first.
[[nodiscard]] bool wait_for_end(const Fd& pidfd, int milliseconds);
// SIGKILL to every process of this session except `spared`. A session id is not reused while it has
// members.
void kill_session(pid_t session, pid_t spared);

}  // namespace consort::agent
