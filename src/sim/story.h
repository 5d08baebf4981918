// A generated story: a random site is deployed, upgraded under faults, and rolled back. What every
// seed of the simulation runs.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "sim/world.h"

namespace consort::sim {

struct StoryOutcome {
  std::vector<Violation> violations;
  std::string told;  // one line: what happened
};

enum class Tracing : std::uint8_t { off, on };
[[nodiscard]] StoryOutcome run_story(std::uint64_t seed, Tracing tracing = Tracing::off);
// The same site; after the upgrade the controller's store is put back from a backup.
[[nodiscard]] StoryOutcome run_backup_story(std::uint64_t seed, Tracing tracing = Tracing::off);

}  // namespace consort::sim
