#include "unit/controller/controller_at_home.h"

namespace consort::tests {

void ControllerAtHome::SetUp() {
  home.emplace(TempFolder::create("controller-").value());
  clock.late = hours(24 * 50);  // its authority is older than what it will issue
  controller::AuthorityOptions options;
  options.controller = "c1";
  options.names.ips = {"127.0.0.1"};
  made.emplace(controller::initialise_controller(data(), options, "admin", clock).value());
  clock.late = Duration{0};
  folder.emplace(controller::AuthorityFolder::open(data(), {}).value());
}

void ControllerAtHome::start(controller::Protection protection) {
  store = state::open_sqlite_store(data() / "state.sqlite", clock).value();
  life = std::make_unique<Life>(*store, data(), clock);
  http::ServerOptions listen{{"127.0.0.1:0"}, limits};
  if (protection == controller::Protection::tls) {
    // Of today, whatever the controller's clock says: clients look at theirs.
    listen.tls = http::ServerTls::create(folder->server_identity(SystemClock().now()).value(),
                                         {folder->trust_pem()}, http::ClientCertificates::optional)
                     .value();
    life->shell.use_authority(&*folder);
  }
  life->server.emplace(http::Server::create(life->loop, std::move(listen)).value());
  life->gate.emplace(*life->server, life->shell, protection, folder->partition());
  controller::add_agent_routes(*life->gate, life->shell);
  controller::add_object_routes(*life->gate, life->shell);
  controller::add_deploy_routes(*life->gate, life->shell);
  controller::add_operator_routes(*life->gate, life->shell);
  controller::add_host_routes(*life->gate, life->shell);
  controller::add_access_routes(*life->gate, life->shell);
  controller::add_join_routes(*life->gate, life->shell);
  controller::add_secret_routes(*life->gate, life->shell);
  controller::add_health_routes(*life->gate, *life->server, life->shell);
  const Status started = life->shell.start();
  ASSERT_TRUE(started) << render_error(started.error());
  life->server->start();
  url = life->server->url();
  life->loop.start();
}

void ControllerAtHome::end() {
  if (!life) return;
  life->loop.stop();
  store.reset();  // its thread speaks to the loop
  life.reset();
}

http::ClientTlsOptions ControllerAtHome::trusting(std::optional<http::TlsIdentity> shown) const {
  http::ClientTlsOptions out;
  out.trust.roots_pem = folder->trust_pem();
  out.identity = std::move(shown);
  return out;
}

http::Client ControllerAtHome::client(std::optional<http::TlsIdentity> shown,
                                      const std::string& token) const {
  http::ClientOptions options;
  options.token = token;
  if (url.starts_with("https"))
    options.tls = http::ClientTls::create(trusting(std::move(shown))).value();
  return http::Client::create(url, options).value();
}

Json ControllerAtHome::order(http::Client client, const char* method, const std::string& target,
                             const Json& body) {
  auto answer = client.send_json(method, target, body);
  EXPECT_TRUE(answer) << target << ": " << render_error(answer.error());
  return answer ? *answer : Json();
}

std::optional<ErrorCode> ControllerAtHome::refusal(http::Client client, const char* method,
                                                   const std::string& target, const Json& body) {
  const auto answer = std::string_view(method) == "GET" ? client.get_json(target)
                                                        : client.send_json(method, target, body);
  return answer ? std::nullopt : std::optional(answer.error().code());
}

std::string ControllerAtHome::join_token(int uses, bool approve) {
  return order(admin(), "POST", "/v1/tokens", Json::object({{"uses", uses}, {"approve", approve}}))
      .string_or("token");
}

ControllerAtHome::Host ControllerAtHome::joined(const std::string& name, const std::string& token) {
  crypto::PrivateKey key = crypto::PrivateKey::generate(crypto::KeyKind::ecdsa_p256);
  const Json answer = order(client(std::nullopt, token), "POST", "/v1/join",
                            Json::object({{"request", request_of(key, name)}}));
  return {key, {answer.string_or("certificate"), key.to_pem()}};
}

}  // namespace consort::tests
