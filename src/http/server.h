// An HTTP/1.1 server on an EventLoop. Handlers run on the loop's thread and must not block; they
// may answer later through their Responder. Make, fill with routes, start. Not thread-safe: use and
// destroy it on the loop's thread, or while the loop does not run.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/time.h"
#include "http/event_loop.h"
#include "http/message.h"
#include "http/responder.h"
#include "http/router.h"
#include "http/tls.h"

namespace consort::http {

struct ServerLimits {
  std::size_t header_bytes = 16U << 10U;     // then 431
  std::size_t body_bytes = 8U << 20U;        // then 413; RouteOptions may say otherwise
  Duration handshake_timeout = seconds(10);  // of TLS; it also counts towards the next
  Duration header_timeout = seconds(
      20);  // for the head of a request, from its first byte (or the connection's start); then 408
  Duration body_timeout = seconds(120);  // for the body; then 408
  Duration idle_timeout = seconds(120);  // between two requests
  Duration write_timeout = seconds(60);  // without any progress of an answer
  // A peer is believed once it has shown a certificate or Responder::believe() was said of a
  // request of it. All others are strangers, who keep nobody out: where there is no room the oldest
  // of theirs goes, of the address that has the most. Without any: 503; with TLS a new connection
  // is closed before the handshake, which would cost too much.
  std::size_t max_connections = 15'000;
  std::size_t max_strangers_per_address = 5'000;   // beyond: the oldest of them goes
  std::size_t max_connections_per_identity = 200;  // beyond: the oldest of them goes
  Duration stranger_idle_timeout = seconds(5);     // as idle_timeout, when that is longer
  // What waits until it is read: of one identity (of a stranger, address), and in all. Beyond: 503
  // for answers; a stream is cut, and its reader resumes; in all, first whatever the peer that
  // holds most has over the others. A single answer may be larger.
  std::size_t unsent_per_peer = 32U << 20U;
  std::size_t unsent_in_all = 256U << 20U;
};

struct ServerOptions {
  std::vector<std::string> listen;  // "127.0.0.1:8440", "[::1]:0" (0: any free port), "name:80"
  ServerLimits limits = {};
  std::shared_ptr<const ServerTls> tls = nullptr;  // null: plain TCP; else TLS only
};

class Server {
 public:
  // Binds and listens; accepts nothing before start(). The loop must outlive the server.
  // Errors: invalid_input (an address), io (with a hint when the address is in use).
  [[nodiscard]] static Result<Server> create(EventLoop& loop, ServerOptions options);
  Server(Server&& other) noexcept;
  Server& operator=(Server&&) = delete;
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;
  // Closes everything at once.
  ~Server();

  // Before start().
  void route(std::string_view method, std::string_view pattern, Handler handler,
             RouteOptions options = {});
  void start();
  // Accepts no more, closes idle connections and event streams, lets requests under way be answered
  // for at most `grace`, closes the rest, and calls `done` (on the loop's thread).
  void shutdown(Duration grace, std::function<void()> done);

  // The addresses that were bound, with their real ports: "127.0.0.1:43121".
  [[nodiscard]] std::vector<std::string> addresses() const;
  // "http://127.0.0.1:43121", or https, of the first address.
  [[nodiscard]] std::string url() const;
  [[nodiscard]] std::size_t connections() const;

 private:
  struct Impl;
  explicit Server(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;
};

}  // namespace consort::http
