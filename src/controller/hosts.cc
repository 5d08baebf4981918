// What hosts say, and their coming and going.
#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "base/text.h"
#include "controller/core.h"

namespace consort::controller {
namespace {

// So late a tick has its cause in this process or its machine, not in the hosts.
constexpr Duration kStall = seconds(3);

// What a host says is shown on terminals: nothing in it may steer them.
std::string printable(std::string text) {
  for (char& c : text) {
    if ((static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\t') || c == 0x7f) c = '?';
  }
  return text;
}

std::string name_of(const Json& event, std::string_view member, std::string_view otherwise) {
  std::string name = event.string_or(member, otherwise);
  const std::size_t prefix = name.starts_with("class:") ? 6 : 0;
  return is_name(std::string_view(name).substr(prefix)) ? name : std::string(otherwise);
}

bool is_address_or_name(const std::string& text) {
  return !text.empty() && text.size() <= 253 &&
         std::all_of(text.begin(), text.end(), [](unsigned char c) {
           return std::isalnum(c) != 0 || c == '.' || c == '-' || c == '_' || c == ':';
         });
}

}  // namespace

// Silence counts only while we would have heard: a core that was not woken in time was deaf, and
// connections that broke meanwhile broke because of us.
void Core::notice_stall(Instant now, Output& out) {
  if (!wake_ || now < *wake_ + kStall) return;
  const Duration late = std::chrono::duration_cast<Duration>(now - *wake_);
  wake_.reset();
  patient_until_ = now + kSilence;
  for (auto& [name, host] : hosts_) {
    if (host.reachable) host.last_contact = now;
  }
  wake_at(*patient_until_);
  tell(out, {0, now, "stalled", "", "", "",
             fmt::format("the controller itself stood still for {} or more: hosts have {} to be "
                         "heard before any of them counts as unreachable",
                         human_duration(late), human_duration(kSilence))});
}

Output Core::on_contact(const std::string& name, Instant now) {
  Output out;
  notice_stall(now, out);
  auto [it, made] = hosts_.try_emplace(name);
  HostState& host = it->second;
  host.last_contact = now;
  if (made) {
    host.joined = now;
    host.report.host = name;
    out.writes["hosts/" + name] = Json::object({{"report", plan::host_report_to_json(host.report)},
                                                {"joined", to_millis(now)}})
                                      .dump();
    tell(out, {0, now, "host-joined", "", "", name, "joined"});
  }
  if (!host.reachable) {
    host.reachable = true;
    if (!made) tell(out, {0, now, "host-back", "", "", name, "answers again"});
    advance(now, out);
  }
  wake_at(now + kSilence);
  return out;
}

Output Core::on_poll(const std::string& name, std::uint64_t epoch, std::uint64_t seq, Instant now) {
  Output out = on_contact(name, now);
  take_position(name, epoch, seq, now, out);
  return out;
}

Output Core::on_silence(const std::string& name, Instant now) {
  Output out;
  notice_stall(now, out);
  const auto it = hosts_.find(name);
  if (it == hosts_.end() || !it->second.reachable) return out;
  if (patient_until_ && now < *patient_until_) return out;
  it->second.reachable = false;
  it->second.last_contact.reset();
  tell(out, {0, now, "host-unreachable", "", "", name, "does not answer"});
  advance(now, out);
  return out;
}

Output Core::on_report(const plan::HostReport& report, Instant now) {
  Output out = on_contact(report.host, now);
  HostState& host = hosts_.at(report.host);
  if (report.boot_id == host.report.boot_id && report.number < host.report.number)
    return out;  // overtaken on its way
  take_position(report.host, report.epoch, report.seq, now, out);
  std::set<std::pair<std::int64_t, std::string>> told;
  for (const Json& item : report.events) {
    const std::pair id(item.int_or("n"), item.string_or("at"));
    if (id.first > 0) told.insert(id);
    if (host.told.contains(id)) continue;
    std::string text = printable(item.string_or("text"));
    if (const std::string resource = printable(item.string_or("resource")); !resource.empty())
      text = resource + ": " + text;
    if (const std::string diff = printable(item.string_or("diff"));
        !diff.empty() && diff.size() < 4000)
      text += "\n" + diff;
    // It may have waited long for its delivery; a clock that is ahead cannot tell of the future.
    const Instant at = std::min(parse_instant(id.second).value_or(now), now);
    tell(out, {0, at, name_of(item, "kind", "report"), "", name_of(item, "service", ""),
               report.host, std::move(text)});
  }
  host.told = std::move(told);
  const bool moves = moves_access(host.report, report);
  host.report = report;
  host.report.events.clear();
  // What a host says of itself becomes rules of others' firewalls and lines of their files.
  const auto address = host.report.facts.find("address");
  if (address != host.report.facts.end() && !is_address_or_name(address->second))
    host.report.facts.erase(address);
  out.writes["hosts/" + report.host] =
      Json::object(
          {{"report", plan::host_report_to_json(host.report)}, {"joined", to_millis(host.joined)}})
          .dump();
  adopt(report, out);
  if (moves) refresh_access(out);
  advance(now, out);
  return out;
}

std::optional<plan::Target> Core::target_of(const std::string& host) const {
  const auto it = targets_.find(host);
  return it == targets_.end() ? std::nullopt : std::optional(it->second);
}

Status Core::remove_host(const std::string& name, Instant now, Output& out) {
  const auto it = hosts_.find(name);
  if (it == hosts_.end())
    return fail(ErrorCode::not_found, fmt::format("no host '{}'", name))
        .hint("see the hosts with: consort host list");
  if (it->second.reachable)
    return fail(ErrorCode::refused, fmt::format("host {} is alive", name))
        .hint(
            fmt::format("stop its agent first; then it can be removed. One that must not come back "
                        "is locked out with: consort host revoke {}",
                        name));
  const plan::Generation* generation = current();
  if (generation != nullptr && generation->hosts.contains(name)) {
    return fail(ErrorCode::refused, fmt::format("host {} is still in the inventory of {}", name,
                                                join(generation->hosts.at(name).classes, ", ")))
        .hint("take it out of the inventory and deploy; then remove it");
  }
  hosts_.erase(it);
  targets_.erase(name);
  forget_tail(name, out);
  if (budget::forget_host(budgets_, name)) save_budgets(out);
  out.writes["hosts/" + name] = std::nullopt;
  out.writes["targets/" + name] = std::nullopt;
  tell(out, {0, now, "host-removed", "", "", name, "removed by the operator"});
  return {};
}

// --- time
// ---------------------------------------------------------------------------------------------

}  // namespace consort::controller
