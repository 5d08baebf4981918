// Signatures over bytes in a domain.
#include "crypto/signature.h"

#include <gmock/gmock.h>

#include "crypto/random.h"

namespace consort::crypto {
namespace {

using testing::HasSubstr;

TEST(Signature, HoldsForItsKeyItsBytesAndItsDomainOnly) {
  const PrivateKey key = PrivateKey::generate(KeyKind::ed25519);
  const std::string bytes("a generation\0with any bytes", 27);
  const std::string signature = sign(key, "generation", bytes).value();
  EXPECT_TRUE(verify_signature(key.public_key(), "generation", bytes, signature));

  const PublicKey other = PrivateKey::generate(KeyKind::ed25519).public_key();
  for (const auto& refused :
       {verify_signature(key.public_key(), "generation", bytes + "!", signature),
        verify_signature(key.public_key(), "trust", bytes, signature),
        verify_signature(other, "generation", bytes, signature)}) {
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code(), ErrorCode::refused);
    EXPECT_FALSE(refused.error().hint_text().empty());
  }
}

TEST(Signature, EachBitOfItCounts) {
  const PrivateKey key = PrivateKey::generate(KeyKind::ed25519);
  const std::string signature = sign(key, "generation", "bytes").value();
  const std::string raw = from_base64url(signature.substr(8)).value();
  for (std::size_t bit = 0; bit < raw.size() * 8; bit += 7) {
    std::string changed = raw;
    changed[bit / 8] = static_cast<char>(changed[bit / 8] ^ (1 << (bit % 8)));
    EXPECT_EQ(verify_signature(key.public_key(), "generation", "bytes",
                               "ed25519:" + to_base64url(changed))
                  .error()
                  .code(),
              ErrorCode::refused);
  }
}

TEST(Signature, WhatIsNoneIsRefused) {
  const PublicKey key = PrivateKey::generate(KeyKind::ed25519).public_key();
  for (const std::string bad : {"", "ed25519:", "ed25519:AAAA", "rsa:AAAA", "ed25519:????", "AAAA"})
    EXPECT_EQ(verify_signature(key, "generation", "bytes", bad).error().code(),
              ErrorCode::invalid_input)
        << bad;
  const std::string huge = "ed25519:" + std::string(1U << 20U, 'A');
  EXPECT_FALSE(verify_signature(key, "generation", "bytes", huge));
}

TEST(Signature, IsMadeWithASignatureKeyInANamedDomain) {
  const PrivateKey sealing = PrivateKey::generate(KeyKind::x25519);
  EXPECT_THAT(sign(sealing, "generation", "bytes").error().message(), HasSubstr("x25519"));
  const PrivateKey key = PrivateKey::generate(KeyKind::ed25519);
  EXPECT_FALSE(sign(key, "", "bytes"));
  EXPECT_FALSE(sign(key, std::string_view("a\0b", 3), "bytes"));
  EXPECT_FALSE(verify_signature(sealing.public_key(), "generation", "bytes",
                                sign(key, "generation", "bytes").value()));
}

}  // namespace
}  // namespace consort::crypto
