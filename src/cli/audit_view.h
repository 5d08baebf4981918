// The audit log as people see it. Pure, apart from colours.
#pragma once

#include <string>
#include <vector>

#include "access/audit.h"

namespace consort::cli {

// A table where it fits, and in a pipe (width 0); else what was done, with who did it below.
[[nodiscard]] std::string render_audit(const std::vector<access::AuditEntry>& entries,
                                       std::size_t width);

}  // namespace consort::cli
