// The process `consort agent`: the core on an event loop, workers that perform what it orders, the
// watch over what is deployed, and the way to the controller. Below DATA:
//   lock  state/target.json  state/instances/<service>.json  state/kept/  state/converge/
//   state/originals/ (originals.h)
//   objects/  backups/  services/<service>/ (service_files.h)  daemons/ (native supervisor)
//   trust.json and state/accepted.json (trust.h)
//   history.jsonl  delivered (the newest event that the controller has)
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "agent/workshop.h"
#include "crypto/secret.h"

namespace consort::agent {

enum class SupervisorChoice : std::uint8_t { automatic, systemd, native };
// "auto", "systemd", "native". Error: invalid_input.
[[nodiscard]] Result<SupervisorChoice> supervisor_choice_from_name(std::string_view name);

struct AgentOptions {
  fs::path data;  // made when absent
  // https://…: this host must have joined, or joins with `join_token`. http://…: a controller that
  // was started with --insecure. Empty: the one that was joined; never connected when there is
  // none.
  std::string controller_url;
  crypto::SecretText join_token{};  // of `consort token create`; not looked at once joined
  fs::path trust{};                 // a trust list to keep from now on; empty: as it is
  std::string name;                 // empty: the one that it joined as, or the hostname
  std::string address;              // empty: the one that reaches the controller
  std::map<std::string, std::string> labels;
  fs::path root = "/";  // where resources and account files are
  SupervisorChoice supervisor =
      SupervisorChoice::automatic;  // systemd where it is init and the root is "/"
  FirewallChoice firewall = FirewallChoice::automatic;
  std::vector<std::string> shim_argv = {"/proc/self/exe", "daemon-shim"};
  Duration confirm_time = seconds(30);
  Duration fetch_patience = minutes(2);
  Duration health_interval = seconds(10);
  Duration stop_grace = seconds(10);  // for the step that runs when the agent is told to stop
};

// An agent that runs on threads of its own. Services outlive it.
class Agent {
 public:
  // Joining may take as long as an admin takes to let this host in; `stopped` waits so long and
  // says whether to give up. Errors: invalid_input (name, URL, token), refused (it joined as
  // another name), locked (another agent uses DATA), io, corrupt (its target), unavailable (no
  // system bus).
  [[nodiscard]] static Result<std::unique_ptr<Agent>> start(
      AgentOptions options, const std::function<bool(Duration)>& stopped = {});
  ~Agent();
  Agent(const Agent&) = delete;
  Agent& operator=(const Agent&) = delete;

  // A step that has not ended within `stop_grace` is broken off, as by a crash: the next start goes
  // on from the journal. False when a worker still hangs.
  bool stop();
  [[nodiscard]] const std::string& name() const;

 private:
  struct Impl;
  explicit Agent(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// Blocks until SIGTERM or SIGINT. Errors: as Agent::start().
[[nodiscard]] Status run_agent(AgentOptions options);

}  // namespace consort::agent
