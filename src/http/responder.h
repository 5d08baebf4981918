// The right to answer one request, now or later, from any thread, once.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "http/event_stream.h"
#include "http/message.h"

namespace consort::http {

struct Exchange;  // defined inside this room

// Copies share the one answer. When the last copy goes without an answer, the peer gets 500.
// Thread-safe.
class Responder {
 public:
  explicit Responder(std::shared_ptr<Exchange> exchange) : exchange_(std::move(exchange)) {}

  // False when it has been answered already (the second answer is dropped).
  bool send(Response response) const;
  bool send(const Error& error) const { return send(Response::error(error)); }
  // Answers with a stream of server-sent events. A dead stream when it has been answered already.
  [[nodiscard]] EventStream open_stream(EventStreamOptions options = {}) const;

  // Whoever sent this request is believed to be `who` (not empty, the same for all credentials of
  // one): its connection does not make room for those of strangers (ServerLimits). Before the
  // answer.
  void believe(const std::string& who) const;

  // Runs once on the loop's thread when the peer goes before the answer (at once if it has gone).
  // One function per request; a later one replaces it. It is dropped when the answer is sent.
  void on_close(std::function<void()> function) const;

 private:
  std::shared_ptr<Exchange> exchange_;
};

}  // namespace consort::http
