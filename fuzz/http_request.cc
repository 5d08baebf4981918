// A request as it comes from the network, in pieces, as connection.cc takes it in. The first byte
// says how large the pieces are.
#include <algorithm>

#include "fuzz/input.h"
#include "http/http1.h"

namespace {

using namespace consort;

constexpr std::size_t kHead = 4096;
constexpr std::size_t kBody = 65536;

// Returns how many bytes of one request were used, 0 when it was refused or is not complete.
std::size_t take_request(std::string_view bytes, std::size_t piece) {
  http::RequestParser parser(kHead);
  bool head_read = false;
  std::size_t at = 0;
  std::size_t end = 0;
  while (!parser.done()) {
    if (at == end || end == 0) {
      if (end == bytes.size()) return 0;
      end = std::min(bytes.size(), end + piece);
    }
    const std::size_t used = parser.feed(bytes.substr(at, end - at));
    fuzz::require(used <= end - at, "a parser uses no more than it was given");
    at += used;
    if (parser.refusal()) return 0;
    if (!head_read && parser.head_done()) {
      head_read = true;
      parser.read_head();
      if (parser.refusal()) return 0;
      parser.limit_body(kBody);
      if (parser.refusal()) return 0;
      static_cast<void>(parser.expects_continue());
      continue;
    }
    if (used == 0) {
      if (end == bytes.size()) return 0;
      end = std::min(bytes.size(), end + piece);
    }
  }
  static_cast<void>(parser.keep_alive());
  static_cast<void>(parser.is_http_1_1());
  const http::Request request = parser.take_request();
  fuzz::require(request.body.size() <= kBody, "the limit of the body holds");
  fuzz::require(!request.path.empty(), "a request has a path");
  static_cast<void>(request.bearer_token());
  static_cast<void>(request.json());
  return at;
}

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const std::size_t piece = data[0] == 0 ? size : data[0];
  std::string_view bytes = fuzz::text_of(data, size).substr(1);
  for (int requests = 0; requests < 8 && !bytes.empty(); ++requests) {
    const std::size_t used = take_request(bytes, piece);
    if (used == 0) break;
    bytes.remove_prefix(used);
  }
  return 0;
}
