// What a request to plan or to deploy says, read from its JSON: bounded, pure. It comes from the
// network.
#pragma once

#include "controller/core.h"

namespace consort::controller {

// Without the manifests, which the store has; who asks is the gate's to say. Error invalid_input,
// with the place.
[[nodiscard]] Result<DeployRequest> deploy_request_from_json(const Json& json);

}  // namespace consort::controller
