// The agent's records of an earlier life, as the next one finds them.
#include <gmock/gmock.h>

#include "agent/caretaker.h"

namespace consort::agent {
namespace {

using ::testing::HasSubstr;

TEST(Records, AFolderThatCannotBeReadIsNotTakenForAHostOnWhichNothingRuns) {
  const TempFolder state = TempFolder::create("consort-records-").value();
  const auto load = [&] { return Caretaker::load(state.path(), [](const std::string&) {}); };
  EXPECT_TRUE(load().value().empty()) << "the first start has none";
  for (const char* name : {"instances", "kept"}) {
    // Given something that cannot be listed, by root either,
    ASSERT_TRUE(write_file_atomic(state.path() / name, ""));
    const auto records = load();
    ASSERT_FALSE(records);
    EXPECT_THAT(render_error(records.error()), HasSubstr("cannot list"));
    EXPECT_THAT(render_error(records.error()), HasSubstr("does not start without them"));
    fs::remove(state.path() / name);
  }
  fs::create_directories(state.path() / "instances");
  ASSERT_TRUE(write_file_atomic(state.path() / "instances/shop.json", "{}"));
  EXPECT_EQ(load().value(), (Store{{"instances/shop", "{}"}}));
}

}  // namespace
}  // namespace consort::agent
