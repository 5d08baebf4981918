// Sealed values, as a host gets them. The seeds are sealed for this key, in the context "fuzz".
#include "crypto/seal.h"

#include "crypto/random.h"
#include "fuzz/input.h"

namespace {

const consort::crypto::PrivateKey& host_key() {
  static const auto key = consort::crypto::PrivateKey::from_pem(
      "-----BEGIN PRIVATE KEY-----\n"
      "MC4CAQAwBQYDK2VuBCIEIBAsP4f6iXOl7NAE/eN4zIYtXWtIvvmRrT6ODLckGEVK\n"
      "-----END PRIVATE KEY-----\n");
  return *key;
}

void try_to_open(std::string_view sealed) {
  using namespace consort;
  const auto opened = crypto::open(sealed, host_key(), "fuzz");
  const auto named = crypto::is_sealed_for(sealed, host_key().public_key());
  if (opened) {
    fuzz::require(named && *named, "only the named open it");
    fuzz::require(!crypto::open(sealed, host_key(), "other"), "only in its context");
    fuzz::require(opened->size() <= crypto::kSealPlaintextLimit, "values are bounded");
  } else {
    fuzz::require(!render_error(opened.error()).empty(), "an error can be told");
  }
}

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text = consort::fuzz::text_of(data, size);
  try_to_open(text);
  try_to_open("sealed.v1." + consort::crypto::to_base64url(text));
  return 0;
}
