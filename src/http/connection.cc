#include "http/connection.h"

#include <fmt/format.h>

#include <algorithm>
#include <exception>

#include "base/log.h"
#include "base/text.h"

namespace consort::http {
namespace {

using SteadyClock = std::chrono::steady_clock;

// How much a client may send ahead while its request is being handled.
constexpr std::size_t kPipelineBytes = 64U << 10U;
constexpr std::size_t kLingerBytes = 1U << 20U;
constexpr Duration kLingerTime = seconds(2);
// Less is not worth counting: errors are always told.
constexpr std::size_t kSmallBytes = 16U << 10U;
constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";

}  // namespace

Connection::Connection(std::shared_ptr<const Host> host, std::shared_ptr<Transport> transport,
                       std::uint64_t number)
    : host_(std::move(host)), transport_(std::move(transport)), number_(number) {}

void Connection::start() {
  const auto& limits = host_->limits;
  arm(std::min(limits.header_timeout, limits.handshake_timeout), &Connection::on_head_timeout);
  transport_->async_handshake([self = shared_from_this(),
                               begun = SteadyClock::now()](Transport::Handshake outcome) {
    self->on_handshake(outcome, std::chrono::duration_cast<Duration>(SteadyClock::now() - begun));
  });
}

void Connection::on_handshake(Transport::Handshake outcome, Duration taken) {
  if (phase_ != Phase::reading) return;
  switch (outcome) {
    case Transport::Handshake::done:
      believe(peer().identity);
      arm(std::max(host_->limits.header_timeout - taken, Duration(0)),
          &Connection::on_head_timeout);
      return read();
    case Transport::Handshake::plain_text:
      return refuse(Response::text("this port speaks TLS: use https://…\n", 400));
    case Transport::Handshake::failed:
      return linger();
  }
}

void Connection::believe(const std::string& who) {
  if (!believed_.empty() || who.empty() || phase_ == Phase::closed) return;
  believed_ = who;
  host_->on_believed(*this);
}

void Connection::refuse(const Response& response) {
  phase_ = Phase::writing;
  write(response_head(response, Framing::content_length, false, true) + response.body,
        [this] { linger(); });
}

void Connection::read() {
  if (reading_ || peer_ended_ || phase_ == Phase::closed || input_.size() >= kPipelineBytes) return;
  reading_ = true;
  transport_->async_read_some(
      [self = shared_from_this()](std::error_code ec, std::string_view bytes) {
        self->reading_ = false;
        if (self->phase_ == Phase::closed) return;
        if (ec) return self->close();
        if (bytes.empty()) return self->on_peer_end();
        self->on_bytes(bytes);
        self->read();
      });
}

void Connection::on_bytes(std::string_view bytes) {
  if (phase_ == Phase::lingering) {
    lingered_ += bytes.size();
    if (lingered_ > kLingerBytes) close();
    return;
  }
  // What follows an event stream has no meaning.
  if (phase_ == Phase::streaming) return;
  input_.append(bytes);
  if (phase_ == Phase::reading) process();
}

void Connection::on_peer_end() {
  peer_ended_ = true;
  if (phase_ == Phase::reading || phase_ == Phase::lingering || phase_ == Phase::streaming)
    return close();
  // It may have closed only its sending side: the answer is still sent, but nobody should wait for
  // it.
  if (const auto exchange = exchange_.lock()) {
    exchange->gone = true;
    if (const auto callback = std::exchange(exchange->on_close, nullptr)) callback();
  }
  keep_alive_ = false;
}

void Connection::process() {
  while (phase_ == Phase::reading && !input_.empty()) {
    if (parser_ == nullptr) {
      parser_ = std::make_unique<RequestParser>(host_->limits.header_bytes);
      head_read_ = false;
      arm(host_->limits.header_timeout, &Connection::on_head_timeout);
    }
    const std::size_t used = parser_->feed(input_);
    input_.erase(0, used);
    if (!parser_->refusal() && parser_->head_done() && !head_read_) on_head();
    if (const auto& refusal = parser_->refusal())
      return refuse_request(refusal->status, refusal->error);
    if (parser_->done()) return dispatch_request();
    if (used == 0) {
      // An unfinished head stays in the buffer, as Beast wants it; it must not grow past its limit
      // there.
      if (input_.size() > host_->limits.header_bytes && !head_read_) {
        return refuse_request(
            431, Error(ErrorCode::too_large, "the head of the request is over its limit"));
      }
      return;
    }
  }
}

void Connection::on_head() {
  head_read_ = true;
  parser_->read_head();
  if (parser_->refusal()) return;
  const Request& request = parser_->request();
  http_1_1_ = parser_->is_http_1_1();
  head_only_ = request.method == "HEAD";
  match_ = host_->router.find(request.method, request.path);
  std::size_t limit = match_.options.body_limit.value_or(host_->limits.body_bytes);
  if (limit > kStrangerBodyBytes && match_.options.welcome && !parser_->done()) {
    Request head = request;
    head.peer = transport_->peer();
    if (!match_.options.welcome(head)) limit = kStrangerBodyBytes;
  }
  parser_->limit_body(limit);
  if (parser_->refusal() || parser_->done()) return;
  arm(host_->limits.body_timeout, &Connection::on_body_timeout);
  if (parser_->expects_continue() && input_.empty()) write(std::string(kContinue), [] {});
}

void Connection::dispatch_request() {
  timer_.cancel();
  phase_ = Phase::handling;
  keep_alive_ = parser_->keep_alive() && !finishing_;
  Request request = parser_->take_request();
  parser_.reset();
  request.peer = transport_->peer();
  request.params = std::move(match_.params);
  const auto exchange = std::make_shared<Exchange>();
  exchange->connection = weak_from_this();
  exchange->loop = host_->loop.impl();
  exchange_ = exchange;
  const Responder responder(exchange);
  if (match_.handler == nullptr) {
    const bool known = !match_.allowed.empty();
    Response response = Response::error(
        known ? Error(ErrorCode::method_not_allowed,
                      fmt::format("{} does not answer to {}", request.path, request.method))
                    .hint(fmt::format("it answers to {}", join(match_.allowed, ", ")))
              : Error(ErrorCode::not_found, fmt::format("nothing is at {}", request.path)));
    if (known) response.headers.set("Allow", join(match_.allowed, ", "));
    responder.send(std::move(response));
    return;
  }
  try {
    (*match_.handler)(std::move(request), responder);
  } catch (const std::exception& error) {
    log_error("a bug: a handler threw: {}", error.what());
    responder.send(Error(ErrorCode::internal,
                         "this request met a bug in Consort; the log of the server has more"));
  }
}

// The stream of bytes can not be trusted any more: say why, and end it.
void Connection::refuse_request(int status, const Error& error) {
  timer_.cancel();
  Response response = Response::error(error);
  response.status = status;
  phase_ = Phase::writing;
  keep_alive_ = false;
  parser_.reset();
  input_.clear();
  write(response_head(response, Framing::content_length, false, true) + response.body,
        [this] { linger(); });
}

void Connection::answer(Response response) {
  if (phase_ != Phase::handling) return;
  phase_ = Phase::writing;
  const bool keep = keep_alive_ && !finishing_ &&
                    !equal_ignoring_case(response.headers.get("Connection").value_or(""), "close");
  const bool bodyless = head_only_ || response.status == 204 || response.status == 304;
  if (!bodyless && !hold(response.body.size()))
    response =
        Response::error(Error(ErrorCode::unavailable, "too much waits here for somebody to read it")
                            .hint("read the answers that are under way, then ask again"));
  response.headers.set(kApiHeader, "1");
  std::string bytes = response_head(response, Framing::content_length, keep, http_1_1_);
  if (!bodyless) bytes += response.body;
  write(std::move(bytes),
        [this, keep] { after_answer(keep ? After::next_request : After::close); });
}

void Connection::write(std::string bytes, std::function<void()> done) {
  written_ = std::move(done);
  // Only "100 Continue" can still be under way here; the answer follows it on the same wire.
  if (!output_.empty()) {
    queued_ += bytes;
    return;
  }
  output_ = std::move(bytes);
  write_rest();
}

void Connection::write_rest() {
  if (phase_ != Phase::reading) arm(host_->limits.write_timeout, &Connection::on_write_timeout);
  transport_->async_write_some(std::string_view(output_).substr(sent_),
                               [self = shared_from_this()](std::error_code ec, std::size_t n) {
                                 if (self->phase_ == Phase::closed) return;
                                 if (ec) return self->close();
                                 self->sent_ += n;
                                 if (self->sent_ < self->output_.size()) return self->write_rest();
                                 // Assigning would keep the memory of what was sent.
                                 std::string().swap(self->output_);
                                 self->output_.swap(self->queued_);
                                 self->sent_ = 0;
                                 if (!self->output_.empty()) return self->write_rest();
                                 self->hold(0);
                                 if (const auto done = std::exchange(self->written_, nullptr))
                                   done();
                               });
}

// False when the server has no room for it; what was counted before stays so.
bool Connection::hold(std::size_t bytes) {
  const std::size_t counted = bytes > kSmallBytes ? bytes : 0;
  if (counted == held_) return true;
  if (!host_->may_hold(*this, counted)) return false;
  held_ = counted;
  return true;
}

void Connection::after_answer(After after) {
  if (after == After::close || finishing_ || peer_ended_) return linger();
  phase_ = Phase::reading;
  const auto& limits = host_->limits;
  arm(believed_.empty() ? std::min(limits.idle_timeout, limits.stranger_idle_timeout)
                        : limits.idle_timeout,
      &Connection::on_idle_timeout);
  process();
  read();
}

void Connection::begin_stream(std::shared_ptr<StreamState> stream) {
  if (phase_ != Phase::handling) {
    stream_ = std::move(stream);
    return close_stream();
  }
  stream_ = std::move(stream);
  phase_ = Phase::streaming;
  const Response head{200,
                      {{"Content-Type", "text/event-stream"},
                       {"Cache-Control", "no-store"},
                       {"X-Accel-Buffering", "no"}},
                      ""};
  write(response_head(head, http_1_1_ ? Framing::chunked : Framing::until_close,
                      keep_alive_ && http_1_1_, http_1_1_),
        [this] { pump(); });
  input_.clear();
  read();
}

void Connection::pump() {
  if (phase_ != Phase::streaming) return;
  std::string events;
  std::size_t waiting = output_.size();
  bool ended = false;
  {
    const std::lock_guard lock(stream_->mutex);
    stream_->scheduled = false;
    waiting += stream_->pending.size();
    if (output_.empty()) {
      events = std::exchange(stream_->pending, {});
      stream_->sending = events.size();
    }
    ended = stream_->ended;
  }
  // Cut: its reader comes back with the last id that it has seen.
  if (!hold(waiting)) return close();
  if (!output_.empty()) return;
  if (head_only_) ended = true;
  if (!events.empty() && !head_only_) {
    return write(http_1_1_ ? chunk(events) : std::move(events), [this] { pump(); });
  }
  if (!ended) return arm(stream_->options.heartbeat, &Connection::on_heartbeat);
  close_stream();
  phase_ = Phase::writing;
  if (!http_1_1_ || head_only_) return linger();
  write(std::string(kLastChunk),
        [this] { after_answer(keep_alive_ ? After::next_request : After::close); });
}

void Connection::on_heartbeat() {
  if (phase_ != Phase::streaming || !output_.empty()) return;
  write(http_1_1_ ? chunk(":\n\n") : ":\n\n", [this] { pump(); });
}

void Connection::linger() {
  phase_ = Phase::lingering;
  if (peer_ended_) return close();
  transport_->shutdown();
  input_.clear();
  arm(kLingerTime, &Connection::on_linger_timeout);
  read();
}

void Connection::finish() {
  finishing_ = true;
  if (phase_ == Phase::reading && parser_ == nullptr) close_idle();
  if (phase_ == Phase::streaming) close();
}

void Connection::close_idle() {
  transport_->shutdown();
  close();
}

void Connection::arm(Duration delay, void (Connection::*on_time)()) {
  timer_.cancel();
  timer_ = host_->loop.after(delay, [weak = weak_from_this(), on_time] {
    if (const auto self = weak.lock()) ((*self).*on_time)();
  });
}

void Connection::on_head_timeout() {
  if (phase_ != Phase::reading) return;
  if (parser_ == nullptr) return close();
  refuse_request(408, Error(ErrorCode::timeout, "the head of the request did not arrive in time"));
}

void Connection::on_idle_timeout() {
  if (phase_ == Phase::reading) close_idle();
}

void Connection::on_body_timeout() {
  if (phase_ == Phase::reading)
    refuse_request(408, Error(ErrorCode::timeout, "the request body did not arrive in time"));
}

void Connection::close_stream() {
  if (stream_ == nullptr) return;
  const auto stream = std::exchange(stream_, nullptr);
  {
    const std::lock_guard lock(stream->mutex);
    stream->closed = true;
  }
  stream->finished = true;
  if (const auto callback = std::exchange(stream->on_close, nullptr)) callback();
}

void Connection::close() {
  if (phase_ == Phase::closed) return;
  const auto self = shared_from_this();
  phase_ = Phase::closed;
  timer_.cancel();
  transport_->close();
  written_ = nullptr;
  if (const auto exchange = exchange_.lock();
      exchange != nullptr && !exchange->gone.exchange(true)) {
    if (const auto callback = std::exchange(exchange->on_close, nullptr)) callback();
  }
  close_stream();
  host_->on_closed(*this);
}

}  // namespace consort::http
