// What a server says about when to come back (RFC 9110 section 10.2.3, seconds only; at most 5
// minutes).
#pragma once

#include <algorithm>
#include <charconv>
#include <optional>

#include "base/time.h"
#include "http/message.h"

namespace consort::agent {

[[nodiscard]] inline std::optional<Duration> retry_after(const http::Response& response) {
  const auto header = response.headers.get("Retry-After");
  if (!header) return std::nullopt;
  int wanted = 0;
  const auto parsed = std::from_chars(header->data(), header->data() + header->size(), wanted);
  if (parsed.ec != std::errc() || wanted < 0) return std::nullopt;
  return seconds(std::min(wanted, 300));
}

}  // namespace consort::agent
