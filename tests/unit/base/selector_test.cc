// Label selectors: what they match, and where their mistakes are.
#include "base/selector.h"

#include <gmock/gmock.h>

namespace consort {
namespace {

using ::testing::HasSubstr;

const LabelMap kHost = {{"os.id", "debian"}, {"arch", "amd64"}, {"rack", ""}};

bool matches(const std::string& text) {
  const auto selector = Selector::parse(text);
  EXPECT_TRUE(selector) << text;
  return selector && selector->matches(kHost);
}

TEST(Selector, MatchesByEachOperator) {
  EXPECT_TRUE(matches(""));
  EXPECT_TRUE(matches("os.id in (debian,ubuntu), arch=amd64, !gpu"));
  EXPECT_TRUE(matches("arch == amd64"));
  EXPECT_TRUE(matches("arch!=arm64"));
  EXPECT_TRUE(matches("os.id notin ( fedora )"));
  EXPECT_TRUE(matches("arch"));
  EXPECT_TRUE(matches("rack="));
  EXPECT_FALSE(matches("arch=arm64"));
  EXPECT_FALSE(matches("!arch"));
  EXPECT_FALSE(matches("os.id in (debian), arch=arm64"));
}

TEST(Selector, ATermOverAnUndefinedLabelIsFalseExceptItsAbsence) {
  EXPECT_FALSE(matches("gpu"));
  EXPECT_FALSE(matches("gpu!=nvidia"));
  EXPECT_FALSE(matches("gpu notin (nvidia)"));
  EXPECT_TRUE(matches("!gpu"));
}

TEST(Selector, WordsOfTheSyntaxMayBeLabels) {
  const LabelMap host = {{"in", "in"}, {"notin", "x"}};
  EXPECT_TRUE(Selector::parse("in in (in), notin=x")->matches(host));
}

TEST(Selector, MistakesHaveAColumn) {
  const auto bad = Selector::parse("arch=amd64 gpu");
  ASSERT_FALSE(bad);
  EXPECT_THAT(bad.error().message(), HasSubstr("column 12"));
  for (const std::string text : {",", "a,", "a in", "a in (", "a in (b", "a in ()", "a in (b c)",
                                 "!", "a!b", "a like b", "=b", "a=b=c", "ä=b"})
    EXPECT_FALSE(Selector::parse(text)) << text;
}

TEST(Selector, ItsSizeIsBounded) {
  EXPECT_EQ(Selector::parse(std::string(5000, 'a')).error().code(), ErrorCode::too_large);
  std::string many = "a";
  for (int i = 0; i < 64; ++i) many += ",a";
  EXPECT_FALSE(Selector::parse(many));
}

}  // namespace
}  // namespace consort
