// The resource type `command`; its fields are read in parse_command(), see docs/reference for all
// of them.
#pragma once

#include "agent/resource.h"

namespace consort::agent {

[[nodiscard]] Result<std::unique_ptr<Resource>> parse_command(JsonReader& reader,
                                                              const fs::path& root);

}  // namespace consort::agent
