#include "controller/server.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <optional>

#include "base/log.h"
#include "base/process.h"
#include "controller/authority.h"
#include "controller/shell.h"
#include "http/url.h"
#include "state/sqlite_store.h"

namespace consort::controller {
namespace {

constexpr Duration kRenewalLook = hours(1);
constexpr std::size_t kOwnFiles = 1000;  // of the store, the objects, the programs that are run

// Without TLS only this machine may talk to a controller.
Status check_insecure(const ServerOptions& options) {
  for (const std::string& address : options.listen) {
    const http::HostPort at = TRY(http::parse_host_port(address));
    if (http::is_loopback(at.host)) continue;
    return fail(ErrorCode::refused,
                fmt::format("{} is not a loopback address, and --insecure means no TLS: whoever "
                            "reaches it could change every host",
                            address))
        .hint(fmt::format("make an authority, once, and leave --insecure out: consort controller "
                          "init --data {}",
                          options.data.string()));
  }
  return {};
}

// The controller's own certificate, replaced at two thirds of its life. Lives as long as the loop.
class OwnCertificate {
 public:
  static Result<std::unique_ptr<OwnCertificate>> create(http::EventLoop& loop,
                                                        const AuthorityFolder& folder,
                                                        const Clock& clock) {
    auto tls =
        TRY(http::ServerTls::create(TRY(folder.server_identity(clock.now())), {folder.trust_pem()},
                                    http::ClientCertificates::optional));
    auto out =
        std::unique_ptr<OwnCertificate>(new OwnCertificate(loop, folder, clock, std::move(tls)));
    out->schedule();
    return out;
  }
  [[nodiscard]] const std::shared_ptr<http::ServerTls>& tls() const { return tls_; }

 private:
  OwnCertificate(http::EventLoop& loop, const AuthorityFolder& folder, const Clock& clock,
                 std::shared_ptr<http::ServerTls> tls)
      : loop_(loop), folder_(folder), clock_(clock), tls_(std::move(tls)), made_(clock.now()) {}

  void schedule() {
    timer_ = loop_.after(kRenewalLook, [this] {
      if (clock_.now() - made_ > kControllerLifetime * 2 / 3) renew();
      schedule();
    });
  }
  void renew() {
    const auto identity = folder_.server_identity(clock_.now());
    const Status status =
        identity ? tls_->replace(*identity, {folder_.trust_pem()}) : Status(fail(identity.error()));
    if (status) {
      made_ = clock_.now();
    } else {
      log_error("the controller's own certificate is not renewed: {}", status.error().message());
    }
  }

  http::EventLoop& loop_;
  const AuthorityFolder& folder_;
  const Clock& clock_;
  std::shared_ptr<http::ServerTls> tls_;
  Instant made_;
  http::Timer timer_;
};

// Each host keeps a connection. Before anything is opened. How many connections there may be: when
// files run out, nobody can be let in by closing the connection of a stranger.
std::size_t provide_open_files() {
  const std::size_t most = http::ServerLimits().max_connections;
  const std::size_t permitted = allow_many_files();
  const std::size_t wanted = most + kOwnFiles;
  if (permitted < wanted)
    log_warn(
        "this process may have {} files open, which bounds how many hosts can connect; raise its "
        "hard limit to {} (LimitNOFILE= in its unit, or ulimit -Hn)",
        permitted, wanted);
  return std::min(most, std::max(permitted / 2, permitted - std::min(permitted, kOwnFiles)));
}

http::ServerLimits limits_for(std::size_t connections, const ServerOptions& options) {
  http::ServerLimits out;
  out.max_connections = connections;
  if (options.insecure) {
    // Everybody is "local".
    out.max_connections_per_identity = out.max_connections;
    out.unsent_per_peer = out.unsent_in_all;
  }
  return out;
}

// An authority without an admin: its store is lost, or the initialisation was cut short.
void warn_of_lost_store(const Shell& shell, const fs::path& data) {
  const access::Registry& registry = shell.registry();
  if (!registry.operators.empty()) return;
  log_error(
      "{} knows no operator and {} of the hosts, though there is an authority: everybody is "
      "refused. If "
      "the store was lost, stop the controller and bring it back from a backup; only without one "
      "begin anew: consort controller admin --data {}, and hosts join again",
      (data / "state.sqlite").string(), registry.hosts.empty() ? "none" : "some", data.string());
}

}  // namespace

Status run_controller(const ServerOptions& options) {
  forbid_core_dumps();
  const std::size_t connections = provide_open_files();
  if (options.insecure) TRYV(check_insecure(options));
  std::optional<AuthorityFolder> folder;
  if (!options.insecure) folder.emplace(TRY(AuthorityFolder::open(options.data, options.unlock)));
  TRYV(make_folders(options.data, 0700));
  static const SystemClock clock;
  // Before the store, whose thread posts to it until it has gone.
  http::EventLoop loop;
  const auto store = TRY(state::open_sqlite_store(options.data / "state.sqlite", clock));
  Shell shell(loop, *store, TRY(objects::ObjectStore::open(options.data / "objects")), clock);
  std::unique_ptr<OwnCertificate> certificate;
  http::ServerOptions listen{options.listen, limits_for(connections, options)};
  if (folder) {
    certificate = TRY(OwnCertificate::create(loop, *folder, clock));
    listen.tls = certificate->tls();
    shell.use_authority(&*folder);
  }
  http::Server server = TRY(http::Server::create(loop, std::move(listen)));
  Gate gate(server, shell, folder ? Protection::tls : Protection::none,
            folder ? folder->partition() : "");
  add_agent_routes(gate, shell);
  add_object_routes(gate, shell);
  add_deploy_routes(gate, shell);
  add_operator_routes(gate, shell);
  add_host_routes(gate, shell);
  add_access_routes(gate, shell);
  add_join_routes(gate, shell);
  add_secret_routes(gate, shell);
  add_health_routes(gate, server, shell);
  TRYV(shell.start());
  if (folder) warn_of_lost_store(shell, options.data);
  server.start();
  for (const std::string& address : server.addresses())
    log_info("listening on {}://{}", folder ? "https" : "http", address);
  if (options.insecure)
    log_warn("--insecure: no TLS; everybody on this machine may change every host");
  if (!options.port_file.empty()) TRYV(write_file_atomic(options.port_file, server.url() + "\n"));
  loop.on_signal([&](int signal) {
    log_info("stopping on signal {}", signal);
    server.shutdown(seconds(2), [&] { loop.stop(); });
  });
  loop.run();
  return {};
}

}  // namespace consort::controller
