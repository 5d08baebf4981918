// Waiting until a daemon can do its work. Blocking; call it on a worker thread.
#pragma once

#include "agent/supervisors/supervisor.h"

namespace consort::agent {

// One probe: tcp connects, http gets a status of 200 to 399, command exits 0. Types none and notify
// are always true here, the supervisor knows them. `limit` bounds the probe.
[[nodiscard]] bool probe(const ReadinessSpec& spec, Duration limit);

// Before a daemon is started: nobody else may answer where it will be looked for, or it would count
// as ready without having got its port. Error conflict.
[[nodiscard]] Status check_port(Supervisor& supervisor, const DaemonSpec& spec);

// Also ok: a daemon without a readiness check that may end, and has ended with status 0.
// Until the deadline spec.readiness.timeout has passed. Errors: timeout, or unavailable as soon as
// the daemon has ended for good, ended unseen (ensure() starts it), or ends again and again (3
// times; 8 with a readiness check of its own); both end with the last line of its output.
[[nodiscard]] Status wait_until_ready(Supervisor& supervisor, const DaemonSpec& spec);

}  // namespace consort::agent
