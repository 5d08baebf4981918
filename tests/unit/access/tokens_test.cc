// Tokens: their texts, their limits, their records.
#include "access/tokens.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "crypto/random.h"

namespace consort::access {
namespace {

using testing::HasSubstr;
using testing::Not;

const std::string kSecret = "abcdefghijklmnopqrstuvwxyz0123456789-_ABCDE";
const Instant kNow = from_millis(1'800'000'000'000);

JoinToken token() {
  JoinToken out;
  out.id = "ab12cd34";
  out.hash = crypto::hash_token(kSecret);
  out.expires = kNow + hours(1);
  out.uses_left = 2;
  out.labels = {{"rack", "r7"}};
  out.created = kNow;
  return out;
}

// The fingerprint of a CA whose bytes are all zero.
const std::string kZeroes = "." + std::string(43, 'A');

TEST(TokenText, IsReadAsItWasWritten) {
  const JoinTokenText join{"ab12cd34", crypto::SecretText(kSecret), Digest::of("ca")};
  const std::string text(join.text().reveal());
  EXPECT_TRUE(text.starts_with("cj1.ab12cd34." + kSecret + "."));
  const auto again = JoinTokenText::parse(" " + text + "\n");
  ASSERT_TRUE(again) << render_error(again.error());
  EXPECT_EQ(again->id, join.id);
  EXPECT_EQ(again->secret, join.secret);
  EXPECT_EQ(again->ca, join.ca);
  const auto speaker = OperatorTokenText::parse("cop1.ab12cd34." + kSecret + kZeroes);
  ASSERT_TRUE(speaker);
  EXPECT_EQ(speaker->text().reveal(), "cop1.ab12cd34." + kSecret + kZeroes);
}

TEST(TokenText, IsReadStrictlyAndNeverRepeatedInErrors) {
  const std::string good(
      JoinTokenText{"ab12cd34", crypto::SecretText(kSecret), Digest::of("ca")}.text().reveal());
  for (const std::string& bad :
       {std::string(), std::string("cj1"), std::string("cj1."), good + "x", good + ".", "x" + good,
        good.substr(0, good.size() - 1), "cj2" + good.substr(3), "cj1.ab." + kSecret + ".x",
        "cj1.AB12CD34" + good.substr(12), "cj1.ab12cd34.short" + good.substr(good.rfind('.')),
        "cj1.ab12cd34." + kSecret, good + std::string(300, 'a'),
        "cj1.ab12cd34." + kSecret + "!" + good.substr(good.rfind('.')),
        "cop1.ab12cd34." + kSecret + kZeroes}) {
    const auto parsed = JoinTokenText::parse(bad);
    ASSERT_FALSE(parsed) << bad;
    EXPECT_EQ(parsed.error().code(), ErrorCode::invalid_input);
    EXPECT_THAT(render_error(parsed.error()), Not(HasSubstr(kSecret.substr(0, 12))));
  }
  EXPECT_FALSE(OperatorTokenText::parse(good));
  EXPECT_FALSE(OperatorTokenText::parse("cop1.ab12cd34." + kSecret));
  EXPECT_FALSE(OperatorTokenText::parse("cop1.ab12cd34." + kSecret + kZeroes + ".more"));
}

TEST(TokenText, IdsComeFromRandomText) {
  EXPECT_EQ(token_id("0123456789ABCDEFGHJKMNPQRS"), "0123456789");
  EXPECT_TRUE(is_token_id(token_id("ZYXWVTSRQPNM")));
  EXPECT_FALSE(is_token_id("../etc"));
}

TEST(JoinTokens, AreUsedUp) {
  const auto first = redeem(token(), kSecret, kNow);
  ASSERT_TRUE(first);
  EXPECT_EQ(first->uses_left, 1);
  const auto second = redeem(*first, kSecret, kNow);
  ASSERT_TRUE(second);
  const auto third = redeem(*second, kSecret, kNow);
  ASSERT_FALSE(third);
  EXPECT_EQ(third.error().code(), ErrorCode::forbidden);
  EXPECT_THAT(third.error().message(), HasSubstr("used up"));
}

TEST(JoinTokens, ExpireToTheMillisecond) {
  EXPECT_TRUE(redeem(token(), kSecret, kNow + hours(1) - Duration(1)));
  const auto late = redeem(token(), kSecret, kNow + hours(1));
  ASSERT_FALSE(late);
  EXPECT_THAT(late.error().message(), HasSubstr("expired at 2027-"));
}

TEST(JoinTokens, WhoHasNoSecretLearnsNothing) {
  JoinToken old = token();
  old.uses_left = 0;
  old.expires = kNow - hours(1);
  const auto wrong = redeem(old, "guess", kNow);
  ASSERT_FALSE(wrong);
  EXPECT_EQ(wrong.error().code(), ErrorCode::unauthenticated);
  EXPECT_THAT(wrong.error().message(), Not(HasSubstr("expired")));
}

TEST(OperatorTokens, AreVerified) {
  OperatorToken record{"ab12cd34", crypto::hash_token(kSecret), "ann"};
  EXPECT_TRUE(verify(record, kSecret, kNow));
  EXPECT_FALSE(verify(record, kSecret + "x", kNow));
  record.expires = kNow;
  EXPECT_FALSE(verify(record, kSecret, kNow));
  EXPECT_TRUE(verify(record, kSecret, kNow - seconds(1)));
}

TEST(TokenRecords, AreReadAsTheyWereWrittenAndHoldNoSecret) {
  const Json json = join_token_to_json(token());
  const auto again = join_token_from_json(json);
  ASSERT_TRUE(again) << render_error(again.error());
  EXPECT_EQ(*again, token());
  EXPECT_THAT(json.dump(), Not(HasSubstr(kSecret)));
  const OperatorToken record{
      "ab12cd34", crypto::hash_token(kSecret), "ann", kNow + hours(1), "operator bob", kNow, kNow};
  EXPECT_EQ(operator_token_from_json(operator_token_to_json(record)).value(), record);
}

TEST(TokenRecords, AreReadStrictly) {
  const auto broken = [](std::string_view key, Json value) {
    Json json = join_token_to_json(token());
    json[key] = std::move(value);
    return !join_token_from_json(json).has_value();
  };
  EXPECT_TRUE(broken("unknown", 1));
  EXPECT_TRUE(broken("id", "X"));
  EXPECT_TRUE(broken("hash", "plain"));
  EXPECT_TRUE(broken("usesLeft", -1));
  EXPECT_TRUE(broken("usesLeft", kMaxTokenUses + 1));
  EXPECT_TRUE(broken("expires", "tomorrow"));
  EXPECT_TRUE(broken("names", std::string(1000, 'a')));
  EXPECT_TRUE(broken("labels", Json::object({{"rack", 7}})));
  EXPECT_FALSE(broken("by", "somebody"));
}

}  // namespace
}  // namespace consort::access
