// OpenSSL with what a TLS server needs of it, and nothing more. OpenSSL 3.0 reads the key in each
// certificate by comparing all kinds of keys with all decoders that it has, anew for each: as dear
// as two signatures are to verify. With the few kinds that certificates have here it is a quarter.
// Private to this room; thread-safe.
#pragma once

#include <openssl/types.h>

namespace consort::http {

// For SSL_CTX_new_ex(); lives as long as the process. Null, which is OpenSSL's own, when this
// OpenSSL cannot do it.
[[nodiscard]] OSSL_LIB_CTX* tls_library();

// In scope, certificates that OpenSSL reads without being told with which library are read without
// their keys: those in the copies of a session that it makes for tickets, where nobody asks for
// them. Certificates of handshakes belong to tls_library(), and are read whole. No private keys
// can be read meanwhile.
class WithoutKeysInCopies {
 public:
  WithoutKeysInCopies();
  ~WithoutKeysInCopies();
  WithoutKeysInCopies(const WithoutKeysInCopies&) = delete;
  WithoutKeysInCopies& operator=(const WithoutKeysInCopies&) = delete;

 private:
  OSSL_LIB_CTX* const before_;
};

}  // namespace consort::http
