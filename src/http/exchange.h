// What a request's Responder and EventStream share with its connection. Private to this room.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "http/event_loop.h"
#include "http/event_stream.h"
#include "http/message.h"

namespace consort::http {

class Connection;

// Lives as long as there is a Responder; the connection knows it weakly.
struct Exchange {
  std::weak_ptr<Connection> connection;
  std::weak_ptr<EventLoop::Impl> loop;
  std::atomic<bool> answered = false;
  std::atomic<bool> gone = false;
  std::function<void()> on_close;  // the loop's thread only

  Exchange() = default;
  Exchange(const Exchange&) = delete;
  Exchange& operator=(const Exchange&) = delete;
  ~Exchange();  // answers 500 when nobody has
};

struct StreamState {
  std::weak_ptr<Connection> connection;
  std::weak_ptr<EventLoop::Impl> loop;
  EventStreamOptions options;
  std::function<void()> on_close;  // the loop's thread only
  bool finished = false;           // the loop's thread only: the connection is done with it

  std::mutex mutex;
  std::string pending;      // guarded: events that the connection has not taken yet
  std::size_t sending = 0;  // guarded: bytes of those that it has, and its peer has not
  bool ended = false;       // guarded: no more will come
  bool closed = false;      // guarded: the peer has gone or was dropped
  bool scheduled = false;   // guarded: the connection has been told

  StreamState() = default;
  StreamState(const StreamState&) = delete;
  StreamState& operator=(const StreamState&) = delete;
  ~StreamState() = default;

  void end();  // thread-safe
};

// What the handles of a stream share: when the last goes, the stream ends (what was sent still
// leaves).
struct StreamGuard {
  std::shared_ptr<StreamState> state;
  explicit StreamGuard(std::shared_ptr<StreamState> stream) : state(std::move(stream)) {}
  StreamGuard(const StreamGuard&) = delete;
  StreamGuard& operator=(const StreamGuard&) = delete;
  ~StreamGuard() { state->end(); }
};

}  // namespace consort::http
