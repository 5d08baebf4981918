// JSON in and out: bounds, numbers at their limits, and readers that say where the mistake is.
#include "base/json.h"

#include <gmock/gmock.h>

#include "base/digest.h"
#include "base/json_reader.h"

namespace consort {
namespace {

using ::testing::HasSubstr;

std::string nested(std::size_t depth) { return std::string(depth, '[') + std::string(depth, ']'); }

TEST(Json, DepthIsBounded) {
  EXPECT_TRUE(parse_json(nested(90)));
  EXPECT_FALSE(parse_json(nested(200)));
  EXPECT_FALSE(parse_json(nested(20), "x", {.max_bytes = 1000, .max_depth = 10}));
  EXPECT_FALSE(parse_json(std::string(1'000'000, '[')));
}

TEST(Json, SizeIsBounded) {
  const auto refused = parse_json(std::string(101, ' '), "the plan", {.max_bytes = 100});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), ErrorCode::too_large);
  EXPECT_THAT(refused.error().message(), HasSubstr("the plan has 101 bytes; the limit is 100"));
}

// Two bytes of text may become sixty in memory.
TEST(Json, TheNumberOfValuesIsBounded) {
  const JsonLimits limits{.max_values = 5};
  EXPECT_TRUE(parse_json(R"([1,{"a":"b,c,d,e,f"},[]])", "x", limits));
  for (const char* text :
       {"[1,2,3,4,5]", "[[],[],[],[],[]]", R"({"a":{},"b":{},"c":{},"d":{},"e":0})"}) {
    const auto refused = parse_json(text, "the plan", limits);
    ASSERT_FALSE(refused) << text;
    EXPECT_EQ(refused.error().code(), ErrorCode::too_large);
    EXPECT_THAT(refused.error().message(), HasSubstr("the plan has more than 5 values"));
  }
  std::string many = "[0";
  for (int i = 0; i < 5'000'000; ++i) many += ",0";
  EXPECT_FALSE(parse_json(many + "]"));
}

TEST(Json, OfTwoEqualKeysTheLastWins) { EXPECT_EQ(parse_json(R"({"a":1,"a":2})")->int_or("a"), 2); }

TEST(Json, IntegersAreExactToTheirLimits) {
  for (const std::string text : {"9223372036854775807", "-9223372036854775808", "0", "-1"})
    EXPECT_EQ(parse_json(text)->dump(), text);
  const auto beyond = parse_json("18446744073709551615");
  ASSERT_TRUE(beyond);
  EXPECT_TRUE(beyond->is_double());
  EXPECT_FALSE(beyond->canonical()) << "a digest must not be taken of a rounded number";
}

TEST(Json, FractionsHaveNoCanonicalForm) {
  const auto refused = Json::object({{"a", Json::Array{1, 0.5}}}).canonical();
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message(), HasSubstr("a[1]: 0.5"));
  EXPECT_EQ(*Json(2.0).canonical(), "2");
}

TEST(Json, IntegersOfNumbersThatDoNotFitAreBounded) {
  const Json json = *parse_json(R"({"big":1e300,"small":-1e300})");
  EXPECT_EQ(json.int_or("big", 7), 7);
  EXPECT_EQ(json.int_or("small", 7), 7);
}

TEST(Json, BadUtf8IsRefused) {
  for (const std::string_view bad : {"\"\xff\"", "\"\xc3\"", "\"\xed\xa0\x80\"", "\"\xc0\xaf\""})
    EXPECT_FALSE(parse_json(bad)) << bad;
  EXPECT_FALSE(parse_json(R"("\ud800")")) << "half a surrogate";
  EXPECT_EQ(parse_json(R"("\u00fc")")->as_string(), "ü");
}

TEST(Json, MistakesHaveAPlace) {
  const auto broken = parse_json("{\n  \"a\": 1,\n  b\n}", "site.json");
  ASSERT_FALSE(broken);
  ASSERT_TRUE(broken.error().span());
  EXPECT_EQ(broken.error().span()->file, "site.json");
  EXPECT_EQ(broken.error().span()->line, 3);
  EXPECT_EQ(broken.error().span()->column, 3);
  for (const std::string_view text : {"", " ", "{} {}", "nul", "[1,]", "{\"a\"}", "'a'"})
    EXPECT_FALSE(parse_json(text)) << text;
}

TEST(Json, ErrorsTravelAsJson) {
  Error error = fail(ErrorCode::stale, "the plan is stale").hint("plan again");
  error.add_context("while deploying");
  const Error again = error_from_json(error_to_json(error));
  EXPECT_EQ(render_error(again), render_error(error));
  EXPECT_EQ(error_from_json(Json()).code(), ErrorCode::internal);
}

TEST(JsonReader, TheFirstMistakeIsKeptWithItsPath) {
  const Json json = *parse_json(R"({"port":"80","name":7})");
  JsonReader reader(json, "services.shop");
  EXPECT_EQ(reader.integer("port", 1), 1);
  EXPECT_EQ(reader.string("name", ""), "");
  EXPECT_EQ(reader.finish().error().message(),
            "services.shop.port: expected an integer, found string");
}

TEST(JsonReader, WhatNobodyAskedForIsRefusedWithAGuess) {
  const Json json = *parse_json(R"({"purpose":"x","porpose":"y"})");
  JsonReader reader(json, "site");
  EXPECT_EQ(reader.string("purpose"), "x");
  const Status status = reader.finish();
  ASSERT_FALSE(status);
  EXPECT_THAT(status.error().message(), HasSubstr("site: unknown field 'porpose'"));
  EXPECT_THAT(status.error().hint_text(), HasSubstr("'purpose'"));
  JsonReader lenient(json, "site");
  EXPECT_TRUE(lenient.finish(UnknownMembers::ignore));
}

TEST(JsonReader, RangesAndMissingMembersAreSaid) {
  const Json json = *parse_json(R"({"port":70000,"list":["a",1]})");
  JsonReader port(json, "");
  EXPECT_EQ(port.integer("port", std::nullopt, 1, 65535), 1);
  EXPECT_THAT(port.finish(UnknownMembers::ignore).error().message(),
              HasSubstr("port: 70000 is out of range (1 to 65535)"));
  JsonReader missing(json, "");
  EXPECT_EQ(missing.string("name"), "");
  EXPECT_THAT(missing.finish(UnknownMembers::ignore).error().message(),
              HasSubstr("name is missing"));
  JsonReader list(json, "x");
  EXPECT_TRUE(list.strings("list").empty());
  EXPECT_THAT(list.finish(UnknownMembers::ignore).error().message(),
              HasSubstr("x.list[1]: expected a string, found number"));
  const Json number(3);
  JsonReader scalar(number, "x");
  EXPECT_THAT(scalar.finish().error().message(), HasSubstr("x: expected an object, found number"));
}

TEST(Digest, OnlyItsOwnFormIsAccepted) {
  const Digest digest = Digest::of("abc");
  EXPECT_EQ(digest.hex(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(*Digest::parse(digest.str()), digest);
  std::string upper = digest.str();
  upper[7] = 'B';
  for (const std::string& bad :
       {digest.hex(), upper, digest.str() + "0", std::string("sha256:"), std::string(),
        digest.str().substr(0, 70), "sha512:" + digest.hex()})
    EXPECT_FALSE(Digest::parse(bad)) << bad;
}

TEST(Digest, IsTheSameInPiecesAndAtOnce) {
  Hasher hasher;
  hasher.update("a");
  hasher.update("bc");
  EXPECT_EQ(hasher.finish(), Digest::of("abc"));
  EXPECT_EQ(hasher.finish(), Digest::of("")) << "a finished hasher begins anew";
}

}  // namespace
}  // namespace consort
