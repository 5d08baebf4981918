// consort explain: how a host or service is, and what happened to it.
#include <fmt/format.h>

#include "cli/context.h"
#include "cli/events.h"
#include "cli/layout.h"
#include "cli/rows.h"
#include "cli/terminal.h"

namespace consort::cli {
namespace {

constexpr std::size_t kShownEvents = 40;

enum class What : std::uint8_t { host, service };

struct Subject {
  What what = What::host;
  std::string name;
  std::string service;  // of a host: only this one; "" for all
};

Json::Array events_of(const Json& log, const Subject& subject) {
  Json::Array out;
  for (const Json& event : log.find("events")->as_array()) {
    if (subject.service.empty() || event.string_or("service") == subject.service ||
        event.string_or("text").find(subject.service) != std::string::npos)
      out.push_back(event);
  }
  return out;
}

Json::Array instances_of(const Json& status, const Subject& subject) {
  Json::Array out;
  for (const auto& [key, record] : status.find("services")->as_object()) {
    if (subject.what == What::service && key != subject.name) continue;
    if (!subject.service.empty() && key != subject.service) continue;
    for (const Json& instance : record.find("instances")->as_array()) {
      if (subject.what == What::host && instance.string_or("host") != subject.name) continue;
      Json row = instance;
      row["service"] = key;
      row["purpose"] = record.string_or("purpose");
      if (instance.string_or("version").empty()) row["version"] = record.string_or("version");
      out.push_back(std::move(row));
    }
  }
  return out;
}

// What a host that is away said last is no news of how it is.
std::string state_of(const Json& row) {
  const std::string said = fmt::format("{} {}", row.string_or("mode"), row.string_or("health"));
  return row.bool_or("reachable")
             ? said
             : fmt::format("{}, was {}", paint(Colour::red, "unreachable"), said);
}

void print_instance(const Json& row) {
  const std::string version = row.string_or("version");
  const std::string reason = row.string_or("reason");
  const std::string head = fmt::format(
      "{} on {}: {}{}",
      paint(Colour::bold, row.string_or("service") + (version.empty() ? "" : " " + version)),
      row.string_or("host"), state_of(row),
      (row.bool_or("placed", true) ? "" : ", where nothing places it") +
          (reason.empty() ? "" : ": " + reason));
  print(wrap(head, output_width(), 0, "  ") + "\n");
  if (!row.string_or("purpose").empty())
    print("  " + wrap(paint(Colour::dim, row.string_or("purpose")), output_width(), 2, "  ") +
          "\n");
}

void print_events(const Json::Array& events, const Subject& subject) {
  if (events.empty()) return print("nothing has happened there that is still remembered\n");
  EventPrinter printer(subject.what == What::host ? Where::service : Where::host, output_width());
  const std::size_t skip = events.size() > kShownEvents ? events.size() - kShownEvents : 0;
  for (std::size_t i = skip; i < events.size(); ++i) printer.measure(events[i]);
  for (std::size_t i = skip; i < events.size(); ++i) print(printer.render(events[i]));
  if (skip > 0)
    print(fmt::format("the last {} of {} events; all of them: consort logs --{} {}\n", kShownEvents,
                      events.size(), subject.what == What::host ? "host" : "service",
                      subject.name));
}

std::string names_of(const Json& list, std::size_t most) {
  std::string out;
  const Json::Array& items = list.as_array();
  for (std::size_t i = 0; i < std::min(items.size(), most); ++i)
    out += (i == 0 ? "" : ", ") + items[i].as_string();
  return items.size() > most ? fmt::format("{} and {} more", out, items.size() - most) : out;
}

// "sql, port 5432: enforced, from web1 (10.0.0.7), web2 (10.0.0.8); declared by shop"
void print_access(const Json& access) {
  constexpr std::size_t kShown = 8;
  for (const Json& row : access.as_array()) {
    const std::string mode = row.string_or("mode");
    std::string text = fmt::format("{}, port {}: ", row.string_or("endpoint"), row.int_or("port"));
    if (mode == "off") {
      text += "open to all";
    } else {
      const Json& from = *row.find("from");
      text += fmt::format(
          "{}, {}", mode == "enforce" ? "enforced" : "audited",
          from.as_array().empty() ? "only the host itself" : "from " + names_of(from, kShown));
    }
    if (const Json& by = *row.find("dependents"); !by.as_array().empty())
      text += "; declared by " + names_of(by, kShown);
    print("  " + wrap(text, output_width(), 2, "  ") + "\n");
  }
}

Result<int> run_explain(const Arguments& arguments) {
  http::Client client = TRY(controller_client(arguments));
  Subject subject{What::host, arguments.word(0), arguments.word(1)};
  const http::Response response = TRY(client.get("/v1/hosts/" + url_encode(subject.name)));
  const Json status = TRY(client.get_json("/v1/status"));
  if (response.status == 404 && status.find("services")->find(subject.name) == nullptr)
    return fail(http::error_of(response).hint(
        "name a host (consort host list) or a service (consort status)"));
  if (!response.ok()) subject.what = What::service;
  const bool is_host = subject.what == What::host;
  if (!is_host && !subject.service.empty())
    return fail(ErrorCode::usage, fmt::format("'{}' is a service, no host", subject.name))
        .hint(fmt::format("consort explain {}", subject.name));
  const Json log = TRY(client.get_json(
      fmt::format("/v1/log?{}={}", is_host ? "host" : "service", url_encode(subject.name))));
  const Json::Array events = events_of(log, subject);
  const Json::Array instances = instances_of(status, subject);
  if (!subject.service.empty() && instances.empty() && events.empty())
    return fail(ErrorCode::not_found,
                fmt::format("there is no service '{}' on {}", subject.service, subject.name))
        .hint(fmt::format("see what runs there: consort explain {}", subject.name));
  const Json* record = is_host ? nullptr : status.find("services")->find(subject.name);
  const Json access = record != nullptr && record->find("access") != nullptr
                          ? *record->find("access")
                          : Json::array();
  if (arguments.json()) {
    print(Json::object({{"what", is_host ? "host" : "service"},
                        {"name", subject.name},
                        {"access", access},
                        {"instances", instances},
                        {"events", events}})
              .dump() +
          "\n");
    return kOk;
  }
  for (const Json& row : instances) print_instance(row);
  print_access(access);
  print_events(events, subject);
  return kOk;
}

}  // namespace

Command explain_command() {
  return {"explain",
          "Tell how a host or service is, and what happened to it, when and why.",
          "",
          {{"HOST|SERVICE", "What to look at.", Positional::Count::one},
           {"SERVICE", "Of a host: only this service.", Positional::Count::optional}},
          {},
          run_explain,
          false,
          false,
          "consort explain web1 shop"};
}
}  // namespace consort::cli
