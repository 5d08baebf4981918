// What an agent refuses of a manifest before it changes anything. `consort check`, `plan` and
// `deploy` ask the same with sample values, so that an operator is told before a host is asked.
#pragma once

#include <vector>

#include "agent/service_files.h"

namespace consort::agent {

// Everything that is wrong with the resources and the daemon of this version on this host, in the
// order of their names; errors name the place in the site ("services.shop.resources.config.path").
// Codes: invalid_input, conflict, refused (the agent's own folders), not_found (a placeholder).
// Touches no file.
[[nodiscard]] std::vector<Error> mistakes_of(const HostIdentity& host, const Version& version);

}  // namespace consort::agent
