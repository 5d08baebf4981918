#include "http/http1.h"

#include <fmt/format.h>

#include <boost/asio/buffer.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/fields.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/serializer.hpp>
#include <boost/beast/http/string_body.hpp>

#include "http/target.h"

namespace consort::http {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
using boost::system::error_code;

std::string_view view(beast::string_view text) { return {text.data(), text.size()}; }
beast::string_view beast_view(std::string_view text) { return {text.data(), text.size()}; }

template <class Message>
void copy_headers(const Message& from, Headers& to) {
  for (const auto& field : from) to.add(view(field.name_string()), view(field.value()));
}

// Only `chunked` alone: another coding would leave the two sides of a proxy with two ideas of the
// length.
template <class Message>
bool strange_coding(const Message& message) {
  const auto it = message.find(beast::http::field::transfer_encoding);
  return it != message.end() && !equal_ignoring_case(view(it->value()), "chunked");
}

template <class Message>
std::string head_text(Message& message) {
  beast::http::serializer<Message::is_request::value, beast::http::empty_body> serializer(message);
  serializer.split(true);
  std::string out;
  error_code ec;
  while (!serializer.is_header_done() && !ec) {
    std::size_t n = 0;
    serializer.next(ec, [&](error_code&, const auto& buffers) {
      for (const asio::const_buffer buffer : beast::buffers_range_ref(buffers)) {
        out.append(static_cast<const char*>(buffer.data()), buffer.size());
        n += buffer.size();
      }
    });
    serializer.consume(n);
  }
  return out;
}

}  // namespace

struct RequestParser::Impl {
  beast::http::request_parser<beast::http::string_body> parser;
  std::optional<Refusal> refusal;
  Request request;

  void refuse(int status, ErrorCode code, std::string message) {
    refusal = Refusal{status, Error(code, std::move(message))};
  }
};

RequestParser::RequestParser(std::size_t header_limit) : impl_(std::make_unique<Impl>()) {
  impl_->parser.header_limit(static_cast<std::uint32_t>(header_limit));
  // Until limit_body() says more; nothing of a body is fed before that.
  impl_->parser.body_limit(boost::none);
}
RequestParser::~RequestParser() = default;

std::size_t RequestParser::feed(std::string_view bytes) {
  error_code ec;
  const std::size_t used = impl_->parser.put(asio::buffer(bytes.data(), bytes.size()), ec);
  if (ec && ec != beast::http::error::need_more) {
    if (ec == beast::http::error::header_limit) {
      impl_->refuse(431, ErrorCode::too_large, "the head of the request is over its limit");
    } else if (ec == beast::http::error::body_limit) {
      impl_->refuse(413, ErrorCode::too_large, "the request body is over its limit");
    } else {
      impl_->refuse(400, ErrorCode::invalid_input,
                    fmt::format("malformed HTTP request: {}", ec.message()));
    }
  }
  return used;
}

const std::optional<Refusal>& RequestParser::refusal() const { return impl_->refusal; }
bool RequestParser::head_done() const { return impl_->parser.is_header_done(); }
bool RequestParser::done() const { return impl_->parser.is_done(); }

void RequestParser::read_head() {
  const auto& message = impl_->parser.get();
  Request& request = impl_->request;
  request.method = view(message.method_string());
  request.target = view(message.target());
  copy_headers(message, request.headers);
  if (strange_coding(message))
    return impl_->refuse(501, ErrorCode::unsupported,
                         "this transfer coding is not supported; only chunked is");
  if (message.version() != 10 && message.version() != 11)
    return impl_->refuse(505, ErrorCode::unsupported, "only HTTP/1.0 and HTTP/1.1 are spoken here");
  if (message.version() == 11 && message.count(beast::http::field::host) != 1) {
    return impl_->refuse(400, ErrorCode::invalid_input, "the request needs one Host header");
  }
  auto target = parse_target(request.target);
  if (!target) return impl_->refuse(400, ErrorCode::invalid_input, target.error().message());
  request.path = std::move(target->path);
  request.query = std::move(target->query);
}

void RequestParser::limit_body(std::size_t limit) {
  const auto length = impl_->parser.content_length();
  if (length && *length > limit) {
    return impl_->refuse(
        413, ErrorCode::too_large,
        fmt::format("the request body has {} bytes; the limit here is {}", *length, limit));
  }
  impl_->parser.body_limit(static_cast<std::uint64_t>(limit));
}

bool RequestParser::expects_continue() const {
  const auto& message = impl_->parser.get();
  const auto it = message.find(beast::http::field::expect);
  return it != message.end() && equal_ignoring_case(view(it->value()), "100-continue");
}
bool RequestParser::keep_alive() const { return impl_->parser.keep_alive(); }
bool RequestParser::is_http_1_1() const { return impl_->parser.get().version() >= 11; }

Request RequestParser::take_request() {
  impl_->request.body = std::move(impl_->parser.get().body());
  return std::move(impl_->request);
}
const Request& RequestParser::request() const { return impl_->request; }

struct ResponseParser::Impl {
  beast::http::response_parser<beast::http::string_body> parser;
};

ResponseParser::ResponseParser(std::size_t header_limit, std::size_t limit, Body body)
    : impl_(std::make_unique<Impl>()) {
  impl_->parser.header_limit(static_cast<std::uint32_t>(header_limit));
  if (limit == 0) {
    impl_->parser.body_limit(boost::none);
  } else {
    impl_->parser.body_limit(static_cast<std::uint64_t>(limit));
  }
  impl_->parser.skip(body == Body::none);
}
ResponseParser::~ResponseParser() = default;

Result<std::size_t> ResponseParser::feed(std::string_view bytes) {
  error_code ec;
  const std::size_t used = impl_->parser.put(asio::buffer(bytes.data(), bytes.size()), ec);
  if (!ec || ec == beast::http::error::need_more) return used;
  if (ec == beast::http::error::body_limit || ec == beast::http::error::header_limit) {
    return fail(ErrorCode::too_large, "the answer is over its limit");
  }
  return fail(ErrorCode::unavailable, fmt::format("the answer is no HTTP: {}", ec.message()))
      .hint("is this the address of a Consort controller?");
}

Status ResponseParser::feed_end() {
  error_code ec;
  if (impl_->parser.got_some()) impl_->parser.put_eof(ec);
  if (ec || !impl_->parser.is_done())
    return fail(ErrorCode::unavailable,
                "the server closed the connection before its answer was complete");
  return {};
}
bool ResponseParser::head_done() const { return impl_->parser.is_header_done(); }
bool ResponseParser::done() const { return impl_->parser.is_done(); }
bool ResponseParser::keep_alive() const { return impl_->parser.keep_alive(); }
Response ResponseParser::head() const {
  Response out;
  out.status = static_cast<int>(impl_->parser.get().result_int());
  copy_headers(impl_->parser.get(), out.headers);
  return out;
}
std::string ResponseParser::take_body() { return std::exchange(impl_->parser.get().body(), {}); }

std::string response_head(const Response& response, Framing framing, bool keep_alive,
                          bool http_1_1) {
  beast::http::response<beast::http::empty_body> message;
  message.version(11);
  message.result(static_cast<unsigned>(response.status));
  message.reason(beast_view(reason_phrase(response.status)));
  for (const auto& [name, value] : response.headers.items())
    message.insert(beast_view(name), beast_view(value));
  const bool bodyless = response.status == 204 || response.status == 304 || response.status < 200;
  if (framing == Framing::chunked) message.set(beast::http::field::transfer_encoding, "chunked");
  if (framing == Framing::content_length && !bodyless) message.content_length(response.body.size());
  if (!keep_alive) message.set(beast::http::field::connection, "close");
  if (keep_alive && !http_1_1) message.set(beast::http::field::connection, "keep-alive");
  return head_text(message);
}

std::string chunk(std::string_view bytes) {
  return fmt::format("{:x}\r\n{}\r\n", bytes.size(), bytes);
}

std::string request_text(std::string_view method, std::string_view target, const Headers& headers,
                         std::string_view body) {
  beast::http::request<beast::http::empty_body> message;
  message.version(11);
  message.method_string(beast_view(method));
  message.target(beast_view(target));
  for (const auto& [name, value] : headers.items())
    message.insert(beast_view(name), beast_view(value));
  if (!body.empty() || (method != "GET" && method != "HEAD")) message.content_length(body.size());
  return head_text(message).append(body);
}

}  // namespace consort::http
