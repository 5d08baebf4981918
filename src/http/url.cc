#include "http/url.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <charconv>

namespace consort::http {
namespace {

Failure bad_address(std::string_view text) {
  return fail(ErrorCode::invalid_input, fmt::format("'{}' is no address with a port", text))
      .hint("write it like 127.0.0.1:8440 or [::1]:8440");
}

Result<std::uint16_t> parse_port(std::string_view digits, std::string_view whole) {
  std::uint16_t port = 0;
  const auto [end, ec] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  if (ec != std::errc() || end != digits.data() + digits.size()) return bad_address(whole);
  return port;
}

}  // namespace

Result<HostPort> parse_host_port(std::string_view text) {
  const auto colon = text.rfind(':');
  if (colon == std::string_view::npos || colon == 0) return bad_address(text);
  std::string_view host = text.substr(0, colon);
  if (host.starts_with('[')) {
    if (!host.ends_with(']') || host.size() < 3) return bad_address(text);
    host = host.substr(1, host.size() - 2);
  } else if (host.find(':') != std::string_view::npos) {
    return bad_address(text);
  }
  const std::uint16_t port = TRY(parse_port(text.substr(colon + 1), text));
  return HostPort{std::string(host), port};
}

bool is_loopback(const std::string& host) {
  in_addr v4{};
  if (::inet_pton(AF_INET, host.c_str(), &v4) == 1) return (ntohl(v4.s_addr) >> 24U) == 127;
  in6_addr v6{};
  if (::inet_pton(AF_INET6, host.c_str(), &v6) == 1) return IN6_IS_ADDR_LOOPBACK(&v6);
  return host == "localhost";
}

std::string Url::authority() const {
  const bool v6 = at.host.find(':') != std::string::npos;
  return v6 ? fmt::format("[{}]:{}", at.host, at.port) : fmt::format("{}:{}", at.host, at.port);
}

Result<Url> parse_url(std::string_view text) {
  const auto colon = text.find("://");
  if (colon == std::string_view::npos) {
    return fail(ErrorCode::invalid_input, fmt::format("'{}' is no URL", text))
        .hint("write it like https://controller.example:8440");
  }
  Url url;
  url.scheme = text.substr(0, colon);
  if (url.scheme != "http" && url.scheme != "https") {
    return fail(ErrorCode::unsupported,
                fmt::format("'{}': the scheme {} is not supported", text, url.scheme))
        .hint("use http:// or https://");
  }
  std::string_view rest = text.substr(colon + 3);
  rest = rest.substr(0, rest.find_first_of("?#"));
  const auto slash = rest.find('/');
  const std::string_view authority = rest.substr(0, slash);
  if (slash != std::string_view::npos) url.base = rest.substr(slash);
  while (url.base.ends_with('/')) url.base.pop_back();
  if (authority.empty() || authority.find_first_of("@ \t\r\n") != std::string_view::npos)
    return bad_address(text);
  const auto port = authority.rfind(':');
  const bool has_port =
      port != std::string_view::npos && authority.find(']', port) == std::string_view::npos;
  url.at = TRY(parse_host_port(
      has_port ? std::string(authority)
               : fmt::format("{}:{}", authority, url.scheme == "https" ? 443 : 80)));
  return url;
}

}  // namespace consort::http
