// Sealed values: readable only by the holders of some X25519 keys, and only in their context.
// Thread-safe.
//
// A sealed value is the text "sealed.v1." and the base64url of:
//
//   u16    number of recipients, big-endian
//   per recipient, 96 bytes, in the order given:
//     16   first bytes of SHA-256(recipient's raw public key): finds the line, proves nothing
//     32   an ephemeral X25519 public key, made for this line
//     48   the file key (32 random bytes) under ChaCha20-Poly1305, nonce 0, no associated data,
//          key = HKDF-SHA256(secret: X25519(ephemeral, recipient),
//                            salt: ephemeral public key + recipient's public key,
//                            info: "consort-seal-v1 wrap")
//   rest   the plaintext under ChaCha20-Poly1305, nonce 0,
//          key = HKDF-SHA256(secret: file key, salt: none, info: "consort-seal-v1 payload"),
//          associated data = all bytes before it + the context
//
// Nonces are constant because each key seals one message only. This is the construction of age
// (https://age-encryption.org/v1), with the context bound in and recipients named, so that a host
// among thousands tries one line and not all. Whoever seals is not authenticated: sign what
// matters.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "crypto/keys.h"
#include "crypto/secret.h"

namespace consort::crypto {

inline constexpr std::size_t kSealPlaintextLimit = 1U << 20U;
// A recipient costs 128 characters: values for many hosts are better sealed host by host.
inline constexpr std::size_t kSealRecipientLimit = 10'000;
// No sealed text within these limits is longer.
inline constexpr std::size_t kSealedLimit = 4U << 20U;

// `context`: what the value is for, such as "PARTITION/SECRET/VERSION"; open() must be given the
// same. It is not part of the result. Errors: invalid_input (no recipient, one of another kind or
// one that no key belongs to), too_large.
[[nodiscard]] Result<std::string> seal(const SecretBytes& plaintext,
                                       const std::vector<PublicKey>& recipients,
                                       std::string_view context);
// Errors: invalid_input (not a sealed value, or truncated before the payload), unsupported (a
// newer version), refused (not sealed for this key), corrupt (changed, truncated, or of another
// context), too_large.
[[nodiscard]] Result<SecretBytes> open(std::string_view sealed, const PrivateKey& key,
                                       std::string_view context);
// Whether a line names this key: tells whether a value must be sealed anew, proves nothing.
[[nodiscard]] Result<bool> is_sealed_for(std::string_view sealed, const PublicKey& key);

}  // namespace consort::crypto
