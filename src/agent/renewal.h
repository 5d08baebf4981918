// Renews the host's certificate when it is due, and when the controller believes it no more. A
// thread of its own. Thread-safe.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>

#include "agent/identity.h"

namespace consort::agent {

class Renewal {
 public:
  Renewal(std::shared_ptr<Identity> identity, const Clock& clock);
  ~Renewal();
  Renewal(const Renewal&) = delete;
  Renewal& operator=(const Renewal&) = delete;
  // The controller refused the certificate: another one is asked for soon, but not in a loop.
  void refused();
  void stop();

 private:
  void run();

  std::shared_ptr<Identity> identity_;
  const Clock& clock_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool refused_ = false;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace consort::agent
