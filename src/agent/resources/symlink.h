// The resource type `symlink`; its fields are read in parse_symlink(), see docs/reference for all
// of them.
#pragma once

#include "agent/resource.h"

namespace consort::agent {

[[nodiscard]] Result<std::unique_ptr<Resource>> parse_symlink(JsonReader& reader,
                                                              const fs::path& root);

}  // namespace consort::agent
