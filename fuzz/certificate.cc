// Certificates and chains: what a TLS peer sends, and files of external authorities.
#include "crypto/certificates.h"

#include "fuzz/pem.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace consort;
  const auto chain =
      crypto::certificates_from_pem(fuzz::as_pem(fuzz::text_of(data, size), "CERTIFICATE"));
  if (!chain) {
    fuzz::require(!render_error(chain.error()).empty(), "an error can be told");
    return 0;
  }
  for (const crypto::Certificate& certificate : *chain) {
    const auto again = crypto::Certificate::from_pem(certificate.to_pem());
    fuzz::require(again && *again == certificate, "a certificate that was read can be written");
    if (const auto identity = certificate.identity()) {
      fuzz::require(crypto::validate_identity(*identity).has_value(), "identities are valid");
      fuzz::require(!certificate.is_authority(), "an authority speaks for nobody");
    }
    static_cast<void>(certificate.public_key());
    static_cast<void>(crypto::verify(certificate, {chain->back()}, certificate.not_before(),
                                     crypto::CertificateUse::client, *chain));
  }
  return 0;
}
