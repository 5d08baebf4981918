// A bounded pool of threads that runs tasks of one key one after the other, in their order, and
// tasks of different keys side by side. Slow tasks (of hours, or that wait for others) run on
// threads of their own, so that a quick one always finds a worker. What a task has freed goes back
// to the system when its thread has nothing more to do. Thread-safe.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <list>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/time.h"

namespace consort::agent {

class Strands {
 public:
  explicit Strands(unsigned threads);
  ~Strands();
  Strands(const Strands&) = delete;
  Strands& operator=(const Strands&) = delete;

  enum class Pace : std::uint8_t { quick, slow };
  // Dropped after close(). Of slow tasks at most kMostSlow run at once.
  void submit(const std::string& key, std::function<void()> task, Pace pace = Pace::quick);
  // Takes no more and drops what has not begun. Whether what runs has ended within `grace`.
  bool close(Duration grace);

 private:
  static constexpr std::size_t kMostSlow = 64;
  struct Task {
    std::function<void()> run;
    Pace pace = Pace::quick;
  };
  void work();
  void make_ready(const std::string& key);
  void start_slow();
  void perform_first(const std::string& key, std::unique_lock<std::mutex>& lock);

  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::string, std::deque<Task>> queues_;  // of keys that run or wait
  std::deque<std::string> ready_;                   // their first task is quick
  std::deque<std::string> ready_slow_;
  std::size_t running_ = 0;
  bool closed_ = false;
  std::size_t slow_ = 0;
  std::list<std::jthread> slow_threads_;
  std::list<std::jthread> finished_;  // of slow_threads_: only to be joined
  std::vector<std::jthread> threads_;
};

}  // namespace consort::agent
