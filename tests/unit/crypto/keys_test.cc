// Keys in PEM and as text.
#include "crypto/keys.h"

#include <gmock/gmock.h>

#include "crypto/random.h"
#include "hostile.h"

namespace consort::crypto {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

constexpr KeyKind kAll[] = {KeyKind::ecdsa_p256, KeyKind::ed25519, KeyKind::x25519};

TEST(Keys, EachKindIsReadBackAsItIsWritten) {
  for (const KeyKind kind : kAll) {
    const PrivateKey key = PrivateKey::generate(kind);
    EXPECT_EQ(key.kind(), kind);
    EXPECT_EQ(PublicKey::from_text(key.public_key().to_text()).value(), key.public_key());
    EXPECT_EQ(PublicKey::from_pem(key.public_key().to_pem()).value(), key.public_key());
    const auto again = PrivateKey::from_pem(key.to_pem().reveal());
    ASSERT_TRUE(again) << again.error().message();
    EXPECT_EQ(again->public_key(), key.public_key());
    EXPECT_TRUE(again->to_pem() == key.to_pem());
    EXPECT_NE(PrivateKey::generate(kind).public_key().id(), key.public_key().id());
  }
}

// RFC 8410, section 10.1; the id is what `openssl pkey -pubin -outform DER | sha256sum` says.
TEST(Keys, AKnownKeyHasItsKnownTextAndId) {
  const auto key = PublicKey::from_pem(
      "-----BEGIN PUBLIC KEY-----\n"
      "MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n"
      "-----END PUBLIC KEY-----\n");
  ASSERT_TRUE(key);
  EXPECT_EQ(key->to_text(), "ed25519:Gb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE");
  EXPECT_EQ(key->id().str(),
            "sha256:a1e9156054e04fac899ae9f275132cdc07a5dbc4ea2c2ad3a1ffc6e0d253681f");
}

TEST(Keys, AnEncryptedKeyOpensWithItsPassphraseOnly) {
  const PrivateKey key = PrivateKey::generate(KeyKind::ecdsa_p256);
  const SecretText passphrase("correct horse");
  const auto pem = key.to_encrypted_pem(passphrase);
  ASSERT_TRUE(pem) << pem.error().message();
  EXPECT_THAT(*pem, StartsWith("-----BEGIN ENCRYPTED PRIVATE KEY-----"));
  EXPECT_EQ(PrivateKey::from_pem(*pem, &passphrase).value().public_key(), key.public_key());

  const auto closed = PrivateKey::from_pem(*pem);
  ASSERT_FALSE(closed);
  EXPECT_EQ(closed.error().code(), ErrorCode::refused);
  EXPECT_THAT(closed.error().message(), HasSubstr("no passphrase was given"));
  const SecretText wrong("correct house");
  const auto guessed = PrivateKey::from_pem(*pem, &wrong);
  ASSERT_FALSE(guessed);
  EXPECT_EQ(guessed.error().code(), ErrorCode::refused);
  EXPECT_THAT(guessed.error().message(), HasSubstr("passphrase does not open"));
}

TEST(Keys, APassphraseHasASensibleLength) {
  const PrivateKey key = PrivateKey::generate(KeyKind::ed25519);
  EXPECT_EQ(key.to_encrypted_pem(SecretText()).error().code(), ErrorCode::invalid_input);
  EXPECT_EQ(key.to_encrypted_pem(SecretText(std::string(1025, 'x'))).error().code(),
            ErrorCode::invalid_input);
  const SecretText longest(std::string(1024, 'x'));
  const auto pem = key.to_encrypted_pem(longest);
  ASSERT_TRUE(pem);
  EXPECT_TRUE(PrivateKey::from_pem(*pem, &longest));
}

TEST(Keys, AKeyOfAnotherKindIsRefusedByName) {
  for (const auto& error : {PrivateKey::from_pem(tests::rsa_key_pem()).error(),
                            PublicKey::from_pem(tests::rsa_public_key_pem()).error()}) {
    EXPECT_EQ(error.code(), ErrorCode::unsupported);
    EXPECT_THAT(error.hint_text(), HasSubstr("P-256"));
  }
}

TEST(Keys, WhatIsNoKeyIsRefused) {
  const std::string pem = PrivateKey::generate(KeyKind::ed25519).public_key().to_pem();
  for (const std::string& bad :
       {std::string(), std::string("hello"), pem.substr(0, 60),
        "-----BEGIN PUBLIC KEY-----\n" + std::string(64, '\0'), std::string(kPemLimit, 'x')}) {
    EXPECT_EQ(PublicKey::from_pem(bad).error().code(), ErrorCode::invalid_input) << bad;
    EXPECT_EQ(PrivateKey::from_pem(bad).error().code(), ErrorCode::invalid_input) << bad;
  }
  const std::string large = pem + std::string(kPemLimit, '\n');
  EXPECT_EQ(PublicKey::from_pem(large).error().code(), ErrorCode::too_large);
  EXPECT_EQ(PrivateKey::from_pem(large).error().code(), ErrorCode::too_large);
}

TEST(Keys, ATextHasTheRightKindAndLength) {
  const std::string text = PrivateKey::generate(KeyKind::ed25519).public_key().to_text();
  const std::string p256 = PrivateKey::generate(KeyKind::ecdsa_p256).public_key().to_text();
  for (const std::string& bad :
       {std::string(), std::string("ed25519"), std::string("ed25519:"), text + "A",
        text.substr(0, text.size() - 1), "rsa" + text.substr(7), "p256" + text.substr(7),
        " " + text, text + "\n", std::string("p256:") + to_base64url(std::string(65, '\4')),
        // The compressed form of a point would be a second text of it.
        "p256:" + to_base64url("\2" + from_base64url(p256.substr(5)).value().substr(1, 32))}) {
    const auto key = PublicKey::from_text(bad);
    ASSERT_FALSE(key) << bad;
    EXPECT_EQ(key.error().code(), ErrorCode::invalid_input);
  }
}

}  // namespace
}  // namespace consort::crypto
