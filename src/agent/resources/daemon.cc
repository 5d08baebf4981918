#include "agent/resources/daemon.h"

#include <fmt/format.h>

#include <array>
#include <csignal>

#include "agent/readiness.h"
#include "agent/supervisors/credentials.h"
#include "agent/supervisors/supervisor.h"
#include "base/text.h"

namespace consort::agent {
namespace {

constexpr std::array<std::pair<std::string_view, int>, 7> kSignals = {{{"SIGTERM", SIGTERM},
                                                                       {"SIGINT", SIGINT},
                                                                       {"SIGQUIT", SIGQUIT},
                                                                       {"SIGHUP", SIGHUP},
                                                                       {"SIGUSR1", SIGUSR1},
                                                                       {"SIGUSR2", SIGUSR2},
                                                                       {"SIGKILL", SIGKILL}}};

constexpr int kMostStarts = 3;  // of one that ends unseen

class DaemonResource final : public Resource {
 public:
  [[nodiscard]] Result<Verdict> examine(const Context& context) const override {
    Verdict verdict;
    if (context.supervisor == nullptr) {
      return fail(ErrorCode::unsupported, "daemons are not supervised here")
          .hint(
              "run on a host with systemd, or give the agent a state folder for its own "
              "supervisor");
    }
    const DaemonStatus status = TRY(context.supervisor->status(spec_.name));
    const Digest wanted = digest();
    const bool ended_as_it_should =
        status.known && status.exit_status && status.config_digest == wanted &&
        (spec_.restart == RestartPolicy::never ||
         (spec_.restart == RestartPolicy::on_failure && *status.exit_status == 0));
    if (!status.running && ended_as_it_should) return verdict;
    if (!status.running) {
      verdict.add("daemon",
                  status.exit_status ? fmt::format("ended with status {}", *status.exit_status)
                                     : "not running",
                  "running");
    } else if (status.config_digest != wanted) {
      verdict.add("configuration",
                  status.config_digest.is_none() ? "unknown" : status.config_digest.brief(),
                  wanted.brief());
    }
    return verdict;
  }

  [[nodiscard]] Result<Applied> apply(const Context& context,
                                      const Verdict& verdict) const override {
    Applied out;
    if (context.dry_run()) {
      out.commands.push_back(fmt::format("{} {}: {}",
                                         verdict.changes_what("daemon") ? "start" : "restart",
                                         spec_.name, quote_argv(spec_.argv)));
      return out;
    }
    DaemonSpec spec = spec_;
    spec.description = common().purpose;
    spec.config_digest = digest();
    if (!spec.user.empty()) {
      RunAs as = TRY(context.accounts.run_as(spec.user, spec.group));
      spec.uid = as.uid;
      spec.gid = as.gid;
      spec.groups = std::move(as.groups);
    } else if (!spec.group.empty()) {
      spec.gid = TRY(context.accounts.gid_of(spec.group));
    }
    if (verdict.changes_what("daemon")) TRYV(check_port(*context.supervisor, spec));
    // What was found at work may have been ending together with what watched over it.
    for (int tries = 1;; ++tries) {
      const EnsureOutcome outcome = TRY(context.supervisor->ensure(spec));
      out.changed = out.changed || outcome != EnsureOutcome::kept;
      Status ready = wait_until_ready(*context.supervisor, spec);
      if (ready) return out;
      if (tries == kMostStarts || !ended_unseen(TRY(context.supervisor->status(spec.name))))
        return tl::unexpected<Error>(std::move(ready.error()));
    }
  }

  [[nodiscard]] std::vector<std::string> claims() const override {
    return {"daemon:" + spec_.name};
  }
  [[nodiscard]] std::vector<std::string> uses() const override {
    std::vector<std::string> out = uses_;
    if (!spec_.user.empty()) out.push_back("user:" + spec_.user);
    if (!spec_.group.empty()) out.push_back("group:" + spec_.group);
    return out;
  }
  [[nodiscard]] Result<Json> capture(const Context& /*context*/) const override {
    return Json::object({{"kind", "absent"}});
  }
  void set_configuration(const Digest& digest) override { configuration_ = digest; }
  [[nodiscard]] bool is_daemon() const override { return true; }

 private:
  friend Result<std::unique_ptr<Resource>> consort::agent::parse_daemon(JsonReader& reader,
                                                                        const fs::path& root);
  [[nodiscard]] Digest digest() const { return Digest::of(wish().str() + configuration_.str()); }

  DaemonSpec spec_;
  std::vector<std::string> uses_;
  Digest configuration_;
};

ReadinessSpec read_readiness(JsonReader& outer) {
  ReadinessSpec out;
  const Json* json = outer.any("readiness");
  if (json == nullptr) return out;
  if (!json->is_object()) {
    outer.note(fail(ErrorCode::invalid_input,
                    fmt::format("{} must be an object", outer.path_of("readiness")))
                   .hint("{ type: 'tcp', port: 8080 }"));
    return out;
  }
  JsonReader reader(*json, outer.path_of("readiness"));
  out.type = static_cast<ReadinessSpec::Type>(
      read_choice(reader, "type", {"none", "notify", "tcp", "http", "command"}));
  // Ports come as strings where they are placeholders.
  const Json* port = reader.any("port");
  if (port != nullptr && port->is_int()) out.port = static_cast<int>(port->as_int());
  if (port != nullptr && port->is_string()) out.port = std::atoi(port->as_string().c_str());
  out.address = reader.string("address", "127.0.0.1");
  out.path = reader.string("path", "/");
  out.argv = reader.strings("argv");
  out.timeout = read_duration(reader, "timeout").value_or(seconds(60));
  const bool network =
      out.type == ReadinessSpec::Type::tcp || out.type == ReadinessSpec::Type::http;
  if (network && (out.port < 1 || out.port > 65535))
    reader.note(fail(ErrorCode::invalid_input, fmt::format("{}: a port is a number from 1 to 65535",
                                                           reader.path_of("port"))));
  if (out.type == ReadinessSpec::Type::command && out.argv.empty())
    reader.note(fail(ErrorCode::invalid_input,
                     fmt::format("{} is needed for type command", reader.path_of("argv"))));
  if (Status status = reader.finish(); !status) outer.note(std::move(status.error()));
  return out;
}

void read_limits(JsonReader& outer, DaemonSpec& spec) {
  const Json* json = outer.any("limits");
  if (json == nullptr) return;
  JsonReader reader(*json, outer.path_of("limits"));
  const auto limit = [&](std::string_view key) -> std::optional<std::int64_t> {
    const std::int64_t value = reader.integer(key, -1, -1);
    return value < 0 ? std::nullopt : std::optional(value);
  };
  spec.nofile = limit("nofile");
  spec.memory = limit("memory");
  spec.tasks = limit("tasks");
  if (Status status = reader.finish(); !status) outer.note(std::move(status.error()));
}

void read_credentials(JsonReader& reader, DaemonSpec& spec) {
  const Json::Object& credentials = reader.object("credentials");
  if (credentials.size() > kMostCredentials)
    reader.note(
        fail(ErrorCode::too_large, fmt::format("{}: more than {} credentials",
                                               reader.path_of("credentials"), kMostCredentials)));
  for (const auto& [name, file] : credentials) {
    if (is_name(name) && file.is_string() && file.as_string().starts_with('/')) {
      spec.credentials[name] = file.as_string();
      continue;
    }
    reader.note(fail(ErrorCode::invalid_input,
                     fmt::format("{}.{}: expected a name and the absolute path of a file",
                                 reader.path_of("credentials"), name.substr(0, 80))));
  }
}

int read_signal(JsonReader& reader) {
  const std::string name = reader.string("stopSignal", "SIGTERM");
  for (const auto& [known, number] : kSignals) {
    if (name == known || "SIG" + name == known) return number;
  }
  reader.note(fail(ErrorCode::invalid_input, fmt::format("{}: '{}' is no signal to stop with",
                                                         reader.path_of("stopSignal"), name))
                  .hint("SIGTERM, SIGINT, SIGQUIT, SIGHUP, …"));
  return SIGTERM;
}

// Words of argv and values of the environment that are paths, so that what the daemon reads is
// there first.
void collect_paths(const std::string& text, const fs::path& root, std::vector<std::string>& out) {
  std::size_t begin = 0;
  while (begin < text.size()) {
    const std::size_t end = std::min(text.find_first_of("=:, \n\t'\"", begin), text.size());
    if (text[begin] == '/') {
      if (auto path = normal_path(std::string_view(text).substr(begin, end - begin), root);
          path && *path != "/")
        out.push_back(*path);
    }
    begin = end + 1;
  }
}

}  // namespace

Result<std::unique_ptr<Resource>> parse_daemon(JsonReader& reader, const fs::path& root) {
  auto out = std::make_unique<DaemonResource>();
  DaemonSpec& spec = out->spec_;
  // The name of the resource is the name of the instance; its path is "resources.NAME".
  const std::string path = reader.path_of("argv");
  spec.name = path.substr(std::string_view("resources.").size(),
                          path.rfind('.') - std::string_view("resources.").size());
  if (!is_name(spec.name))
    reader.note(
        fail(ErrorCode::invalid_input, fmt::format("'{}' is no name for a daemon", spec.name))
            .hint("letters, digits, '.', '_', '-'; at most 63"));
  // Its unit would take the place of Consort's own (packaging/systemd).
  constexpr std::array<std::string_view, 3> kOwnUnits = {"agent", "controller", "gateway"};
  if (std::find(kOwnUnits.begin(), kOwnUnits.end(), spec.name) != kOwnUnits.end())
    reader.note(fail(ErrorCode::invalid_input,
                     fmt::format("a daemon cannot be called '{}': consort-{}.service is Consort's "
                                 "own",
                                 spec.name, spec.name))
                    .hint("give the service another name"));
  spec.argv = reader.strings("argv");
  if (spec.argv.empty() || spec.argv[0].empty())
    reader.note(
        fail(ErrorCode::invalid_input, fmt::format("{}: a daemon needs the program to run", path)));
  spec.user = reader.string("user", "");
  spec.group = reader.string("group", "");
  spec.environment = read_environment(reader);
  spec.environment_file = reader.string("environmentFile", "");
  if (!spec.environment_file.empty() && spec.environment_file[0] != '/')
    reader.note(fail(ErrorCode::invalid_input,
                     fmt::format("{}: '{}' is no absolute path", reader.path_of("environmentFile"),
                                 spec.environment_file)));
  read_credentials(reader, spec);
  spec.folder = reader.string("folder", "");
  spec.readiness = read_readiness(reader);
  spec.restart =
      static_cast<RestartPolicy>(read_choice(reader, "restart", {"always", "on-failure", "never"}));
  read_limits(reader, spec);
  spec.stop_signal = read_signal(reader);
  spec.stop_timeout = read_duration(reader, "stopTimeout").value_or(seconds(30));
  spec.writable = reader.strings("writable");
  spec.hardening = static_cast<Hardening>(read_choice(reader, "hardening", {"strict", "none"}));
  for (const std::string& word : spec.argv) collect_paths(word, root, out->uses_);
  for (const auto& [key, value] : spec.environment) collect_paths(value, root, out->uses_);
  for (const std::string& word : spec.writable) collect_paths(word, root, out->uses_);
  collect_paths(spec.environment_file, root, out->uses_);
  for (const auto& [name, file] : spec.credentials) collect_paths(file, root, out->uses_);
  collect_paths(spec.folder, root, out->uses_);
  return out;
}

Status revert_daemon(const Context& context, const Json& record) {
  if (context.supervisor == nullptr) return {};
  return context.supervisor->remove(
      record.string_or("path").substr(std::string_view("daemon:").size()));
}

}  // namespace consort::agent
