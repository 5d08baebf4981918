// OpenSSL with what a TLS server needs of it, and nothing more. OpenSSL 3.0 reads a certificate's
// key by trying all decoders that it has, anew for each certificate: 120 µs, as much as two
// signatures take to verify. With only the decoders of public keys in certificates it is 35 µs.
// Private to this room; thread-safe.
#pragma once

#include <openssl/types.h>

namespace consort::http {

// For SSL_CTX_new_ex(); lives as long as the process. Null, which is OpenSSL's own, when this
// OpenSSL cannot do it.
[[nodiscard]] OSSL_LIB_CTX* tls_library();

}  // namespace consort::http
