#include "http/tls_library.h"

#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/provider.h>

#include <string_view>
#include <vector>

namespace consort::http {
namespace {

OSSL_PROVIDER* whole_provider() {
  static OSSL_PROVIDER* const provider = OSSL_PROVIDER_load(nullptr, "default");
  return provider;
}

bool is_decoder_of_certificate_keys(const OSSL_ALGORITHM& algorithm) {
  const std::string_view properties(algorithm.property_definition);
  return properties.find("input=der") != std::string_view::npos &&
         properties.find("structure=SubjectPublicKeyInfo") != std::string_view::npos;
}

const std::vector<OSSL_ALGORITHM>& decoders() {
  static const auto chosen = [] {
    std::vector<OSSL_ALGORITHM> out;
    int may_not_keep = 0;
    const OSSL_ALGORITHM* all =
        OSSL_PROVIDER_query_operation(whole_provider(), OSSL_OP_DECODER, &may_not_keep);
    for (; all != nullptr && all->algorithm_names != nullptr; ++all) {
      if (is_decoder_of_certificate_keys(*all)) out.push_back(*all);
    }
    out.push_back({});  // the end
    return out;
  }();
  return chosen;
}

// The functions of a provider (provider-base(7)): all are the default provider's, but for decoders.
const OSSL_ALGORITHM* query(void*, int operation, int* may_not_keep) {
  if (operation != OSSL_OP_DECODER)
    return OSSL_PROVIDER_query_operation(whole_provider(), operation, may_not_keep);
  *may_not_keep = 0;
  return decoders().data();
}

int capabilities(void*, const char* capability, OSSL_CALLBACK* callback, void* argument) {
  return OSSL_PROVIDER_get_capabilities(whole_provider(), capability, callback, argument);
}

int start(const OSSL_CORE_HANDLE*, const OSSL_DISPATCH*, const OSSL_DISPATCH** functions,
          void** context) {
  static const OSSL_DISPATCH kFunctions[] = {
      {OSSL_FUNC_PROVIDER_QUERY_OPERATION, reinterpret_cast<void (*)()>(&query)},
      {OSSL_FUNC_PROVIDER_GET_CAPABILITIES, reinterpret_cast<void (*)()>(&capabilities)},
      {0, nullptr}};
  *functions = kFunctions;
  *context = OSSL_PROVIDER_get0_provider_ctx(whole_provider());
  return 1;
}

OSSL_LIB_CTX* make() {
  if (whole_provider() == nullptr || decoders().size() < 2) return nullptr;
  OSSL_LIB_CTX* library = OSSL_LIB_CTX_new();
  if (library != nullptr && OSSL_PROVIDER_add_builtin(library, "consort", &start) == 1 &&
      OSSL_PROVIDER_load(library, "consort") != nullptr)
    return library;
  OSSL_LIB_CTX_free(library);
  ERR_clear_error();
  return nullptr;
}

}  // namespace

OSSL_LIB_CTX* tls_library() {
  static OSSL_LIB_CTX* const library = make();
  return library;
}

}  // namespace consort::http
