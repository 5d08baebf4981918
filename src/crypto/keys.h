// Key pairs: ECDSA P-256 for certificates and TLS, Ed25519 for signatures (RFC 8032), X25519 for
// sealing (RFC 7748). Keys are immutable values: cheap to copy, and safe to use from several
// threads.
#pragma once

#include <compare>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/digest.h"
#include "base/error.h"
#include "crypto/secret.h"

struct evp_pkey_st;  // OpenSSL's EVP_PKEY

namespace consort::crypto {

enum class KeyKind : std::uint8_t { ecdsa_p256, ed25519, x25519 };

// "p256", "ed25519", "x25519"
[[nodiscard]] std::string_view key_kind_name(KeyKind kind);

// PEM texts of keys, certificates, chains and requests are refused above this size.
inline constexpr std::size_t kPemLimit = 64U << 10U;

class PublicKey {
 public:
  // Of a "PUBLIC KEY" block (SubjectPublicKeyInfo). Errors: invalid_input, too_large, unsupported
  // (another kind of key, such as RSA).
  [[nodiscard]] static Result<PublicKey> from_pem(std::string_view pem);
  // "ed25519:BASE64URL", "x25519:…", "p256:…" (uncompressed point): the form in files and JSON.
  // Each key has exactly one text. Error: invalid_input.
  [[nodiscard]] static Result<PublicKey> from_text(std::string_view text);
  // Of OpenSSL's key, which stays the caller's. Error: unsupported.
  [[nodiscard]] static Result<PublicKey> from_native(const evp_pkey_st* key);

  [[nodiscard]] KeyKind kind() const { return kind_; }
  [[nodiscard]] std::string to_pem() const;
  [[nodiscard]] std::string to_text() const;
  // SHA-256 of the DER SubjectPublicKeyInfo, as `openssl pkey -pubin -outform DER | sha256sum`.
  [[nodiscard]] Digest id() const;
  // 32 bytes of 25519 kinds, or the uncompressed point of P-256 (65 bytes).
  [[nodiscard]] const std::string& raw() const { return raw_; }
  // A new OpenSSL key: for the rooms that speak TLS.
  [[nodiscard]] std::shared_ptr<evp_pkey_st> native() const;

  friend auto operator<=>(const PublicKey&, const PublicKey&) = default;

 private:
  PublicKey(KeyKind kind, std::string raw) : kind_(kind), raw_(std::move(raw)) {}
  KeyKind kind_;
  std::string raw_;
};

class PrivateKey {
 public:
  [[nodiscard]] static PrivateKey generate(KeyKind kind);
  // Of a "PRIVATE KEY", "ENCRYPTED PRIVATE KEY" or "EC PRIVATE KEY" block. Never asks on a
  // terminal: who has a passphrase gives it; nullptr is none. A passphrase that is not needed is
  // ignored.
  // Errors: invalid_input (malformed), refused (passphrase missing or wrong), too_large,
  // unsupported (another kind of key).
  [[nodiscard]] static Result<PrivateKey> from_pem(std::string_view pem,
                                                   const SecretText* passphrase = nullptr);

  // PKCS#8 in the clear.
  [[nodiscard]] SecretText to_pem() const;
  // PKCS#8 under PBES2: scrypt (N = 2^14, r = 8, p = 5; RFC 7914) and AES-256-CBC, which `openssl
  // pkey` reads. Takes a fraction of a second on purpose. Error: invalid_input (an empty
  // passphrase, or one above 1024 bytes).
  [[nodiscard]] Result<std::string> to_encrypted_pem(const SecretText& passphrase) const;

  [[nodiscard]] KeyKind kind() const { return public_key_.kind(); }
  [[nodiscard]] const PublicKey& public_key() const { return public_key_; }
  // Borrowed: lives as long as this does. OpenSSL wipes the private part with its last user.
  [[nodiscard]] evp_pkey_st* native() const { return key_.get(); }

 private:
  PrivateKey(std::shared_ptr<evp_pkey_st> key, PublicKey public_key)
      : key_(std::move(key)), public_key_(std::move(public_key)) {}
  std::shared_ptr<evp_pkey_st> key_;
  PublicKey public_key_;
};

}  // namespace consort::crypto
