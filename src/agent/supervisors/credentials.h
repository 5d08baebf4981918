// Credentials of daemons under the native supervisor, as systemd gives them (systemd.exec(5),
// LoadCredential=): copies of files in a folder that only the daemon's user can enter, named by
// CREDENTIALS_DIRECTORY.
#pragma once

#include "agent/supervisors/supervisor.h"
#include "base/files.h"

namespace consort::agent {

inline constexpr std::size_t kCredentialLimit = 1U << 20U;  // bytes of one file, as systemd's
inline constexpr std::size_t kMostCredentials = 64;

// Made anew from the files as they are now. `folder`: the daemon's own of the supervisor; with
// another user, who cannot enter that one, they are below /run. Errors: not_found, too_large,
// refused (a symlink that another user can have made), io.
[[nodiscard]] Result<fs::path> lay_out_credentials(const DaemonSpec& spec, const fs::path& folder);
// Also what a shim left that was killed. Absent is fine.
void remove_credentials(const fs::path& folder);

}  // namespace consort::agent
