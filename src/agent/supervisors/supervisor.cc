#include "agent/supervisors/supervisor.h"

#include <fmt/format.h>

#include <array>

#include "base/json_reader.h"
#include "base/text.h"

namespace consort::agent {
namespace {

constexpr std::array<std::string_view, 5> kReadiness = {"none", "notify", "tcp", "http", "command"};
constexpr std::array<std::string_view, 3> kRestart = {"always", "on-failure", "never"};

template <class Enum, class Names>
Enum named(const Names& names, std::string_view text) {
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (names[i] == text) return static_cast<Enum>(i);
  }
  return Enum{};
}

Json optional_number(const std::optional<std::int64_t>& value) {
  return value ? Json(*value) : Json();
}

std::optional<std::int64_t> read_number(JsonReader& reader, std::string_view key) {
  const Json* value = reader.any(key);
  return value != nullptr && value->is_int() ? std::optional(value->as_int()) : std::nullopt;
}

}  // namespace

Json daemon_spec_to_json(const DaemonSpec& spec) {
  const auto texts = [](const std::map<std::string, std::string>& map) {
    Json out = Json::object();
    for (const auto& [key, value] : map) out[key] = value;
    return out;
  };
  Json groups = Json::array();
  for (const gid_t gid : spec.groups) groups.push_back(Json(static_cast<std::int64_t>(gid)));
  return Json::object({
      {"name", spec.name},
      {"description", spec.description},
      {"argv", Json::array_of(spec.argv)},
      {"user", spec.user},
      {"group", spec.group},
      {"uid", spec.uid ? Json(*spec.uid) : Json()},
      {"gid", spec.gid ? Json(*spec.gid) : Json()},
      {"groups", groups},
      {"environment", texts(spec.environment)},
      {"environmentFile", spec.environment_file},
      {"credentials", texts(spec.credentials)},
      {"folder", spec.folder},
      {"readiness", kReadiness[static_cast<std::size_t>(spec.readiness.type)]},
      {"restart", kRestart[static_cast<std::size_t>(spec.restart)]},
      {"nofile", optional_number(spec.nofile)},
      {"memory", optional_number(spec.memory)},
      {"tasks", optional_number(spec.tasks)},
      {"stopSignal", spec.stop_signal},
      {"stopTimeout", spec.stop_timeout.count()},
      {"configDigest", spec.config_digest.str()},
  });
}

Result<DaemonSpec> daemon_spec_from_json(const Json& json) {
  JsonReader reader(json, "");
  DaemonSpec out;
  out.name = reader.string("name");
  out.description = reader.string("description", "");
  out.argv = reader.strings("argv");
  out.user = reader.string("user", "");
  out.group = reader.string("group", "");
  if (const auto uid = read_number(reader, "uid")) out.uid = static_cast<uid_t>(*uid);
  if (const auto gid = read_number(reader, "gid")) out.gid = static_cast<gid_t>(*gid);
  for (const Json& gid : reader.array("groups")) {
    if (gid.is_int()) out.groups.push_back(static_cast<gid_t>(gid.as_int()));
  }
  for (const auto& [name, texts] :
       {std::pair("environment", &out.environment), std::pair("credentials", &out.credentials)}) {
    for (const auto& [key, value] : reader.object(name)) {
      if (value.is_string()) texts->insert_or_assign(key, value.as_string());
    }
  }
  out.environment_file = reader.string("environmentFile", "");
  out.folder = reader.string("folder", "");
  out.readiness.type = named<ReadinessSpec::Type>(kReadiness, reader.string("readiness", "none"));
  out.restart = named<RestartPolicy>(kRestart, reader.string("restart", "always"));
  out.nofile = read_number(reader, "nofile");
  out.memory = read_number(reader, "memory");
  out.tasks = read_number(reader, "tasks");
  out.stop_signal = static_cast<int>(reader.integer("stopSignal", 15, 1, 64));
  out.stop_timeout = Duration(reader.integer("stopTimeout", 30'000, 0));
  const auto digest = Digest::parse(reader.string("configDigest"));
  TRYV(reader.finish(UnknownMembers::ignore));
  if (!digest || out.argv.empty())
    return fail(ErrorCode::corrupt, "the record of a daemon is damaged")
        .hint("the next pass of the agent writes it anew");
  out.config_digest = *digest;
  return out;
}

std::string last_words(std::string_view log_tail) {
  const std::vector<std::string> lines = split(log_tail, '\n');
  for (auto line = lines.rbegin(); line != lines.rend(); ++line) {
    if (!trim(*line).empty() && !line->starts_with("consort: "))
      return fmt::format("; its last words: {}", std::string_view(trim(*line)).substr(0, 300));
  }
  return "";
}

}  // namespace consort::agent
