#include "cli/host_view.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "base/text.h"
#include "cli/layout.h"
#include "cli/terminal.h"

namespace consort::cli {
namespace {

// An object of the record; an empty one where there is null or nothing.
const Json& part(const Json& json, std::string_view key) {
  static const Json none = Json::object();
  const Json* found = json.find(key);
  return found != nullptr && found->is_object() ? *found : none;
}

std::string names(const Json& json, std::string_view key) {
  std::vector<std::string> out;
  const Json* list = json.find(key);
  if (list == nullptr || !list->is_array()) return "";
  for (const Json& item : list->as_array())
    if (item.is_string()) out.push_back(item.as_string());
  return join(out, ", ");
}

// "rack=a, zone=north"
std::string labels(const Json& values) {
  std::vector<std::string> out;
  for (const auto& [key, value] : values.as_object())
    out.push_back(value.is_string() ? key + "=" + value.as_string() : key);
  return join(out, ", ");
}

std::string memory(const std::string& bytes) {
  std::uint64_t count = 0;
  const auto parsed = std::from_chars(bytes.data(), bytes.data() + bytes.size(), count);
  return parsed.ec != std::errc() ? "" : fmt::format("{:.1f} GB", static_cast<double>(count) / 1e9);
}

// "debian 12, amd64, linux 6.1, 2 processors, 25.3 GB"
std::string system_of(const Json& facts) {
  std::vector<std::string> out;
  const auto add = [&](std::string text) {
    if (!text.empty()) out.push_back(std::move(text));
  };
  add(std::string(trim(facts.string_or("os.id") + " " + facts.string_or("os.version"))));
  add(facts.string_or("arch"));
  if (const std::string kernel = facts.string_or("kernel"); !kernel.empty()) add("linux " + kernel);
  if (const std::string cpus = facts.string_or("cpus"); !cpus.empty())
    add(fmt::format("{} processor{}", cpus, cpus == "1" ? "" : "s"));
  add(memory(facts.string_or("memory.bytes")));
  return join(out, ", ");
}

std::string heard(const Json& host, Instant now) {
  const std::string age = shown_age(host.string_or("lastContact"), now);
  return age.empty() ? "not since the controller started" : age;
}

std::string certificate(const Json& identity) {
  const std::string serial = identity.string_or("certificate");
  return serial.empty() ? ""
                        : fmt::format("{} until {}", serial.substr(0, 12),
                                      shown_time(identity.string_or("expires")));
}

std::string rival(const Json& host, const Json& identity) {
  const Json& other = part(identity, "rival");
  if (other.as_object().empty()) return "";
  return fmt::format(
      "another machine at {0} claims the name; if it is the right one: consort host approve {1} "
      "--key {2}; to dismiss it: consort host approve {1} --key {3}",
      other.string_or("address"), host.string_or("name"), other.string_or("key"),
      identity.string_or("key"));
}

std::vector<Cells> facts_of(const Json& host, Instant now) {
  const Json& inventory = part(host, "inventory");
  const Json& identity = part(host, "identity");
  const Json& report = part(host, "report");
  const Json& facts = part(report, "facts");
  std::vector<Cells> rows;
  const auto add = [&](std::string_view label, std::string text) {
    // No text makes itself a row of its own.
    if (!text.empty())
      rows.push_back({paint(Colour::dim, label), printable(std::move(text), Lines::one)});
  };
  add("address", inventory.string_or("address", facts.string_or("address")));
  add("classes", names(inventory, "classes"));
  add("labels", labels(part(inventory, "labels")));
  add("system", system_of(facts));
  add("joined", shown_time(host.string_or("joined")));
  add("last heard", heard(host, now));
  add("let in by",
      identity.string_or("state") == "approved" ? identity.string_or("decidedBy") : "");
  add("labels of token", labels(part(identity, "labels")));
  add("key", identity.string_or("key"));
  add("certificate", certificate(identity));
  add("rival", rival(host, identity));
  if (const std::int64_t statement = report.int_or("statement"); statement != 0)
    add("signed", fmt::format("statement {}", statement));
  add("refuses", report.string_or("untrusted"));
  add("ports", part(report, "access").string_or("problem"));
  return rows;
}

std::string instances_of(const Json& report, std::size_t width) {
  std::vector<Cells> rows;
  for (const auto& [service, instance] : part(report, "instances").as_object()) {
    const Json& applied = part(instance, "applied");
    const std::string mode = applied.string_or("mode");
    const std::string step = instance.string_or("step");
    rows.push_back({service,
                    mode == "running" ? instance.string_or("health")
                    : mode.empty()    ? "not there"
                                      : mode,
                    shown_digest(applied.string_or("manifest")),
                    step.empty() ? instance.string_or("healthReason") : "at step " + step});
    for (std::string& cell : rows.back()) cell = printable(std::move(cell), Lines::one);
  }
  if (rows.empty()) return "nothing runs there by Consort\n";
  Cells header = {"SERVICE", "STATE", "MANIFEST"};
  const bool notes =
      std::any_of(rows.begin(), rows.end(), [](const Cells& row) { return !row.back().empty(); });
  header.emplace_back(notes ? "NOTE" : "");
  rows.insert(rows.begin(), header);
  const std::vector<std::size_t> widths = column_widths(rows);
  std::string out = paint(Colour::bold, lay_row(rows.front(), widths, 0));
  for (std::size_t i = 1; i < rows.size(); ++i) out += lay_row(rows[i], widths, width);
  return out;
}

}  // namespace

std::string host_state(const Json& host) {
  const Json& identity = part(host, "identity");
  const std::string place = identity.string_or("state", "approved");
  const std::string state = place == "pending"   ? paint(Colour::yellow, "waits for approval")
                            : place == "revoked" ? paint(Colour::red, "revoked")
                            : host.bool_or("reachable") ? paint(Colour::green, "up")
                                                        : paint(Colour::red, "unreachable");
  return part(identity, "rival").as_object().empty()
             ? state
             : state + paint(Colour::yellow, ", has a rival");
}

std::string render_host(const Json& host, Instant now, std::size_t width) {
  std::string out =
      fmt::format("{}: {}\n", paint(Colour::bold, host.string_or("name")), host_state(host));
  const std::vector<Cells> rows = facts_of(host, now);
  const std::vector<std::size_t> widths = column_widths(rows);
  for (const Cells& row : rows) out += lay_row(row, widths, width, 2);
  out += instances_of(part(host, "report"), width);
  if (part(host, "identity").string_or("state") == "pending")
    out += fmt::format("let it in with: consort host approve {}\n", host.string_or("name"));
  return out;
}

}  // namespace consort::cli
