#include "crypto/seal.h"

#include <fmt/format.h>
#include <openssl/core_names.h>
#include <openssl/kdf.h>

#include <array>
#include <optional>

#include "crypto/openssl_handle.h"
#include "crypto/random.h"

namespace consort::crypto {
namespace {

constexpr std::string_view kFamily = "sealed.";
constexpr std::string_view kPrefix = "sealed.v1.";
constexpr std::size_t kTagSize = 16;
constexpr std::size_t kKeySize = 32;
constexpr std::size_t kMacSize = 16;
constexpr std::size_t kLineSize = kTagSize + kKeySize + kKeySize + kMacSize;
using CipherContext = std::unique_ptr<EVP_CIPHER_CTX, Freer<&EVP_CIPHER_CTX_free>>;
using KdfContext = std::unique_ptr<EVP_KDF_CTX, Freer<&EVP_KDF_CTX_free>>;

const EVP_CIPHER* cipher() {
  static const EVP_CIPHER* const found = EVP_CIPHER_fetch(nullptr, "ChaCha20-Poly1305", nullptr);
  must(found != nullptr, "find ChaCha20-Poly1305");
  return found;
}

EVP_KDF* hkdf() {
  static EVP_KDF* const found = EVP_KDF_fetch(nullptr, "HKDF", nullptr);
  must(found != nullptr, "find HKDF");
  return found;
}

SecretBytes derive_key(const SecretBytes& secret, std::string salt, std::string info) {
  const KdfContext context(EVP_KDF_CTX_new(hkdf()));
  must(context != nullptr, "derive a key");
  std::string digest = "SHA256";
  SecretBytes input = secret;
  std::array<OSSL_PARAM, 5> params{};
  std::size_t count = 0;
  params.at(count++) =
      OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest.data(), digest.size());
  params.at(count++) =
      OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, input.data(), input.size());
  params.at(count++) =
      OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, info.data(), info.size());
  if (!salt.empty())
    params.at(count++) =
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT, salt.data(), salt.size());
  params.at(count) = OSSL_PARAM_construct_end();
  SecretBytes key = SecretBytes::of_size(kKeySize);
  must(EVP_KDF_derive(context.get(), octets(key.data()), key.size(), params.data()) == 1,
       "derive a key");
  return key;
}

SecretBytes payload_key(const SecretBytes& file_key) {
  return derive_key(file_key, "", "consort-seal-v1 payload");
}

// What two sides of X25519 share, or nothing when the peer's point has a small order.
std::optional<SecretBytes> agree(EVP_PKEY* own, EVP_PKEY* peer) {
  const PkeyContext context(EVP_PKEY_CTX_new(own, nullptr));
  SecretBytes shared = SecretBytes::of_size(kKeySize);
  std::size_t size = shared.size();
  must(context != nullptr && EVP_PKEY_derive_init(context.get()) == 1, "agree on a key");
  if (EVP_PKEY_derive_set_peer(context.get(), peer) != 1) return std::nullopt;
  if (EVP_PKEY_derive(context.get(), octets(shared.data()), &size) != 1) return std::nullopt;
  return shared;
}

SecretBytes wrap_key(const SecretBytes& shared, std::string_view ephemeral,
                     const PublicKey& recipient) {
  return derive_key(shared, std::string(ephemeral) + recipient.raw(), "consort-seal-v1 wrap");
}

CipherContext start_cipher(const SecretBytes& key, std::string_view associated, bool encrypting) {
  constexpr std::array<unsigned char, 12> nonce{};  // each key is used once
  CipherContext context(EVP_CIPHER_CTX_new());
  int size = 0;
  must(context != nullptr, "make a cipher");
  must(EVP_CipherInit_ex(context.get(), cipher(), nullptr, octets(key.reveal()), nonce.data(),
                         encrypting ? 1 : 0) == 1,
       "start a cipher");
  must(associated.empty() || EVP_CipherUpdate(context.get(), nullptr, &size, octets(associated),
                                              static_cast<int>(associated.size())) == 1,
       "start a cipher");
  return context;
}

// Ciphertext and MAC.
std::string encrypt(const SecretBytes& key, const SecretBytes& plaintext,
                    std::string_view associated) {
  const CipherContext context = start_cipher(key, associated, true);
  std::string out(plaintext.size() + kMacSize, '\0');
  int size = 0;
  int end = 0;
  must(plaintext.empty() ||
           EVP_CipherUpdate(context.get(), octets(out.data()), &size, octets(plaintext.reveal()),
                            static_cast<int>(plaintext.size())) == 1,
       "encrypt");
  must(EVP_CipherFinal_ex(context.get(), octets(out.data() + size), &end) == 1, "encrypt");
  must(EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_AEAD_GET_TAG, kMacSize,
                           out.data() + plaintext.size()) == 1,
       "encrypt");
  return out;
}

std::optional<SecretBytes> decrypt(const SecretBytes& key, std::string_view ciphertext,
                                   std::string_view associated) {
  if (ciphertext.size() < kMacSize) return std::nullopt;
  const CipherContext context = start_cipher(key, associated, false);
  std::string mac(ciphertext.substr(ciphertext.size() - kMacSize));
  ciphertext.remove_suffix(kMacSize);
  SecretBytes out = SecretBytes::of_size(ciphertext.size());
  int size = 0;
  int end = 0;
  std::array<unsigned char, kMacSize> rest{};
  must(EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_AEAD_SET_TAG, kMacSize, mac.data()) == 1,
       "decrypt");
  if (!out.empty() && EVP_CipherUpdate(context.get(), octets(out.data()), &size, octets(ciphertext),
                                       static_cast<int>(ciphertext.size())) != 1)
    return std::nullopt;
  if (EVP_CipherFinal_ex(context.get(), rest.data(), &end) != 1) return std::nullopt;
  return out;
}

std::string tag_of(const PublicKey& key) {
  const Digest digest = Digest::of(key.raw());
  return {reinterpret_cast<const char*>(digest.bytes().data()), kTagSize};
}

Result<std::string> seal_line(const SecretBytes& file_key, const PublicKey& recipient) {
  if (recipient.kind() != KeyKind::x25519)
    return fail(ErrorCode::invalid_input, fmt::format("a key of kind {} cannot be sealed for",
                                                      key_kind_name(recipient.kind())))
        .hint("values are sealed for X25519 keys");
  const PrivateKey ephemeral = PrivateKey::generate(KeyKind::x25519);
  const auto shared = agree(ephemeral.native(), recipient.native().get());
  if (!shared)
    return fail(ErrorCode::invalid_input,
                fmt::format("{} is a key that nobody can hold", recipient.to_text()))
        .hint("let that host make a new key");
  const std::string& public_part = ephemeral.public_key().raw();
  return tag_of(recipient) + public_part +
         encrypt(wrap_key(*shared, public_part, recipient), file_key, {});
}

// The parts of a sealed value; they point into the decoded bytes.
struct Parts {
  std::string bytes;
  std::size_t recipients = 0;
  [[nodiscard]] std::string_view line(std::size_t index) const {
    return std::string_view(bytes).substr(2 + index * kLineSize, kLineSize);
  }
  [[nodiscard]] std::string_view header() const {
    return std::string_view(bytes).substr(0, 2 + recipients * kLineSize);
  }
  [[nodiscard]] std::string_view payload() const {
    return std::string_view(bytes).substr(2 + recipients * kLineSize);
  }
};

Result<Parts> parse(std::string_view sealed) {
  const auto bad = [](std::string_view why) {
    return fail(ErrorCode::invalid_input, fmt::format("not a sealed value: {}", why))
        .hint("seal the value again");
  };
  if (sealed.size() > kSealedLimit)
    return fail(ErrorCode::too_large, "a sealed value is at most 4 MiB long");
  if (!sealed.starts_with(kFamily)) return bad("it does not begin with 'sealed.'");
  if (!sealed.starts_with(kPrefix))
    return fail(ErrorCode::unsupported, "a sealed value of a version that this Consort cannot open")
        .hint("upgrade Consort on this host");
  auto bytes = from_base64url(sealed.substr(kPrefix.size()));
  if (!bytes) return bad(bytes.error().message());
  if (bytes->size() < 2) return bad("it is truncated");
  Parts parts{*std::move(bytes)};
  parts.recipients = static_cast<std::size_t>(static_cast<unsigned char>(parts.bytes[0])) << 8U |
                     static_cast<unsigned char>(parts.bytes[1]);
  if (parts.recipients == 0 || parts.recipients > kSealRecipientLimit)
    return bad("its number of recipients is not between 1 and 10000");
  if (parts.bytes.size() < 2 + parts.recipients * kLineSize + kMacSize)
    return bad("it is truncated");
  if (parts.payload().size() > kSealPlaintextLimit + kMacSize)
    return fail(ErrorCode::too_large, "a sealed value holds at most 1 MiB");
  return parts;
}

std::optional<SecretBytes> open_line(std::string_view line, const PrivateKey& key) {
  const std::string_view ephemeral = line.substr(kTagSize, kKeySize);
  const Pkey peer(
      EVP_PKEY_new_raw_public_key(EVP_PKEY_X25519, nullptr, octets(ephemeral), ephemeral.size()));
  if (!peer) return std::nullopt;
  const auto shared = agree(key.native(), peer.get());
  if (!shared) return std::nullopt;
  return decrypt(wrap_key(*shared, ephemeral, key.public_key()), line.substr(kTagSize + kKeySize),
                 {});
}

}  // namespace

Result<std::string> seal(const SecretBytes& plaintext, const std::vector<PublicKey>& recipients,
                         std::string_view context) {
  const QuietErrors quiet;
  if (plaintext.size() > kSealPlaintextLimit)
    return fail(ErrorCode::too_large, "a value to be sealed is at most 1 MiB long");
  if (recipients.empty()) return fail(ErrorCode::invalid_input, "nobody to seal the value for");
  if (recipients.size() > kSealRecipientLimit)
    return fail(ErrorCode::too_large, "a value is sealed for at most 10000 recipients")
        .hint("seal it for each host, or for groups of them");
  const SecretBytes file_key = random_secret(kKeySize);
  std::string bytes;
  bytes += static_cast<char>(recipients.size() >> 8U);
  bytes += static_cast<char>(recipients.size() & 255U);
  for (const PublicKey& recipient : recipients) bytes += TRY(seal_line(file_key, recipient));
  bytes += encrypt(payload_key(file_key), plaintext, bytes + std::string(context));
  return std::string(kPrefix) + to_base64url(bytes);
}

Result<SecretBytes> open(std::string_view sealed, const PrivateKey& key, std::string_view context) {
  const QuietErrors quiet;
  if (key.kind() != KeyKind::x25519)
    return fail(ErrorCode::invalid_input,
                fmt::format("a key of kind {} opens no sealed values", key_kind_name(key.kind())));
  const Parts parts = TRY(parse(sealed));
  const std::string tag = tag_of(key.public_key());
  std::size_t line = 0;
  while (line < parts.recipients && !parts.line(line).starts_with(tag)) ++line;
  if (line == parts.recipients)
    return fail(ErrorCode::refused, "the value is not sealed for this key")
        .hint("seal it again, for this host too");
  // Only the first line that names the key is tried: what a bad value costs stays bounded.
  const auto file_key = open_line(parts.line(line), key);
  auto plaintext = file_key ? decrypt(payload_key(*file_key), parts.payload(),
                                      std::string(parts.header()).append(context))
                            : std::nullopt;
  if (!plaintext)
    return fail(ErrorCode::corrupt, "the sealed value was changed, or belongs to another context")
        .hint("seal the value again, for the place where it is used");
  return *std::move(plaintext);
}

Result<bool> is_sealed_for(std::string_view sealed, const PublicKey& key) {
  const Parts parts = TRY(parse(sealed));
  const std::string tag = tag_of(key);
  for (std::size_t i = 0; i < parts.recipients; ++i)
    if (parts.line(i).starts_with(tag)) return true;
  return false;
}

}  // namespace consort::crypto
