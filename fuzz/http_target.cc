// Request targets, percent-encoding, URLs, and server-sent events.
#include "fuzz/input.h"
#include "http/event_reader.h"
#include "http/target.h"
#include "http/url.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace consort;
  const std::string_view text = fuzz::text_of(data, size);
  const auto decoded = http::percent_decode(http::percent_encode(text));
  fuzz::require(text.find('\0') != std::string_view::npos || (decoded && *decoded == text),
                "encoding is undone by decoding");
  static_cast<void>(http::percent_decode(text));
  static_cast<void>(http::parse_target(text));
  static_cast<void>(http::parse_host_port(text));
  if (const auto url = http::parse_url(text)) {
    const auto again = http::parse_url("http://" + url->authority() + url->base);
    fuzz::require(again.has_value() && again->authority() == url->authority(),
                  "the authority of a URL is one");
  }
  http::EventReader reader(4096, "");
  for (std::size_t at = 0; at < text.size(); at += 7) {
    if (!reader.feed(text.substr(at, 7))) break;
  }
  return 0;
}
