// Text fits its terminal, and is left alone in a pipe.
#include "cli/layout.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/text.h"

namespace consort::cli {
namespace {

const std::string kSentence = "its daemon has ended and was started again three times";

TEST(Layout, NothingIsWrappedInAPipe) {
  EXPECT_EQ(wrap(kSentence, 0, 30, "    "), kSentence);
  const Cells row = {"18:50:44", "step-failed", kSentence + " " + kSentence};
  EXPECT_EQ(lay_row(row, column_widths({row}), 0),
            "18:50:44  step-failed  " + kSentence + " " + kSentence + "\n");
}

TEST(Layout, WrappedTextHangsBelowItsBeginning) {
  EXPECT_EQ(wrap("one two three four", 10, 0, "  "), "one two\n  three\n  four");
  EXPECT_EQ(wrap("eleven words", 20, 10, "          "), "eleven\n          words")
      << "ten columns are taken already";
}

TEST(Layout, AWordThatIsLongerThanALineIsBroken) {
  EXPECT_EQ(wrap("sha256:0123456789abcdef", 12, 0, "> "), "sha256:01234\n> 56789abcde\n> f");
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
