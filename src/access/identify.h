// From what a peer shows to who it is. The TLS layer has verified certificates against the CA and
// their dates; here is decided whether they are still believed. Thread-safe.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "access/registry.h"

namespace consort::access {

struct Known {
  Principal principal;
  std::vector<Grant> grants{};  // of an operator
  // Certificates that it gets are good until then at most; nullopt: as long as they are made for.
  std::optional<Instant> ends{};
  // The operator's token that it shows, or that its certificate comes of; "": none.
  std::string token{};
};

struct ShownCertificate {
  std::string name;
  std::string partition;
  std::string serial;  // lower-case hex
};

// Errors: unauthenticated: nobody of that name, not approved, replaced or revoked.
[[nodiscard]] Result<Known> identify_host(const Registry& registry, const ShownCertificate& shown,
                                          const std::string& address, Instant now);
[[nodiscard]] Result<Known> identify_operator(const Registry& registry,
                                              const ShownCertificate& shown,
                                              const std::string& address, Instant now);

// The value of an Authorization header: "Bearer cop1.…". A join token ("Bearer cj1.…") makes a
// principal of kind joining. Errors: unauthenticated, invalid_input.
[[nodiscard]] Result<Known> identify_bearer(const Registry& registry, std::string_view header,
                                            const std::string& address, Instant now);

// To be stored after a token of an operator was used: nothing when it was used within the hour, so
// that a question costs no write. `id` as in Known's principal; unknown ones are ignored.
[[nodiscard]] Writes note_use(const Registry& registry, const std::string& id, Instant now);
// The same of an operator's certificate.
[[nodiscard]] Writes note_certificate_use(const Registry& registry, const ShownCertificate& shown,
                                          Instant now);

// What the principal text says of a token: "token ab12cd34".
[[nodiscard]] std::string token_brief(std::string_view id);

}  // namespace consort::access
