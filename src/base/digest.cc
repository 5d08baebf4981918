#include "base/digest.h"

#include <fmt/format.h>
#include <openssl/evp.h>

namespace consort {
namespace {

int nibble(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

// Fetched once: looking an algorithm up by name costs more than hashing a small file.
const EVP_MD* sha256() {
  static const EVP_MD* const md = EVP_MD_fetch(nullptr, "SHA256", nullptr);
  return md;
}

}  // namespace

Result<Digest> Digest::parse(std::string_view text) {
  constexpr std::string_view prefix = "sha256:";
  const auto bad = [&] {
    return fail(
        ErrorCode::invalid_input,
        fmt::format("'{}' is not a digest (sha256: and 64 hex digits)", text.substr(0, 100)));
  };
  if (!text.starts_with(prefix) || text.size() != prefix.size() + 64) return bad();
  text.remove_prefix(prefix.size());
  std::array<std::uint8_t, 32> bytes{};
  for (std::size_t i = 0; i < 32; ++i) {
    const int high = nibble(text[2 * i]);
    const int low = nibble(text[2 * i + 1]);
    if (high < 0 || low < 0) return bad();
    bytes.at(i) = static_cast<std::uint8_t>(high * 16 + low);
  }
  return Digest(bytes);
}

Digest Digest::of(std::string_view bytes) {
  thread_local Hasher hasher;
  hasher.update(bytes);
  return hasher.finish();
}

std::string Digest::hex() const {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string out;
  out.reserve(64);
  for (const std::uint8_t byte : bytes_) {
    out += digits[byte >> 4U];
    out += digits[byte & 15U];
  }
  return out;
}

struct Hasher::State {
  EVP_MD_CTX* context = EVP_MD_CTX_new();
};

Hasher::Hasher() : state_(std::make_unique<State>()) {
  EVP_DigestInit_ex(state_->context, sha256(), nullptr);
}
Hasher::~Hasher() { EVP_MD_CTX_free(state_->context); }
void Hasher::update(std::string_view bytes) {
  EVP_DigestUpdate(state_->context, bytes.data(), bytes.size());
}

Digest Hasher::finish() {
  std::array<std::uint8_t, 32> bytes{};
  EVP_DigestFinal_ex(state_->context, bytes.data(), nullptr);
  EVP_DigestInit_ex(state_->context, sha256(), nullptr);
  return Digest(bytes);
}

std::uint64_t stable_hash(std::string_view text) {
  std::uint64_t hash = 14695981039346656037ULL;
  for (const char c : text) {
    hash ^= static_cast<unsigned char>(c);
    hash *= 1099511628211ULL;
  }
  hash ^= hash >> 33U;
  hash *= 0xff51afd7ed558ccdULL;
  hash ^= hash >> 33U;
  return hash;
}

}  // namespace consort
