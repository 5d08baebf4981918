// `consort agent`: the process that keeps one host.
#include <fmt/format.h>

#include <cstdlib>

#include "agent/shell.h"
#include "cli/command.h"
#include "cli/rows.h"

namespace consort::cli {
namespace {

Result<std::map<std::string, std::string>> labels_of(const Arguments& arguments) {
  std::map<std::string, std::string> out;
  for (const std::string& text : arguments.values("--label")) {
    const std::size_t equals = text.find('=');
    if (equals == 0 || equals == std::string::npos) {
      return fail(ErrorCode::usage, fmt::format("--label {}: a label is key=value", text))
          .hint("--label datacenter=east");
    }
    out[text.substr(0, equals)] = text.substr(equals + 1);
  }
  return out;
}

Result<int> run(const Arguments& arguments) {
  agent::AgentOptions options;
  options.data = arguments.value("--data", "/var/lib/consort");
  const char* environment = std::getenv("CONSORT_CONTROLLER");
  options.controller_url =
      arguments.value("--controller", environment == nullptr ? "" : environment);
  options.name = arguments.value("--name");
  options.address = arguments.value("--address");
  options.labels = TRY(labels_of(arguments));
  options.root = arguments.value("--root", "/");
  options.supervisor =
      TRY(agent::supervisor_choice_from_name(arguments.value("--supervisor", "auto")));
  options.firewall = TRY(agent::firewall_choice_from_name(arguments.value("--firewall", "auto")));
  TRYV(agent::run_agent(std::move(options)));
  return kOk;
}

}  // namespace

Command agent_command() {
  Command out;
  out.name = "agent";
  out.summary = "Keep this host as its controller wants it";
  out.description =
      "Runs until SIGTERM or SIGINT; the services that it keeps outlive it, and the next start "
      "goes on where this one ended. "
      "Without --controller (and CONSORT_CONTROLLER) it keeps what it was last told.";
  out.options = {
      {"--data", "DIR", "its records, objects and the services' folders; default /var/lib/consort"},
      {"--name", "NAME", "the host's name; default the hostname"},
      {"--address", "ADDRESS",
       "where other hosts reach this one; default the address that reaches the controller"},
      {"--label", "KEY=VALUE", "a label of this host", true},
      {"--root", "DIR", "where resources and account files are; default /"},
      {"--supervisor", "KIND", "auto (systemd where it is init), systemd or native"},
      {"--firewall", "KIND",
       "who may reach a service's ports: auto (nftables where the root is /), nftables, or none"}};
  out.run = &run;
  out.example =
      "consort agent --data /var/lib/consort --controller http://10.0.0.1:8440 --label "
      "datacenter=east";
  return out;
}

}  // namespace consort::cli
