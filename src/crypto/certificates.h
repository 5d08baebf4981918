// X.509 certificates (RFC 5280) and requests for them (PKCS#10, RFC 2986), as Consort uses them:
// short-lived, with one identity each, under one's own authority or an external one. Certificates
// are immutable values: cheap to copy, and safe to use from several threads.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/digest.h"
#include "base/error.h"
#include "base/time.h"
#include "crypto/identity.h"
#include "crypto/keys.h"

struct x509_st;  // OpenSSL's X509

namespace consort::crypto {

// Further names of a controller, under which clients reach it.
struct ExtraNames {
  std::vector<std::string> dns;  // letters, digits, '-', '_' and '.', at most 253 characters
  std::vector<std::string> ips;  // "10.0.0.1", "2001:db8::1"
  friend bool operator==(const ExtraNames&, const ExtraNames&) = default;
};
inline constexpr std::size_t kExtraNameLimit = 64;

class Certificate {
 public:
  // Exactly one certificate. Errors: invalid_input (malformed, several of them; not of an
  // authority, but with several URI names or a name with NUL or control characters), too_large.
  [[nodiscard]] static Result<Certificate> from_pem(std::string_view pem);
  // Of OpenSSL's certificate, such as a TLS peer's; makes its own reference.
  [[nodiscard]] static Result<Certificate> from_native(x509_st* certificate);

  [[nodiscard]] std::string to_pem() const;
  // Error: invalid_input, when it names no Consort identity (an authority's never does).
  [[nodiscard]] Result<Identity> identity() const;
  [[nodiscard]] const ExtraNames& extra_names() const;
  // Lower-case hex without a prefix, as stored and compared.
  [[nodiscard]] const std::string& serial() const;
  [[nodiscard]] Instant not_before() const;
  [[nodiscard]] Instant not_after() const;
  // SHA-256 of the DER form.
  [[nodiscard]] Digest fingerprint() const;
  // Error: unsupported, when it is of a kind that PublicKey does not know (an external RSA root).
  [[nodiscard]] Result<PublicKey> public_key() const;
  [[nodiscard]] bool is_authority() const;
  // For people: "O=Consort,OU=host,CN=web1". No identity: use identity().
  [[nodiscard]] const std::string& subject() const;
  // Borrowed: lives as long as this does.
  [[nodiscard]] x509_st* native() const;

  friend bool operator==(const Certificate& a, const Certificate& b) {
    return a.fingerprint() == b.fingerprint();
  }

 private:
  struct Parts;
  explicit Certificate(std::shared_ptr<const Parts> parts) : parts_(std::move(parts)) {}
  std::shared_ptr<const Parts> parts_;
};

// All certificates of a chain or bundle, in their order: 1 to 32. Errors as from_pem.
[[nodiscard]] Result<std::vector<Certificate>> certificates_from_pem(std::string_view pem);
[[nodiscard]] std::string certificates_to_pem(const std::vector<Certificate>& certificates);

enum class CertificateUse : std::uint8_t { client, server };

// Whether `certificate` leads to one of `roots` at `now`, and may be used so. A root need not be
// self-signed: of an external authority it can be the intermediate that issues for Consort only,
// and then nothing else of that authority is believed. `between`: what the peer sent besides.
// Says nothing about revocation, names and partitions. Errors: refused, with what is wrong (not of
// these authorities, expired, not yet valid, made for another use).
[[nodiscard]] Status verify(const Certificate& certificate, const std::vector<Certificate>& roots,
                            Instant now, CertificateUse use = CertificateUse::client,
                            const std::vector<Certificate>& between = {});

// A request to be given a certificate: PEM, signed with the key itself. Errors: invalid_input (the
// identity; a key that is not ECDSA P-256).
[[nodiscard]] Result<std::string> make_request(const PrivateKey& key, const Identity& identity);

struct CertificateRequest {
  PublicKey key;      // its holder made the request: the signature is verified
  Identity identity;  // what it claims to be: believe it for a token's or an old certificate's sake
};
// Errors: invalid_input (malformed, a broken signature, no identity, several URI names), too_large,
// unsupported (a key that is not ECDSA P-256).
[[nodiscard]] Result<CertificateRequest> parse_request(std::string_view pem);

}  // namespace consort::crypto
