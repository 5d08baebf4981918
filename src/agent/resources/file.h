// The resource type `file`; its fields are read in parse_file(), see docs/reference for all of
// them.
#pragma once

#include "agent/resource.h"

namespace consort::agent {

[[nodiscard]] Result<std::unique_ptr<Resource>> parse_file(JsonReader& reader,
                                                           const fs::path& root);

}  // namespace consort::agent
