// Secrets in memory, random tokens, base64url.
#include "crypto/random.h"

#include <gmock/gmock.h>

#include <set>
#include <sstream>
#include <type_traits>

#include "base/digest.h"

namespace consort::crypto {
namespace {

using testing::StartsWith;

template <class T>
concept Printable = requires(std::ostream& out, const T& value) {
  out << value;
};

TEST(Secret, GoesToNoStream) {
  static_assert(Printable<std::string>);
  static_assert(!Printable<SecretText>);
  static_assert(!std::is_convertible_v<SecretText, std::string>);
  static_assert(!std::is_convertible_v<SecretText, std::string_view>);
  static_assert(!std::is_convertible_v<std::string, SecretText>);
}

TEST(Secret, TakingAStringWipesIt) {
  std::string typed = "correct horse battery staple";
  const char* const where = typed.data();
  const SecretText secret = SecretText::take(typed);
  EXPECT_EQ(secret.reveal(), "correct horse battery staple");
  EXPECT_TRUE(typed.empty());
  // The string still owns its buffer, up to its capacity.
  EXPECT_EQ(where, typed.data());
  for (std::size_t i = 0; i < 28; ++i) EXPECT_EQ(where[i], '\0') << i;
}

TEST(Secret, CopiesAndMovesKeepTheBytes) {
  SecretText first("s3cret");
  const SecretText copy = first;
  const SecretText moved = std::move(first);
  EXPECT_TRUE(copy == moved);
  EXPECT_EQ(first.size(), 0U);  // NOLINT(bugprone-use-after-move): that is what is tested
  EXPECT_FALSE(copy == SecretText("s3creT"));
  EXPECT_FALSE(copy == SecretText("s3cre"));
  EXPECT_TRUE(SecretText() == SecretText(""));
  first = copy;
  EXPECT_EQ(first.reveal(), "s3cret");
}

TEST(Token, TwoAreNeverEqualAndNoneIsShort) {
  std::set<std::string> seen;
  for (int i = 0; i < 1000; ++i) seen.emplace(random_token(160).reveal());
  EXPECT_EQ(seen.size(), 1000U);
  EXPECT_EQ(random_token(8).size(), 22U) << "128 bits at least";
  EXPECT_EQ(random_token(256).size(), 43U);
  EXPECT_EQ(random_token(160, TokenAlphabet::crockford).size(), 32U);
  EXPECT_EQ(random_bytes(32).size(), 32U);
  EXPECT_NE(random_bytes(32), random_bytes(32));
}

TEST(Token, AllLettersOfTheAlphabetAreUsed) {
  std::set<char> base64url;
  std::set<char> crockford;
  for (int i = 0; i < 200; ++i) {
    const SecretText one = random_token(256);
    base64url.insert(one.reveal().begin(), one.reveal().end());
    const SecretText other = random_token(256, TokenAlphabet::crockford);
    crockford.insert(other.reveal().begin(), other.reveal().end());
  }
  EXPECT_EQ(base64url.size(), 64U);
  EXPECT_EQ(crockford.size(), 32U);
  for (const char confusing : {'I', 'L', 'O', 'U'}) EXPECT_FALSE(crockford.contains(confusing));
}

TEST(Token, OneThatWasTypedIsReadAsItWasMade) {
  EXPECT_EQ(crockford_as_typed("abcd-efgh jkmn\n").reveal(), "ABCDEFGHJKMN");
  EXPECT_EQ(crockford_as_typed("oO-iI-lL-01").reveal(), "00111101");
}

TEST(Token, IsStoredAsItsDigest) {
  EXPECT_EQ(hash_token("abc"),
            "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_TRUE(equal_in_constant_time(hash_token("abc"), hash_token("abc")));
  EXPECT_FALSE(equal_in_constant_time(hash_token("abc"), hash_token("abd")));
  EXPECT_FALSE(equal_in_constant_time("abc", "abcd"));
  EXPECT_TRUE(equal_in_constant_time("", ""));
}

// RFC 4648, section 10, without the padding.
TEST(Base64url, TheExamplesOfTheStandard) {
  const std::pair<std::string, std::string> examples[] = {
      {"", ""},           {"f", "Zg"},          {"fo", "Zm8"},          {"foo", "Zm9v"},
      {"foob", "Zm9vYg"}, {"fooba", "Zm9vYmE"}, {"foobar", "Zm9vYmFy"}, {"\xfb\xff", "-_8"}};
  for (const auto& [bytes, text] : examples) {
    EXPECT_EQ(to_base64url(bytes), text);
    EXPECT_EQ(from_base64url(text).value(), bytes);
  }
}

TEST(Base64url, EachValueHasOneText) {
  for (const std::string bad :
       {"Z", "Zg==", "Zg=", "Zh", "Zm9", "Zm9v\n", " Zm9v", "Zm+v", "Zm/v", "Zm9vY", "Z\xc3\xbc"}) {
    const auto read = from_base64url(bad);
    ASSERT_FALSE(read) << bad;
    EXPECT_EQ(read.error().code(), ErrorCode::invalid_input);
    EXPECT_FALSE(read.error().hint_text().empty());
  }
}

}  // namespace
}  // namespace consort::crypto
