#include "http/event_stream.h"

#include "base/text.h"
#include "http/connection.h"
#include "http/event_loop_impl.h"
#include "http/exchange.h"

namespace consort::http {
namespace {

std::string one_line(std::string_view text) {
  std::string out(text);
  std::erase_if(out, [](char c) { return c == '\r' || c == '\n'; });
  return out;
}

std::string event_text(std::string_view name, std::string_view id, std::string_view data) {
  std::string out;
  if (!name.empty()) out += "event: " + one_line(name) + "\n";
  if (!id.empty()) out += "id: " + one_line(id) + "\n";
  for (const std::string& line : split(data, '\n')) out += "data: " + one_line(line) + "\n";
  return out + "\n";
}

void on_loop(const StreamState& state, std::function<void(Connection&)> function) {
  const auto loop = state.loop.lock();
  if (loop == nullptr) return;
  loop->post([connection = state.connection, function = std::move(function)] {
    if (const auto alive = connection.lock()) function(*alive);
  });
}

}  // namespace

bool EventStream::send(std::string_view name, std::string_view id, std::string_view data) const {
  const std::string text = event_text(name, id, data);
  const std::lock_guard lock(state_->mutex);
  if (state_->closed || state_->ended) return false;
  if (state_->pending.size() + state_->sending + text.size() > state_->options.queue_limit) {
    // A reader this slow would cost memory without end; it comes back with Last-Event-ID.
    state_->closed = true;
    on_loop(*state_, [](Connection& connection) { connection.drop(); });
    return false;
  }
  state_->pending += text;
  if (!std::exchange(state_->scheduled, true))
    on_loop(*state_, [](Connection& connection) { connection.pump(); });
  return true;
}

void StreamState::end() {
  const std::lock_guard lock(mutex);
  if (!std::exchange(ended, true)) on_loop(*this, [](Connection& target) { target.pump(); });
}

void EventStream::end() const { state_->end(); }

bool EventStream::closed() const {
  const std::lock_guard lock(state_->mutex);
  return state_->closed;
}

void EventStream::on_close(std::function<void()> function) const {
  const auto loop = state_->loop.lock();
  if (loop == nullptr) return;
  loop->dispatch([state = state_, function = std::move(function)] {
    if (state->finished) return function();
    state->on_close = function;
  });
}

}  // namespace consort::http
