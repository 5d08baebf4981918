// Whether a certificate is to be believed.
#include <fmt/format.h>

#include "crypto/certificates.h"
#include "crypto/openssl_handle.h"

namespace consort::crypto {
namespace {

constexpr int kDepth = 4;          // intermediates between a certificate and its root
constexpr int kSecurityLevel = 2;  // 112 bits: RSA from 2048 bits on, no SHA-1

struct FreeStack {
  // The certificates in it are borrowed.
  void operator()(STACK_OF(X509) * stack) const { sk_X509_free(stack); }
};
using Stack = std::unique_ptr<STACK_OF(X509), FreeStack>;
using Store = std::unique_ptr<X509_STORE, Freer<&X509_STORE_free>>;
using StoreContext = std::unique_ptr<X509_STORE_CTX, Freer<&X509_STORE_CTX_free>>;

Failure refusal(const Certificate& certificate, int code, int depth, Instant now) {
  const auto refused = [](std::string message) {
    return fail(ErrorCode::refused, std::move(message));
  };
  const std::string which =
      fmt::format("{} '{}'", depth == 0 ? "the certificate" : "an authority of the certificate",
                  certificate.subject());
  switch (code) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
      return refused(depth == 0 ? fmt::format("{} has expired at {}", which,
                                              format_instant(certificate.not_after()))
                                : fmt::format("{} has expired", which))
          .hint(fmt::format("it is {} here: renew it, or mend the clock", format_instant(now)));
    case X509_V_ERR_CERT_NOT_YET_VALID:
      return refused(depth == 0 ? fmt::format("{} is valid only from {}", which,
                                              format_instant(certificate.not_before()))
                                : fmt::format("{} is not yet valid", which))
          .hint(fmt::format("it is {} here: mend the clock", format_instant(now)));
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
      return refused(fmt::format("{} is not of an authority that is trusted here", which))
          .hint("give this side the authority's certificate, or get one of an authority it knows");
    case X509_V_ERR_CERT_SIGNATURE_FAILURE:
      return refused(fmt::format("{} has a signature that is not its authority's", which))
          .hint("it was changed, or is of another authority with the same name");
    case X509_V_ERR_INVALID_PURPOSE:
      return refused(fmt::format("{} is not made for this use", which))
          .hint("servers need a controller's certificate");
    default:
      return refused(
          fmt::format("{} cannot be verified: {}", which, X509_verify_cert_error_string(code)));
  }
}

}  // namespace

Status verify(const Certificate& certificate, const std::vector<Certificate>& roots, Instant now,
              CertificateUse use, const std::vector<Certificate>& between) {
  const QuietErrors quiet;
  if (certificate.is_authority())
    return fail(ErrorCode::refused,
                fmt::format("'{}' is an authority's certificate", certificate.subject()))
        .hint("authorities issue certificates for others; they do not connect");
  const Store store(X509_STORE_new());
  const Stack untrusted(sk_X509_new_null());
  const StoreContext context(X509_STORE_CTX_new());
  must(store && untrusted && context, "verify a certificate");
  for (const Certificate& root : roots)
    must(X509_STORE_add_cert(store.get(), root.native()) == 1, "trust a certificate");
  for (const Certificate& one : between)
    must(sk_X509_push(untrusted.get(), one.native()) > 0, "verify a certificate");
  must(X509_STORE_CTX_init(context.get(), store.get(), certificate.native(), untrusted.get()) == 1,
       "verify a certificate");
  X509_VERIFY_PARAM* param = X509_STORE_CTX_get0_param(context.get());
  X509_VERIFY_PARAM_set_time(param, std::chrono::floor<seconds>(now).time_since_epoch().count());
  X509_VERIFY_PARAM_set_depth(param, kDepth);
  X509_VERIFY_PARAM_set_auth_level(param, kSecurityLevel);
  X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_PARTIAL_CHAIN);
  X509_VERIFY_PARAM_set_purpose(
      param, use == CertificateUse::server ? X509_PURPOSE_SSL_SERVER : X509_PURPOSE_SSL_CLIENT);
  if (X509_verify_cert(context.get()) == 1) return {};
  return refusal(certificate, X509_STORE_CTX_get_error(context.get()),
                 X509_STORE_CTX_get_error_depth(context.get()), now);
}

}  // namespace consort::crypto
