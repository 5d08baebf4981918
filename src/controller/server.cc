#include "controller/server.h"

#include <fmt/format.h>

#include "base/log.h"
#include "controller/shell.h"
#include "http/url.h"
#include "state/sqlite_store.h"

namespace consort::controller {
namespace {

// Until TLS is there, only this machine may talk to a controller, unless the operator says
// otherwise.
Status check_listen(const ServerOptions& options) {
  for (const std::string& address : options.listen) {
    const http::HostPort at = TRY(http::parse_host_port(address));
    const bool loopback = at.host.starts_with("127.") || at.host == "::1" || at.host == "localhost";
    if (loopback || options.insecure_listen) continue;
    return fail(ErrorCode::refused, fmt::format("{} is not a loopback address, and there is no "
                                                "TLS: whoever reaches it could change every host",
                                                address))
        .hint("listen on 127.0.0.1, or say --insecure-listen inside a network that is yours alone");
  }
  return {};
}

}  // namespace

Status run_controller(const ServerOptions& options) {
  TRYV(check_listen(options));
  TRYV(make_folders(options.data, 0700));
  static const SystemClock clock;
  const auto store = TRY(state::open_sqlite_store(options.data / "state.sqlite", clock));
  http::EventLoop loop;
  Shell shell(loop, *store, TRY(objects::ObjectStore::open(options.data / "objects")), clock);
  http::Server server = TRY(http::Server::create(loop, {options.listen, {}}));
  add_agent_routes(server, shell);
  add_object_routes(server, shell);
  add_operator_routes(server, shell);
  add_health_routes(server, shell);
  TRYV(shell.start());
  server.start();
  for (const std::string& address : server.addresses()) log_info("listening on http://{}", address);
  if (options.insecure_listen)
    log_warn(
        "--insecure-listen: no TLS, everybody who reaches these addresses may change every host");
  if (!options.port_file.empty()) TRYV(write_file_atomic(options.port_file, server.url() + "\n"));
  loop.on_signal([&](int signal) {
    log_info("stopping on signal {}", signal);
    server.shutdown(seconds(2), [&] { loop.stop(); });
  });
  loop.run();
  return {};
}

}  // namespace consort::controller
