// What a page in a browser may send to a controller without protection on the same machine:
// nothing, unless the controller itself made it.
#include "controller/own_pages.h"

#include <gtest/gtest.h>

namespace consort::controller {
namespace {

TEST(OwnPages, ProgramsOfThisMachineGetThrough) {
  for (const char* host : {"127.0.0.1:8440", "localhost:8440", "LOCALHOST", "[::1]:8440", "[::1]",
                           "127.0.0.1", "127.8.9.1:1"})
    EXPECT_TRUE(check_no_foreign_page({{"Host", host}})) << host;
  EXPECT_TRUE(check_no_foreign_page({})) << "HTTP/1.0";
  EXPECT_TRUE(
      check_no_foreign_page({{"Host", "localhost:8440"}, {"Origin", "http://localhost:8440"}}));
}

TEST(OwnPages, NamesThatSomebodyLetsPointHereDoNot) {
  for (const char* host : {"evil.example:8440", "evil.example", "localhost.evil.example:8440",
                           "127.0.0.1.evil.example", "10.0.0.1:8440", "", ":8440", "[::1", "x:y:z",
                           "127.0.0.1:8440@evil.example", "evil.example\n127.0.0.1"})
    EXPECT_EQ(check_no_foreign_page({{"Host", host}}).error().code(), ErrorCode::forbidden) << host;
}

TEST(OwnPages, PagesOfOtherSitesDoNot) {
  for (const char* origin : {"https://evil.example", "null", "", "http://localhost:3000",
                             "https://localhost:8440", "http://127.0.0.1:8440", "localhost:8440"})
    EXPECT_EQ(
        check_no_foreign_page({{"Host", "localhost:8440"}, {"Origin", origin}}).error().code(),
        ErrorCode::forbidden)
        << origin;
  EXPECT_FALSE(check_no_foreign_page({{"Origin", "http://"}}));
  // An image, of which nothing but this tells.
  for (const char* site : {"cross-site", "same-site", ""})
    EXPECT_FALSE(check_no_foreign_page({{"Host", "localhost:8440"}, {"Sec-Fetch-Site", site}}));
  for (const char* site : {"same-origin", "none"})
    EXPECT_TRUE(check_no_foreign_page({{"Host", "localhost:8440"}, {"Sec-Fetch-Site", site}}));
}

}  // namespace
}  // namespace consort::controller
