// Random bytes and tokens from the system's generator, and what is done with tokens: hashing for
// storage, comparison in constant time, base64url. Thread-safe. A system without randomness ends
// the program (std::runtime_error): there is nothing sensible to do instead.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.h"
#include "crypto/secret.h"

namespace consort::crypto {

[[nodiscard]] std::string random_bytes(std::size_t count);
[[nodiscard]] SecretBytes random_secret(std::size_t count);

enum class TokenAlphabet : std::uint8_t {
  base64url,  // for programs: short
  crockford,  // for people who type it: base32 without I, L, O and U
};
// Never less than 128 bits, whatever is asked for: see hash_token().
[[nodiscard]] SecretText random_token(std::size_t bits,
                                      TokenAlphabet alphabet = TokenAlphabet::base64url);
// What somebody typed as it was made: upper case, O → 0, I and L → 1, without '-' and blanks.
// Other characters stay as they are.
[[nodiscard]] SecretText crockford_as_typed(std::string_view typed);

// "sha256:…", the form in which tokens are stored. Tokens have at least 128 bits of randomness, so
// nobody can guess one from its hash by trying; a slow, salted hash is for passwords that people
// choose, and must not be replaced by this one.
[[nodiscard]] std::string hash_token(std::string_view token);
[[nodiscard]] bool equal_in_constant_time(std::string_view a, std::string_view b);

// RFC 4648 section 5, without padding.
[[nodiscard]] std::string to_base64url(std::string_view bytes);
// Strict: each value has exactly one text. Refuses padding, blanks, other alphabets and set bits
// that are not part of a byte. Error: invalid_input (which never repeats the text).
[[nodiscard]] Result<std::string> from_base64url(std::string_view text);

}  // namespace consort::crypto
