// What is kept of what happens, when not all can be.
#include "controller/event_shares.h"

#include "unit/controller/stage.h"

namespace consort::controller {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

class ControllerEvents : public tests::Stage {
 protected:
  static tests::Model site() {
    tests::Model model;
    model.host("w1", "web").host("w2", "web");
    model.service("app", "web", "v1");
    return model;
  }
  [[nodiscard]] std::size_t bytes_of_log() const {
    std::size_t out = 0;
    for (const auto& [key, value] : store) out += key.starts_with("log/") ? value.size() : 0;
    return out;
  }
};

TEST_F(ControllerEvents, ANoisyHostPushesNobodyElseOutOfTheLog) {
  hosts_join(site());
  const auto kept = [this](const std::string& host) {
    std::size_t out = 0;
    for (const auto& [key, value] : store) {
      if (key.starts_with("log/") && parse_json(value)->string_or("host") == host) ++out;
    }
    return out;
  };
  const auto tell = [this](const std::string& host, int first, int count) {
    Json::Array events;
    for (int i = 0; i < count; ++i)
      events.push_back(Json::object(
          {{"n", first + i}, {"at", format_instant(now)}, {"kind", "repaired"}, {"text", "x"}}));
    report(host, events);
  };
  tell("w2", 1, 3);
  const std::size_t quiet = kept("w2");
  const std::size_t own = kept("");
  // When one host tells more than there is room for, also across a restart,
  for (int i = 0; i < 4; ++i) tell("w1", i * 1000 + 1, 1000);
  restart();
  for (int i = 4; i < 8; ++i) tell("w1", i * 1000 + 1, 1000);
  // then it is its own events that go, and the log is full but no larger.
  EXPECT_EQ(kept("w2"), quiet);
  EXPECT_GE(kept(""), own);
  EXPECT_GT(kept("w1"), 4000U);
  std::size_t all = 0;
  for (const auto& [key, value] : store) all += key.starts_with("log/") ? 1U : 0U;
  EXPECT_EQ(all, kKeptEvents);
}

TEST_F(ControllerEvents, AHostThatTellsMuchAtOnceFillsNeitherTheStoreNorTheLogOfOthers) {
  hosts_join(site());
  report("w2", {Json::object({{"n", 1}, {"kind", "repaired"}, {"text", "quiet"}})});
  // Given a hostile agent, whose events are as long as a report may be,
  const std::string secret = "the end of it";
  Json::Array events;
  for (int i = 0; i < 200; ++i)
    events.push_back(Json::object({{"n", i + 1},
                                   {"at", std::string(100'000, '9')},
                                   {"kind", "repaired"},
                                   {"text", std::string(20'000, 'x') + secret}}));
  for (int i = 0; i < 20; ++i) {
    for (Json& event : events) event["n"] = event.int_or("n") + 1000;
    report("w1", events);
  }
  // then each is cut, all together have their bounds, and the others keep theirs.
  EXPECT_LE(bytes_of_log(), kKeptEvents * (EventShares::kPlaceBytes + 300));
  bool quiet = false;
  for (const auto& [key, value] : store) {
    if (!key.starts_with("log/")) continue;
    EXPECT_LT(value.size(), kMostEventText + 300);
    EXPECT_THAT(value, ::testing::Not(::testing::HasSubstr(secret)));
    quiet = quiet || value.find("quiet") != std::string::npos;
  }
  EXPECT_TRUE(quiet);
  // A new leader counts them in the same way.
  restart();
  report("w1", events);
  EXPECT_LE(bytes_of_log(), kKeptEvents * (EventShares::kPlaceBytes + 300));
}

TEST(EventShares, TheLargestGivesWayAndAmongEqualsTheOldest) {
  EventShares shares(4);
  EXPECT_THAT(shares.add(1, "a", 0), IsEmpty());
  EXPECT_THAT(shares.add(2, "b", 0), IsEmpty());
  EXPECT_THAT(shares.add(3, "b", 0), IsEmpty());
  EXPECT_THAT(shares.add(4, "a", 0), IsEmpty());
  EXPECT_THAT(shares.add(5, "c", 0), ElementsAre(1U))
      << "a and b have two each, and a has the oldest";
  EXPECT_THAT(shares.add(6, "b", 0), ElementsAre(2U));
  EXPECT_THAT(shares.add(7, "d", 0), ElementsAre(3U));
  // a: 4, b: 6, c: 5, d: 7
  EXPECT_THAT(shares.add(8, "e", 0), ElementsAre(4U));
}

TEST(EventShares, ALongEventTakesThePlacesOfSeveral) {
  EventShares shares(4);
  EXPECT_THAT(shares.add(1, "a", 0), IsEmpty());
  EXPECT_THAT(shares.add(2, "a", EventShares::kPlaceBytes - 1), IsEmpty());
  EXPECT_THAT(shares.add(3, "b", EventShares::kPlaceBytes), IsEmpty());
  EXPECT_THAT(shares.add(4, "c", 0), ElementsAre(1U)) << "two places each, and a has the oldest";
  EXPECT_THAT(shares.add(5, "c", 2 * EventShares::kPlaceBytes), ElementsAre(4U, 3U));
  // Who has nothing to give drops what others have, never what has just come.
  EXPECT_THAT(shares.add(6, "d", 100 * EventShares::kPlaceBytes), ElementsAre(5U, 2U));
  EXPECT_THAT(shares.add(7, "e", 0), ElementsAre(6U));
}

}  // namespace
}  // namespace consort::controller
