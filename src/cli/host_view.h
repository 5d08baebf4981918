// A host as people see it. Pure, apart from colours: what is shown of it can be tested.
#pragma once

#include <string>

#include "base/json.h"
#include "base/time.h"

namespace consort::cli {

// "up", "unreachable"; or how it stands with its being let in. `host`: the record of the controller
// (json.md, host).
[[nodiscard]] std::string host_state(const Json& host);

// The card of `host show`: aligned labels, then what runs there. What is not known is left out.
[[nodiscard]] std::string render_host(const Json& host, Instant now, std::size_t width);

}  // namespace consort::cli
