// Machines come in, get new certificates, are copied, come back after a long time; the agent's side
// of it (agent/identity.h) against a real controller.
#include "unit/controller/controller_at_home.h"

#include <algorithm>

#include "agent/identity.h"
#include "agent/renewal.h"
#include "controller/renewal_limit.h"

namespace consort::controller {
namespace {

using ::testing::HasSubstr;

class Joining : public tests::ControllerAtHome {
 protected:
  [[nodiscard]] fs::path identity_folder() const { return home->path() / "identity"; }
  std::shared_ptr<agent::Identity> agent_joins(const std::string& token) {
    auto out = agent::Identity::join(identity_folder(),
                                     {crypto::SecretText(token), url, "w1", "machine-1"},
                                     [](Duration) { return true; });
    EXPECT_TRUE(out) << render_error(out.error());
    return out ? *out : nullptr;
  }
  // The controller is found at another port after it was started again.
  std::shared_ptr<agent::Identity> reopened() {
    Json joined = parse_json(read_file(identity_folder() / "joined.json", 10'000).value()).value();
    joined["controller"] = url;
    EXPECT_TRUE(write_file_atomic(identity_folder() / "joined.json", joined.dump(), 0644));
    return agent::Identity::open(identity_folder()).value();
  }
  [[nodiscard]] std::string own_file() const {
    return read_file(identity_folder() / "host.pem", 100'000).value();
  }
  http::Response as_agent(const std::shared_ptr<agent::Identity>& identity) {
    http::ClientOptions options;
    options.tls = identity->tls();
    return http::Client::create(url, options).value().get("/v1/whoami").value();
  }
  void report_of(const std::shared_ptr<agent::Identity>& identity,
                 const std::map<std::string, std::string>& facts) {
    http::ClientOptions options;
    options.tls = identity->tls();
    plan::HostReport report;
    report.host = "w1";
    report.number = 1;
    report.facts = facts;
    order(http::Client::create(url, options).value(), "POST", "/v1/agents/w1/reports",
          plan::host_report_to_json(report));
  }
  Digest registered_key() {
    return look([](Shell& shell) { return shell.registry().hosts.at("w1").key; });
  }
};

TEST_F(Joining, ATokenIsUsedUpAndTheSameHostMayAskAgain) {
  start();
  const std::string token = join_token(1);
  const crypto::PrivateKey key = crypto::PrivateKey::generate(crypto::KeyKind::ecdsa_p256);
  const Json body = Json::object({{"request", request_of(key, "w1")}});
  order(client(std::nullopt, token), "POST", "/v1/join", body);
  order(client(std::nullopt, token), "POST", "/v1/join", body);  // the answer was lost, say
  const crypto::PrivateKey other = crypto::PrivateKey::generate(crypto::KeyKind::ecdsa_p256);
  EXPECT_EQ(refusal(client(std::nullopt, token), "POST", "/v1/join",
                    Json::object({{"request", request_of(other, "w2")}})),
            ErrorCode::forbidden);
  EXPECT_EQ(refusal(nobody(), "POST", "/v1/join", body), ErrorCode::unauthenticated);
  EXPECT_EQ(refusal(admin(), "POST", "/v1/join", body), ErrorCode::forbidden);
}

TEST_F(Joining, AHostThatJoinsAgainAndAgainIsGivenNoMoreThanOneThatRenews) {
  start();
  const std::string token = join_token(1);
  const crypto::PrivateKey key = crypto::PrivateKey::generate(crypto::KeyKind::ecdsa_p256);
  const Json body = Json::object({{"request", request_of(key, "w1")}});
  const auto ask = [&](const char* way, const std::string& shown) {
    return refusal(client(std::nullopt, shown), "POST", way, body);
  };
  const std::size_t entries = audit().size();
  std::size_t given = 0;
  while (given < 50 && !ask("/v1/join", token)) ++given;
  EXPECT_GE(given, static_cast<std::size_t>(RenewalLimit::kAtOnce));
  EXPECT_LT(given, 50U);
  EXPECT_EQ(ask("/v1/join", token), ErrorCode::unavailable);
  EXPECT_EQ(ask("/v1/rejoin", ""), ErrorCode::unavailable) << "by whichever way";
  EXPECT_EQ(audit().size(), entries + given);
  // Nobody else waits for it.
  joined("w2", join_token());
  clock.late = -RenewalLimit::kEvery;
  order(client(std::nullopt, token), "POST", "/v1/join", body);
}

TEST_F(Joining, APlaceInTheRegistryAndWhatTheLogSaysOfItAreOneChange) {
  start();
  const auto commits = [this] {
    return look([](Shell& shell) { return shell.metrics().commits; });
  };
  const std::string token = join_token();
  const std::uint64_t before = commits();
  joined("w1", token);
  EXPECT_EQ(commits(), before + 1);
  EXPECT_THAT(audit().back().note.action, "join_fleet");
  order(admin(), "DELETE", "/v1/hosts/w1");
  EXPECT_EQ(commits(), before + 2);
  EXPECT_THAT(audit().back().note.action, "remove_host");
  EXPECT_FALSE(look([](Shell& shell) { return shell.registry().hosts.contains("w1"); }));
}

TEST_F(Joining, AnotherMachineDoesNotGetTheNameAndTheLogTellsOfIt) {
  start();
  joined("w1", join_token());
  const crypto::PrivateKey other = crypto::PrivateKey::generate(crypto::KeyKind::ecdsa_p256);
  const Json body = Json::object({{"request", request_of(other, "w1")}});
  const std::string token = join_token();
  for (int i = 0; i < 3; ++i)
    EXPECT_EQ(refusal(client(std::nullopt, token), "POST", "/v1/join", body), ErrorCode::conflict);
  std::size_t told = 0;
  for (const access::AuditEntry& entry : audit())
    told += entry.note.reason.find("claims the name of host w1") == std::string::npos ? 0 : 1;
  EXPECT_EQ(told, 1U);
}

TEST_F(Joining, AHostWaitsForAnAdminAlsoAcrossARestartOfTheController) {
  start();
  const std::string token = join_token(1, false);
  const crypto::PrivateKey key = crypto::PrivateKey::generate(crypto::KeyKind::ecdsa_p256);
  const Json body = Json::object({{"request", request_of(key, "w1")}});
  const auto ask = [&] {
    return client(std::nullopt, token)
        .request("POST", "/v1/join", {{"Content-Type", "application/json"}}, body.dump())
        .value();
  };
  EXPECT_EQ(ask().status, 202);
  const std::size_t entries = audit().size();
  EXPECT_EQ(ask().status, 202);
  EXPECT_EQ(audit().size(), entries) << "waiting is told once";
  end();
  start();
  EXPECT_EQ(ask().status, 202);
  order(admin(), "POST", "/v1/hosts/w1/approve");
  EXPECT_EQ(ask().status, 200);
}

TEST_F(Joining, TheAgentJoinsAndIsThereAfterARestart) {
  start();
  const auto identity = agent_joins(join_token());
  ASSERT_TRUE(identity);
  EXPECT_EQ(as_agent(identity).status, 200);
  EXPECT_FALSE(fs::exists(identity_folder() / "next.pem"));
  end();
  start();
  EXPECT_EQ(as_agent(reopened()).status, 200);
}

TEST_F(Joining, TheAgentBelievesOnlyTheControllerOfItsToken) {
  start();
  const access::JoinTokenText right = access::JoinTokenText::parse(join_token()).value();
  const access::JoinTokenText wrong{right.id, right.secret, Digest::of("another authority")};
  const auto refused = agent::Identity::join(identity_folder(), {wrong.text(), url, "w1", ""},
                                             [](Duration) { return true; });
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), ErrorCode::unauthenticated) << render_error(refused.error());
  EXPECT_FALSE(look([](Shell& shell) { return shell.registry().hosts.contains("w1"); }));
}

TEST_F(Joining, ACertificateIsRenewedAtTwoThirdsOfItsLifeWithANewKey) {
  clock.late = kHostLifetime * 2 / 3 + hours(1);
  start();
  ASSERT_TRUE(agent_joins(join_token()));
  const Digest first = registered_key();
  end();
  clock.late = Duration{0};
  start();
  const auto identity = reopened();
  const SystemClock now;
  EXPECT_LE(identity->renew_at(), now.now());
  {
    agent::Renewal renewal(identity, now);
    wait_until([&](Shell& shell) { return shell.registry().hosts.at("w1").key != first; });
    // What the controller has answered is written down soon after.
    const auto deadline = std::chrono::steady_clock::now() + tests::kPatience;
    while (identity->renew_at() < now.now() && std::chrono::steady_clock::now() < deadline)
      std::this_thread::yield();
  }
  EXPECT_GT(identity->renew_at(), now.now() + kHostLifetime / 2);
  EXPECT_EQ(as_agent(identity).status, 200);
  EXPECT_EQ(as_agent(agent::Identity::open(identity_folder()).value()).status, 200);
  EXPECT_FALSE(fs::exists(identity_folder() / "next.pem"));
}

TEST_F(Joining, WhereItJoinedIsMadeAnewFromItsCertificate) {
  start();
  ASSERT_TRUE(agent_joins(join_token()));
  const fs::path file = identity_folder() / "joined.json";
  const std::string whole = read_file(file).value();
  for (const char* damage : {"", "{\"name\": \"w", "{\"a\": 1}", "gone"}) {
    SCOPED_TRACE(damage);
    // Given a host whose joined.json is damaged or gone,
    ASSERT_TRUE(remove_tree(file));
    if (std::string_view(damage) != "gone") {
      ASSERT_TRUE(write_file_atomic(file, damage));
    }
    // then it says what it needs to know,
    const auto unknown = agent::Identity::open(identity_folder());
    ASSERT_FALSE(unknown);
    EXPECT_EQ(unknown.error().code(), ErrorCode::corrupt);
    EXPECT_THAT(unknown.error().hint_text(), HasSubstr("--controller"));
    // and with that it is who it was.
    const auto identity = agent::Identity::open(identity_folder(), url);
    ASSERT_TRUE(identity) << render_error(identity.error());
    EXPECT_EQ((*identity)->name(), "w1");
    EXPECT_EQ(as_agent(*identity).status, 200);
    EXPECT_EQ(read_file(file).value(), whole);
  }
}

TEST_F(Joining, AfterItsCertificateHasExpiredAHostComesBackByItsKey) {
  clock.late = kHostLifetime + hours(24);
  start();
  ASSERT_TRUE(agent_joins(join_token()));
  end();
  clock.late = Duration{0};
  start();
  const auto identity = reopened();
  ASSERT_TRUE(identity->renew(SystemClock().now()));
  EXPECT_EQ(as_agent(identity).status, 200);
  const access::AuditEntry last = audit().back();
  EXPECT_EQ(last.note.action, "renew_certificate");
  EXPECT_EQ(last.note.who, "host w1 (by its key)");
  EXPECT_THAT(last.note.from, HasSubstr("127.0.0.1")) << "from where is known even so";
}

TEST_F(Joining, ARevokedHostDoesNotComeBackByItsKey) {
  start();
  const auto identity = agent_joins(join_token());
  ASSERT_TRUE(identity);
  order(admin(), "POST", "/v1/hosts/w1/revoke");
  const Status refused = identity->renew(SystemClock().now());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), ErrorCode::unauthenticated) << render_error(refused.error());
}

TEST_F(Joining, ACrashBetweenTheAnswerAndWritingItDownLosesNothing) {
  start();
  ASSERT_TRUE(agent_joins(join_token()));
  const std::string before = own_file();
  // The agent asked with the key in next.pem; the answer came, and the machine lost its power.
  const crypto::PrivateKey next = crypto::PrivateKey::generate(crypto::KeyKind::ecdsa_p256);
  ASSERT_TRUE(write_file_atomic(identity_folder() / "next.pem", next.to_pem().reveal(), 0600));
  http::ClientOptions options;
  options.tls = agent::Identity::open(identity_folder()).value()->tls();
  order(http::Client::create(url, options).value(), "POST", "/v1/renew",
        Json::object({{"request", request_of(next, "w1")}}));
  ASSERT_EQ(registered_key(), next.public_key().id());
  const auto same_day = agent::Identity::open(identity_folder()).value();
  ASSERT_TRUE(same_day->renew(SystemClock().now()));
  EXPECT_EQ(registered_key(), next.public_key().id()) << "the key that was asked for, not a third";

  // The same, and the machine comes back when the old certificate is believed no more.
  ASSERT_TRUE(write_file_atomic(identity_folder() / "host.pem", before, 0600));
  ASSERT_TRUE(write_file_atomic(identity_folder() / "next.pem", next.to_pem().reveal(), 0600));
  clock.late = -hours(25);
  const auto later = agent::Identity::open(identity_folder()).value();
  EXPECT_EQ(as_agent(later).status, 401);
  // The certificate of tomorrow is not valid yet by the clock of this machine; it is enough that
  // it was given.
  static_cast<void>(later->renew(SystemClock().now()).has_value());
  EXPECT_EQ(registered_key(), next.public_key().id());
  EXPECT_NE(own_file(), before);
  EXPECT_FALSE(fs::exists(identity_folder() / "next.pem"));
}

TEST_F(Joining, AnAgentKeepsWhatItHasWhileTheControllerIsAway) {
  start();
  const auto identity = agent_joins(join_token());
  ASSERT_TRUE(identity);
  const std::string before = own_file();
  end();
  const Status away = identity->renew(SystemClock().now());
  ASSERT_FALSE(away);
  EXPECT_EQ(away.error().code(), ErrorCode::unavailable);
  EXPECT_EQ(own_file(), before);
  start();
  EXPECT_TRUE(reopened()->renew(SystemClock().now()));
}

TEST_F(Joining, AHostThatIsAnotherMachineNowIsTold) {
  start();
  const auto identity = agent_joins(join_token());
  ASSERT_TRUE(identity);
  http::ClientOptions options;
  options.tls = identity->tls();
  plan::HostReport report;
  report.host = "w1";
  const auto reports_from = [&](const std::string& machine) {
    ++report.number;
    report.facts["machine.id"] = machine;
    order(http::Client::create(url, options).value(), "POST", "/v1/agents/w1/reports",
          plan::host_report_to_json(report));
  };
  const auto told = [&] {
    const auto entries = audit();
    return std::count_if(entries.begin(), entries.end(), [](const access::AuditEntry& entry) {
      return entry.note.reason.find("its key was copied") != std::string::npos;
    });
  };
  reports_from("machine-1");
  EXPECT_EQ(told(), 0);
  reports_from("machine-2");
  reports_from("machine-2");
  EXPECT_EQ(told(), 1);
}

TEST_F(Joining, WhatTheTokenSaysOfAHostIsInTheInventoryAndGoesBeforeItsOwnWords) {
  start();
  const std::string token =
      order(admin(), "POST", "/v1/tokens",
            Json::object({{"hostClass", "web"}, {"labels", Json::object({{"rack", "a"}})}}))
          .string_or("token");
  const auto identity = agent_joins(token);
  ASSERT_TRUE(identity);
  EXPECT_TRUE(admin().get_json("/v1/hosts/w1").value().find("joined")->is_null());
  report_of(identity, {{"label.rack", "b"}, {"label.disk", "fast"}});

  const auto found = [&](const std::string& selector) {
    return admin().get_json("/v1/registry?selector=" + selector).value().as_array().size();
  };
  EXPECT_EQ(found("class%3Dweb"), 1U);
  EXPECT_EQ(found("rack%3Da,disk%3Dfast"), 1U);
  EXPECT_EQ(found("rack%3Db"), 0U);
  const Json host = admin().get_json("/v1/hosts/w1").value();
  EXPECT_EQ(host.find("identity")->find("labels")->string_or("class"), "web");
  EXPECT_TRUE(host.find("joined")->is_string());
}

TEST_F(Joining, AHostThatIsAliveIsNotRemovedAndKeepsItsIdentity) {
  start();
  const auto identity = agent_joins(join_token());
  ASSERT_TRUE(identity);
  report_of(identity, {});
  EXPECT_EQ(refusal(admin(), "DELETE", "/v1/hosts/w1"), ErrorCode::refused);
  EXPECT_EQ(as_agent(identity).status, 200);
  EXPECT_TRUE(look([](Shell& shell) { return shell.registry().hosts.contains("w1"); }));
}

TEST_F(Joining, DamagedRequestsAreRefusedAndChangeNothing) {
  start();
  const std::string token = join_token();
  for (const Json& body :
       {Json::object(), Json::object({{"request", ""}}), Json::object({{"request", "-----BEGIN"}}),
        Json::object({{"request", 7}}), Json(Json::Array{})}) {
    EXPECT_EQ(refusal(client(std::nullopt, token), "POST", "/v1/join", body),
              ErrorCode::invalid_input);
    EXPECT_EQ(refusal(nobody(), "POST", "/v1/rejoin", body), ErrorCode::invalid_input);
  }
  EXPECT_TRUE(look([](Shell& shell) { return shell.registry().hosts.empty(); }));
}

}  // namespace
}  // namespace consort::controller
