#include "plan/target.h"

#include <fmt/format.h>

#include <array>

#include "base/json_reader.h"
#include "base/text.h"

namespace consort::plan {
namespace {

template <class Enum, std::size_t N>
Result<Enum> from_name(std::string_view name, const std::array<std::string_view, N>& names,
                       std::string_view what) {
  for (std::size_t i = 0; i < N; ++i) {
    if (names.at(i) == name) return static_cast<Enum>(i);
  }
  return fail(ErrorCode::invalid_input, fmt::format("'{}' is no {}", name, what));
}

constexpr std::array<std::string_view, 3> kModes = {"running", "drained", "stopped"};
constexpr std::array<std::string_view, 3> kHealth = {"unknown", "healthy", "unhealthy"};
constexpr std::array<std::string_view, 5> kOutcomes = {"done", "reverted", "failed", "inconsistent",
                                                       "waiting"};

Json digest_or_null(const Digest& digest) { return digest.is_none() ? Json() : Json(digest.str()); }

Result<Digest> digest_member(JsonReader& reader, std::string_view key) {
  const auto text = reader.optional_string(key);
  if (!text) return Digest();
  return Digest::parse(*text);
}

}  // namespace

std::string_view mode_name(Mode mode) { return kModes.at(static_cast<std::size_t>(mode)); }
Result<Mode> mode_from_name(std::string_view name) {
  return from_name<Mode>(name, kModes, "mode (running, drained, stopped)");
}
std::string_view health_name(Health health) { return kHealth.at(static_cast<std::size_t>(health)); }
std::string_view outcome_name(Outcome::Result result) {
  return kOutcomes.at(static_cast<std::size_t>(result));
}

Json instance_state_to_json(const InstanceState& state) {
  Json::Object host;
  for (const auto& [name, value] : state.host) host.emplace(name, value);
  return Json::object({{"manifest", state.manifest.str()},
                       {"mode", mode_name(state.mode)},
                       {"host", std::move(host)}});
}

Result<InstanceState> instance_state_from_json(const Json& json, const std::string& path) {
  JsonReader reader(json, path);
  const std::string manifest = reader.string("manifest");
  const std::string mode = reader.string("mode");
  std::map<std::string, std::string> host;
  if (const Json* values = reader.any("host"); values != nullptr && values->is_object()) {
    for (const auto& [name, value] : values->as_object()) {
      if (!value.is_string())
        return fail(ErrorCode::invalid_input,
                    fmt::format("{}.host.{} must be a string", path, name));
      host.emplace(name, value.as_string());
    }
  }
  TRYV(reader.finish(UnknownMembers::ignore));
  return InstanceState{TRY(Digest::parse(manifest)), TRY(mode_from_name(mode)), std::move(host)};
}

Json duty_to_json(const Duty& duty) {
  return Json::object({{"token", duty.token},
                       {"hook", duty.hook},
                       {"direction", duty.direction},
                       {"owner", duty.owner.str()},
                       {"from", digest_or_null(duty.from)},
                       {"to", digest_or_null(duty.to)}});
}

Result<Duty> duty_from_json(const Json& json, const std::string& path) {
  JsonReader reader(json, path);
  Duty duty;
  duty.token = reader.string("token");
  duty.hook = reader.string("hook");
  duty.direction = reader.string("direction");
  // What a hook is told, and what "once" is about: nothing else may be made of them.
  if ((duty.hook != "migrate" && duty.hook != "contract") ||
      (duty.direction != "up" && duty.direction != "down"))
    reader.note(fail(ErrorCode::invalid_input,
                     fmt::format("{}: '{} {}' is nothing that is done once per service", path,
                                 duty.hook.substr(0, 40), duty.direction.substr(0, 40))));
  duty.owner = TRY(digest_member(reader, "owner"));
  duty.from = TRY(digest_member(reader, "from"));
  duty.to = TRY(digest_member(reader, "to"));
  TRYV(reader.finish(UnknownMembers::ignore));
  return duty;
}

Json target_entry_to_json(const TargetEntry& entry) {
  return Json::object({{"wanted", entry.wanted ? instance_state_to_json(*entry.wanted) : Json()},
                       {"attempt", entry.attempt},
                       {"duty", entry.duty ? duty_to_json(*entry.duty) : Json()}});
}

Result<TargetEntry> target_entry_from_json(const Json& json, const std::string& path) {
  JsonReader reader(json, path);
  TargetEntry entry;
  if (const Json* wanted = reader.any("wanted"))
    entry.wanted = TRY(instance_state_from_json(*wanted, reader.path_of("wanted")));
  if (const Json* duty = reader.any("duty"))
    entry.duty = TRY(duty_from_json(*duty, reader.path_of("duty")));
  entry.attempt = reader.string("attempt");
  TRYV(reader.finish(UnknownMembers::ignore));
  return entry;
}

Json target_to_json(const Target& target) {
  Json::Object instances;
  for (const auto& [service, entry] : target.instances)
    instances.emplace(service, target_entry_to_json(entry));
  Json out = Json::object({{"epoch", target.epoch}, {"seq", target.seq}, {"instances", instances}});
  if (target.admissions) out["admissions"] = admissions_to_json(*target.admissions);
  if (target.attestation) out["attestation"] = attestation_to_json(*target.attestation);
  return out;
}

Result<Target> target_from_json(const Json& json) {
  JsonReader reader(json, "target");
  Target target;
  target.epoch = static_cast<std::uint64_t>(reader.integer("epoch", std::nullopt, 0));
  target.seq = static_cast<std::uint64_t>(reader.integer("seq", std::nullopt, 0));
  for (const auto& [service, entry] : reader.object("instances")) {
    target.instances.emplace(service,
                             TRY(target_entry_from_json(entry, "target.instances." + service)));
  }
  if (const Json* attestation = reader.any("attestation"))
    target.attestation = TRY(attestation_from_json(*attestation, "target.attestation"));
  if (const Json* admissions = reader.any("admissions"))
    target.admissions = TRY(admissions_from_json(*admissions, "target.admissions"));
  TRYV(reader.finish(UnknownMembers::ignore));
  return target;
}

Json outcome_to_json(const Outcome& outcome) {
  return Json::object({{"attempt", outcome.attempt},
                       {"result", outcome_name(outcome.result)},
                       {"step", outcome.step},
                       {"exitStatus", outcome.exit_status},
                       {"message", outcome.message},
                       {"tail", outcome.tail},
                       {"unconfirmed", outcome.unconfirmed},
                       {"lost", outcome.lost}});
}

Result<Outcome> outcome_from_json(const Json& json, const std::string& path) {
  JsonReader reader(json, path);
  Outcome outcome;
  outcome.attempt = reader.string("attempt");
  outcome.result = TRY(from_name<Outcome::Result>(reader.string("result"), kOutcomes, "outcome"));
  outcome.step = reader.string("step", "");
  outcome.exit_status = static_cast<int>(reader.integer("exitStatus", 0, -1, 1024));
  outcome.message = reader.string("message", "");
  outcome.tail = reader.string("tail", "");
  outcome.unconfirmed = reader.boolean("unconfirmed", false);
  outcome.lost = reader.string("lost", "");
  TRYV(reader.finish(UnknownMembers::ignore));
  return outcome;
}

Json instance_report_to_json(const InstanceReport& report) {
  Json::Object duties;
  for (const auto& [token, outcome] : report.duties)
    duties.emplace(token, outcome_to_json(outcome));
  return Json::object(
      {{"applied", report.applied ? instance_state_to_json(*report.applied) : Json()},
       {"health", health_name(report.health)},
       {"healthReason", report.health_reason},
       {"serves", report.serves},
       {"step", report.step},
       {"outcome", report.outcome ? outcome_to_json(*report.outcome) : Json()},
       {"duties", duties}});
}

Result<InstanceReport> instance_report_from_json(const Json& json, const std::string& path) {
  JsonReader reader(json, path);
  InstanceReport report;
  if (const Json* applied = reader.any("applied"))
    report.applied = TRY(instance_state_from_json(*applied, path + ".applied"));
  report.health = TRY(from_name<Health>(reader.string("health", "unknown"), kHealth, "health"));
  report.health_reason = reader.string("healthReason", "");
  report.serves = reader.boolean("serves", false);
  report.step = reader.string("step", "");
  if (const Json* outcome = reader.any("outcome"))
    report.outcome = TRY(outcome_from_json(*outcome, path + ".outcome"));
  for (const auto& [token, outcome] : reader.object("duties")) {
    report.duties.emplace(token, TRY(outcome_from_json(outcome, path + ".duties." + token)));
  }
  TRYV(reader.finish(UnknownMembers::ignore));
  return report;
}

Json host_report_to_json(const HostReport& report) {
  Json::Object facts;
  for (const auto& [key, value] : report.facts) facts.emplace(key, value);
  Json::Object instances;
  for (const auto& [service, instance] : report.instances)
    instances.emplace(service, instance_report_to_json(instance));
  return Json::object({{"host", report.host},
                       {"bootId", report.boot_id},
                       {"epoch", report.epoch},
                       {"seq", report.seq},
                       {"number", report.number},
                       {"facts", facts},
                       {"instances", instances},
                       {"access", report.access ? access_report_to_json(*report.access) : Json()},
                       {"events", report.events},
                       {"untrusted", report.untrusted},
                       {"statement", report.statement}});
}

Result<HostReport> host_report_from_json(const Json& json) {
  JsonReader reader(json, "report");
  HostReport report;
  report.host = reader.string("host");
  report.boot_id = reader.string("bootId", "");
  report.epoch = static_cast<std::uint64_t>(reader.integer("epoch", 0, 0));
  report.seq = static_cast<std::uint64_t>(reader.integer("seq", 0, 0));
  report.number = static_cast<std::uint64_t>(reader.integer("number", 0, 0));
  for (const auto& [key, value] : reader.object("facts")) {
    if (value.is_string()) report.facts.emplace(key, value.as_string());
  }
  for (const auto& [service, instance] : reader.object("instances")) {
    const std::string_view name = std::string_view(service).substr(
        service.starts_with("class:") ? std::string_view("class:").size() : 0);
    if (!is_name(name))
      return fail(ErrorCode::invalid_input, "report.instances: a service's name is no name");
    report.instances.emplace(
        service, TRY(instance_report_from_json(instance, "report.instances." + service)));
  }
  if (const Json* access = reader.any("access"))
    report.access = TRY(access_report_from_json(*access, "report.access"));
  report.events = reader.array("events");
  report.untrusted = reader.string("untrusted", "");
  report.statement = static_cast<std::uint64_t>(reader.integer("statement", 0, 0));
  if (report.events.size() > kMostEventsPerReport)
    return fail(ErrorCode::too_large, fmt::format("report.events: {} events; at most {} at once",
                                                  report.events.size(), kMostEventsPerReport));
  TRYV(reader.finish(UnknownMembers::ignore));
  return report;
}

}  // namespace consort::plan
