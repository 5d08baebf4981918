#include "crypto/certificates.h"

#include <fmt/format.h>
#include <openssl/err.h>
#include <openssl/pem.h>

#include <algorithm>
#include <ctime>

#include "crypto/alternative_names.h"
#include "crypto/openssl_handle.h"

namespace consort::crypto {

struct Certificate::Parts {
  NativeCertificate native;
  AlternativeNames names;
  std::string serial;
  std::string subject;
  Instant not_before;
  Instant not_after;
  Digest fingerprint;
  bool authority = false;
};

namespace {

constexpr std::size_t kChainLimit = 32;
constexpr std::size_t kSubjectLimit = 512;

// OpenSSL's own callback would ask on the terminal.
extern "C" int refuse_passphrase(char* /*buffer*/, int /*size*/, int /*writing*/, void* /*data*/) {
  return -1;
}

Result<Instant> instant_of(const ASN1_TIME* time) {
  std::tm fields{};
  if (ASN1_TIME_to_tm(time, &fields) != 1)
    return fail(ErrorCode::invalid_input, "the certificate has a malformed time");
  return Instant(seconds(timegm(&fields)));
}

std::string serial_of(const X509* certificate) {
  const BigNumber number(ASN1_INTEGER_to_BN(X509_get0_serialNumber(certificate), nullptr));
  must(number != nullptr, "read a serial number");
  char* hex = BN_bn2hex(number.get());
  must(hex != nullptr, "read a serial number");
  std::string serial = hex;
  OPENSSL_free(hex);
  std::transform(serial.begin(), serial.end(), serial.begin(),
                 [](char c) { return c >= 'A' && c <= 'F' ? static_cast<char>(c + 32) : c; });
  return serial;
}

std::string subject_of(const X509* certificate) {
  const Bio out = memory_bio();
  X509_NAME_print_ex(out.get(), X509_get_subject_name(certificate), 0,
                     XN_FLAG_SEP_COMMA_PLUS | XN_FLAG_FN_SN | ASN1_STRFLGS_RFC2253);
  return std::string(written(out.get()).substr(0, kSubjectLimit));
}

Digest fingerprint_of(X509* certificate) {
  unsigned char* der = nullptr;
  const int size = i2d_X509(certificate, &der);
  must(size > 0, "encode a certificate");
  const Digest digest = Digest::of({reinterpret_cast<char*>(der), static_cast<std::size_t>(size)});
  OPENSSL_free(der);
  return digest;
}

Result<AlternativeNames> names_of(const X509* certificate) {
  int found = 0;
  const GeneralNames names(static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(certificate, NID_subject_alt_name, &found, nullptr)));
  if (names) return read_alternative_names(*names);
  if (found == -1) return AlternativeNames{};
  return fail(ErrorCode::invalid_input, "the certificate has malformed names, or names twice");
}

Result<std::vector<NativeCertificate>> read_chain(std::string_view pem) {
  if (pem.size() > kPemLimit)
    return fail(ErrorCode::too_large, "certificates in PEM are at most 64 KiB");
  std::vector<NativeCertificate> chain;
  const Bio in = reader_of(pem);
  while (true) {
    NativeCertificate next(PEM_read_bio_X509(in.get(), nullptr, &refuse_passphrase, nullptr));
    if (!next) break;
    chain.push_back(std::move(next));
    if (chain.size() > kChainLimit)
      return fail(ErrorCode::too_large, "more than 32 certificates in one place");
  }
  // The end looks like an error, too: the one that there is no further beginning.
  if (chain.empty() || ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE)
    return fail(ErrorCode::invalid_input, "not a certificate in PEM")
        .hint("it begins with -----BEGIN CERTIFICATE-----");
  return chain;
}

}  // namespace

Result<Certificate> Certificate::from_native(X509* certificate) {
  const QuietErrors quiet;
  auto parts = std::make_shared<Parts>();
  X509_up_ref(certificate);
  parts->native.reset(certificate);
  const auto flags = X509_get_extension_flags(certificate);
  if ((flags & EXFLAG_INVALID) != 0)
    return fail(ErrorCode::invalid_input, "the certificate has malformed extensions");
  parts->authority = (flags & EXFLAG_CA) != 0;
  parts->not_before = TRY(instant_of(X509_get0_notBefore(certificate)));
  parts->not_after = TRY(instant_of(X509_get0_notAfter(certificate)));
  // External authorities may name themselves as they like: that says nothing to us.
  if (!parts->authority) parts->names = TRY(names_of(certificate));
  parts->serial = serial_of(certificate);
  parts->subject = subject_of(certificate);
  parts->fingerprint = fingerprint_of(certificate);
  return Certificate(std::move(parts));
}

Result<Certificate> Certificate::from_pem(std::string_view pem) {
  auto chain = TRY(certificates_from_pem(pem));
  if (chain.size() > 1)
    return fail(ErrorCode::invalid_input,
                fmt::format("{} certificates where one belongs", chain.size()));
  return chain.front();
}

std::string Certificate::to_pem() const {
  const QuietErrors quiet;
  const Bio out = memory_bio();
  must(PEM_write_bio_X509(out.get(), native()) == 1, "write a certificate");
  return std::string(written(out.get()));
}

Result<Identity> Certificate::identity() const {
  if (parts_->names.identity) return *parts_->names.identity;
  return fail(ErrorCode::invalid_input,
              fmt::format("the certificate '{}' names no Consort identity", parts_->subject))
      .hint("it needs one URI name consort://PARTITION/KIND/NAME");
}

Result<PublicKey> Certificate::public_key() const {
  const QuietErrors quiet;
  const EVP_PKEY* key = X509_get0_pubkey(native());
  if (key == nullptr)
    return fail(ErrorCode::unsupported, "the certificate has a key that cannot be read");
  return PublicKey::from_native(key);
}

const ExtraNames& Certificate::extra_names() const { return parts_->names.extra; }
const std::string& Certificate::serial() const { return parts_->serial; }
Instant Certificate::not_before() const { return parts_->not_before; }
Instant Certificate::not_after() const { return parts_->not_after; }
Digest Certificate::fingerprint() const { return parts_->fingerprint; }
bool Certificate::is_authority() const { return parts_->authority; }
const std::string& Certificate::subject() const { return parts_->subject; }
X509* Certificate::native() const { return parts_->native.get(); }

Result<std::vector<Certificate>> certificates_from_pem(std::string_view pem) {
  const QuietErrors quiet;
  std::vector<Certificate> certificates;
  for (const NativeCertificate& native : TRY(read_chain(pem)))
    certificates.push_back(TRY(Certificate::from_native(native.get())));
  return certificates;
}

std::string certificates_to_pem(const std::vector<Certificate>& certificates) {
  std::string pem;
  for (const Certificate& certificate : certificates) pem += certificate.to_pem();
  return pem;
}

}  // namespace consort::crypto
