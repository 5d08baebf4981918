// Who a certificate speaks for. In certificates and requests: the one URI name
// `consort://PARTITION/KIND/NAME` (subjectAltName, RFC 5280 section 4.2.1.6), percent-encoded
// outside of [A-Za-z0-9._~-].
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.h"

namespace consort::crypto {

enum class IdentityKind : std::uint8_t { host, operator_, controller };

// "host", "operator", "controller"
[[nodiscard]] std::string_view identity_kind_name(IdentityKind kind);

struct Identity {
  IdentityKind kind = IdentityKind::host;
  std::string partition;
  std::string name;

  // "consort://prod/host/web1". Only for a valid identity.
  [[nodiscard]] std::string uri() const;
  friend auto operator<=>(const Identity&, const Identity&) = default;
};

// Partition and name: UTF-8 of 1 to 253 bytes without control characters, not "." or "..".
// Error: invalid_input.
[[nodiscard]] Status validate_identity(const Identity& identity);
// The exact inverse of uri(): each identity has one URI. Error: invalid_input.
[[nodiscard]] Result<Identity> identity_from_uri(std::string_view uri);

}  // namespace consort::crypto
