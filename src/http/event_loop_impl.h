// The Asio side of an EventLoop (private to this room).
#pragma once

#include <atomic>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

#include "http/event_loop.h"

namespace consort::http {

struct EventLoop::Impl {
  // A hint of 1 spares Asio the locks that several running threads would need in its scheduler.
  boost::asio::io_context io{1};
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work{io.get_executor()};
  std::optional<boost::asio::signal_set> signals;
  std::thread thread;

  void post(std::function<void()> function);
  void dispatch(std::function<void()> function);
  void run();
  void wait_for_signal(std::function<void(int)> function);
};

struct Timer::State {
  explicit State(boost::asio::io_context& io) : timer(io) {}
  boost::asio::steady_timer timer;
  std::atomic<bool> cancelled = false;
};

}  // namespace consort::http
