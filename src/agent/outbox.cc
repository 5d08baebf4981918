#include "agent/outbox.h"

#include <fmt/format.h>
#include <time.h>

#include <charconv>
#include <iterator>

#include "agent/backoff.h"
#include "agent/history.h"
#include "agent/retry_after.h"
#include "base/log.h"
#include "http/target.h"

namespace consort::agent {
namespace {

constexpr std::size_t kEventsPerReport = 200;
constexpr std::size_t kEventBytesPerReport = 512U << 10U;

// Numbers of reports grow over restarts within one boot, and are compared only there; the wall
// clock may be set back.
std::uint64_t first_number() {
  timespec now{};
  ::clock_gettime(CLOCK_BOOTTIME, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1000 +
         static_cast<std::uint64_t>(now.tv_nsec) / 1'000'000;
}

}  // namespace

Outbox::Outbox(http::Client client, fs::path delivered, std::vector<Json> waiting)
    : client_(std::move(client)),
      delivered_(std::move(delivered)),
      events_(std::make_move_iterator(waiting.begin()), std::make_move_iterator(waiting.end())),
      number_(first_number()) {}

std::uint64_t Outbox::last_delivered(const fs::path& file) {
  const auto text = read_file(file, 64);
  std::uint64_t out = 0;
  if (text) std::from_chars(text->data(), text->data() + text->size(), out);
  return out;
}

Result<std::unique_ptr<Outbox>> Outbox::create(const Upstream& upstream, fs::path delivered,
                                               std::vector<Json> waiting) {
  http::Client client = TRY(upstream.client());
  std::unique_ptr<Outbox> out(
      new Outbox(std::move(client), std::move(delivered), std::move(waiting)));
  out->thread_ = std::thread([self = out.get()] { self->run(); });
  return out;
}

Outbox::~Outbox() { stop(); }

void Outbox::stop() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  client_.cancel();
  if (thread_.joinable()) thread_.join();
}

void Outbox::state(plan::HostReport report) {
  const std::lock_guard lock(mutex_);
  state_ = std::move(report);
  known_ = due_ = true;
  changed_.notify_all();
}

void Outbox::event(Json event) {
  const std::lock_guard lock(mutex_);
  events_.push_back(std::move(event));
  if (events_.size() > kMostEvents) {
    events_.pop_front();
    ++dropped_;
  }
  due_ = true;
  changed_.notify_all();
}

void Outbox::resend() {
  const std::lock_guard lock(mutex_);
  due_ = hurry_ = true;
  changed_.notify_all();
}

plan::HostReport Outbox::next_report(std::size_t& events) {
  plan::HostReport report = state_;
  report.number = ++number_;
  std::size_t bytes = 0;
  for (const Json& event : events_) {
    bytes += event.dump().size();
    if (events == kEventsPerReport || (events > 0 && bytes > kEventBytesPerReport)) break;
    report.events.push_back(event);
    ++events;
  }
  if (dropped_ > 0) {
    report.events.push_back(
        make_event(SystemClock().now(), "dropped", "", "",
                   fmt::format("{} older events could not be kept until the controller was "
                               "reachable; they are in this host's history",
                               dropped_)));
  }
  return report;
}

Result<http::Response> Outbox::send(const plan::HostReport& report) {
  http::Headers headers;
  headers.set("Content-Type", "application/json");
  return client_.request("POST",
                         fmt::format("/v1/agents/{}/reports", http::percent_encode(report.host)),
                         headers, plan::host_report_to_json(report).dump());
}

// What is lost of this by a crash is delivered twice, never lost.
void Outbox::remember(const plan::HostReport& report, std::size_t events) const {
  if (events == 0) return;
  const std::int64_t number = report.events[events - 1].int_or("n");
  const Status status =
      write_file_atomic(delivered_, fmt::format("{}\n", number), 0640, Durability::cached);
  if (!status) log_warn("{}", status.error().message());
}

void Outbox::run() {
  Backoff backoff(Duration(200), seconds(15), number_);
  bool complained = false;
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [&] { return stop_ || (known_ && due_); });
    if (stop_) return;
    due_ = false;
    std::size_t events = 0;
    const std::uint64_t dropped = dropped_;
    const plan::HostReport report = next_report(events);
    lock.unlock();
    const auto response = send(report);
    if (response && response->ok()) remember(report, events);
    lock.lock();
    if (response && response->ok()) {
      // Newer events may have pushed out some of those that were under way.
      const std::size_t pushed_out = static_cast<std::size_t>(dropped_ - dropped);
      for (std::size_t i = pushed_out; i < events; ++i) events_.pop_front();
      dropped_ -= dropped;
      due_ = due_ || !events_.empty();
      backoff.reset();
      complained = false;
      continue;
    }
    if (!complained && !stop_)
      log_warn("the report could not be delivered and is kept: {}",
               response ? http::error_of(*response).message() : response.error().message());
    complained = true;
    due_ = true;
    hurry_ = false;
    const Duration pause = backoff.next(response ? retry_after(*response) : std::nullopt);
    changed_.wait_for(lock, pause, [&] { return stop_ || hurry_; });
  }
}

}  // namespace consort::agent
