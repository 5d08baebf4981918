// NAME DATA ROOT URL: an agent as a process of its own, with the native supervisor.
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "agent/shell.h"
#include "agent/supervisors/shim.h"

int main(int argc, char** argv) {
  using namespace consort;
  if (argc > 1 && std::strcmp(argv[1], "daemon-shim") == 0)
    return agent::daemon_shim_main(argc - 1, argv + 1);
  if (argc != 5) return 64;
  agent::AgentOptions options;
  options.name = argv[1];
  options.data = argv[2];
  options.root = argv[3];
  options.controller_url = argv[4];
  options.address = "127.0.0.1";
  options.labels = {{"dc", "east"}};
  options.supervisor = agent::SupervisorChoice::native;
  options.confirm_time = seconds(2);
  options.fetch_patience = seconds(20);
  options.stop_grace = seconds(2);
  options.health_interval = Duration(300);
  // In a network namespace of its own: its firewall is nobody else's.
  if (std::getenv("CONSORT_TEST_FIREWALL") != nullptr)
    options.firewall = agent::FirewallChoice::nftables;
  const Status status = agent::run_agent(options);
  if (!status) std::fputs(render_error(status.error()).c_str(), stderr);
  return status ? 0 : 1;
}
