#include "http/tls_certificate.h"

#include <fmt/format.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <ctime>

#include "crypto/certificates.h"

namespace consort::http {
namespace {

constexpr Instant kNever = Instant::max();

Instant instant_of(const ASN1_TIME* time, Instant otherwise) {
  std::tm parts{};
  if (time == nullptr || ASN1_TIME_to_tm(time, &parts) != 1) return otherwise;
  return std::chrono::time_point_cast<Duration>(
      std::chrono::system_clock::from_time_t(::timegm(&parts)));
}

std::string issuer_of(const X509* certificate) {
  const std::unique_ptr<BIO, Freed<BIO_free>> out(BIO_new(BIO_s_mem()));
  const X509_NAME* name = X509_get_issuer_name(certificate);
  if (out == nullptr || X509_NAME_print_ex(out.get(), name, 0, XN_FLAG_RFC2253) < 0) return "?";
  char* data = nullptr;
  const long size = BIO_get_mem_data(out.get(), &data);
  return {data, static_cast<std::size_t>(std::clamp(size, 0L, 200L))};
}

// Certificates without any word on their use would pass OpenSSL's check; ours must say it.
bool is_for(X509* certificate, Use use) {
  const std::uint32_t uses = X509_get_extended_key_usage(certificate);
  return uses != UINT32_MAX && (uses & (use == Use::client ? XKU_SSL_CLIENT : XKU_SSL_SERVER)) != 0;
}

Objection objection_of(int error, X509* leaf, X509* at, Use use) {
  const bool own = at == nullptr || at == leaf;
  const std::string whose = own ? "" : fmt::format("rests on one of {} that ", describe(at));
  switch (error) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
      return {fmt::format("{}expired on {}", whose, format_instant(not_after_of(own ? leaf : at))),
              "renew it; if it is new, check the clocks of both machines"};
    case X509_V_ERR_CERT_NOT_YET_VALID:
      return {fmt::format("{}is valid only from {}", whose,
                          format_instant(not_before_of(own ? leaf : at))),
              "check the clocks of both machines"};
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_CERT_SIGNATURE_FAILURE:
    case X509_V_ERR_CERT_UNTRUSTED:
      return {fmt::format("is signed by another authority ({})", issuer_of(leaf)),
              "is this the right address? Both sides need certificates of one authority"};
    case X509_V_ERR_INVALID_PURPOSE:
      return {use == Use::client ? "is not made for clients" : "is not made for servers",
              "use the certificate that was issued for this purpose"};
    default:
      return {fmt::format("is not accepted: {}", X509_verify_cert_error_string(error)), ""};
  }
}

}  // namespace

Instant not_before_of(const X509* certificate) {
  return instant_of(X509_get0_notBefore(certificate), kNever);
}
// What cannot be read has ended.
Instant not_after_of(const X509* certificate) {
  return instant_of(X509_get0_notAfter(certificate), Instant());
}

Instant earliest_end(const STACK_OF(X509) * chain) {
  Instant end = kNever;
  for (int i = 0; i < sk_X509_num(chain); ++i)
    end = std::min(end, not_after_of(sk_X509_value(chain, i)));
  return end;
}

std::string describe(X509* certificate) {
  const auto read = crypto::Certificate::from_native(certificate);
  if (!read) return "a stranger";
  const auto identity = read->identity();
  return fmt::format("{} (serial {})", identity ? identity->uri() : read->subject(),
                     read->serial());
}

void tell(const crypto::Certificate& certificate, Peer& peer) {
  const auto identity = certificate.identity();
  peer.identity = identity ? identity->uri() : "";
  peer.serial = certificate.serial();
  peer.not_after = certificate.not_after();
  peer.fingerprint = certificate.fingerprint().str();
}

Objection check_chain(X509_STORE_CTX* store, Use use,
                      std::optional<crypto::Certificate>* read_certificate) {
  X509* leaf = X509_STORE_CTX_get0_cert(store);
  if (X509_verify_cert(store) != 1) {
    // A failure without a reason must not pass for none.
    if (X509_STORE_CTX_get_error(store) == X509_V_OK)
      X509_STORE_CTX_set_error(store, X509_V_ERR_UNSPECIFIED);
    return objection_of(X509_STORE_CTX_get_error(store), leaf,
                        X509_STORE_CTX_get_current_cert(store), use);
  }
  // Names that could be taken for another's.
  const auto read = crypto::Certificate::from_native(leaf);
  if (!read) {
    X509_STORE_CTX_set_error(store, X509_V_ERR_CERT_REJECTED);
    return {fmt::format("is not accepted: {}", read.error().message()), read.error().hint_text()};
  }
  if (is_for(leaf, use)) {
    if (read_certificate != nullptr) read_certificate->emplace(*read);
    return {};
  }
  X509_STORE_CTX_set_error(store, X509_V_ERR_INVALID_PURPOSE);
  return objection_of(X509_V_ERR_INVALID_PURPOSE, leaf, leaf, use);
}

std::string openssl_errors() {
  std::string out;
  while (const unsigned long code = ERR_get_error()) {
    const char* reason = ERR_reason_error_string(code);
    if (!out.empty()) out += "; ";
    out += reason == nullptr ? fmt::format("error {:x}", code) : std::string(reason);
  }
  return out.empty() ? "no reason is known" : out;
}

}  // namespace consort::http
