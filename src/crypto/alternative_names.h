// The names in certificates and requests (subject and subjectAltName, RFC 5280 sections 4.1.2.6 and
// 4.2.1.6), made and read. Only for this room.
#pragma once

#include <optional>

#include "crypto/certificates.h"
#include "crypto/openssl_handle.h"

namespace consort::crypto {

struct AlternativeNames {
  std::optional<Identity> identity;
  ExtraNames extra;
};

// Error: invalid_input (names that are no DNS names or IP addresses, too many of them).
[[nodiscard]] Result<GeneralNames> make_alternative_names(const Identity& identity,
                                                          const ExtraNames& extra);
// Error: invalid_input (several URIs, a malformed identity, NUL or control characters in a name).
[[nodiscard]] Result<AlternativeNames> read_alternative_names(const GENERAL_NAMES& names);

// "O=Consort,OU=host,CN=web1", for people. A common name that is too long for X.509 is left out.
void set_subject(X509_NAME* subject, std::string_view unit, std::string_view common_name);

}  // namespace consort::crypto
