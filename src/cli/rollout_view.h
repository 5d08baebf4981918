// How a rollout is shown: its steps with times, why they wait, why they failed.
#pragma once

#include <string>

#include "rollout/rollout.h"

namespace consort::cli {

// Steps wave by wave, failures with the last lines of output, the end or the next command. `width`:
// columns, 0: no wrapping. `now` is for what is still under way.
[[nodiscard]] std::string render_rollout(const rollout::Rollout& rollout, Instant now,
                                         std::size_t width);

// Host, instance, step, exit status, the last lines of output, the next command, for each failure.
[[nodiscard]] std::string render_failures(const rollout::Rollout& rollout, std::size_t width);

// "done", "under way", "going back", "paused", …
[[nodiscard]] std::string rollout_state(const rollout::Rollout& rollout);

// The record of `rollout show --json`, and in parts of what `deploy --json` ends with.
[[nodiscard]] Json rollout_record(const rollout::Rollout& rollout);
[[nodiscard]] Json steps_record(const rollout::Course& course);

}  // namespace consort::cli
