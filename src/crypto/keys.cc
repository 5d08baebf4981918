#include "crypto/keys.h"

#include <fmt/format.h>
#include <openssl/core_names.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>

#include "crypto/openssl_handle.h"
#include "crypto/random.h"

namespace consort::crypto {
namespace {

constexpr std::size_t kPassphraseLimit = 1024;

struct KindRow {
  KeyKind kind;
  std::string_view name;
  const char* openssl_name;
  std::size_t raw_size;
  // All of the DER SubjectPublicKeyInfo before the raw key (RFC 5480, RFC 8410).
  std::string_view der_prefix;
};
constexpr char kP256Prefix[] =
    "\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07"
    "\x03\x42\x00";
constexpr char kEd25519Prefix[] = "\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00";
constexpr char kX25519Prefix[] = "\x30\x2a\x30\x05\x06\x03\x2b\x65\x6e\x03\x21\x00";
constexpr std::array kKinds = {
    KindRow{KeyKind::ecdsa_p256, "p256", "EC", 65, {kP256Prefix, sizeof(kP256Prefix) - 1}},
    KindRow{
        KeyKind::ed25519, "ed25519", "ED25519", 32, {kEd25519Prefix, sizeof(kEd25519Prefix) - 1}},
    KindRow{KeyKind::x25519, "x25519", "X25519", 32, {kX25519Prefix, sizeof(kX25519Prefix) - 1}},
};

const KindRow& row_of(KeyKind kind) { return kKinds.at(static_cast<std::size_t>(kind)); }

std::string der_of(KeyKind kind, std::string_view raw) {
  return std::string(row_of(kind).der_prefix).append(raw);
}

// Null when the raw bytes are no key of this kind: a point that is not on the curve.
Pkey native_of(KeyKind kind, std::string_view raw) {
  const std::string der = der_of(kind, raw);
  const unsigned char* at = octets(der);
  return Pkey(d2i_PUBKEY(nullptr, &at, static_cast<long>(der.size())));
}

bool is_named_p256(const EVP_PKEY* key) {
  std::array<char, 64> group{};
  std::array<char, 64> encoding{};
  std::size_t size = 0;
  return EVP_PKEY_get_group_name(key, group.data(), group.size(), &size) == 1 &&
         std::string_view(group.data()) == "prime256v1" &&
         EVP_PKEY_get_utf8_string_param(key, OSSL_PKEY_PARAM_EC_ENCODING, encoding.data(),
                                        encoding.size(), &size) == 1 &&
         std::string_view(encoding.data()) == OSSL_PKEY_EC_ENCODING_GROUP;
}

// 4, X, Y: SEC 1, section 2.3.3. Made by hand, since OpenSSL may answer with the compressed form.
std::optional<std::string> point_of(const EVP_PKEY* key) {
  std::string raw(65, '\4');
  for (const auto& [name, at] :
       {std::pair{OSSL_PKEY_PARAM_EC_PUB_X, 1}, std::pair{OSSL_PKEY_PARAM_EC_PUB_Y, 33}}) {
    BIGNUM* number = nullptr;
    if (EVP_PKEY_get_bn_param(key, name, &number) != 1) return std::nullopt;
    const BigNumber owner(number);
    if (BN_bn2binpad(number, octets(raw.data() + at), 32) != 32) return std::nullopt;
  }
  return raw;
}

std::optional<std::string> raw_of(const KindRow& row, const EVP_PKEY* key) {
  if (row.kind == KeyKind::ecdsa_p256)
    return is_named_p256(key) ? point_of(key) : std::optional<std::string>();
  std::string raw(row.raw_size, '\0');
  std::size_t size = raw.size();
  if (EVP_PKEY_get_raw_public_key(key, octets(raw.data()), &size) != 1 || size != raw.size())
    return std::nullopt;
  return raw;
}

Status check_size(std::string_view pem) {
  if (pem.size() <= kPemLimit) return {};
  return fail(ErrorCode::too_large, "a key in PEM is at most 64 KiB");
}

struct Passphrase {
  const SecretText* text;
  bool asked = false;
};

// OpenSSL's own callback would ask on the terminal.
extern "C" int give_passphrase(char* buffer, int size, int /*writing*/, void* data) {
  auto* passphrase = static_cast<Passphrase*>(data);
  passphrase->asked = true;
  if (passphrase->text == nullptr || passphrase->text->size() > static_cast<std::size_t>(size))
    return -1;
  std::memcpy(buffer, passphrase->text->reveal().data(), passphrase->text->size());
  return static_cast<int>(passphrase->text->size());
}

// A file can hold a public point that is not the private number's.
bool is_pair(EVP_PKEY* key) {
  const PkeyContext context(EVP_PKEY_CTX_new(key, nullptr));
  return context != nullptr && EVP_PKEY_pairwise_check(context.get()) == 1;
}

}  // namespace

std::string_view key_kind_name(KeyKind kind) { return row_of(kind).name; }

Result<PublicKey> PublicKey::from_native(const EVP_PKEY* key) {
  const QuietErrors quiet;
  for (const KindRow& row : kKinds) {
    if (EVP_PKEY_is_a(key, row.openssl_name) != 1) continue;
    if (auto raw = raw_of(row, key)) return PublicKey(row.kind, *std::move(raw));
  }
  return fail(ErrorCode::unsupported, "a key of a kind that Consort does not use")
      .hint("use ECDSA with the named curve P-256, Ed25519 or X25519");
}

Result<PublicKey> PublicKey::from_pem(std::string_view pem) {
  const QuietErrors quiet;
  TRYV(check_size(pem));
  Passphrase none{nullptr};
  const Pkey key(PEM_read_bio_PUBKEY(reader_of(pem).get(), nullptr, &give_passphrase, &none));
  if (!key)
    return fail(ErrorCode::invalid_input, "not a public key in PEM")
        .hint("it begins with -----BEGIN PUBLIC KEY-----");
  return from_native(key.get());
}

Result<PublicKey> PublicKey::from_text(std::string_view text) {
  const QuietErrors quiet;
  const auto bad = [](std::string_view why) {
    return fail(ErrorCode::invalid_input, fmt::format("not a public key: {}", why))
        .hint("public keys are written ed25519:…, x25519:… or p256:… with the key in base64url");
  };
  if (text.size() > 128) return bad("it is too long");
  const auto colon = text.find(':');
  if (colon == std::string_view::npos) return bad("it has no ':'");
  for (const KindRow& row : kKinds) {
    if (row.name != text.substr(0, colon)) continue;
    auto raw = from_base64url(text.substr(colon + 1));
    if (!raw) return bad(raw.error().message());
    if (raw->size() != row.raw_size)
      return bad(fmt::format("{} bytes instead of {}", raw->size(), row.raw_size));
    const Pkey native = native_of(row.kind, *raw);
    if (!native) return bad("it is no point of the curve");
    auto key = from_native(native.get());
    if (!key || key->raw_ != *raw) return bad("it is not in its one form");
    return key;
  }
  return bad("its kind is unknown");
}

std::string PublicKey::to_pem() const {
  const QuietErrors quiet;
  const Bio out = memory_bio();
  must(PEM_write_bio_PUBKEY(out.get(), native().get()) == 1, "write a public key");
  return std::string(written(out.get()));
}

std::string PublicKey::to_text() const {
  return fmt::format("{}:{}", key_kind_name(kind_), to_base64url(raw_));
}

Digest PublicKey::id() const { return Digest::of(der_of(kind_, raw_)); }

std::shared_ptr<EVP_PKEY> PublicKey::native() const {
  const QuietErrors quiet;
  Pkey key = native_of(kind_, raw_);
  must(key != nullptr, "make a public key");
  return key;
}

PrivateKey PrivateKey::generate(KeyKind kind) {
  const QuietErrors quiet;
  Pkey key(kind == KeyKind::ecdsa_p256
               ? EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", "P-256")
               : EVP_PKEY_Q_keygen(nullptr, nullptr, row_of(kind).openssl_name));
  must(key != nullptr, "generate a key");
  auto public_key = PublicKey::from_native(key.get());
  must(public_key.has_value(), "read a generated key");
  return {std::move(key), *std::move(public_key)};
}

Result<PrivateKey> PrivateKey::from_pem(std::string_view pem, const SecretText* passphrase) {
  const QuietErrors quiet;
  TRYV(check_size(pem));
  Passphrase given{passphrase};
  Pkey key(PEM_read_bio_PrivateKey(reader_of(pem).get(), nullptr, &give_passphrase, &given));
  if (!key && given.asked && passphrase == nullptr)
    return fail(ErrorCode::refused, "the private key is encrypted, and no passphrase was given")
        .hint("give the passphrase of the key");
  if (!key && given.asked)
    return fail(ErrorCode::refused, "the passphrase does not open the private key");
  if (!key)
    return fail(ErrorCode::invalid_input, "not a private key in PEM")
        .hint("it begins with -----BEGIN PRIVATE KEY-----");
  auto public_key = TRY(PublicKey::from_native(key.get()));
  if (public_key.kind() == KeyKind::ecdsa_p256 && !is_pair(key.get()))
    return fail(ErrorCode::invalid_input, "the private key and its public part do not match");
  return PrivateKey(std::move(key), std::move(public_key));
}

SecretText PrivateKey::to_pem() const {
  const QuietErrors quiet;
  const Bio out = memory_bio();
  must(PEM_write_bio_PKCS8PrivateKey(out.get(), key_.get(), nullptr, nullptr, 0, nullptr,
                                     nullptr) == 1,
       "write a private key");
  return SecretText(written(out.get()));
}

Result<std::string> PrivateKey::to_encrypted_pem(const SecretText& passphrase) const {
  using Clear = std::unique_ptr<PKCS8_PRIV_KEY_INFO, Freer<&PKCS8_PRIV_KEY_INFO_free>>;
  using Encrypted = std::unique_ptr<X509_SIG, Freer<&X509_SIG_free>>;
  const QuietErrors quiet;
  if (passphrase.empty() || passphrase.size() > kPassphraseLimit)
    return fail(ErrorCode::invalid_input, "a passphrase has 1 to 1024 bytes");
  std::string salt = random_bytes(16);
  std::string start = random_bytes(16);
  X509_ALGOR* scheme =
      PKCS5_pbe2_set_scrypt(EVP_aes_256_cbc(), octets(salt), static_cast<int>(salt.size()),
                            octets(start.data()), 1U << 14U, 8, 5);
  must(scheme != nullptr, "encrypt a private key");
  const Clear clear(EVP_PKEY2PKCS8(key_.get()));
  must(clear != nullptr, "encrypt a private key");
  const Encrypted encrypted(PKCS8_set0_pbe(
      passphrase.reveal().data(), static_cast<int>(passphrase.size()), clear.get(), scheme));
  if (!encrypted) X509_ALGOR_free(scheme);
  must(encrypted != nullptr, "encrypt a private key");
  const Bio out = memory_bio();
  must(PEM_write_bio_PKCS8(out.get(), encrypted.get()) == 1, "write a private key");
  return std::string(written(out.get()));
}

}  // namespace consort::crypto
