// HTTP/1.1 framing (RFC 9112) on Beast's parsers, fed with bytes by whoever owns the connection.
// Private to this room. Not thread-safe. Bounded: head, body and number of header fields.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "http/message.h"

namespace consort::http {

// Why a request cannot be served, as the answer that says so.
struct Refusal {
  int status;
  Error error;
};

class RequestParser {
 public:
  explicit RequestParser(std::size_t header_limit);
  ~RequestParser();
  RequestParser(const RequestParser&) = delete;
  RequestParser& operator=(const RequestParser&) = delete;

  // Takes in bytes and says how many it used. It stops at the end of the head (once) and of the
  // message.
  [[nodiscard]] std::size_t feed(std::string_view bytes);
  [[nodiscard]] const std::optional<Refusal>& refusal() const;
  [[nodiscard]] bool head_done() const;
  [[nodiscard]] bool done() const;

  // Once the head is done: reads it into request(); an error is in refusal().
  void read_head();
  // Once the head is done, before the body is fed. Refuses at once when the body is announced as
  // larger.
  void limit_body(std::size_t limit);
  [[nodiscard]] bool expects_continue() const;
  [[nodiscard]] bool keep_alive() const;
  [[nodiscard]] bool is_http_1_1() const;
  // Complete once done().
  [[nodiscard]] Request take_request();
  [[nodiscard]] const Request& request() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

class ResponseParser {
 public:
  enum class Body : std::uint8_t { expected, none };  // none: the answer to HEAD
  // limit: of the body, in bytes; 0 is unlimited, for streams that are taken out piece by piece.
  ResponseParser(std::size_t header_limit, std::size_t limit, Body body);
  ~ResponseParser();
  ResponseParser(const ResponseParser&) = delete;
  ResponseParser& operator=(const ResponseParser&) = delete;

  // Errors: unavailable (not HTTP), too_large.
  [[nodiscard]] Result<std::size_t> feed(std::string_view bytes);
  // The peer has ended its side. Error unavailable when that cuts the message.
  [[nodiscard]] Status feed_end();
  [[nodiscard]] bool head_done() const;
  [[nodiscard]] bool done() const;
  [[nodiscard]] bool keep_alive() const;
  // Status and headers, once the head is done.
  [[nodiscard]] Response head() const;
  // What has arrived of the body since the last call.
  [[nodiscard]] std::string take_body();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

enum class Framing : std::uint8_t { content_length, chunked, until_close };
// The head of an answer, with its framing and connection fields, written by Beast's serializer.
[[nodiscard]] std::string response_head(const Response& response, Framing framing, bool keep_alive,
                                        bool http_1_1);
[[nodiscard]] std::string chunk(std::string_view bytes);
inline constexpr std::string_view kLastChunk = "0\r\n\r\n";
// A whole request, ready to be sent.
[[nodiscard]] std::string request_text(std::string_view method, std::string_view target,
                                       const Headers& headers, std::string_view body);

}  // namespace consort::http
