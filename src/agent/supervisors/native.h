// The supervisor for hosts without systemd (and for agents that are not root): one shim process per
// daemon, see shim.h. Daemons outlive the agent; a restarted agent finds them again by pid, start
// time and boot id.
#pragma once

#include "agent/supervisors/supervisor.h"

namespace consort::agent {

struct NativeOptions {
  fs::path state_folder;  // one folder per daemon below it
  std::vector<std::string>
      shim_argv;  // e.g. { "/proc/self/exe", "daemon-shim" }; FOLDER and a descriptor follow
};

[[nodiscard]] Result<std::unique_ptr<Supervisor>> make_native_supervisor(NativeOptions options);

}  // namespace consort::agent
