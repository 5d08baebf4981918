// Addresses and URLs of servers. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.h"

namespace consort::http {

struct HostPort {
  std::string host;  // without brackets
  std::uint16_t port = 0;
};
// "127.0.0.1:80", "[::1]:80", "name:80". Error: invalid_input, with an example.
[[nodiscard]] Result<HostPort> parse_host_port(std::string_view text);

// "localhost", 127.0.0.0/8, "::1": who listens or answers there is on this machine.
[[nodiscard]] bool is_loopback(const std::string& host);

struct Url {
  std::string scheme;  // "http", "https"
  HostPort at;
  std::string base;                             // the path without a trailing '/', "" for none
  [[nodiscard]] std::string authority() const;  // for the Host header
};
// Without a port: 80 or 443. Errors: invalid_input; unsupported for another scheme.
[[nodiscard]] Result<Url> parse_url(std::string_view text);

}  // namespace consort::http
