#include "crypto/random.h"

#include <openssl/crypto.h>
#include <openssl/rand.h>

#include <algorithm>
#include <array>

#include "base/digest.h"
#include "crypto/openssl_handle.h"

namespace consort::crypto {
namespace {

constexpr std::string_view kBase64url =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
constexpr std::string_view kCrockford = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
constexpr std::size_t kLeastTokenBits = 128;

void fill(char* bytes, std::size_t count) {
  must(RAND_bytes(octets(bytes), static_cast<int>(count)) == 1, "make random bytes");
}

// The value of each character, or -1.
constexpr std::array<int, 256> kSextets = [] {
  std::array<int, 256> values{};
  values.fill(-1);
  for (std::size_t i = 0; i < kBase64url.size(); ++i)
    values.at(static_cast<unsigned char>(kBase64url[i])) = static_cast<int>(i);
  return values;
}();

}  // namespace

std::string random_bytes(std::size_t count) {
  std::string bytes(count, '\0');
  fill(bytes.data(), count);
  return bytes;
}

SecretBytes random_secret(std::size_t count) {
  SecretBytes bytes = SecretBytes::of_size(count);
  fill(bytes.data(), count);
  return bytes;
}

SecretText random_token(std::size_t bits, TokenAlphabet alphabet) {
  const std::string_view letters = alphabet == TokenAlphabet::crockford ? kCrockford : kBase64url;
  const std::size_t bits_each = alphabet == TokenAlphabet::crockford ? 5 : 6;
  const std::size_t count = (std::max(bits, kLeastTokenBits) + bits_each - 1) / bits_each;
  SecretText token = random_secret(count);
  // The number of letters is a power of two, so the rest of a byte is as even as the byte.
  for (std::size_t i = 0; i < count; ++i)
    token.data()[i] = letters[static_cast<unsigned char>(token.data()[i]) % letters.size()];
  return token;
}

SecretText crockford_as_typed(std::string_view typed) {
  std::string token;
  token.reserve(typed.size());
  for (char c : typed) {
    if (c == '-' || c == ' ' || c == '\t' || c == '\r' || c == '\n') continue;
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
    if (c == 'O') c = '0';
    if (c == 'I' || c == 'L') c = '1';
    token += c;
  }
  return SecretText::take(token);
}

std::string hash_token(std::string_view token) { return Digest::of(token).str(); }

bool equal_in_constant_time(std::string_view a, std::string_view b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

std::string to_base64url(std::string_view bytes) {
  std::string text;
  text.reserve((bytes.size() * 4 + 2) / 3);
  std::uint32_t pending = 0;
  int bits = 0;
  for (const char c : bytes) {
    pending = (pending << 8U) | static_cast<unsigned char>(c);
    for (bits += 8; bits >= 6;) {
      bits -= 6;
      text += kBase64url[(pending >> static_cast<unsigned>(bits)) & 63U];
    }
  }
  if (bits > 0) text += kBase64url[(pending << static_cast<unsigned>(6 - bits)) & 63U];
  return text;
}

Result<std::string> from_base64url(std::string_view text) {
  std::string bytes;
  bytes.reserve(text.size() * 3 / 4);
  std::uint32_t pending = 0;
  int bits = 0;
  for (const char c : text) {
    const int sextet = kSextets.at(static_cast<unsigned char>(c));
    if (sextet < 0)
      return fail(ErrorCode::invalid_input, "a character that base64url does not have")
          .hint("base64url is A-Z, a-z, 0-9, '-' and '_', without '=' and blanks");
    pending = (pending << 6U) | static_cast<unsigned>(sextet);
    bits += 6;
    if (bits < 8) continue;
    bits -= 8;
    bytes += static_cast<char>((pending >> static_cast<unsigned>(bits)) & 255U);
  }
  const bool loose_bits = (pending & ((1U << static_cast<unsigned>(bits)) - 1U)) != 0;
  if (bits >= 6 || loose_bits)
    return fail(ErrorCode::invalid_input, "base64url that ends within a byte")
        .hint("it was probably cut off: copy the whole text");
  return bytes;
}

}  // namespace consort::crypto
