// consort-sim: runs seeds of the simulation, or replays one with all that happens.
//   consort-sim --seeds FIRST COUNT      consort-sim --replay SEED
#include <fmt/format.h>

#include <cstdlib>
#include <cstring>

#include "sim/story.h"

int main(int argc, char** argv) {
  using namespace consort::sim;
  const auto number = [](const char* text) { return std::strtoull(text, nullptr, 10); };
  if (argc == 3 && std::strcmp(argv[1], "--replay") == 0) {
    bool good = true;
    for (const auto story : {run_story, run_backup_story}) {
      const StoryOutcome outcome = story(number(argv[2]), Tracing::on);
      for (const Violation& violation : outcome.violations)
        fmt::print("seed {}: {} {}\n", argv[2], violation.invariant, violation.text);
      fmt::print("{}\n", outcome.told);
      good = good && outcome.violations.empty();
    }
    return good ? 0 : 1;
  }
  if (argc != 4 || std::strcmp(argv[1], "--seeds") != 0) {
    fmt::print(stderr, "usage: consort-sim --seeds FIRST COUNT | --replay SEED\n");
    return 64;
  }
  std::uint64_t failed = 0;
  const std::uint64_t first = number(argv[2]);
  const std::uint64_t count = number(argv[3]);
  for (std::uint64_t seed = first; seed < first + count; ++seed) {
    std::vector<Violation> violations = run_story(seed).violations;
    const std::vector<Violation> more = run_backup_story(seed).violations;
    violations.insert(violations.end(), more.begin(), more.end());
    if (violations.empty()) continue;
    ++failed;
    for (const Violation& violation : violations)
      fmt::print("seed {}: {} {}\n", seed, violation.invariant, violation.text);
    fmt::print("  replay it: consort-sim --replay {}\n", seed);
  }
  fmt::print("{} passed, {} failed\n", count - failed, failed);
  return failed == 0 ? 0 : 1;
}
