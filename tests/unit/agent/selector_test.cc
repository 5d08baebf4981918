#include "base/selector.h"

#include <gtest/gtest.h>

namespace consort {
namespace {

bool holds(std::string_view text) {
  const LabelMap labels = {{"os.id", "debian"}, {"arch", "amd64"}, {"rack", ""}};
  return Selector::parse(text).value().matches(labels);
}

TEST(Selector, SaysWhatHoldsForTheseLabels) {
  for (const char* yes : {"", "os.id", "os.id in (debian,ubuntu)", "os.id notin (fedora)",
                          "arch=amd64", "arch==amd64", "arch != arm64", "!gpu",
                          "os.id in ( debian ) , arch = amd64, !gpu", "rack="}) {
    EXPECT_TRUE(holds(yes)) << yes;
  }
  for (const char* no : {"gpu", "os.id in (fedora)", "os.id notin (debian)", "arch=arm64",
                         "arch!=amd64", "!arch", "os.id, gpu"}) {
    EXPECT_FALSE(holds(no)) << no;
  }
}

TEST(Selector, WhatIsUndefinedIsFalse) {
  EXPECT_FALSE(holds("gpu notin (nvidia)"));
  EXPECT_FALSE(holds("gpu != nvidia"));
}

TEST(Selector, NamesTheColumnOfAMistake) {
  for (const char* bad :
       {"os.id in", "os.id in (", "os.id in (a", "os.id of (a)", ",", "a,", "a !b", "=x", "!"}) {
    const auto selector = Selector::parse(bad);
    ASSERT_FALSE(selector) << bad;
    EXPECT_EQ(selector.error().code(), ErrorCode::invalid_input);
    EXPECT_NE(selector.error().message().find("column"), std::string::npos);
  }
  EXPECT_FALSE(Selector::parse(std::string(5000, 'a')));
}

}  // namespace
}  // namespace consort
