// The root file system that nspawn hosts start from: Debian 12 with systemd and the servers that
// examples and tests need, made once by mmdebstrap and kept in a cache, keyed by its recipe.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/files.h"

namespace consort::platform {

using Tell = std::function<void(std::string_view)>;  // gets one line about what is being done

// ${XDG_CACHE_HOME}/consort, /var/cache/consort for root, ~/.cache/consort for others.
[[nodiscard]] fs::path cache_folder();
// Its folder, made first when it is not there (a minute or so; the packages come from the network).
// Waits while another process makes it. Errors: unsupported without mmdebstrap, io with
// mmdebstrap's last lines.
[[nodiscard]] Result<fs::path> root_image(const Tell& tell);

}  // namespace consort::platform
