// The texts of keys, identities and signatures, and keys in PEM or DER.
#include "crypto/identity.h"
#include "crypto/keys.h"
#include "crypto/random.h"
#include "crypto/signature.h"
#include "fuzz/pem.h"

namespace {

using namespace consort;

void read_pem(const std::string& pem) {
  if (const auto key = crypto::PublicKey::from_pem(pem)) {
    const auto again = crypto::PublicKey::from_pem(key->to_pem());
    fuzz::require(again && *again == *key, "a public key that was read can be written");
  }
  if (const auto key = crypto::PrivateKey::from_pem(pem)) {
    const auto again = crypto::PrivateKey::from_pem(key->to_pem().reveal());
    fuzz::require(again && again->public_key() == key->public_key(),
                  "a private key that was read can be written");
  }
}

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text = fuzz::text_of(data, size);
  if (const auto bytes = crypto::from_base64url(text))
    fuzz::require(crypto::to_base64url(*bytes) == text, "bytes have one base64url");
  if (const auto identity = crypto::identity_from_uri(text))
    fuzz::require(identity->uri() == text, "an identity has one URI");
  if (const auto key = crypto::PublicKey::from_text(text)) {
    fuzz::require(key->to_text() == text, "a key has one text");
    const auto again = crypto::PublicKey::from_pem(key->to_pem());
    fuzz::require(again && *again == *key, "a key is the same in PEM");
  }
  static const auto known =
      crypto::PublicKey::from_text("ed25519:Gb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE");
  fuzz::require(!crypto::verify_signature(*known, "generation", "bytes", text),
                "nobody signs with a key that is nobody's");
  static_cast<void>(crypto::crockford_as_typed(text));
  read_pem(fuzz::as_pem(text, "PUBLIC KEY"));
  read_pem(fuzz::as_pem(text, "PRIVATE KEY"));
  return 0;
}
