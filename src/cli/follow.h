// Watching a rollout until it ends, through restarts of the controller.
#pragma once

#include "cli/command.h"
#include "http/client.h"
#include "rollout/rollout.h"

namespace consort::cli {

// Shows progress on stderr (JSON lines with --json) and the end on stdout. The exit status of the
// result.
[[nodiscard]] Result<int> follow(http::Client& client, const std::string& rollout,
                                 const Arguments& arguments);

[[nodiscard]] int exit_status_of(rollout::Result result);

}  // namespace consort::cli
