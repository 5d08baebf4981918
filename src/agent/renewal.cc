#include "agent/renewal.h"

#include <algorithm>

#include "agent/backoff.h"
#include "agent/service_files.h"
#include "base/log.h"

namespace consort::agent {
namespace {

// Clocks jump: what is due is looked at this often at least.
constexpr Duration kLook = minutes(10);

}  // namespace

Renewal::Renewal(std::shared_ptr<Identity> identity, const Clock& clock)
    : identity_(std::move(identity)), clock_(clock), thread_([this] { run(); }) {}

Renewal::~Renewal() { stop(); }

void Renewal::refused() {
  const std::lock_guard lock(mutex_);
  refused_ = true;
  changed_.notify_all();
}

void Renewal::stop() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void Renewal::run() {
  Backoff backoff(seconds(2), hours(1), stable_hash(identity_->name()));
  std::unique_lock lock(mutex_);
  while (!stop_) {
    const Duration left =
        std::chrono::duration_cast<Duration>(identity_->renew_at() - clock_.now());
    if (!refused_ && left > Duration{0}) {
      changed_.wait_for(lock, std::min(left, kLook), [this] { return stop_ || refused_; });
      continue;
    }
    refused_ = false;
    lock.unlock();
    const Status status = identity_->renew(clock_.now());
    lock.lock();
    if (status) {
      backoff.reset();
      continue;
    }
    const std::string& hint = status.error().hint_text();
    log_warn("the certificate is not renewed: {}{}{}", status.error().message(),
             hint.empty() ? "" : "; ", hint);
    // Who asks too often is no more welcome: what was refused meanwhile waits, too.
    changed_.wait_for(lock, backoff.next(), [this] { return stop_; });
  }
}

}  // namespace consort::agent
