// Requests for certificates: what a stranger with a token sends.
#include "crypto/certificates.h"
#include "fuzz/pem.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace consort;
  const auto request =
      crypto::parse_request(fuzz::as_pem(fuzz::text_of(data, size), "CERTIFICATE REQUEST"));
  if (!request) {
    fuzz::require(!render_error(request.error()).empty(), "an error can be told");
    return 0;
  }
  fuzz::require(request->key.kind() == crypto::KeyKind::ecdsa_p256, "only keys for certificates");
  fuzz::require(crypto::validate_identity(request->identity).has_value(), "identities are valid");
  return 0;
}
