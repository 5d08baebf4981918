// Ed25519 signatures (RFC 8032) over bytes in a domain. Thread-safe.
//
// What is signed is "consort-signature-v1", NUL, the domain, NUL, the bytes: a signature that was
// made for one purpose ("generation") is worth nothing for another.
#pragma once

#include <string>
#include <string_view>

#include "base/error.h"
#include "crypto/keys.h"

namespace consort::crypto {

// "ed25519:BASE64URL". `domain`: a name (is_name). Error: invalid_input (domain; a key of another
// kind).
[[nodiscard]] Result<std::string> sign(const PrivateKey& key, std::string_view domain,
                                       std::string_view bytes);
// Errors: refused (the signature is not this key's over these bytes in this domain), invalid_input
// (the text is no signature, or the key is of another kind).
[[nodiscard]] Status verify_signature(const PublicKey& key, std::string_view domain,
                                      std::string_view bytes, std::string_view signature);

}  // namespace consort::crypto
