// What a host is: os.id, os.version, os.name, arch, kernel, hostname, machine.id, boot.id, cpus,
// memory.bytes, init (systemd | other), virtual (container kind or ""). Flat, string → string; a
// fact that cannot be found is left out, so that guards over it are false.
#pragma once

#include "base/files.h"
#include "base/selector.h"

namespace consort::agent {

// os.* and machine.id come from `root`, the rest from the running kernel.
[[nodiscard]] LabelMap gather_facts(const fs::path& root = "/");
[[nodiscard]] bool systemd_is_running();

}  // namespace consort::agent
