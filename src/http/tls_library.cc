#include "http/tls_library.h"

#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/provider.h>

#include <algorithm>
#include <array>
#include <string_view>
#include <vector>

namespace consort::http {
namespace {

using Algorithms = std::vector<OSSL_ALGORITHM>;

OSSL_PROVIDER* whole_provider() {
  static OSSL_PROVIDER* const provider = OSSL_PROVIDER_load(nullptr, "default");
  return provider;
}

// Algorithms name themselves "EC:id-ecPublicKey:1.2.840.10045.2.1".
template <std::size_t Count>
bool is_one_of(const OSSL_ALGORITHM& algorithm, const std::array<std::string_view, Count>& names) {
  const std::string_view all(algorithm.algorithm_names);
  return std::any_of(names.begin(), names.end(), [&](std::string_view name) {
    return all.starts_with(name) && (all.size() == name.size() || all[name.size()] == ':');
  });
}

// Certificates here have EC keys; what an external authority issues with may be another.
bool is_decoder_of_certificate_keys(const OSSL_ALGORITHM& algorithm) {
  static constexpr std::array<std::string_view, 4> kNames{"EC", "RSA", "RSA-PSS", "ED25519"};
  const std::string_view properties(algorithm.property_definition);
  return properties.find("input=der") != std::string_view::npos &&
         properties.find("structure=SubjectPublicKeyInfo") != std::string_view::npos &&
         is_one_of(algorithm, kNames);
}

// Those, what two sides agree on a secret with, and what binds a ticket to its handshake.
bool is_kind_of_key(const OSSL_ALGORITHM& algorithm) {
  static constexpr std::array<std::string_view, 6> kNames{"EC",      "RSA",    "RSA-PSS",
                                                          "ED25519", "X25519", "HMAC"};
  return is_one_of(algorithm, kNames);
}

Algorithms choose(int operation, bool (*fits)(const OSSL_ALGORITHM&)) {
  Algorithms out;
  int may_not_keep = 0;
  const OSSL_ALGORITHM* all =
      OSSL_PROVIDER_query_operation(whole_provider(), operation, &may_not_keep);
  for (; all != nullptr && all->algorithm_names != nullptr; ++all)
    if (fits(*all)) out.push_back(*all);
  out.push_back({});  // the end
  return out;
}

const Algorithms& decoders() {
  static const Algorithms chosen = choose(OSSL_OP_DECODER, &is_decoder_of_certificate_keys);
  return chosen;
}
const Algorithms& kinds_of_keys() {
  static const Algorithms chosen = choose(OSSL_OP_KEYMGMT, &is_kind_of_key);
  return chosen;
}
const Algorithms& nothing() {
  static const Algorithms none(1);
  return none;
}

// The functions of a provider (provider-base(7)): all are the default provider's, but for these.
const OSSL_ALGORITHM* query_keys(const Algorithms& of_decoders, const Algorithms& of_keys,
                                 int operation, int* may_not_keep) {
  if (operation != OSSL_OP_DECODER && operation != OSSL_OP_KEYMGMT)
    return OSSL_PROVIDER_query_operation(whole_provider(), operation, may_not_keep);
  *may_not_keep = 0;
  return operation == OSSL_OP_DECODER ? of_decoders.data() : of_keys.data();
}
const OSSL_ALGORITHM* query_some(void*, int operation, int* may_not_keep) {
  return query_keys(decoders(), kinds_of_keys(), operation, may_not_keep);
}
const OSSL_ALGORITHM* query_none(void*, int operation, int* may_not_keep) {
  return query_keys(nothing(), nothing(), operation, may_not_keep);
}

int capabilities(void*, const char* capability, OSSL_CALLBACK* callback, void* argument) {
  return OSSL_PROVIDER_get_capabilities(whole_provider(), capability, callback, argument);
}

using Query = const OSSL_ALGORITHM*(void*, int, int*);

template <Query* Asked>
int start(const OSSL_CORE_HANDLE*, const OSSL_DISPATCH*, const OSSL_DISPATCH** functions,
          void** context) {
  static const OSSL_DISPATCH kFunctions[] = {
      {OSSL_FUNC_PROVIDER_QUERY_OPERATION, reinterpret_cast<void (*)()>(Asked)},
      {OSSL_FUNC_PROVIDER_GET_CAPABILITIES, reinterpret_cast<void (*)()>(&capabilities)},
      {0, nullptr}};
  *functions = kFunctions;
  *context = OSSL_PROVIDER_get0_provider_ctx(whole_provider());
  return 1;
}

OSSL_LIB_CTX* make(OSSL_provider_init_fn* provider) {
  if (whole_provider() == nullptr || decoders().size() < 2 || kinds_of_keys().size() < 2)
    return nullptr;
  OSSL_LIB_CTX* library = OSSL_LIB_CTX_new();
  if (library != nullptr && OSSL_PROVIDER_add_builtin(library, "consort", provider) == 1 &&
      OSSL_PROVIDER_load(library, "consort") != nullptr)
    return library;
  OSSL_LIB_CTX_free(library);
  ERR_clear_error();
  return nullptr;
}

OSSL_LIB_CTX* library_without_keys() {
  static OSSL_LIB_CTX* const library = make(&start<&query_none>);
  return library;
}

}  // namespace

OSSL_LIB_CTX* tls_library() {
  static OSSL_LIB_CTX* const library = make(&start<&query_some>);
  return library;
}

WithoutKeysInCopies::WithoutKeysInCopies()
    : before_(OSSL_LIB_CTX_set0_default(library_without_keys())) {}
WithoutKeysInCopies::~WithoutKeysInCopies() { OSSL_LIB_CTX_set0_default(before_); }

}  // namespace consort::http
