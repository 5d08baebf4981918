#include "http/responder.h"

#include "base/log.h"
#include "http/connection.h"
#include "http/event_loop_impl.h"
#include "http/exchange.h"

namespace consort::http {
namespace {

void answer(const std::weak_ptr<EventLoop::Impl>& loop, const std::weak_ptr<Connection>& connection,
            std::shared_ptr<Exchange> exchange, Response response) {
  const auto alive = loop.lock();
  if (alive == nullptr) return;
  alive->dispatch(
      [connection, exchange = std::move(exchange), response = std::move(response)]() mutable {
        if (exchange != nullptr) exchange->on_close = nullptr;
        if (const auto target = connection.lock()) target->answer(std::move(response));
      });
}

}  // namespace

Exchange::~Exchange() {
  if (answered || gone) return;
  log_error("a bug: a request was dropped without an answer");
  answer(loop, connection, nullptr,
         Response::error(Error(ErrorCode::internal, "the request was dropped without an answer")));
}

bool Responder::send(Response response) const {
  if (exchange_->answered.exchange(true)) {
    log_warn("a second answer to one request was dropped");
    return false;
  }
  answer(exchange_->loop, exchange_->connection, exchange_, std::move(response));
  return true;
}

EventStream Responder::open_stream(EventStreamOptions options) const {
  auto state = std::make_shared<StreamState>();
  state->options = options;
  state->loop = exchange_->loop;
  const auto loop = exchange_->loop.lock();
  if (exchange_->answered.exchange(true) || loop == nullptr) {
    state->closed = true;
    state->finished = true;
    return EventStream(state);
  }
  state->connection = exchange_->connection;
  loop->dispatch([exchange = exchange_, state] {
    exchange->on_close = nullptr;
    if (const auto connection = exchange->connection.lock()) {
      connection->begin_stream(state);
    } else {
      const std::lock_guard lock(state->mutex);
      state->closed = state->finished = true;
    }
  });
  const auto guard = std::make_shared<StreamGuard>(state);
  return EventStream(std::shared_ptr<StreamState>(guard, state.get()));
}

void Responder::believe(const std::string& who) const {
  const auto loop = exchange_->loop.lock();
  if (loop == nullptr) return;
  loop->dispatch([connection = exchange_->connection, who] {
    if (const auto alive = connection.lock()) alive->believe(who);
  });
}

void Responder::on_close(std::function<void()> function) const {
  const auto loop = exchange_->loop.lock();
  if (loop == nullptr) return;
  loop->dispatch([exchange = exchange_, function = std::move(function)] {
    if (exchange->answered) return;
    if (exchange->gone) return function();
    exchange->on_close = function;
  });
}

}  // namespace consort::http
