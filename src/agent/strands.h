// A bounded pool of threads that runs tasks of one key one after the other, in their order, and
// tasks of different keys side by side. Thread-safe.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
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

  // Dropped after close().
  void submit(const std::string& key, std::function<void()> task);
  // Takes no more and drops what has not begun. Whether what runs has ended within `grace`.
  bool close(Duration grace);

 private:
  void work();

  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::string, std::deque<std::function<void()>>> queues_;  // of keys that run or wait
  std::deque<std::string> ready_;
  std::size_t running_ = 0;
  bool closed_ = false;
  std::vector<std::jthread> threads_;
};

}  // namespace consort::agent
