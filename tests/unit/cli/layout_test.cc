// Text fits its terminal, and is left alone in a pipe.
#include "cli/layout.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/text.h"

namespace consort::cli {
namespace {

const std::string kSentence = "its daemon has ended and was started again three times";

TEST(Layout, ATimeIsToldWithItsZone) {
  EXPECT_EQ(shown_time("2026-11-21T18:50:44.123Z"), "2026-11-21T18:50:44Z");
  EXPECT_EQ(shown_time_of_day("2026-11-21T18:50:44.123Z"), "18:50:44Z");
  EXPECT_EQ(shown_time(""), "");
  // What is no time is not cut into one.
  EXPECT_EQ(shown_time("before the store was restored"), "before the store was restored");
  EXPECT_EQ(shown_time_of_day("before the store was restored"), "before the store was restored");
  const Instant then = parse_instant("2026-11-21T18:50:44.000Z").value();
  EXPECT_EQ(shown_age("2026-11-21T18:50:44.000Z", then + seconds(2)), "2.0 s ago");
  EXPECT_EQ(shown_age("never", then), "");
}

TEST(Layout, AmountsAreToldInAUnitThatShowsThem) {
  EXPECT_EQ(shown_objects(1, 312), "1 object, 312 bytes");
  EXPECT_EQ(shown_objects(2, 1'312), "2 objects, 1.3 kB");
  EXPECT_EQ(shown_objects(4, 31'000), "4 objects, 31.0 kB") << "and not 0.0 MB";
  EXPECT_EQ(shown_objects(2, 3'140'000), "2 objects, 3.1 MB");
}

TEST(Layout, NothingIsWrappedInAPipe) {
  EXPECT_EQ(wrap(kSentence, 0, 30, "    "), kSentence);
  const Cells row = {"18:50:44", "step-failed", kSentence + " " + kSentence};
  EXPECT_EQ(lay_row(row, column_widths({row}), 0),
            "18:50:44  step-failed  " + kSentence + " " + kSentence + "\n");
}

TEST(Layout, WhatOthersWroteSteersNoTerminal) {
  const std::string evil =
      "done\x1b]0;mine\x07 \x1b[2J\x1b[8m\rforged\x7f \xc2\x9b"
      "1A";
  for (const Colours colours : {Colours::none, Colours::ours})
    EXPECT_EQ(for_people(evil, colours),
              "done?]0;mine? ?[2J?[8m?forged? \xc2\xbf"
              "1A");
  EXPECT_EQ(for_people("ü, €\tand\nlines", Colours::ours), "ü, €\tand\nlines");
  const std::string green = "\x1b[32mgood\x1b[0m \x1b";
  EXPECT_EQ(for_people(green, Colours::ours), "\x1b[32mgood\x1b[0m ?");
  EXPECT_EQ(for_people(green, Colours::none), "good ?");
  EXPECT_EQ(for_people("", Colours::none), "");
}

TEST(Layout, WrappedTextHangsBelowItsBeginning) {
  EXPECT_EQ(wrap("one two three four", 10, 0, "  "), "one two\n  three\n  four");
  EXPECT_EQ(wrap("eleven words", 20, 10, "          "), "eleven\n          words")
      << "ten columns are taken already";
}

TEST(Layout, AWordThatIsLongerThanALineIsBroken) {
  EXPECT_EQ(wrap("sha256:0123456789abcdef", 12, 0, "> "), "sha256:01234\n> 56789abcde\n> f");
}

TEST(Layout, AWordThatDoesNotFitBesideWhatStandsThereGoesBelow) {
  EXPECT_EQ(wrap("eleven words", 20, 16, "  "), "\n  eleven words");
}

TEST(Layout, ACommandIsNotBrokenWhereItHasRoomInALine) {
  EXPECT_EQ(wrap("it is not there; see: consort secret list; or ask", 30, 0, "  "),
            "it is not there; see:\n  consort secret list; or ask");
  EXPECT_EQ(wrap("look at it with `consort secret list`, then", 32, 0, "  "),
            "look at it with\n  `consort secret list`, then");
  EXPECT_EQ(wrap("then: consort deploy --site shop/site.jsonnet", 20, 0, "  "),
            "then: consort deploy\n  --site\n  shop/site.jsonnet")
      << "it is longer than a line";
}

TEST(Layout, AnErrorIsWrappedAndItsExcerptIsNot) {
  const std::string error =
      "error: the site says something that it cannot say\n"
      "  --> a/long/path/of/a/site.jsonnet:12:5\n"
      "   12 | services: { shop: { onn: 'web' } },\n"
      "  hint: see what it may say: consort docs schema\n";
  EXPECT_EQ(wrap_error(error, 30),
            "error: the site says something\n  that it cannot say\n"
            "  --> a/long/path/of/a/site.jsonnet:12:5\n"
            "   12 | services: { shop: { onn: 'web' } },\n"
            "  hint: see what it may say:\n        consort docs schema\n");
  EXPECT_EQ(wrap_error(error, 0), error);
}

TEST(Layout, EscapesAndAccentsTakeNoColumns) {
  EXPECT_EQ(display_width("\x1b[31m✗ größer\x1b[0m"), 8U);
  EXPECT_EQ(cut("größer als das", 7), "größer…");
}

TEST(Layout, AColourGoesOnInTheNextLineAndEndsAtEachBreak) {
  EXPECT_EQ(wrap("\x1b[31mone two\x1b[0m", 10, 5, "  "),
            "\x1b[31mone\x1b[0m\n  \x1b[31mtwo\x1b[0m");
}

TEST(Layout, ARowThatFitsIsOneLineWithoutTrailingSpaces) {
  const std::vector<Cells> rows = {{"shop", "", "web1", ""}, {"db", "2.1", "db1", "sick"}};
  const auto widths = column_widths(rows);
  EXPECT_EQ(lay_row(rows[0], widths, 80), "shop       web1\n");
  EXPECT_EQ(lay_row(rows[1], widths, 80), "db    2.1  db1   sick\n");
}

TEST(Layout, TheLastCellOfARowIsWrappedBelowItself) {
  const Cells row = {"18:50:44", "failed", kSentence};
  EXPECT_EQ(lay_row(row, column_widths({row}), 45),
            "18:50:44  failed  its daemon has ended and\n"
            "                  was started again three\n"
            "                  times\n");
}

TEST(Layout, WhereTheLastCellWouldBeNarrowTheRestGetsLinesOfItsOwn) {
  const Cells row = {"r000003", "2026-11-21T18:50:55", "reverted", kSentence};
  EXPECT_EQ(lay_row(row, column_widths({row}), 48),
            "r000003  2026-11-21T18:50:55  reverted\n"
            "    its daemon has ended and was started again\n"
            "    three times\n");
}

TEST(Layout, NoLineIsEverWiderThanTheTerminal) {
  const Cells row = {"2026-11-21T18:50:44", "transition-began", "payments@warehouse-12",
                     kSentence + " sha256:0123456789abcdef0123456789abcdef0123456789abcdef"};
  for (std::size_t width = 40; width < 160; ++width) {
    for (const std::string& line : split(lay_row(row, column_widths({row}), width), '\n'))
      EXPECT_LE(display_width(line), width) << line;
  }
}

}  // namespace
}  // namespace consort::cli
