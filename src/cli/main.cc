// The consort program: one binary for the CLI, the controller and the agent.
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>

#include "agent/supervisors/shim.h"
#include "base/json.h"
#include "cli/command.h"
#include "cli/terminal.h"

namespace {

using namespace consort;
using namespace consort::cli;

int end_with(const Error& error, bool json) {
  if (json) {
    print(Json::object({{"error", error_to_json(error)}}).dump() + "\n");
  } else {
    print_error(error);
  }
  return error_exit_status(error.code());
}

int run(const std::vector<std::string>& argv) {
  const bool json = std::find(argv.begin(), argv.end(), "--json") != argv.end();
  if (json) print_as_data();
  const auto parsed = parse(argv);
  if (!parsed) return end_with(parsed.error(), json);
  if (parsed->command == nullptr) {
    print(parsed->help);
    return parsed->status;
  }
  if (parsed->arguments.has("--no-color")) forbid_colour();
  const Result<int> status = parsed->command->run(parsed->arguments);
  return status ? *status : end_with(status.error(), json);
}

// Whoever reads the output goes by it: without it nothing went well. What failed anyway keeps its
// own exit status.
int end_of_output(int status) {
  const Status written = check_output();
  if (written) return status;
  print_error(written.error());
  return status == kOk || status == kChanges ? kError : status;
}

}  // namespace

int main(int argc, char** argv) {
  // The native supervisor's shim: as small as it can be, before anything else is set up.
  if (argc > 1 && std::strcmp(argv[1], "daemon-shim") == 0)
    return agent::daemon_shim_main(argc - 1, argv + 1);
  return end_of_output(run({argv + 1, argv + argc}));
}
