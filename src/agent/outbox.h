// Tells the controller the newest state, and events until they are acknowledged. One report is
// under way at a time; what changes meanwhile goes with the next one. Thread-safe.
#pragma once

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "http/client.h"
#include "plan/target.h"

namespace consort::agent {

class Outbox {
 public:
  static constexpr std::size_t kMostEvents = 1000;
  // `first_number` must be greater than that of every report of an earlier life.
  // Errors: invalid_input, unsupported (the URL).
  [[nodiscard]] static Result<std::unique_ptr<Outbox>> create(const std::string& url,
                                                              std::uint64_t first_number);
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
  Outbox(http::Client client, std::uint64_t first_number)
      : client_(std::move(client)), number_(first_number) {}
  void run();
  [[nodiscard]] plan::HostReport next_report(std::size_t& events);  // under the lock
  [[nodiscard]] Result<http::Response> send(const plan::HostReport& report);

  http::Client client_;
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
