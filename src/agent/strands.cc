#include "agent/strands.h"

#include <exception>

#include "base/log.h"
#include "base/memory.h"

namespace consort::agent {
namespace {

// A worker that had nothing to do for so long rests, and keeps no memory for its next task.
constexpr Duration kRest = seconds(1);

}  // namespace

Strands::Strands(unsigned threads) {
  for (unsigned i = 0; i < threads; ++i) threads_.emplace_back([this] { work(); });
}

Strands::~Strands() {
  close(Duration(0));
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return slow_ == 0; });
  lock.unlock();
  finished_.clear();
}

void Strands::submit(const std::string& key, std::function<void()> task, Pace pace) {
  const std::lock_guard lock(mutex_);
  if (closed_) return;
  const auto [it, fresh] = queues_.try_emplace(key);
  it->second.push_back({std::move(task), pace});
  if (fresh) make_ready(key);  // else it runs or waits already; its worker goes on with this
}

bool Strands::close(Duration grace) {
  std::unique_lock lock(mutex_);
  closed_ = true;
  ready_.clear();
  ready_slow_.clear();
  for (auto& [key, queue] : queues_) queue.clear();
  changed_.notify_all();
  return changed_.wait_for(lock, grace, [&] { return running_ == 0; });
}

// Under the lock, like the next two.
void Strands::make_ready(const std::string& key) {
  if (queues_.at(key).front().pace == Pace::quick) {
    ready_.push_back(key);
    changed_.notify_all();
    return;
  }
  ready_slow_.push_back(key);
  start_slow();
}

void Strands::start_slow() {
  finished_.clear();
  if (ready_slow_.empty() || slow_ == kMostSlow) return;
  ++slow_;
  const std::string key = std::move(ready_slow_.front());
  ready_slow_.pop_front();
  const auto place = slow_threads_.emplace(slow_threads_.end());
  *place = std::jthread([this, key, place] {
    std::unique_lock own(mutex_);
    if (!closed_) perform_first(key, own);
    own.unlock();
    return_unused_memory();
    own.lock();
    --slow_;
    // Whoever joins it does so under the lock, which is the last that this thread lets go.
    if (!closed_) start_slow();
    finished_.splice(finished_.end(), slow_threads_, place);
    changed_.notify_all();
  });
}

void Strands::perform_first(const std::string& key, std::unique_lock<std::mutex>& lock) {
  std::function<void()> task = std::move(queues_.at(key).front().run);
  queues_.at(key).pop_front();
  ++running_;
  lock.unlock();
  try {
    task();
    task = nullptr;
  } catch (const std::exception& error) {
    log_error("a task of {} broke off, which is a bug: {}", key, error.what());
  }
  lock.lock();
  --running_;
  const auto queue = queues_.find(key);
  if (queue->second.empty()) {
    queues_.erase(queue);
  } else {
    make_ready(key);
  }
  changed_.notify_all();
}

void Strands::work() {
  std::unique_lock lock(mutex_);
  const auto called = [&] { return closed_ || !ready_.empty(); };
  while (true) {
    if (!changed_.wait_for(lock, kRest, called)) {
      lock.unlock();
      return_unused_memory();
      lock.lock();
      changed_.wait(lock, called);
    }
    if (closed_) return;
    const std::string key = std::move(ready_.front());
    ready_.pop_front();
    perform_first(key, lock);
  }
}

}  // namespace consort::agent
