// The small process beside every natively supervised daemon. It leads a session of its own,
// outlives the agent, starts and restarts the daemon, keeps its exit status and its log file
// (bounded, one rotation), and tells all in FOLDER/state.json, replaced atomically at every change.
// SIGTERM stops both.
// While it cannot be written (a full disk), it is tried again each second.
//   FOLDER/spec.json  what to run (read once)    FOLDER/log, log.1  output
//   FOLDER/lock       held while the shim lives  FOLDER/state.json  { shim, shimStart, boot, pid,
//   start, state,
//                                                 ready, since, exitStatus, restarts, configDigest
//                                                 }
// If the shim itself is killed the kernel kills the daemon too (PR_SET_PDEATHSIG), so none runs
// unseen. Limits: nofile = RLIMIT_NOFILE, memory = RLIMIT_DATA per process, tasks = RLIMIT_NPROC of
// its user.
#pragma once

#include <string_view>

namespace consort::agent {

// The report of a shim that found another one at work for the same daemon.
inline constexpr std::string_view kShimLocked = "locked";
// In FOLDER: { shim, shimStart, boot } again, written once, for the case that state.json is
// damaged.
inline constexpr std::string_view kShimIdentity = "shim.json";

// `argv`: name, FOLDER, and the number of a descriptor on which the first start is reported: "ok"
// or an error text, then closed. Returns the exit status of the shim.
int daemon_shim_main(int argc, char** argv);

}  // namespace consort::agent
