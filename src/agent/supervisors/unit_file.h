// The text of a daemon's systemd unit. Pure.
#pragma once

#include "agent/supervisors/supervisor.h"

namespace consort::agent {

[[nodiscard]] std::string unit_name(const std::string& daemon);  // "consort-web.service"
// Error invalid_input: a value that a unit file cannot hold (a line end, a NUL byte).
[[nodiscard]] Result<std::string> render_unit(const DaemonSpec& spec);
// The digest that render_unit wrote; none when there is none.
[[nodiscard]] Digest digest_in_unit(std::string_view unit);

}  // namespace consort::agent
