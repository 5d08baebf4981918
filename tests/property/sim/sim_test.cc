// Whole fleets in virtual time under seeded disasters: crashes at every journal write, lost, late
// and doubled messages, broken hooks. Checks I1, I2, I3, I5, I7, I8, I9, I10, I11, I12
// (src/sim/invariants.cc, story.cc).
#include <gtest/gtest.h>

#include <set>

#include "sim/story.h"
#include "sim/world.h"

namespace consort::sim {
namespace {

// Sanitizers make a story many times slower; `./dev test` runs 1000 more in the release build.
#ifdef __SANITIZE_ADDRESS__
constexpr std::uint64_t kSeeds = 40;
#else
constexpr std::uint64_t kSeeds = 300;
#endif

TEST(Simulation, EverySeedKeepsTheInvariants) {
  std::set<std::string> endings;
  for (std::uint64_t seed = 1; seed <= kSeeds; ++seed) {
    const StoryOutcome outcome = run_story(seed);
    for (const Violation& violation : outcome.violations) {
      ADD_FAILURE() << "seed " << seed << ": " << violation.invariant << " " << violation.text
                    << "\n  replay it: consort-sim --replay " << seed;
    }
    endings.insert(outcome.told.substr(outcome.told.rfind(' ') + 1));
  }
  // Stories that never fail would prove nothing.
  EXPECT_TRUE(endings.contains("done"));
  EXPECT_TRUE(endings.contains("reverted"));
}

TEST(Simulation, AStoreFromABackupChangesNoHostByItself) {
  for (std::uint64_t seed = 1; seed <= kSeeds; ++seed) {
    for (const Violation& violation : run_backup_story(seed).violations) {
      ADD_FAILURE() << "seed " << seed << ": " << violation.invariant << " " << violation.text
                    << "\n  replay it: consort-sim --replay " << seed;
    }
  }
}

TEST(Simulation, AControllerThatStoodStillTakesNoLiveHostForGone) {
  // Given a calm fleet,
  World world(7, {});
  for (int i = 0; i < 20; ++i) world.add_host("h" + std::to_string(i));
  ASSERT_TRUE(world.run(minutes(1)));
  // when the controller's process is stopped for longer than its patience, and runs again,
  world.stall_controller(seconds(40));
  ASSERT_TRUE(world.run(minutes(5), minutes(4)));
  // then it knows that it was deaf, and nobody was ever called unreachable.
  EXPECT_EQ(world.times_told("stalled"), 1);
  EXPECT_EQ(world.times_told("host-unreachable"), 0);
}

TEST(Simulation, ASeedReplaysExactly) {
  const StoryOutcome once = run_story(7);
  const StoryOutcome again = run_story(7);
  EXPECT_EQ(once.told, again.told);
}

}  // namespace
}  // namespace consort::sim
