// A whole controller in the test's process: TLS, gate, routes, a SQLite store in a folder. It can
// be ended and started again on the same folder.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <future>
#include <thread>

#include "access/tokens.h"
#include "base/files.h"
#include "controller/authority.h"
#include "controller/gate.h"
#include "controller/init.h"
#include "controller/shell.h"
#include "crypto/certificates.h"
#include "http/client.h"
#include "http/server.h"
#include "state/sqlite_store.h"

namespace consort::tests {

inline constexpr std::chrono::seconds kPatience(20);

// The time, less a while: certificates of long ago are made by a controller whose clock is behind.
class LateClock final : public Clock {
 public:
  [[nodiscard]] Instant now() const override {
    ++asked;
    return SystemClock().now() - late.load();
  }
  mutable std::atomic<std::uint64_t> asked = 0;  // how often
  std::atomic<Duration> late = Duration{0};
};

class ControllerAtHome : public ::testing::Test {
 protected:
  void SetUp() override;
  void TearDown() override { end(); }

  [[nodiscard]] fs::path data() const { return home->path() / "data"; }

  void start(controller::Protection protection = controller::Protection::tls);
  // As a crash: whatever is not in the store is gone.
  void end();

  // On the loop's thread.
  template <class Function>
  auto look(Function function) {
    std::promise<decltype(function(life->shell))> promise;
    life->loop.post([&] { promise.set_value(function(life->shell)); });
    return promise.get_future().get();
  }
  template <class Condition>
  void wait_until(Condition condition) {
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    while (!look(condition)) {
      ASSERT_LT(std::chrono::steady_clock::now(), deadline) << "it did not happen";
      std::this_thread::yield();
    }
  }

  [[nodiscard]] http::ClientTlsOptions trusting(
      std::optional<http::TlsIdentity> shown = std::nullopt) const;
  [[nodiscard]] http::Client client(std::optional<http::TlsIdentity> shown,
                                    const std::string& token = "") const;
  [[nodiscard]] http::Client nobody() const { return client(std::nullopt); }
  [[nodiscard]] http::Client admin() const {
    return client(http::TlsIdentity{made->certificate_pem, crypto::SecretText(made->key_pem)});
  }

  Json order(http::Client client, const char* method, const std::string& target,
             const Json& body = Json::object());
  // The code of the error with which it is refused; none when it is not.
  static std::optional<ErrorCode> refusal(http::Client client, const char* method,
                                          const std::string& target,
                                          const Json& body = Json::object());

  std::string join_token(int uses = 1, bool approve = true);
  // A bearer token of a new operator.
  std::string operator_token(const std::string& name, const Json& grants) {
    order(admin(), "POST", "/v1/operators", Json::object({{"name", name}, {"grants", grants}}));
    return order(admin(), "POST", "/v1/operators/" + name + "/tokens").string_or("token");
  }
  static Json viewer() { return access::grants_to_json({{access::Role::viewer}}); }
  static std::string request_of(const crypto::PrivateKey& key, const std::string& name) {
    return crypto::make_request(key, {crypto::IdentityKind::host, "any", name}).value();
  }
  struct Host {
    crypto::PrivateKey key;
    http::TlsIdentity shown;
  };
  Host joined(const std::string& name, const std::string& token);
  std::vector<access::AuditEntry> audit() {
    return look([](controller::Shell& shell) { return shell.audit(0, 1000).value(); });
  }

  struct Life {
    Life(state::StateStore& store, const fs::path& data, const Clock& clock)
        : shell(loop, store, objects::ObjectStore::open(data / "objects").value(), clock) {}
    http::EventLoop loop;
    controller::Shell shell;
    std::optional<controller::Gate> gate;  // outlives the server, whose routes lead to it
    std::optional<http::Server> server;
  };
  std::optional<TempFolder> home;
  LateClock clock;
  std::optional<controller::Initialised> made;
  std::optional<controller::AuthorityFolder> folder;
  std::unique_ptr<state::StateStore> store;
  std::unique_ptr<Life> life;
  std::string url;
  http::ServerLimits limits;  // of the next start
};

}  // namespace consort::tests
