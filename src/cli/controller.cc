// consort controller: the controller process.
#include "cli/rows.h"
#include "controller/server.h"

namespace consort::cli {
namespace {

Result<int> run(const Arguments& arguments) {
  controller::ServerOptions options;
  options.data = arguments.value("--data");
  if (options.data.empty())
    return fail(ErrorCode::usage, "where does the controller keep its state?")
        .hint("say --data DIR, for example --data /var/lib/consort/controller");
  options.listen = arguments.values("--listen");
  if (options.listen.empty()) options.listen = {"127.0.0.1:8440"};
  options.insecure_listen = arguments.has("--insecure-listen");
  options.port_file = arguments.value("--url-file");
  TRYV(controller::run_controller(options));
  return kOk;
}

}  // namespace

Command controller_command() {
  return {
      "controller",
      "Run a controller.",
      "State is in --data (SQLite and objects). Stops on SIGTERM; after any end it goes on where "
      "it was.",
      {},
      {{"--data", "DIR", "Its folder."},
       {"--listen", "ADDRESS", "Where it listens; default 127.0.0.1:8440. May be repeated.", true},
       {"--insecure-listen", "", "Allow addresses beyond loopback, without TLS."},
       {"--url-file", "FILE", "Write the URL here once it listens (port 0 takes any free port)."}},
      run,
      false,
      false,
      "consort controller --data /var/lib/consort/controller"};
}

}  // namespace consort::cli
