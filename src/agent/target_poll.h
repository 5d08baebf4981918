// Asks the controller for this host's target, for ever: a long poll that is also the sign of life.
// Its callbacks run on its own thread.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "agent/upstream.h"
#include "plan/target.h"

namespace consort::agent {

class TargetPoll {
 public:
  struct Callbacks {
    // (epoch, seq) of the target that is held.
    std::function<std::pair<std::uint64_t, std::uint64_t>()> position;
    // Returns when it is taken (durably), or why it is not.
    std::function<Status(const plan::Target&)> take;
    // The controller answers, after it did not (or for the first time).
    std::function<void()> connected;
    // Before each question to the controller; may be empty.
    std::function<void()> asking;
    // The controller does not believe who this is.
    std::function<void()> refused;
  };
  // Errors: invalid_input, unsupported (the URL).
  [[nodiscard]] static Result<std::unique_ptr<TargetPoll>> create(const Upstream& upstream,
                                                                  const std::string& host,
                                                                  Callbacks callbacks);
  ~TargetPoll();
  TargetPoll(const TargetPoll&) = delete;
  TargetPoll& operator=(const TargetPoll&) = delete;
  void stop();

 private:
  TargetPoll(http::Client client, std::string host, Callbacks callbacks)
      : client_(std::move(client)), host_(std::move(host)), callbacks_(std::move(callbacks)) {}
  void run();
  // Whether to ask again at once; `asked`: what the server said about when to come back.
  [[nodiscard]] Status ask(std::optional<Duration>& asked);
  void pause(Duration duration);

  http::Client client_;
  std::string host_;
  Callbacks callbacks_;
  std::mutex mutex_;
  std::condition_variable stopped_;
  bool stop_ = false;
  bool connected_ = false;
  std::string untrusted_;  // what was told of a target that was refused
  std::thread thread_;
};

}  // namespace consort::agent
