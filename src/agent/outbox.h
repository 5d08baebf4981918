// Tells the controller the newest state, and events until they are acknowledged. One report is
// under way at a time; what changes meanwhile goes with the next one. What is acknowledged is
// remembered in a file, so that a new life delivers what the last one could not. Thread-safe.
#pragma once

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "agent/upstream.h"
#include "base/files.h"
#include "plan/target.h"

namespace consort::agent {

class Outbox {
 public:
  static constexpr std::size_t kMostEvents = 1000;
  // `waiting`: events of an earlier life, oldest first. `delivered`: the file with the number of
  // the newest event that was acknowledged. Errors: invalid_input, unsupported (the URL).
  [[nodiscard]] static Result<std::unique_ptr<Outbox>> create(const Upstream& upstream,
                                                              fs::path delivered,
                                                              std::vector<Json> waiting);
  // What the file says; 0 where there is none.
  [[nodiscard]] static std::uint64_t last_delivered(const fs::path& file);
  ~Outbox();
  Outbox(const Outbox&) = delete;
  Outbox& operator=(const Outbox&) = delete;

  // The state that is to be known; number and events are filled in here.
  void state(plan::HostReport report);
  void event(Json event);
  // The controller answers again: what it knows may be old, and waiting has an end.
  void resend();
  void stop();

 private:
  Outbox(http::Client client, fs::path delivered, std::vector<Json> waiting);
  void run();
  [[nodiscard]] plan::HostReport next_report(std::size_t& events);  // under the lock
  [[nodiscard]] Result<http::Response> send(const plan::HostReport& report);
  void remember(const plan::HostReport& report, std::size_t events) const;

  http::Client client_;
  fs::path delivered_;
  std::mutex mutex_;
  std::condition_variable changed_;
  plan::HostReport state_;
  bool known_ = false;  // state() was called
  bool due_ = false;
  bool hurry_ = false;
  bool stop_ = false;
  std::deque<Json> events_;
  std::uint64_t dropped_ = 0;
  std::uint64_t number_;
  std::thread thread_;
};

}  // namespace consort::agent
