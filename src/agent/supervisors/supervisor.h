// Keeps daemons running. "The daemon runs with configuration digest X" is durable state: ensure()
// restarts a daemon that runs with another digest, also when an agent was killed between a change
// and the restart. Implementations: native (a shim process per daemon), systemd (units over D-Bus).
// Thread-safe.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/supervisors/boot_guard.h"
#include "base/digest.h"
#include "base/files.h"
#include "base/json.h"
#include "base/time.h"

namespace consort::agent {

struct ReadinessSpec {
  enum class Type : std::uint8_t { none, notify, tcp, http, command };
  Type type = Type::none;
  int port = 0;
  std::string address = "127.0.0.1";
  std::string path = "/";         // http: a status of 200 to 399 means ready
  std::vector<std::string> argv;  // command: exit status 0 means ready
  Duration timeout = seconds(60);
};

enum class RestartPolicy : std::uint8_t { always, on_failure, never };
enum class Hardening : std::uint8_t { strict, none };

struct DaemonSpec {
  std::string name;  // is_name()
  std::string description;
  std::vector<std::string> argv;
  std::string user;          // empty: the agent's own
  std::string group;         // empty: the user's
  std::optional<uid_t> uid;  // resolved by the caller from the host's accounts
  std::optional<gid_t> gid;  // always, where there is a uid
  std::vector<gid_t> groups;
  std::map<std::string, std::string> environment;
  std::string
      environment_file;  // read at each start (environment_file.h); it goes before the other
  std::map<std::string, std::string> credentials;  // name → file, copied at each start
  std::string folder;
  ReadinessSpec readiness;
  RestartPolicy restart = RestartPolicy::always;
  std::optional<std::int64_t> nofile;
  std::optional<std::int64_t> memory;  // bytes
  std::optional<std::int64_t> tasks;
  int stop_signal = 15;
  Duration stop_timeout = seconds(30);
  std::vector<std::string> writable;
  Hardening hardening = Hardening::strict;
  Digest config_digest;
};

[[nodiscard]] Json daemon_spec_to_json(const DaemonSpec& spec);
// For what daemon_spec_to_json wrote. Error: corrupt.
[[nodiscard]] Result<DaemonSpec> daemon_spec_from_json(const Json& json);

struct DaemonStatus {
  bool known = false;  // the supervisor has such a daemon
  bool running = false;
  bool ready = false;  // running, and for readiness `notify` it has said so
  // Somebody watches over it and goes by its restart policy.
  bool supervised = false;
  bool stopped = false;  // by somebody's order: the supervisor leaves it so
  pid_t pid = 0;
  Instant since{};                 // of the present state
  std::optional<int> exit_status;  // of the last end: status, or 128 + signal
  std::int64_t restarts = 0;       // unasked ones, since it was started
  Digest config_digest;            // what the running process was started with; none when unknown
};

// Nobody knows how, and only ensure() starts it again.
[[nodiscard]] inline bool ended_unseen(const DaemonStatus& status) {
  return !status.running && !status.supervised && !status.exit_status;
}

// A daemon that may end and has ended well.
[[nodiscard]] inline bool has_done_its_work(const DaemonSpec& spec, const DaemonStatus& status) {
  return !status.running && status.exit_status == 0 && spec.restart != RestartPolicy::always;
}

enum class EnsureOutcome : std::uint8_t { started, kept, restarted };

class Supervisor {
 public:
  Supervisor() = default;
  Supervisor(const Supervisor&) = delete;
  Supervisor& operator=(const Supervisor&) = delete;
  virtual ~Supervisor() = default;

  // Returns when the process runs (not when it is ready: see readiness.h). Errors: io, not_found
  // (program, user), refused; the message ends with the last line of the daemon's output.
  [[nodiscard]] virtual Result<EnsureOutcome> ensure(const DaemonSpec& spec) = 0;
  // Stop signal, then SIGKILL to everything that it started after `timeout`. Not running is fine.
  [[nodiscard]] virtual Status stop(const std::string& name, Duration timeout) = 0;
  [[nodiscard]] virtual Result<DaemonStatus> status(const std::string& name) = 0;
  // Stops it and forgets it, its log too.
  [[nodiscard]] virtual Status remove(const std::string& name) = 0;
  // The last lines that it wrote since ensure() started it; where another agent did that, the last
  // of all. What the version before it said does not explain why this one fails.
  [[nodiscard]] virtual std::string log_tail(const std::string& name, std::size_t lines) = 0;

  // From the next boot on these rules are in force before such a daemon starts; nullopt: there are
  // none any more. Nothing to do where daemons start only after the agent, which guards first.
  [[nodiscard]] virtual Status guard_boot(const std::optional<BootGuard>& /*guard*/) { return {}; }

  // Called from a thread of the supervisor when a daemon's state changed; set it once, before
  // ensure().
  using StateChanged = std::function<void(const std::string& name)>;
  virtual void on_state_change(StateChanged callback) = 0;
};

// "; its last words: LINE" for one-line messages, or "": the last line of a log tail that the
// daemon wrote itself. The whole tail goes with the step's result.
[[nodiscard]] std::string last_words(std::string_view log_tail);

}  // namespace consort::agent
