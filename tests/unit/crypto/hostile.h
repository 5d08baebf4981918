// Certificates and requests that Consort never makes, but may be sent.
#pragma once

#include <string>
#include <vector>

#include "crypto/keys.h"

namespace consort::crypto::tests {

struct Name {
  enum class Kind { uri, dns } kind;
  std::string bytes;
};

// Well signed, with these names.
[[nodiscard]] std::string request_with_names(const PrivateKey& key, const std::vector<Name>& names);
[[nodiscard]] std::string self_signed_with_names(const PrivateKey& key,
                                                 const std::vector<Name>& names);
// A well-signed request for a key that Consort does not use.
[[nodiscard]] std::string rsa_request();
[[nodiscard]] std::string rsa_key_pem();
[[nodiscard]] std::string rsa_public_key_pem();
// The block with its DER changed: one byte at `from_end` bytes before the end is turned over.
[[nodiscard]] std::string with_a_flipped_byte(const std::string& pem, std::size_t from_end);

}  // namespace consort::crypto::tests
