// Mounts that a lab makes, found again by where they are.
#pragma once

#include "base/error.h"
#include "base/files.h"

namespace consort::platform {

[[nodiscard]] Status mount_tmpfs(const fs::path& at);
// A writable view of `lower`: changes go to `upper` (with `work` beside it on the same file
// system).
[[nodiscard]] Status mount_overlay(const fs::path& lower, const fs::path& upper,
                                   const fs::path& work, const fs::path& at);
// Everything that is mounted at or below `folder`, the last first. Errors: io when something stays
// mounted.
[[nodiscard]] Status unmount_below(const fs::path& folder);

}  // namespace consort::platform
