// Daemons as systemd units over D-Bus (sd-bus): consort-<name>.service, hardened by default,
// enabled so that they come back after a reboot. systemd restarts what crashes; this reports it.
// Needs root.
#pragma once

#include "agent/supervisors/supervisor.h"

namespace consort::agent {

struct SystemdOptions {
  fs::path state_folder;                         // what was loaded when
  fs::path unit_folder = "/etc/systemd/system";  // or /run/systemd/system: forgotten at reboot
};

// Errors: unavailable when the system bus cannot be reached.
[[nodiscard]] Result<std::unique_ptr<Supervisor>> make_systemd_supervisor(SystemdOptions options);

}  // namespace consort::agent
