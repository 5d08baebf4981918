// The resource type `directory`; its fields are read in parse_directory(), see docs/reference for
// all of them.
#pragma once

#include "agent/resource.h"

namespace consort::agent {

[[nodiscard]] Result<std::unique_ptr<Resource>> parse_directory(JsonReader& reader,
                                                                const fs::path& root);

}  // namespace consort::agent
