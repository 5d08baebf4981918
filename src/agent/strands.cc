#include "agent/strands.h"

#include <exception>

#include "base/log.h"

namespace consort::agent {

Strands::Strands(unsigned threads) {
  for (unsigned i = 0; i < threads; ++i) threads_.emplace_back([this] { work(); });
}

Strands::~Strands() { close(Duration(0)); }

void Strands::submit(const std::string& key, std::function<void()> task) {
  const std::lock_guard lock(mutex_);
  if (closed_) return;
  const auto [it, fresh] = queues_.try_emplace(key);
  it->second.push_back(std::move(task));
  if (!fresh) return;  // it runs or waits already; its worker goes on with this
  ready_.push_back(key);
  changed_.notify_all();
}

bool Strands::close(Duration grace) {
  std::unique_lock lock(mutex_);
  closed_ = true;
  ready_.clear();
  for (auto& [key, queue] : queues_) queue.clear();
  changed_.notify_all();
  return changed_.wait_for(lock, grace, [&] { return running_ == 0; });
}

void Strands::work() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [&] { return closed_ || !ready_.empty(); });
    if (closed_) return;
    const std::string key = std::move(ready_.front());
    ready_.pop_front();
    std::function<void()> task = std::move(queues_.at(key).front());
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
      ready_.push_back(key);
    }
    changed_.notify_all();
  }
}

}  // namespace consort::agent
