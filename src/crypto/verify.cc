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

// `faulty`: the one of the chain that was found at fault.
Failure refusal(const Certificate& faulty, int code, Instant now) {
  const auto refused = [&](std::string_view why) {
    return fail(ErrorCode::refused,
                fmt::format("the {} '{}' {}",
                            faulty.is_authority() ? "authority's certificate" : "certificate",
                            faulty.subject(), why));
  };
  const std::string time = format_instant(now);
  switch (code) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
      return refused("has expired at " + format_instant(faulty.not_after()))
          .hint(fmt::format("it is {} here: renew it, or mend the clock", time));
    case X509_V_ERR_CERT_NOT_YET_VALID:
      return refused("is valid only from " + format_instant(faulty.not_before()))
          .hint(fmt::format("it is {} here: mend the clock", time));
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
      return refused("is not of an authority that is trusted here")
          .hint("give this side the authority's certificate, or get one of an authority it knows");
    case X509_V_ERR_CERT_SIGNATURE_FAILURE:
      return refused("has a signature that is not its authority's")
          .hint("it was changed, or is of another authority with the same name");
    case X509_V_ERR_INVALID_PURPOSE:
      return refused("is not made for this use").hint("servers need a controller's certificate");
    default:
      return refused(fmt::format("cannot be verified: {}", X509_verify_cert_error_string(code)))
          .hint("get a new certificate from an authority that is trusted here");
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
  X509* current = X509_STORE_CTX_get_current_cert(context.get());
  const auto faulty =
      current != nullptr ? Certificate::from_native(current) : Result<Certificate>(certificate);
  return refusal(faulty ? *faulty : certificate, X509_STORE_CTX_get_error(context.get()), now);
}

}  // namespace consort::crypto
