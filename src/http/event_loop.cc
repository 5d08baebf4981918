#include "http/event_loop.h"

#include <boost/asio/dispatch.hpp>
#include <boost/asio/post.hpp>
#include <csignal>
#include <exception>

#include "base/log.h"
#include "http/event_loop_impl.h"

namespace consort::http {
namespace asio = boost::asio;

void Timer::cancel() {
  const auto state = state_.lock();
  if (state == nullptr || state->cancelled.exchange(true)) return;
  asio::post(state->timer.get_executor(), [state] { state->timer.cancel(); });
}

void EventLoop::Impl::post(std::function<void()> function) { asio::post(io, std::move(function)); }

void EventLoop::Impl::dispatch(std::function<void()> function) {
  asio::dispatch(io, std::move(function));
}

void EventLoop::Impl::run() {
  while (true) {
    try {
      io.run();
      break;
    } catch (const std::exception& error) {
      log_error("a bug: an exception reached the event loop: {}", error.what());
    }
  }
}

void EventLoop::Impl::wait_for_signal(std::function<void(int)> function) {
  signals->async_wait(
      [this, function = std::move(function)](const boost::system::error_code& ec, int number) {
        if (ec) return;
        wait_for_signal(function);
        function(number);
      });
}

EventLoop::EventLoop() : impl_(std::make_shared<Impl>()) {}

EventLoop::~EventLoop() { stop(); }

void EventLoop::post(std::function<void()> function) { impl_->post(std::move(function)); }

void EventLoop::dispatch(std::function<void()> function) { impl_->dispatch(std::move(function)); }

Timer EventLoop::after(Duration delay, std::function<void()> function) {
  auto state = std::make_shared<Timer::State>(impl_->io);
  state->timer.expires_after(delay);
  state->timer.async_wait(
      [state, function = std::move(function)](const boost::system::error_code& ec) {
        if (!ec && !state->cancelled.exchange(true)) function();
      });
  return Timer(state);
}

void EventLoop::on_signal(std::function<void(int)> function) {
  impl_->signals.emplace(impl_->io, SIGINT, SIGTERM);
  impl_->wait_for_signal(std::move(function));
}

void EventLoop::run() { impl_->run(); }

void EventLoop::start() {
  impl_->thread = std::thread([impl = impl_.get()] { impl->run(); });
}

void EventLoop::stop() {
  impl_->io.stop();
  if (impl_->thread.joinable() && impl_->thread.get_id() != std::this_thread::get_id())
    impl_->thread.join();
}

}  // namespace consort::http
