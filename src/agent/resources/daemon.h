// The resource type `daemon`; its fields are read in parse_daemon(), see docs/reference for all of
// them.
#pragma once

#include "agent/resource.h"

namespace consort::agent {

[[nodiscard]] Result<std::unique_ptr<Resource>> parse_daemon(JsonReader& reader,
                                                             const fs::path& root);

[[nodiscard]] Status revert_daemon(const Context& context, const Json& record);

}  // namespace consort::agent
