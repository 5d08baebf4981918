// One thread that runs what is posted to it, in order, and timers. All that belongs to a loop
// (servers, their connections, a controller's core) is touched on its thread only, so it needs no
// locks.
#pragma once

#include <functional>
#include <memory>

#include "base/error.h"
#include "base/time.h"

namespace consort::http {

// A handle on a pending call. Copies refer to the same timer; dropping it cancels nothing.
// Thread-safe.
class Timer {
 public:
  Timer() = default;
  // On the loop's thread: the function will not run after this. Elsewhere: it may be running
  // already.
  void cancel();

 private:
  friend class EventLoop;
  struct State;
  explicit Timer(std::weak_ptr<State> state) : state_(std::move(state)) {}
  std::weak_ptr<State> state_;
};

class EventLoop {
 public:
  EventLoop();
  // Stops and joins. Functions that were posted and have not run are dropped.
  ~EventLoop();
  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;

  // Thread-safe. The function runs on the loop's thread, later. What it throws is logged as a bug.
  void post(std::function<void()> function);
  // As post(), but at once when called on the loop's thread.
  void dispatch(std::function<void()> function);
  // Thread-safe. Runs once, `delay` from now or a little later.
  Timer after(Duration delay, std::function<void()> function);
  // SIGINT and SIGTERM call this (on the loop's thread, with the signal's number) instead of ending
  // the process.
  void on_signal(std::function<void(int)> function);

  // Runs on the calling thread until stop().
  void run();
  // Runs on a thread of its own.
  void start();
  // Thread-safe, final. Waits for the thread of start(), unless called on it.
  void stop();

  struct Impl;  // defined inside this room
  [[nodiscard]] const std::shared_ptr<Impl>& impl() const { return impl_; }

 private:
  std::shared_ptr<Impl> impl_;
};

}  // namespace consort::http
