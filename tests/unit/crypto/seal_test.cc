// Sealed values: who opens them, and what happened to them on the way.
#include "crypto/seal.h"

#include <gmock/gmock.h>

#include "crypto/random.h"

namespace consort::crypto {
namespace {

using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

constexpr std::string_view kPrefix = "sealed.v1.";

class Seal : public testing::Test {
 protected:
  PrivateKey web1 = PrivateKey::generate(KeyKind::x25519);
  PrivateKey web2 = PrivateKey::generate(KeyKind::x25519);
  PrivateKey stranger = PrivateKey::generate(KeyKind::x25519);
  SecretText password{"hunter2"};
  std::string context = "prod/database-password/3";
  std::string sealed = seal(password, {web1.public_key(), web2.public_key()}, context).value();

  // The sealed value after `change` to its bytes.
  template <class Change>
  std::string changed(Change change) const {
    std::string bytes = from_base64url(sealed.substr(kPrefix.size())).value();
    change(bytes);
    return std::string(kPrefix) + to_base64url(bytes);
  }
};

TEST_F(Seal, EachRecipientOpensItAndNobodyElse) {
  EXPECT_TRUE(open(sealed, web1, context).value() == password);
  EXPECT_TRUE(open(sealed, web2, context).value() == password);
  const auto refused = open(sealed, stranger, context);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), ErrorCode::refused);
  EXPECT_THAT(refused.error().message(), HasSubstr("not sealed for this key"));
  EXPECT_TRUE(is_sealed_for(sealed, web2.public_key()).value());
  EXPECT_FALSE(is_sealed_for(sealed, stranger.public_key()).value());
}

TEST_F(Seal, SaysNothingOfItsContentAndIsNeverTheSameTwice) {
  EXPECT_THAT(sealed, StartsWith(kPrefix));
  const std::string bytes = from_base64url(sealed.substr(kPrefix.size())).value();
  EXPECT_THAT(bytes, Not(HasSubstr("hunter2")));
  EXPECT_THAT(bytes, Not(HasSubstr("database-password")));
  EXPECT_NE(seal(password, {web1.public_key()}, context).value(),
            seal(password, {web1.public_key()}, context).value());
}

TEST_F(Seal, InAnotherContextItStaysClosed) {
  const auto moved = open(sealed, web1, "prod/database-password/4");
  ASSERT_FALSE(moved);
  EXPECT_EQ(moved.error().code(), ErrorCode::corrupt);
  EXPECT_THAT(moved.error().message(), HasSubstr("another context"));
  EXPECT_FALSE(open(sealed, web1, ""));
}

TEST_F(Seal, EachByteCounts) {
  const std::size_t size = from_base64url(sealed.substr(kPrefix.size())).value().size();
  for (std::size_t i = 0; i < size; ++i)
    EXPECT_FALSE(
        open(changed([&](std::string& bytes) { bytes[i] = static_cast<char>(bytes[i] ^ 4); }), web1,
             context))
        << "byte " << i;
}

TEST_F(Seal, TruncatedOrLongerItIsRefused) {
  const std::size_t size = from_base64url(sealed.substr(kPrefix.size())).value().size();
  for (std::size_t kept = 0; kept < size; ++kept)
    EXPECT_FALSE(open(changed([&](std::string& bytes) { bytes.resize(kept); }), web1, context))
        << kept << " bytes";
  EXPECT_EQ(open(changed([](std::string& bytes) { bytes += 'x'; }), web1, context).error().code(),
            ErrorCode::corrupt);
}

TEST_F(Seal, ARecipientCannotBeTakenAwayUnnoticed) {
  const std::string alone = changed([](std::string& bytes) {
    bytes[1] = 1;
    bytes.erase(2 + 96, 96);
  });
  EXPECT_EQ(open(alone, web1, context).error().code(), ErrorCode::corrupt);
}

TEST_F(Seal, WhatIsNoneIsRefused) {
  for (const std::string bad : {"", "hunter2", "sealed.v1.", "sealed.v1.AA", "sealed.v1.AAAA",
                                "sealed.v1.AAEA", "sealed.v1.____", "sealed.v1.?"})
    EXPECT_EQ(open(bad, web1, context).error().code(), ErrorCode::invalid_input) << bad;
  const auto newer = open("sealed.v2.AAAA", web1, context);
  EXPECT_EQ(newer.error().code(), ErrorCode::unsupported);
  EXPECT_THAT(newer.error().hint_text(), HasSubstr("upgrade"));
  const std::string huge = std::string(kPrefix) + std::string(kSealedLimit, 'A');
  EXPECT_EQ(open(huge, web1, context).error().code(), ErrorCode::too_large);
}

TEST_F(Seal, EmptyAndLargestValuesFit) {
  for (const std::size_t size : {std::size_t{0}, std::size_t{1}, kSealPlaintextLimit}) {
    const SecretBytes value = random_secret(size);
    const auto closed = seal(value, {web1.public_key()}, context);
    ASSERT_TRUE(closed) << size;
    EXPECT_TRUE(open(*closed, web1, context).value() == value) << size;
  }
  EXPECT_EQ(
      seal(random_secret(kSealPlaintextLimit + 1), {web1.public_key()}, context).error().code(),
      ErrorCode::too_large);
}

TEST_F(Seal, ALargestValueForAllRecipientsStaysWithinTheLimit) {
  // Of what a line costs, the rest follows: sealing for ten thousand takes a second or two.
  const std::size_t line = 96;
  const std::size_t bytes = 2 + kSealRecipientLimit * line + kSealPlaintextLimit + 16;
  EXPECT_LT(kPrefix.size() + (bytes * 4 + 2) / 3, kSealedLimit);
  const std::string one = seal(SecretText(), {web1.public_key()}, "").value();
  EXPECT_EQ(from_base64url(one.substr(kPrefix.size())).value().size(), 2 + line + 16);
}

TEST_F(Seal, NeedsRecipientsThatCanOpenIt) {
  EXPECT_EQ(seal(password, {}, context).error().code(), ErrorCode::invalid_input);
  EXPECT_EQ(
      seal(password, {PrivateKey::generate(KeyKind::ed25519).public_key()}, context).error().code(),
      ErrorCode::invalid_input);
  const std::vector<PublicKey> crowd(kSealRecipientLimit + 1, web1.public_key());
  EXPECT_EQ(seal(password, crowd, context).error().code(), ErrorCode::too_large);
  // The point zero: all who agree with it share zero.
  const auto zero = PublicKey::from_text("x25519:" + to_base64url(std::string(32, '\0')));
  ASSERT_TRUE(zero);
  EXPECT_EQ(seal(password, {*zero}, context).error().code(), ErrorCode::invalid_input);
  EXPECT_EQ(open(sealed, PrivateKey::generate(KeyKind::ed25519), context).error().code(),
            ErrorCode::invalid_input);
}

}  // namespace
}  // namespace consort::crypto
