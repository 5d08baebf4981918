#include "agent/target_poll.h"

#include <fmt/format.h>

#include "agent/backoff.h"
#include "agent/retry_after.h"
#include "agent/service_files.h"
#include "base/log.h"
#include "http/target.h"

namespace consort::agent {
namespace {

// The server holds a poll for about eight seconds.
constexpr Duration kPollTimeout = seconds(30);
// A server that answers "nothing new" at once must not be asked in a tight loop.
constexpr Duration kShortestPoll = seconds(1);
// Often enough to be heard, and to take what is signed when it comes.
constexpr Duration kDistrustPause = seconds(2);

}  // namespace

Result<std::unique_ptr<TargetPoll>> TargetPoll::create(const Upstream& upstream,
                                                       const std::string& host,
                                                       Callbacks callbacks) {
  auto out = std::unique_ptr<TargetPoll>(
      new TargetPoll(TRY(upstream.client()), host, std::move(callbacks)));
  out->thread_ = std::thread([self = out.get()] { self->run(); });
  return out;
}

TargetPoll::~TargetPoll() { stop(); }

void TargetPoll::stop() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  stopped_.notify_all();
  client_.cancel();
  if (thread_.joinable()) thread_.join();
}

void TargetPoll::pause(Duration duration) {
  std::unique_lock lock(mutex_);
  stopped_.wait_for(lock, duration, [&] { return stop_; });
}

Status TargetPoll::ask(std::optional<Duration>& asked) {
  const auto [epoch, seq] = callbacks_.position();
  if (callbacks_.asking) callbacks_.asking();
  const auto begun = std::chrono::steady_clock::now();
  const auto response = client_.get(
      fmt::format("/v1/agents/{}/target?epoch={}&seq={}", http::percent_encode(host_), epoch, seq),
      kPollTimeout);
  if (!response) return fail(response.error());
  asked = retry_after(*response);
  if (!response->ok()) return fail(http::error_of(*response));
  if (!std::exchange(connected_, true)) callbacks_.connected();
  if (response->status == 204) {
    const auto elapsed =
        std::chrono::duration_cast<Duration>(std::chrono::steady_clock::now() - begun);
    if (asked || elapsed < kShortestPoll) pause(asked.value_or(kShortestPoll));
    return {};
  }
  const plan::Target target = TRY(plan::target_from_json(TRY(http::json_of(*response))));
  for (const auto& [service, entry] : target.instances) {
    if (!is_service_name(service))
      return fail(ErrorCode::invalid_input,
                  fmt::format("the target names a service '{}'", service.substr(0, 80)));
  }
  auto taken = callbacks_.take(target);
  if (taken || taken.error().code() != ErrorCode::forbidden) {
    untrusted_.clear();
    return taken;
  }
  // The controller answers; what it says is not believed, and it would say the same at once.
  if (std::exchange(untrusted_, taken.error().message()) != taken.error().message())
    log_error("untrusted: {}; what runs here goes on as it is", taken.error().message());
  pause(kDistrustPause);
  return {};
}

void TargetPoll::run() {
  Backoff backoff(Duration(200), seconds(15), stable_hash(host_));
  std::string complaint;
  while (true) {
    {
      const std::lock_guard lock(mutex_);
      if (stop_) return;
    }
    std::optional<Duration> asked;
    const Status status = ask(asked);
    if (status) {
      backoff.reset();
      complaint.clear();
      continue;
    }
    if (status.error().code() == ErrorCode::interrupted) continue;
    // Once per trouble: an agent that is offline for a week must not fill the log.
    if (complaint != status.error().message())
      log_warn("no target from the controller: {}", status.error().message());
    complaint = status.error().message();
    connected_ = false;
    if (status.error().code() == ErrorCode::unauthenticated && callbacks_.refused)
      callbacks_.refused();
    pause(backoff.next(asked));
  }
}

}  // namespace consort::agent
