// Times (RFC 3339, UTC) and durations.
#include "base/time.h"

#include <gmock/gmock.h>

namespace consort {
namespace {

TEST(Time, InstantsAreReadBackAsTheyAreWritten) {
  for (const std::string text :
       {"2026-01-31T12:00:00.123Z", "1970-01-01T00:00:00.000Z", "2024-02-29T23:59:59.999Z",
        "1969-12-31T23:59:59.999Z", "0005-04-21T09:46:40.000Z", "9999-12-31T23:59:59.999Z"}) {
    const auto instant = parse_instant(text);
    ASSERT_TRUE(instant) << text;
    EXPECT_EQ(format_instant(*instant), text);
  }
  EXPECT_EQ(format_instant(*parse_instant("2026-01-31T12:00:00Z")), "2026-01-31T12:00:00.000Z");
  EXPECT_EQ(format_instant(*parse_instant("2026-01-31T12:00:00.5Z")), "2026-01-31T12:00:00.500Z");
  EXPECT_EQ(format_instant(*parse_instant("2026-01-31T12:00:00.123456789Z")),
            "2026-01-31T12:00:00.123Z");
}

TEST(Time, WhatIsNoTimeIsRefused) {
  for (const std::string bad :
       {"", "today", "2026-01-31", "2026-01-31T12:00:00", "2026-01-31T12:00:00+01:00",
        "2026-13-01T00:00:00Z", "2026-00-01T00:00:00Z", "2026-02-30T00:00:00Z",
        "2025-02-29T00:00:00Z", "2026-01-31T24:00:00Z", "2026-01-31T12:60:00Z",
        "2026-01-31T12:00:00.Z", "2026-1-31T12:00:00Z", "2026- 1-31T12:00:00Z",
        "-026-01-31T12:00:00Z", "2026-01-31T12:00:00Zoulou", " 2026-01-31T12:00:00Z"})
    EXPECT_FALSE(parse_instant(bad)) << bad;
  EXPECT_FALSE(parse_instant("2026-01-31T12:00:00." + std::string(43, '0') + "Zjunk"));
}

TEST(Time, DurationsAreSumsOfUnits) {
  EXPECT_EQ(*parse_duration("500ms"), Duration{500});
  EXPECT_EQ(*parse_duration("90s"), seconds(90));
  EXPECT_EQ(*parse_duration("1h30m"), minutes(90));
  EXPECT_EQ(*parse_duration("7d"), hours(168));
  EXPECT_EQ(*parse_duration("0s"), Duration{0});
  EXPECT_EQ(*parse_duration("3650d"), hours(24 * 3650));
}

TEST(Time, WhatIsNoDurationIsRefusedWithExamples) {
  for (const std::string bad : {"", "90", "s", "-1s", "1.5h", "1 h", "1y", "1S", "3651d", "1h30",
                                "99999999999999999999s", "9223372036854775807ms"})
    EXPECT_FALSE(parse_duration(bad)) << bad;
  EXPECT_THAT(parse_duration("soon").error().hint_text(), ::testing::HasSubstr("1h30m"));
}

TEST(Time, DurationsAreWrittenExactlyAndForPeople) {
  EXPECT_EQ(format_duration(minutes(2)), "120s");
  EXPECT_EQ(format_duration(Duration{1500}), "1500ms");
  EXPECT_EQ(human_duration(Duration{450}), "450 ms");
  EXPECT_EQ(human_duration(Duration{3200}), "3.2 s");
  EXPECT_EQ(human_duration(Duration{59'990}), "59.9 s");
  EXPECT_EQ(human_duration(seconds(125)), "2 m 05 s");
  EXPECT_EQ(human_duration(minutes(190)), "3 h 10 m");
  EXPECT_EQ(human_duration(hours(100)), "4 d");
}

}  // namespace
}  // namespace consort
