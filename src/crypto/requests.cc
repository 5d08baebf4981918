// Requests for certificates.
#include <fmt/format.h>
#include <openssl/pem.h>

#include "crypto/alternative_names.h"
#include "crypto/certificates.h"
#include "crypto/openssl_handle.h"

namespace consort::crypto {
namespace {

struct FreeExtensions {
  void operator()(STACK_OF(X509_EXTENSION) * extensions) const {
    sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
  }
};
using Extensions = std::unique_ptr<STACK_OF(X509_EXTENSION), FreeExtensions>;

// OpenSSL's own callback would ask on the terminal.
extern "C" int refuse_request_passphrase(char*, int, int, void*) { return -1; }

Result<Identity> claimed_identity(X509_REQ* request) {
  const Extensions extensions(X509_REQ_get_extensions(request));
  const GeneralNames names(extensions
                               ? static_cast<GENERAL_NAMES*>(X509V3_get_d2i(
                                     extensions.get(), NID_subject_alt_name, nullptr, nullptr))
                               : nullptr);
  const auto found = names ? TRY(read_alternative_names(*names)) : AlternativeNames{};
  if (found.identity) return *found.identity;
  return fail(ErrorCode::invalid_input, "the request does not say whom the certificate is for")
      .hint("it needs one URI name consort://PARTITION/KIND/NAME");
}

}  // namespace

Result<std::string> make_request(const PrivateKey& key, const Identity& identity) {
  const QuietErrors quiet;
  if (key.kind() != KeyKind::ecdsa_p256)
    return fail(ErrorCode::invalid_input,
                fmt::format("a key of kind {} is not for certificates", key_kind_name(key.kind())))
        .hint("certificates are for ECDSA P-256 keys");
  const GeneralNames names = TRY(make_alternative_names(identity, {}));
  const NativeRequest request(X509_REQ_new());
  must(request != nullptr && X509_REQ_set_pubkey(request.get(), key.native()) == 1,
       "make a request");
  set_subject(X509_REQ_get_subject_name(request.get()), identity_kind_name(identity.kind),
              identity.name);
  STACK_OF(X509_EXTENSION)* list = nullptr;
  must(X509V3_add1_i2d(&list, NID_subject_alt_name, names.get(), 0, X509V3_ADD_DEFAULT) == 1,
       "make a request");
  const Extensions extensions(list);
  must(X509_REQ_add_extensions(request.get(), extensions.get()) == 1, "make a request");
  must(X509_REQ_sign(request.get(), key.native(), EVP_sha256()) > 0, "sign a request");
  const Bio out = memory_bio();
  must(PEM_write_bio_X509_REQ(out.get(), request.get()) == 1, "write a request");
  return std::string(written(out.get()));
}

Result<CertificateRequest> parse_request(std::string_view pem) {
  const QuietErrors quiet;
  if (pem.size() > kPemLimit)
    return fail(ErrorCode::too_large, "a certificate request in PEM is at most 64 KiB");
  const NativeRequest request(
      PEM_read_bio_X509_REQ(reader_of(pem).get(), nullptr, &refuse_request_passphrase, nullptr));
  if (!request)
    return fail(ErrorCode::invalid_input, "not a certificate request in PEM")
        .hint("it begins with -----BEGIN CERTIFICATE REQUEST-----");
  EVP_PKEY* native = X509_REQ_get0_pubkey(request.get());
  if (native == nullptr)
    return fail(ErrorCode::unsupported, "the request has a key that cannot be read");
  auto key = TRY(PublicKey::from_native(native));
  if (key.kind() != KeyKind::ecdsa_p256)
    return fail(ErrorCode::unsupported,
                fmt::format("a request for a key of kind {}", key_kind_name(key.kind())))
        .hint("certificates are for ECDSA P-256 keys");
  if (X509_REQ_verify(request.get(), native) != 1)
    return fail(ErrorCode::invalid_input, "the request is not signed with the key that it is for")
        .hint("it was changed on its way: make it again");
  auto identity = TRY(claimed_identity(request.get()));
  return CertificateRequest{std::move(key), std::move(identity)};
}

}  // namespace consort::crypto
