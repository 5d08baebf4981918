// What a host would say to a manifest, without asking it.
#pragma once

#include <vector>

#include "fleet/fleet.h"
#include "plan/manifest.h"

namespace consort::cli {

// What an agent refuses of `manifest`, found by the agent's own code. Name, address and labels are
// those of `host` (null where the service has none); for facts, and for labels that only the agent
// knows, sample values stand in: a mistake is one that no sample mends.
[[nodiscard]] std::vector<Error> mistakes_on_host(const plan::Manifest& manifest,
                                                  const fleet::Host* host);

}  // namespace consort::cli
