// Server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html) to one peer.
#pragma once

#include <functional>
#include <memory>
#include <string_view>

#include "base/time.h"

namespace consort::http {

struct EventStreamOptions {
  std::size_t queue_limit =
      1U << 20U;  // bytes that a slow reader has not taken; beyond it the reader is dropped
  Duration heartbeat =
      seconds(15);  // a comment after so much silence, so that both sides see a dead peer
};

struct StreamState;  // defined inside this room

// A handle; copies are the same stream. Thread-safe. The stream ends when end() is called, or the
// last handle goes, or the peer does.
class EventStream {
 public:
  explicit EventStream(std::shared_ptr<StreamState> state) : state_(std::move(state)) {}
  // `name` and `id` are one line each and may be empty; `data` may have many lines.
  // False when the peer has gone or was dropped: stop sending.
  bool send(std::string_view name, std::string_view id, std::string_view data) const;
  void end() const;
  [[nodiscard]] bool closed() const;
  // Runs once on the loop's thread when the peer goes (at once if it has gone).
  void on_close(std::function<void()> function) const;

 private:
  std::shared_ptr<StreamState> state_;
};

}  // namespace consort::http
