// The resource type `user`; its fields are read in parse_user(), see docs/reference for all of
// them.
#pragma once

#include "agent/resource.h"

namespace consort::agent {

[[nodiscard]] Result<std::unique_ptr<Resource>> parse_user(JsonReader& reader,
                                                           const fs::path& root);

[[nodiscard]] Status revert_user(const Context& context, const Json& record);

}  // namespace consort::agent
