// Guesses, names, lines and diffs.
#include "base/text.h"

#include <gmock/gmock.h>

namespace consort {
namespace {

using ::testing::ElementsAre;

TEST(Text, GuessesWhatWasMeantButNotWildly) {
  const std::vector<std::string> names = {"postgres", "proxy", "web"};
  EXPECT_EQ(did_you_mean("postgers", names), "postgres");
  EXPECT_EQ(did_you_mean("porxy", names), "proxy");
  EXPECT_EQ(did_you_mean("wbe", names), "web");
  EXPECT_EQ(did_you_mean("elephant", names), "");
  EXPECT_EQ(did_you_mean("x", names), "");
  EXPECT_EQ(did_you_mean(std::string(10'000, 'p'), names), "") << "and not slowly";
}

TEST(Text, DistancesCountExchangedNeighboursOnce) {
  EXPECT_EQ(edit_distance("", ""), 0U);
  EXPECT_EQ(edit_distance("", "abc"), 3U);
  EXPECT_EQ(edit_distance("ab", "ba"), 1U);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3U);
}

TEST(Text, NamesAreOfOneKind) {
  for (const std::string_view good : {"a", "web-1", "h1.example.org", "A_b", "9"})
    EXPECT_TRUE(is_name(good)) << good;
  for (const std::string_view bad : {"", "-a", ".a", "a b", "a/b", "ü", "../x"})
    EXPECT_FALSE(is_name(bad)) << bad;
  EXPECT_TRUE(is_name(std::string(63, 'a')));
  EXPECT_FALSE(is_name(std::string(64, 'a')));
}

TEST(Text, WhatIsTooLongIsCutBetweenCharacters) {
  EXPECT_EQ(beginning_of("short", 5), "short");
  EXPECT_EQ(end_of("short", 5), "short");
  EXPECT_EQ(beginning_of("much too long", 7), "much…");
  EXPECT_EQ(end_of("much too long", 7), "…long");
  for (std::size_t most = 0; most < 12; ++most) {
    for (const std::string& text : {beginning_of("aäö€🎵üßé", most), end_of("aäö€🎵üßé", most)}) {
      EXPECT_LE(text.size(), most);
      EXPECT_TRUE(is_utf8(text)) << text;
    }
  }
}

TEST(Text, TheLastLinesAreTheLastLines) {
  EXPECT_EQ(last_lines("a\nb\nc\n", 2), "b\nc");
  EXPECT_EQ(last_lines("a", 5), "a");
  EXPECT_EQ(last_lines("", 5), "");
  EXPECT_EQ(last_lines("a\nb", 0), "");
}

TEST(Text, SplitJoinAndTrim) {
  EXPECT_THAT(split("a,,b", ','), ElementsAre("a", "", "b"));
  EXPECT_THAT(split("", ','), ElementsAre(""));
  EXPECT_EQ(join({"a", "b"}, " → "), "a → b");
  EXPECT_EQ(trim(" \t x y \n"), "x y");
}

TEST(Text, APathHasOnePlainSpelling) {
  EXPECT_EQ(plain_path("//etc/./conf.d//x/"), "/etc/conf.d/x");
  EXPECT_EQ(plain_path("/./"), "/");
  EXPECT_EQ(plain_path("/a/../b/..c"), "/a/../b/..c") << "what is above may be a link";
  EXPECT_EQ(plain_path("${host.labels.at}//x"), "${host.labels.at}/x");
  EXPECT_EQ(plain_path(""), "");
}

TEST(Text, DiffsShowThreeLinesAround) {
  EXPECT_EQ(unified_diff("a\n", "a\n"), "");
  EXPECT_EQ(unified_diff("1\n2\n3\n4\n5\n6\n", "1\n2\n3\n4\nfive\n6\n"),
            "@@ -2 +2 @@\n 2\n 3\n 4\n-5\n+five\n 6\n");
  EXPECT_EQ(unified_diff("a", "a\n"), "@@ only the final newline differs @@\n");
}

TEST(Text, GlobsMatchWholeTexts) {
  EXPECT_TRUE(glob_match("web*", "web12"));
  EXPECT_TRUE(glob_match("w[ab]?", "wax"));
  EXPECT_FALSE(glob_match("web", "web1"));
}

TEST(Text, WhatOthersWroteSteersNoTerminal) {
  EXPECT_EQ(printable("a\nb\tc\r\x1b[2J\x7f", Lines::one), "a b\tc??[2J?");
  EXPECT_EQ(printable("a\nb", Lines::many), "a\nb");
  EXPECT_EQ(printable("ü, €, 😀, …", Lines::one), "ü, €, 😀, …");
  EXPECT_EQ(printable("\xc2\x9b"
                      "31m",
                      Lines::one),
            "\xc2\xbf"
            "31m");
  // The same as one byte, and half a character at the end
  EXPECT_EQ(printable("\x9b"
                      "31m ü\xc3",
                      Lines::one),
            "?31m ü?");
  EXPECT_EQ(printable("a\u202eb\u2066c\u2028d", Lines::one), "a\ufffdb\ufffdc\ufffdd");
}

TEST(Text, Utf8IsWellFormedOrNot) {
  EXPECT_TRUE(is_utf8("plain, ü, €, 😀"));
  for (const std::string_view bad :
       {"\xff", "\xc0\xaf", "\xed\xa0\x80", "\xe2\x82", "\xf5\x80\x80\x80"})
    EXPECT_FALSE(is_utf8(bad));
}

}  // namespace
}  // namespace consort
