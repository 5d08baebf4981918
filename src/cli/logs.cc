// consort logs: what has happened.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <optional>
#include <thread>
#include <utility>

#include "base/text.h"
#include "cli/context.h"
#include "cli/events.h"
#include "cli/rows.h"
#include "cli/terminal.h"

namespace consort::cli {
namespace {

// How much of what is remembered is shown; of what happens from now on, all.
struct Window {
  std::optional<Instant> since;
  std::optional<std::size_t> lines;
};

// "10m": so long ago; else a point in time.
Result<Instant> moment(const std::string& text) {
  if (const auto ago = parse_duration(text)) return SystemClock().now() - *ago;
  if (const auto at = parse_instant(text)) return *at;
  return fail(ErrorCode::usage, fmt::format("--since {}: no duration and no time", text))
      .hint("as --since 10m, or --since 2026-01-31T12:00:00Z");
}

Result<Window> window_of(const Arguments& arguments) {
  Window out;
  if (arguments.has("--since")) out.since = TRY(moment(arguments.value("--since")));
  if (arguments.has("--lines")) {
    const std::string text = arguments.value("--lines");
    std::size_t lines = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), lines);
    if (error != std::errc() || end != text.data() + text.size())
      return fail(ErrorCode::usage, fmt::format("--lines {}: not a number", text))
          .hint("as --lines 20: the newest twenty");
    out.lines = lines;
  }
  return out;
}

// Oldest first, as they come.
std::vector<Json> within(const Window& window, const Json::Array& events) {
  std::vector<Json> out;
  for (const Json& event : events) {
    const auto at = parse_instant(event.string_or("at"));
    if (!window.since || !at || *at >= *window.since) out.push_back(event);
  }
  if (window.lines && out.size() > *window.lines)
    out.erase(out.begin(), out.end() - static_cast<std::ptrdiff_t>(*window.lines));
  return out;
}

// What the options leave.
bool fits(const Arguments& arguments, const Json& event) {
  constexpr std::array<std::string_view, 3> keys = {"host", "service", "rollout"};
  return std::all_of(keys.begin(), keys.end(), [&](std::string_view key) {
    const std::string flag = "--" + std::string(key);
    return !arguments.has(flag) || event.string_or(key) == arguments.value(flag);
  });
}

std::string log_query(const Arguments& arguments) {
  std::string out;
  for (const std::string_view key : {"host", "service", "rollout"}) {
    const std::string flag = "--" + std::string(key);
    if (arguments.has(flag))
      out +=
          fmt::format("{}{}={}", out.empty() ? "?" : "&", key, url_encode(arguments.value(flag)));
  }
  return out;
}

// Nothing may be remembered of what is there; of what is not there nothing ever will be.
Status check_names(http::Client& client, const Arguments& arguments) {
  const auto exists = [&](const std::string& path) -> Result<bool> {
    const http::Response answer = TRY(client.get(path));
    if (answer.status == 404) return false;
    return answer.ok() ? Result<bool>(true) : fail(http::error_of(answer));
  };
  const auto unknown = [](std::string_view what, const std::string& name, std::string_view list) {
    return fail(ErrorCode::not_found, fmt::format("there is no {} '{}'", what, name))
        .hint(fmt::format("see them with: {}", list));
  };
  const std::string host = arguments.value("--host");
  if (!host.empty() && !TRY(exists("/v1/hosts/" + url_encode(host))))
    return unknown("host", host, "consort host list");
  const std::string rollout = arguments.value("--rollout");
  if (!rollout.empty() && !TRY(exists("/v1/rollouts/" + url_encode(rollout))))
    return unknown("rollout", rollout, "consort rollout list");
  const std::string service = arguments.value("--service");
  if (!service.empty() &&
      TRY(client.get_json("/v1/status")).find("services")->find(service) == nullptr)
    return unknown("service", service, "consort status");
  return {};
}

Result<int> run(const Arguments& arguments) {
  const Window window = TRY(window_of(arguments));
  http::Client client = TRY(controller_client(arguments));
  const std::string query = log_query(arguments);
  const Json log = TRY(client.get_json("/v1/log" + query));
  const Json::Array& remembered = log.find("events")->as_array();
  if (remembered.empty() && !query.empty()) TRYV(check_names(client, arguments));
  const std::vector<Json> events = within(window, remembered);
  if (events.empty() && (!query.empty() || !remembered.empty()))
    print_to_stderr("nothing of that is remembered\n");
  EventPrinter printer(Where::service_and_host, output_width());
  const auto show = [&](const Json& event) {
    print(arguments.json() ? event.dump() + "\n" : printer.render(event));
  };
  for (const Json& event : events) printer.measure(event);
  for (const Json& event : events) show(event);
  std::int64_t last = remembered.empty() ? 0 : remembered.back().int_or("number");
  if (!arguments.has("--follow")) return kOk;
  bool complained = false;
  while (true) {
    const Status ended = client.stream_events("/v1/events?after=" + std::to_string(last),
                                              std::to_string(last), [&](const http::Event& event) {
                                                complained = false;
                                                const auto json = parse_json(event.data);
                                                if (json)
                                                  last = std::max(last, json->int_or("number"));
                                                if (json && fits(arguments, *json)) show(*json);
                                                return http::Client::Next::more;
                                              });
    const bool comes_back = ended || ended.error().code() == ErrorCode::unavailable ||
                            ended.error().code() == ErrorCode::timeout;
    if (!comes_back) return tl::unexpected<Error>(ended.error());
    if (!ended && !std::exchange(complained, true))
      print_to_stderr("the controller does not answer; trying again …\n");
    std::this_thread::sleep_for(std::chrono::milliseconds(ended ? 200 : 1000));
  }
}

}  // namespace

Command logs_command() {
  return {"logs",
          "Show what has happened: rollout steps, repairs, hosts coming and going.",
          "Oldest first. The controller remembers the newest five thousand events, as many of each "
          "host as of any other.",
          {},
          {{"--host", "HOST", "Only of this host."},
           {"--service", "SERVICE", "Only of this service."},
           {"--rollout", "ROLLOUT", "Only of this rollout."},
           {"--since", "TIME", "Only what is newer: 10m, or 2026-01-31T12:00:00Z."},
           {"--lines", "N", "Only the newest so many.", false, "-n"},
           {"--follow", "", "Go on with what happens from now on.", false, "-f"}},
          run,
          false,
          false,
          "consort logs --service shop --since 1h --follow"};
}

}  // namespace consort::cli
