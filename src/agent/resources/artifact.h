// The resource type `artifact`: a file or tree that a service has brought along, unpacked in the
// agent's own folder. It comes of the manifest; nobody writes it into a site. What was changed or
// taken away there is put back (a changed file is backed up, what is in the way set aside); what is
// there besides (a program's cache, say) stays, and what other resources decide on is theirs. No
// other resource waits for it: where it cannot be put back, the rest may well do without.
#pragma once

#include "agent/resource.h"

namespace consort::agent {

// Whether another resource decides on this place in an artifact: one of `claimed`, or one below a
// place that is `owned` with all in it. Paths as resources have them (normal_path()).
[[nodiscard]] bool belongs_to_others(const PathSet& claimed, const PathSet& owned,
                                     const std::string& artifact, const std::string& place);

// { path, kind: tree|file, digest }.
[[nodiscard]] Result<std::unique_ptr<Resource>> parse_artifact(JsonReader& reader,
                                                               const fs::path& root);

}  // namespace consort::agent
