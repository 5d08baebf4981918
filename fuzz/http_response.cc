// An answer as it comes from the network, in pieces. The first byte says how large they are; its
// lowest bit, whether it answers HEAD.
#include <algorithm>

#include "fuzz/input.h"
#include "http/http1.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace consort;
  if (size < 2) return 0;
  constexpr std::size_t kBody = 65536;
  const std::size_t piece = data[0] < 2 ? size : data[0];
  const auto kind =
      (data[0] & 1U) != 0 ? http::ResponseParser::Body::none : http::ResponseParser::Body::expected;
  http::ResponseParser parser(4096, kBody, kind);
  std::string_view bytes = fuzz::text_of(data, size).substr(1);
  std::string body;
  std::size_t given = std::min(piece, bytes.size());
  while (!bytes.empty() && !parser.done()) {
    const auto used = parser.feed(bytes.substr(0, given));
    if (!used) return 0;
    fuzz::require(*used <= given, "a parser uses no more than it was given");
    bytes.remove_prefix(*used);
    body += parser.take_body();
    fuzz::require(body.size() <= kBody, "the limit of the body holds");
    if (*used == 0 && given >= bytes.size()) break;
    given = std::min(*used == 0 ? given + piece : piece, bytes.size());
  }
  if (!parser.done() && !parser.feed_end()) return 0;
  if (!parser.head_done()) return 0;
  http::Response response = parser.head();
  response.body = std::move(body);
  static_cast<void>(parser.keep_alive());
  static_cast<void>(http::json_of(response));
  static_cast<void>(http::error_of(response));
  return 0;
}
