#include "crypto/authority.h"

#include <fmt/format.h>

#include <algorithm>

#include "crypto/alternative_names.h"
#include "crypto/openssl_handle.h"
#include "crypto/random.h"

namespace consort::crypto {
namespace {

constexpr Duration kShortestLifetime = minutes(1);
constexpr Duration kLongestLifetime = hours(100 * 366 * 24);

struct Validity {
  Instant from;
  Instant to;
};

Status check_key(const PublicKey& key) {
  if (key.kind() == KeyKind::ecdsa_p256) return {};
  return fail(ErrorCode::invalid_input,
              fmt::format("a key of kind {} is not for certificates", key_kind_name(key.kind())))
      .hint("certificates are for ECDSA P-256 keys");
}

Status check_lifetime(Duration lifetime) {
  if (lifetime >= kShortestLifetime && lifetime <= kLongestLifetime) return {};
  return fail(ErrorCode::invalid_input, "a certificate lives for a minute to 100 years");
}

void set_time(ASN1_TIME* time, Instant instant) {
  must(ASN1_TIME_set(time, std::chrono::floor<seconds>(instant).time_since_epoch().count()) !=
           nullptr,
       "set a certificate's time");
}

NativeCertificate blank(EVP_PKEY* key, Validity validity) {
  NativeCertificate certificate(X509_new());
  must(certificate != nullptr && X509_set_version(certificate.get(), X509_VERSION_3) == 1,
       "make a certificate");
  const std::string bytes = random_bytes(16);
  const BigNumber serial(BN_bin2bn(octets(bytes), static_cast<int>(bytes.size()), nullptr));
  must(serial != nullptr &&
           BN_to_ASN1_INTEGER(serial.get(), X509_get_serialNumber(certificate.get())) != nullptr,
       "make a serial number");
  set_time(X509_getm_notBefore(certificate.get()), validity.from);
  set_time(X509_getm_notAfter(certificate.get()), validity.to);
  must(X509_set_pubkey(certificate.get(), key) == 1, "make a certificate");
  return certificate;
}

// `value` in the words of OpenSSL's x509v3_config(5); never anything from outside.
void add_extension(X509* certificate, X509* issuer, int kind, const char* value) {
  X509V3_CTX context{};
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  const Extension extension(X509V3_EXT_nconf_nid(nullptr, &context, kind, value));
  must(extension != nullptr && X509_add_ext(certificate, extension.get(), -1) == 1,
       "extend a certificate");
}

void sign_with(X509* certificate, const PrivateKey& key) {
  must(X509_sign(certificate, key.native(), EVP_sha256()) > 0, "sign a certificate");
}

// Each certificate was issued by the next.
Status check_chain(const std::vector<Certificate>& chain) {
  for (std::size_t i = 0; i < chain.size(); ++i) {
    if (!chain[i].is_authority())
      return fail(ErrorCode::invalid_input,
                  fmt::format("'{}' is not an authority's certificate", chain[i].subject()))
          .hint("the chain has the issuing certificate first, then what issued that");
    if (i + 1 == chain.size()) continue;
    X509* issuer = chain[i + 1].native();
    EVP_PKEY* key = X509_get0_pubkey(issuer);
    if (key == nullptr || X509_check_issued(issuer, chain[i].native()) != X509_V_OK ||
        X509_verify(chain[i].native(), key) != 1)
      return fail(ErrorCode::invalid_input, fmt::format("'{}' was not issued by '{}'",
                                                        chain[i].subject(), chain[i + 1].subject()))
          .hint("the chain has the issuing certificate first, then what issued that");
  }
  return {};
}

bool is_self_signed(const Certificate& certificate) {
  return (X509_get_extension_flags(certificate.native()) & EXFLAG_SS) != 0;
}

}  // namespace

Result<Authority> Authority::create(std::string_view partition, const PrivateKey& key,
                                    Duration lifetime, Instant now) {
  const QuietErrors quiet;
  TRYV(validate_identity({IdentityKind::controller, std::string(partition), "authority"}));
  TRYV(check_key(key.public_key()));
  TRYV(check_lifetime(lifetime));
  const NativeCertificate root = blank(key.native(), {now - kClockTolerance, now + lifetime});
  // With the key's id, so that the roots before and after a rotation have different names.
  const std::string id = key.public_key().id().brief();
  set_subject(X509_get_subject_name(root.get()), "authority",
              partition.size() <= 50 ? fmt::format("{} {}", partition, id) : id);
  must(X509_set_issuer_name(root.get(), X509_get_subject_name(root.get())) == 1,
       "make a certificate");
  add_extension(root.get(), root.get(), NID_basic_constraints, "critical,CA:TRUE,pathlen:0");
  add_extension(root.get(), root.get(), NID_key_usage, "critical,keyCertSign,cRLSign");
  add_extension(root.get(), root.get(), NID_subject_key_identifier, "hash");
  sign_with(root.get(), key);
  std::vector<Certificate> chain{TRY(Certificate::from_native(root.get()))};
  return Authority(std::string(partition), key, std::move(chain));
}

Result<Authority> Authority::load(std::string_view partition, std::string_view chain_pem,
                                  std::string_view key_pem, const SecretText* passphrase) {
  const QuietErrors quiet;
  TRYV(validate_identity({IdentityKind::controller, std::string(partition), "authority"}));
  auto chain = TRY(certificates_from_pem(chain_pem));
  TRYV(check_chain(chain));
  auto key = TRY(PrivateKey::from_pem(key_pem, passphrase));
  const auto certified = chain.front().public_key();
  if (key.kind() != KeyKind::ecdsa_p256)
    return fail(ErrorCode::unsupported,
                fmt::format("an authority with a key of kind {}", key_kind_name(key.kind())))
        .hint("let the external authority certify an ECDSA P-256 key for Consort");
  if (!certified || *certified != key.public_key())
    return fail(ErrorCode::invalid_input,
                fmt::format("the key is not that of '{}'", chain.front().subject()))
        .hint("give the key that belongs to the first certificate of the chain");
  return Authority(std::string(partition), std::move(key), std::move(chain));
}

Result<Certificate> Authority::issue(const CertificateOrder& order, Instant now) const {
  const QuietErrors quiet;
  TRYV(check_key(order.key));
  TRYV(check_lifetime(order.lifetime));
  if (order.identity.partition != partition_)
    return fail(ErrorCode::refused,
                fmt::format("'{}' is not of the partition '{}'", order.identity.uri(), partition_))
        .hint("ask that partition's own authority");
  const bool server = order.identity.kind == IdentityKind::controller;
  if (!server && order.names != ExtraNames{})
    return fail(ErrorCode::refused, "only controllers have DNS names and IP addresses");
  if (certificate().not_after() <= now)
    return fail(ErrorCode::refused,
                fmt::format("the authority '{}' has expired at {}", certificate().subject(),
                            format_instant(certificate().not_after())))
        .hint("make a new authority");
  const GeneralNames names = TRY(make_alternative_names(order.identity, order.names));
  const auto subject_key = order.key.native();
  X509* issuer = certificate().native();
  const NativeCertificate made =
      blank(subject_key.get(),
            {now - kClockTolerance, std::min(now + order.lifetime, certificate().not_after())});
  set_subject(X509_get_subject_name(made.get()), identity_kind_name(order.identity.kind),
              order.identity.name);
  must(X509_set_issuer_name(made.get(), X509_get_subject_name(issuer)) == 1, "make a certificate");
  add_extension(made.get(), issuer, NID_basic_constraints, "critical,CA:FALSE");
  add_extension(made.get(), issuer, NID_key_usage, "critical,digitalSignature");
  add_extension(made.get(), issuer, NID_ext_key_usage,
                server ? "serverAuth,clientAuth" : "clientAuth");
  add_extension(made.get(), issuer, NID_subject_key_identifier, "hash");
  if (X509_get0_subject_key_id(issuer) != nullptr)
    add_extension(made.get(), issuer, NID_authority_key_identifier, "keyid:always");
  must(X509_add1_ext_i2d(made.get(), NID_subject_alt_name, names.get(), 0, X509V3_ADD_DEFAULT) == 1,
       "extend a certificate");
  sign_with(made.get(), key_);
  auto issued = TRY(Certificate::from_native(made.get()));
  // An external authority may have bound its intermediate to other names or uses: better known here
  // than by every peer that refuses it.
  if (auto trusted = verify(issued, {trust_anchor()}, now, CertificateUse::client, chain_);
      !trusted)
    return fail(std::move(trusted).error().context("while testing what this authority issued"));
  return issued;
}

std::string Authority::chain_pem_for(const Certificate& certificate) const {
  std::string pem = certificate.to_pem();
  for (const Certificate& one : chain_)
    if (!is_self_signed(one)) pem += one.to_pem();
  return pem;
}

}  // namespace consort::crypto
