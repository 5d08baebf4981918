// Control groups of a lab's hosts, in every hierarchy that is mounted (versions 1 and 2): a systemd
// in a container takes its group for the root of all groups, so each host needs one of its own.
#pragma once

#include <string>

namespace consort::platform {

// Makes the group `path` ("consort-lab/NAME/HOST") and moves the calling process into it.
// Hierarchies that do not permit it are left out. Called between fork and exec of a process without
// threads.
void join_control_group(const std::string& path);
// Kills what is still in it and removes it with everything below.
void remove_control_group(const std::string& path);

}  // namespace consort::platform
