#include "hostile.h"

#include <openssl/bio.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <cstdlib>

namespace consort::crypto::tests {
namespace {

using Names = std::unique_ptr<GENERAL_NAMES, decltype(&GENERAL_NAMES_free)>;
using Key = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;

Names make_names(const std::vector<Name>& names) {
  Names made(GENERAL_NAMES_new(), &GENERAL_NAMES_free);
  for (const Name& name : names) {
    ASN1_STRING* value = ASN1_STRING_type_new(V_ASN1_IA5STRING);
    ASN1_STRING_set(value, name.bytes.data(), static_cast<int>(name.bytes.size()));
    GENERAL_NAME* one = GENERAL_NAME_new();
    GENERAL_NAME_set0_value(one, name.kind == Name::Kind::uri ? GEN_URI : GEN_DNS, value);
    sk_GENERAL_NAME_push(made.get(), one);
  }
  return made;
}

template <class Write>
std::string pem_of(Write write) {
  BIO* bio = BIO_new(BIO_s_mem());
  write(bio);
  char* data = nullptr;
  const auto size = BIO_get_mem_data(bio, &data);
  std::string pem(data, static_cast<std::size_t>(size));
  BIO_free(bio);
  return pem;
}

std::string request_for(EVP_PKEY* key, const std::vector<Name>& names) {
  X509_REQ* request = X509_REQ_new();
  X509_REQ_set_pubkey(request, key);
  STACK_OF(X509_EXTENSION)* extensions = nullptr;
  X509V3_add1_i2d(&extensions, NID_subject_alt_name, make_names(names).get(), 0, 0);
  X509_REQ_add_extensions(request, extensions);
  X509_REQ_sign(request, key, EVP_sha256());
  std::string pem = pem_of([&](BIO* bio) { PEM_write_bio_X509_REQ(bio, request); });
  sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
  X509_REQ_free(request);
  return pem;
}

Key rsa_key() { return {EVP_RSA_gen(2048), &EVP_PKEY_free}; }

}  // namespace

std::string request_with_names(const PrivateKey& key, const std::vector<Name>& names) {
  return request_for(key.native(), names);
}

std::string self_signed_with_names(const PrivateKey& key, const std::vector<Name>& names) {
  X509* certificate = X509_new();
  X509_set_version(certificate, X509_VERSION_3);
  ASN1_INTEGER_set(X509_get_serialNumber(certificate), 7);
  X509_gmtime_adj(X509_getm_notBefore(certificate), 0);
  X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
  X509_set_pubkey(certificate, key.native());
  X509_add1_ext_i2d(certificate, NID_subject_alt_name, make_names(names).get(), 0, 0);
  X509_sign(certificate, key.native(), EVP_sha256());
  std::string pem = pem_of([&](BIO* bio) { PEM_write_bio_X509(bio, certificate); });
  X509_free(certificate);
  return pem;
}

std::string rsa_request() {
  return request_for(rsa_key().get(), {{Name::Kind::uri, "consort://prod/host/web1"}});
}

std::string rsa_key_pem() {
  return pem_of([&](BIO* bio) {
    PEM_write_bio_PrivateKey(bio, rsa_key().get(), nullptr, nullptr, 0, nullptr, nullptr);
  });
}

std::string rsa_public_key_pem() {
  return pem_of([&](BIO* bio) { PEM_write_bio_PUBKEY(bio, rsa_key().get()); });
}

std::string with_a_flipped_byte(const std::string& pem, std::size_t from_end) {
  BIO* in = BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size()));
  char* name = nullptr;
  char* header = nullptr;
  unsigned char* der = nullptr;
  long size = 0;
  if (PEM_read_bio(in, &name, &header, &der, &size) != 1) std::abort();
  der[size - 1 - static_cast<long>(from_end)] ^= 1U;
  std::string changed = pem_of([&](BIO* bio) { PEM_write_bio(bio, name, header, der, size); });
  OPENSSL_free(name);
  OPENSSL_free(header);
  OPENSSL_free(der);
  BIO_free(in);
  return changed;
}

}  // namespace consort::crypto::tests
