#include "crypto/signature.h"

#include <fmt/format.h>

#include <array>
#include <memory>

#include "base/text.h"
#include "crypto/openssl_handle.h"
#include "crypto/random.h"

namespace consort::crypto {
namespace {

constexpr std::string_view kPrefix = "ed25519:";
constexpr std::size_t kSignatureSize = 64;
using DigestContext = std::unique_ptr<EVP_MD_CTX, Freer<&EVP_MD_CTX_free>>;

Status check(KeyKind kind, std::string_view domain) {
  if (kind != KeyKind::ed25519)
    return fail(ErrorCode::invalid_input,
                fmt::format("a key of kind {} makes no signatures", key_kind_name(kind)))
        .hint("signatures are made with Ed25519 keys");
  if (!is_name(domain))
    return fail(ErrorCode::invalid_input, "the domain of a signature is not a name");
  return {};
}

std::string message_of(std::string_view domain, std::string_view bytes) {
  std::string message("consort-signature-v1\0", 21);
  message.append(domain).append(1, '\0').append(bytes);
  return message;
}

}  // namespace

Result<std::string> sign(const PrivateKey& key, std::string_view domain, std::string_view bytes) {
  const QuietErrors quiet;
  TRYV(check(key.kind(), domain));
  const std::string message = message_of(domain, bytes);
  std::string signature(kSignatureSize, '\0');
  std::size_t size = signature.size();
  const DigestContext context(EVP_MD_CTX_new());
  must(context != nullptr, "sign");
  must(EVP_DigestSignInit(context.get(), nullptr, nullptr, nullptr, key.native()) == 1, "sign");
  must(EVP_DigestSign(context.get(), octets(signature.data()), &size, octets(message),
                      message.size()) == 1,
       "sign");
  return std::string(kPrefix) + to_base64url(signature);
}

Status verify_signature(const PublicKey& key, std::string_view domain, std::string_view bytes,
                        std::string_view signature) {
  const QuietErrors quiet;
  TRYV(check(key.kind(), domain));
  const auto bad = [] {
    return fail(ErrorCode::invalid_input, "not a signature (ed25519: and 64 bytes in base64url)");
  };
  if (!signature.starts_with(kPrefix) || signature.size() > 128) return bad();
  const auto raw = from_base64url(signature.substr(kPrefix.size()));
  if (!raw || raw->size() != kSignatureSize) return bad();
  const std::string message = message_of(domain, bytes);
  const auto native = key.native();
  const DigestContext context(EVP_MD_CTX_new());
  must(context != nullptr, "verify a signature");
  must(EVP_DigestVerifyInit(context.get(), nullptr, nullptr, nullptr, native.get()) == 1,
       "verify a signature");
  if (EVP_DigestVerify(context.get(), octets(*raw), raw->size(), octets(message), message.size()) !=
      1)
    return fail(ErrorCode::refused,
                fmt::format("the signature is not one of {} over this {}", key.to_text(), domain))
        .hint("it was changed, or signed with another key: sign it again, or trust that key");
  return {};
}

}  // namespace consort::crypto
