// simulated rollouts a second: what the property tests and rehearsals live on
#include <fmt/format.h>

#include "bench/measure.h"
#include "sim/story.h"

int main() {
  using namespace consort;
  using namespace consort::bench;
  constexpr int kSeeds = 200;
  Record record("sim");
  say(fmt::format("{} seeds, each: a deploy, an upgrade under faults, a rollback", kSeeds));
  std::vector<double> each;
  const Cost cost = median_cost(3, [&] {
    each.clear();
    for (std::uint64_t seed = 1; seed <= kSeeds; ++seed) {
      const Cost story = cost_of([&] {
        const sim::StoryOutcome outcome = sim::run_story(seed);
        if (!outcome.violations.empty())
          give_up(fmt::format("seed {} breaks {}", seed, outcome.violations.front().invariant));
      });
      each.push_back(story.wall * 1e3);
    }
  });
  record.add({"stories", kSeeds / cost.wall, "1/s", {}, "", {}, Figure::Better::more});
  record.add({"one story, p50", median(each), "ms", {}, "", {}});
  record.add({"one story, p99", percentile(each, 0.99), "ms", {}, "", {}});
  record.print();
  return 0;
}
