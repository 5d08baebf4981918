#include "controller/own_pages.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <string_view>

#include "base/text.h"
#include "http/url.h"

namespace consort::controller {
namespace {

std::string lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  return out;
}

bool names_this_machine(const std::string& host) {
  // With a port or without one.
  auto at = http::parse_host_port(host);
  if (!at) at = http::parse_host_port(host + ":80");
  return at && http::is_loopback(at->host);
}

Failure forbidden(std::string message) {
  return fail(ErrorCode::forbidden, std::move(message))
      .hint(
          "--insecure answers programs of this machine; for others and for browsers make an "
          "authority: consort controller init");
}

std::string shown(std::string_view text) {
  return printable(std::string(text.substr(0, 80)), Lines::one);
}

}  // namespace

Status check_no_foreign_page(const http::Headers& headers) {
  // Each browser sends a Host; what has none is HTTP/1.0 of some program.
  const auto host = headers.get("Host");
  if (host && !names_this_machine(lower(*host)))
    return forbidden(fmt::format("'{}' in the Host header is not this machine", shown(*host)));
  const auto origin = headers.get("Origin");
  if (origin && (!host || lower(*origin) != "http://" + lower(*host)))
    return forbidden(fmt::format("sent by a page of another site: {}", shown(*origin)));
  // What a page loads as an image or a frame has no Origin; browsers tell of it in this way.
  const auto site = headers.get("Sec-Fetch-Site");
  if (site && *site != "same-origin" && *site != "none")
    return forbidden(fmt::format("sent by a page of another site ({})", shown(*site)));
  return {};
}

}  // namespace consort::controller
