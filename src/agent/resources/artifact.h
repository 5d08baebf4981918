// The resource type `artifact`: a file or tree that a service has brought along, unpacked in the
// agent's own folder. It comes of the manifest; nobody writes it into a site. What was changed or
// taken away there is put back; what is there besides (a program's cache, say) stays, and what
// other resources decide on is theirs.
#pragma once

#include "agent/resource.h"

namespace consort::agent {

// { path, kind: tree|file, digest }.
[[nodiscard]] Result<std::unique_ptr<Resource>> parse_artifact(JsonReader& reader,
                                                               const fs::path& root);

}  // namespace consort::agent
