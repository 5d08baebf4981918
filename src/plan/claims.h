// What a service claims on a host for itself alone: paths, ports, users. Two services that claim
// the same thing with different wishes cannot live on one host.
#pragma once

#include "plan/generation.h"
#include "plan/manifest.h"

namespace consort::plan {

// Error conflict: names the host, both services and the thing.
[[nodiscard]] Status check_claims(const Generation& wanted,
                                  const std::map<Digest, Manifest>& manifests);

}  // namespace consort::plan
