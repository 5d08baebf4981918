// What the .cc files of this room share of OpenSSL: owners of its objects, and its error queue.
#pragma once

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <memory>
#include <string>
#include <string_view>

namespace consort::crypto {

template <auto Free>
struct Freer {
  template <class T>
  void operator()(T* object) const {
    Free(object);
  }
};
using Bio = std::unique_ptr<BIO, Freer<&BIO_free_all>>;
using Pkey = std::unique_ptr<EVP_PKEY, Freer<&EVP_PKEY_free>>;
using PkeyContext = std::unique_ptr<EVP_PKEY_CTX, Freer<&EVP_PKEY_CTX_free>>;
using BigNumber = std::unique_ptr<BIGNUM, Freer<&BN_free>>;
using NativeCertificate = std::unique_ptr<X509, Freer<&X509_free>>;
using NativeRequest = std::unique_ptr<X509_REQ, Freer<&X509_REQ_free>>;
using GeneralNames = std::unique_ptr<GENERAL_NAMES, Freer<&GENERAL_NAMES_free>>;
using Extension = std::unique_ptr<X509_EXTENSION, Freer<&X509_EXTENSION_free>>;

// OpenSSL leaves errors in a queue of the thread, where a TLS connection would take them for its
// own. In scope, this takes away what was added.
class QuietErrors {
 public:
  QuietErrors();
  ~QuietErrors();
  QuietErrors(const QuietErrors&) = delete;
  QuietErrors& operator=(const QuietErrors&) = delete;
};

// For calls that fail only without memory or through a bug: throws std::runtime_error.
void must(bool succeeded, const char* what);

// Reads `bytes`, which must outlive it.
[[nodiscard]] Bio reader_of(std::string_view bytes);
// Writes to memory, which is wiped when freed.
[[nodiscard]] Bio memory_bio();
// What was written; valid as long as the BIO is.
[[nodiscard]] std::string_view written(BIO* memory);

[[nodiscard]] inline const unsigned char* octets(std::string_view bytes) {
  return reinterpret_cast<const unsigned char*>(bytes.data());
}
[[nodiscard]] inline unsigned char* octets(char* bytes) {
  return reinterpret_cast<unsigned char*>(bytes);
}

}  // namespace consort::crypto
