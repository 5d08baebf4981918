// OpenSSL with what a TLS server needs of it, and nothing more. OpenSSL 3.0 reads a certificate's
// key by trying all decoders that it has, anew for each certificate: 120 µs, as much as two
// signatures take to verify. With only the decoders of public keys in certificates it is 35 µs.
// Private to this room; thread-safe.
#pragma once

#include <openssl/crypto.h>
#include <openssl/types.h>

namespace consort::http {

// For SSL_CTX_new_ex(); lives as long as the process. Null, which is OpenSSL's own, when this
// OpenSSL cannot do it.
[[nodiscard]] OSSL_LIB_CTX* tls_library();

// In scope, it is also what this thread uses where OpenSSL does not ask which: for the certificate
// in a ticket. No private keys can be read meanwhile.
class WithTlsLibrary {
 public:
  WithTlsLibrary() : before_(OSSL_LIB_CTX_set0_default(tls_library())) {}
  ~WithTlsLibrary() { OSSL_LIB_CTX_set0_default(before_); }
  WithTlsLibrary(const WithTlsLibrary&) = delete;
  WithTlsLibrary& operator=(const WithTlsLibrary&) = delete;

 private:
  OSSL_LIB_CTX* const before_;
};

}  // namespace consort::http
