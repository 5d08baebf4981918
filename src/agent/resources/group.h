// The resource type `group`; its fields are read in parse_group(), see docs/reference for all of
// them.
#pragma once

#include "agent/resource.h"

namespace consort::agent {

[[nodiscard]] Result<std::unique_ptr<Resource>> parse_group(JsonReader& reader,
                                                            const fs::path& root);

[[nodiscard]] Status revert_group(const Context& context, const Json& record);

}  // namespace consort::agent
