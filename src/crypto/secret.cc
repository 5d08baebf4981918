#include "crypto/secret.h"

#include <openssl/crypto.h>

#include <cstring>
#include <utility>

namespace consort::crypto {

SecretBytes::SecretBytes(std::string_view bytes) : size_(bytes.size()) {
  if (bytes.empty()) return;
  bytes_ = std::make_unique<char[]>(size_);
  std::memcpy(bytes_.get(), bytes.data(), size_);
}

SecretBytes SecretBytes::take(std::string& from) {
  SecretBytes taken(from);
  crypto::wipe(from);
  return taken;
}

SecretBytes SecretBytes::of_size(std::size_t size) {
  SecretBytes zeros;
  if (size == 0) return zeros;
  zeros.bytes_ = std::make_unique<char[]>(size);
  zeros.size_ = size;
  return zeros;
}

SecretBytes::SecretBytes(SecretBytes&& other) noexcept
    : bytes_(std::move(other.bytes_)), size_(std::exchange(other.size_, 0)) {}

SecretBytes& SecretBytes::operator=(SecretBytes other) noexcept {
  std::swap(bytes_, other.bytes_);
  std::swap(size_, other.size_);
  return *this;
}

SecretBytes::~SecretBytes() {
  if (bytes_) OPENSSL_cleanse(bytes_.get(), size_);
}

bool operator==(const SecretBytes& a, const SecretBytes& b) {
  if (a.size_ != b.size_) return false;
  return a.size_ == 0 || CRYPTO_memcmp(a.bytes_.get(), b.bytes_.get(), a.size_) == 0;
}

void wipe(std::string& text) {
  // The whole buffer: a string that was once longer still has its old end there.
  text.resize(text.capacity());
  OPENSSL_cleanse(text.data(), text.size());
  text.clear();
}

}  // namespace consort::crypto
