#include "http/message.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "http/router.h"
#include "http/target.h"
#include "http/url.h"

namespace consort::http {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;

TEST(Headers, NamesCompareWithoutCaseAndCannotForgeLines) {
  Headers headers{{"Content-Type", "a"}};
  EXPECT_EQ(headers.get("content-TYPE"), "a");
  headers.set("CONTENT-type", "b\r\nEvil: 1");
  EXPECT_EQ(headers.get("Content-Type"), "bEvil: 1");
  EXPECT_EQ(headers.items().size(), 1U);
  EXPECT_FALSE(headers.has("Evil"));
}

TEST(Response, AnErrorGoesOverTheWireAndComesBack) {
  const Error error = fail(ErrorCode::locked, "shop is being deployed").hint("consort status");
  const Response response = Response::error(error);
  EXPECT_EQ(response.status, 423);
  const Error back = error_of(response);
  EXPECT_EQ(back.code(), ErrorCode::locked);
  EXPECT_EQ(back.message(), "shop is being deployed");
  EXPECT_EQ(back.hint_text(), "consort status");
  EXPECT_TRUE(Response::error(Error(ErrorCode::unavailable, "x")).headers.has("Retry-After"));
  EXPECT_FALSE(response.headers.has("Retry-After"));
}

TEST(Response, ForeignErrorsAreToldByTheirStatus) {
  const Error error = error_of({404, {}, "<html>nothing</html>"});
  EXPECT_EQ(error.code(), ErrorCode::not_found);
  EXPECT_THAT(error.message(), HasSubstr("404 Not Found: <html>"));
  EXPECT_EQ(json_of({204, {}, ""}).value(), Json());
  EXPECT_FALSE(json_of({200, {}, "{"}));
}

TEST(Target, IsTakenApartAndDecoded) {
  const Target target = parse_target("/v1/hosts/web%201?label=a%3Db&all&x=1&x=2+3").value();
  EXPECT_EQ(target.path, "/v1/hosts/web%201");
  EXPECT_THAT(target.query, ElementsAre(Pair("all", ""), Pair("label", "a=b"), Pair("x", "2 3")));
  EXPECT_EQ(parse_target("http://host:80/a?b=c").value().path, "/a");
  EXPECT_EQ(parse_target("http://host").value().path, "/");
  for (const char* bad : {"", "a", "/?a=%", "/?a=%1", "/?a=%zz", "/?a=%00"})
    EXPECT_FALSE(parse_target(bad)) << bad;
  EXPECT_EQ(percent_decode(percent_encode("a/b c%ü")).value(), "a/b c%ü");
  EXPECT_EQ(percent_decode("a%2").has_value(), false);
  EXPECT_EQ(percent_decode("%41").value(), "A");
}

TEST(Url, LoopbackIsAnAddressAndNotHowANameBegins) {
  for (const char* here : {"127.0.0.1", "127.77.3.1", "::1", "localhost"})
    EXPECT_TRUE(is_loopback(here)) << here;
  for (const char* elsewhere :
       {"128.0.0.1", "127.example.com", "127.1", "::2", "::", "", "10.0.0.1"})
    EXPECT_FALSE(is_loopback(elsewhere)) << elsewhere;
}

TEST(Url, NamesAServer) {
  EXPECT_EQ(parse_url("http://127.0.0.1:8440").value().authority(), "127.0.0.1:8440");
  EXPECT_EQ(parse_url("http://[::1]:8440/base/").value().base, "/base");
  EXPECT_EQ(parse_url("http://[::1]").value().authority(), "[::1]:80");
  EXPECT_EQ(parse_url("http://name/x?y").value().at.port, 80);
  EXPECT_EQ(parse_url("https://name").value().at.port, 443);
  EXPECT_EQ(parse_url("ftp://name").error().code(), ErrorCode::unsupported);
  for (const char* bad : {"", "name:80", "http://", "http://:80", "http://a:b", "http://a:99999",
                          "http://user@host", "http://::1:80"}) {
    EXPECT_FALSE(parse_url(bad)) << bad;
  }
}

TEST(Router, TheMoreLiteralRouteWins) {
  Router router;
  const auto none = [](const Request&, const Responder&) {};
  router.add("GET", "/v1/{any*}", none, {1});
  router.add("GET", "/v1/hosts/{name}", none, {2});
  router.add("GET", "/v1/hosts/all", none, {3});
  router.add("DELETE", "/v1/hosts/{name}", none, {4});
  EXPECT_EQ(router.find("GET", "/v1/hosts/all").options.body_limit, 3U);
  const auto host = router.find("GET", "/v1/hosts/web%2F1");
  EXPECT_EQ(host.options.body_limit, 2U);
  EXPECT_THAT(host.params, ElementsAre(Pair("name", "web/1")));
  EXPECT_THAT(router.find("GET", "/v1/a/b").params, ElementsAre(Pair("any", "a/b")));
  EXPECT_THAT(router.find("HEAD", "/v1/hosts/all").options.body_limit, 3U);
  const auto wrong = router.find("PUT", "/v1/hosts/web");
  EXPECT_EQ(wrong.handler, nullptr);
  EXPECT_THAT(wrong.allowed, ElementsAre("DELETE", "GET", "HEAD"));
  EXPECT_TRUE(router.find("GET", "/v2").allowed.empty());
  EXPECT_TRUE(router.find("DELETE", "/v1/hosts/").allowed ==
              std::vector<std::string>({"GET", "HEAD"}));
}

}  // namespace
}  // namespace consort::http
