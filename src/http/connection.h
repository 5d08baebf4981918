// One connection of a server: reads requests one after the other, hands each to its handler, writes
// the answer; or carries an event stream. Private to this room; on the loop's thread only.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "http/event_loop.h"
#include "http/exchange.h"
#include "http/http1.h"
#include "http/server.h"
#include "http/transport.h"

namespace consort::http {

class Connection : public std::enable_shared_from_this<Connection> {
 public:
  // What a connection needs of its server. The references outlive every connection that is not
  // closed.
  struct Host {
    EventLoop& loop;
    const Router& router;
    const ServerLimits& limits;
    std::function<void(Connection&)> on_closed;
    std::function<void(Connection&)> on_believed;
    // Whether it may hold so many bytes that are not sent; they are counted if so.
    std::function<bool(Connection&, std::size_t)> may_hold;
  };

  // `number`: later connections have higher ones.
  Connection(std::shared_ptr<const Host> host, std::shared_ptr<Transport> transport,
             std::uint64_t number);

  void start();
  // Answers with this and closes: for connections beyond the limits.
  void refuse(const Response& response);
  // The answer to the request that is being handled.
  void answer(Response response);
  void begin_stream(std::shared_ptr<StreamState> stream);
  // Takes what the stream has and sends it.
  void pump();
  void drop() { close(); }
  // Ends now if idle; else after the answer that is under way.
  void finish();
  [[nodiscard]] const Peer& peer() const { return transport_->peer(); }
  [[nodiscard]] std::uint64_t number() const { return number_; }
  // The peer is this one of ours, for as long as the connection lasts. Only the first word counts.
  void believe(const std::string& who);
  // "" of a stranger.
  [[nodiscard]] const std::string& believed() const { return believed_; }

 private:
  // reading: between or inside requests. handling: the answer is awaited. writing: it is being
  // sent. lingering: all is said; what still comes is thrown away, so that the answer is not lost
  // in a reset.
  enum class Phase : std::uint8_t { reading, handling, writing, streaming, lingering, closed };
  enum class After : std::uint8_t { next_request, close };

  void on_handshake(Transport::Handshake outcome, Duration taken);
  void read();
  void on_bytes(std::string_view bytes);
  void on_peer_end();
  void process();
  void on_head();
  void dispatch_request();
  void refuse_request(int status, const Error& error);
  void write(std::string bytes, std::function<void()> done);
  void write_rest();
  bool hold(std::size_t bytes);
  void after_answer(After after);
  void linger();
  void arm(Duration delay, void (Connection::*on_time)());
  void on_head_timeout();
  void on_idle_timeout();
  void on_body_timeout();
  void on_write_timeout() { close(); }
  void on_linger_timeout() { close(); }
  void on_heartbeat();
  void close();
  void close_idle();
  void close_stream();

  std::shared_ptr<const Host> host_;
  std::shared_ptr<Transport> transport_;
  const std::uint64_t number_;
  std::string believed_;
  Phase phase_ = Phase::reading;
  std::unique_ptr<RequestParser>
      parser_;          // only while a request is being read: idle connections are many
  std::string input_;   // arrived and not yet parsed
  std::string output_;  // being sent; not touched until it is
  std::string queued_;  // to be sent after it
  std::size_t sent_ = 0;
  std::size_t held_ = 0;  // as the server has counted it
  std::function<void()> written_;
  Timer timer_;
  std::weak_ptr<Exchange> exchange_;
  std::shared_ptr<StreamState> stream_;
  std::size_t lingered_ = 0;
  Router::Match match_;
  bool head_read_ = false;
  bool reading_ = false;  // a read is pending
  bool peer_ended_ = false;
  bool keep_alive_ = true;
  bool http_1_1_ = true;
  bool head_only_ = false;
  bool finishing_ = false;
};

}  // namespace consort::http
