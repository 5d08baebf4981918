// What is written is read back, whatever it is; what is sealed is opened by its recipients and by
// nobody else.
#include "crypto/authority.h"
#include "crypto/random.h"
#include "crypto/seal.h"
#include "crypto/signature.h"
#include "fixtures/properties.h"

namespace consort::crypto {
namespace {

using tests::draw_between;
using tests::draw_chance;

std::string draw_bytes() { return *rc::gen::arbitrary<std::string>(); }

std::string draw_name() {
  std::string name =
      *rc::gen::nonEmpty(rc::gen::container<std::string>(rc::gen::inRange<char>(32, 127)));
  if (draw_chance(30)) name += draw_chance(50) ? "ü€" : "😀";
  if (name == "." || name == "..") name += "x";
  name.resize(std::min<std::size_t>(name.size(), 253));
  return name;
}

Identity draw_identity() {
  const auto kind = draw_between(0, 2);
  return {static_cast<IdentityKind>(kind), draw_name(), draw_name()};
}

RC_GTEST_PROP(CryptoProperty, Base64urlIsReadBack, ()) {
  const std::string bytes = draw_bytes();
  RC_ASSERT(from_base64url(to_base64url(bytes)).value() == bytes);
}

RC_GTEST_PROP(CryptoProperty, WhatIsReadAsBase64urlIsWrittenSo, ()) {
  const std::string text = *rc::gen::container<std::string>(rc::gen::elementOf(
      std::string("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")));
  if (const auto bytes = from_base64url(text)) RC_ASSERT(to_base64url(*bytes) == text);
}

RC_GTEST_PROP(CryptoProperty, IdentitiesAreReadBack, ()) {
  const Identity identity = draw_identity();
  RC_PRE(validate_identity(identity).has_value());
  RC_ASSERT(identity_from_uri(identity.uri()).value() == identity);
}

RC_GTEST_PROP(CryptoProperty, IdentitiesSurviveRequestAndCertificate, ()) {
  static const PrivateKey key = PrivateKey::generate(KeyKind::ecdsa_p256);
  const Instant now = from_millis(draw_between<std::int64_t>(0, 253'000'000'000) * 1000);
  const Identity identity = draw_identity();
  RC_PRE(validate_identity(identity).has_value());
  const auto request = parse_request(make_request(key, identity).value()).value();
  RC_ASSERT(request.identity == identity);
  const auto authority = Authority::create(identity.partition, key, hours(1000), now).value();
  const Duration lifetime = minutes(draw_between(1, 10'000));
  const auto issued = authority.issue({request.key, identity, {}, lifetime}, now).value();
  RC_ASSERT(issued.identity().value() == identity);
  RC_ASSERT(issued.not_after() == now + lifetime);
  RC_ASSERT(verify(issued, {authority.trust_anchor()}, now).has_value());
}

RC_GTEST_PROP(CryptoProperty, SealedValuesAreOpenedByTheirRecipientsOnly, ()) {
  static const std::vector<PrivateKey> keys = [] {
    std::vector<PrivateKey> made;
    for (int i = 0; i < 5; ++i) made.push_back(PrivateKey::generate(KeyKind::x25519));
    return made;
  }();
  const SecretBytes value(draw_bytes());
  const std::string context = draw_bytes();
  const auto chosen = draw_between(1U, 31U);
  std::vector<PublicKey> recipients;
  for (std::size_t i = 0; i < keys.size(); ++i)
    if ((chosen >> i & 1U) != 0) recipients.push_back(keys[i].public_key());
  const std::string sealed = seal(value, recipients, context).value();
  for (std::size_t i = 0; i < keys.size(); ++i) {
    const auto opened = open(sealed, keys[i], context);
    RC_ASSERT(opened.has_value() == ((chosen >> i & 1U) != 0));
    if (opened) RC_ASSERT(*opened == value);
    RC_ASSERT(!open(sealed, keys[i], context + "x"));
  }
}

RC_GTEST_PROP(CryptoProperty, SignaturesHoldForTheirBytesOnly, ()) {
  static const PrivateKey key = PrivateKey::generate(KeyKind::ed25519);
  const std::string bytes = draw_bytes();
  const std::string other = draw_bytes();
  const std::string signature = sign(key, "generation", bytes).value();
  RC_ASSERT(verify_signature(key.public_key(), "generation", bytes, signature).has_value());
  RC_ASSERT(verify_signature(key.public_key(), "generation", other, signature).has_value() ==
            (bytes == other));
}

}  // namespace
}  // namespace consort::crypto
