// Who gets through the door of the API, what is written down of it, and what ends when somebody is
// believed no more.
#include "unit/controller/controller_at_home.h"

#include <fmt/format.h>

#include "controller/journal.h"
#include "fixtures/models.h"
#include "state/memory_store.h"

namespace consort::controller {
namespace {

using ::testing::HasSubstr;
using Outcome = access::AuditNote::Outcome;

class ControllerGate : public tests::ControllerAtHome {
 protected:
  void SetUp() override {
    ControllerAtHome::SetUp();
    start();
  }
  static std::size_t refusals(const Shell& shell, const std::string& action) {
    std::size_t out = 0;
    const auto entries = shell.audit(0, 1000).value();
    for (const access::AuditEntry& entry : entries)
      out += entry.note.outcome == Outcome::refused && entry.note.action == action ? 1 : 0;
    return out;
  }
  // Refusals are answered before they are durable.
  void wait_for_refusals(const std::string& action, std::size_t count) {
    wait_until([=](const Shell& shell) { return refusals(shell, action) == count; });
  }
  // An answer to a request that the server holds.
  std::future<http::Response> poll(const Host& host, const std::string& name) {
    return std::async(std::launch::async, [this, host, name] {
      return client(host.shown).get("/v1/agents/" + name + "/target?epoch=0&seq=0").value();
    });
  }
};

TEST_F(ControllerGate, EachRouteLetsInWhoTheTableSays) {
  const std::string ann = operator_token("ann", viewer());
  const Host w1 = joined("w1", join_token());
  EXPECT_EQ(refusal(nobody(), "GET", "/v1/ca"), std::nullopt);
  EXPECT_EQ(nobody().get("/healthz").value().status, 200);
  EXPECT_EQ(refusal(nobody(), "GET", "/v1/status"), ErrorCode::unauthenticated);
  EXPECT_EQ(refusal(nobody(), "GET", "/metrics"), ErrorCode::unauthenticated);
  EXPECT_EQ(refusal(client(std::nullopt, "cop1.nonsense"), "GET", "/v1/status"),
            ErrorCode::invalid_input);
  EXPECT_EQ(refusal(admin(), "GET", "/v1/status"), std::nullopt);
  EXPECT_EQ(refusal(client(std::nullopt, ann), "GET", "/v1/status"), std::nullopt);
  EXPECT_EQ(refusal(client(std::nullopt, ann), "POST", "/v1/tokens"), ErrorCode::forbidden);
  EXPECT_EQ(refusal(client(w1.shown), "GET", "/v1/whoami"), std::nullopt);
  EXPECT_EQ(refusal(client(w1.shown), "GET", "/v1/status"), ErrorCode::forbidden);
  EXPECT_EQ(refusal(client(w1.shown), "GET", "/v1/agents/w2/target?epoch=0&seq=0"),
            ErrorCode::forbidden);
  EXPECT_EQ(refusal(admin(), "GET", "/v1/agents/w1/target?epoch=0&seq=0"), ErrorCode::forbidden);
  EXPECT_EQ(refusal(client(std::nullopt, join_token()), "GET", "/v1/status"), ErrorCode::forbidden);
}

TEST_F(ControllerGate, ACertificateOfTheAuthorityThatTheRegistryDoesNotKnowIsNobodys) {
  const crypto::PrivateKey key = crypto::PrivateKey::generate(crypto::KeyKind::ecdsa_p256);
  const auto certificate =
      folder->authority()
          .issue(
              {key.public_key(), {crypto::IdentityKind::operator_, "main", "admin"}, {}, hours(1)},
              SystemClock().now())
          .value();
  const http::TlsIdentity shown{folder->authority().chain_pem_for(certificate), key.to_pem()};
  EXPECT_EQ(refusal(client(shown), "GET", "/v1/status"), ErrorCode::unauthenticated);
}

TEST_F(ControllerGate, ARefusalIsWrittenDownOnceAMinuteForTheSameOneAndAction) {
  const std::string ann = operator_token("ann", viewer());
  for (int i = 0; i < 20; ++i)
    EXPECT_EQ(refusal(client(std::nullopt, ann), "POST", "/v1/tokens"), ErrorCode::forbidden);
  EXPECT_EQ(refusal(client(std::nullopt, ann), "GET", "/v1/operators"), ErrorCode::forbidden);
  // In the order in which they were asked: what was written of the first is there, too.
  wait_for_refusals("list_operators", 1);
  wait_for_refusals("create_join_token", 1);
  clock.late = -kRefusalGrain;
  EXPECT_EQ(refusal(client(std::nullopt, ann), "POST", "/v1/tokens"), ErrorCode::forbidden);
  wait_for_refusals("create_join_token", 2);
  EXPECT_THAT(audit().back().note.who, HasSubstr("operator ann"));
  EXPECT_NE(audit().back().note.reason, "");
  for (int i = 0; i < 20; ++i)
    EXPECT_EQ(refusal(nobody(), "POST", "/v1/tokens"), ErrorCode::unauthenticated);
  EXPECT_EQ(refusal(client(std::nullopt, ann), "GET", "/v1/tokens"), ErrorCode::forbidden);
  wait_for_refusals("list_join_tokens", 1);
  EXPECT_EQ(look([](const Shell& shell) { return refusals(shell, "create_join_token"); }), 2U)
      << "strangers do not fill the log";
}

TEST_F(ControllerGate, AHostThatTellsOfATargetThatNobodyGaveItIsWrittenDownOnceAMinute) {
  const Host w1 = joined("w1", join_token());
  const std::string beyond =
      fmt::format("/v1/agents/w1/target?epoch={}&seq=1", std::uint64_t{2} * kEpochLead);
  for (int i = 0; i < 5; ++i)
    EXPECT_EQ(refusal(client(w1.shown), "GET", beyond), ErrorCode::invalid_input);
  EXPECT_EQ(refusal(client(w1.shown), "GET", "/v1/status"), ErrorCode::forbidden);
  // In the order in which they were asked: what was written of the first is there, too.
  wait_for_refusals("view_status", 1);
  wait_for_refusals("read_target", 1);
  const auto entries = audit();
  EXPECT_THAT(entries[entries.size() - 2].note.who, HasSubstr("host w1"));
  EXPECT_THAT(entries[entries.size() - 2].note.reason, HasSubstr("can have given the position"));
}

TEST_F(ControllerGate, RevokingAHostEndsItsPollAtOnce) {
  const Host w1 = joined("w1", join_token());
  auto held = poll(w1, "w1");
  wait_until([](Shell& shell) { return shell.metrics().polls == 1; });
  order(admin(), "POST", "/v1/hosts/w1/revoke");
  ASSERT_EQ(held.wait_for(kPollHold / 2), std::future_status::ready);
  EXPECT_EQ(held.get().status, 401);
  EXPECT_EQ(refusal(client(w1.shown), "GET", "/v1/whoami"), ErrorCode::unauthenticated);
}

// Much has happened since it looked last: more than may wait for a reader at once.
TEST_F(ControllerGate, AReaderOfEventsThatIsFarBehindCatchesUp) {
  const Host w1 = joined("w1", join_token());
  plan::HostReport report;
  report.host = "w1";
  constexpr int kEvents = 120;
  for (int i = 0; i < kEvents; ++i) {
    ++report.number;
    report.events = {Json::object({{"n", i + 1},
                                   {"at", "2026-01-01T00:00:00Z"},
                                   {"kind", "many"},
                                   {"text", std::string(4000, 'x') + std::to_string(i)}})};
    order(client(w1.shown), "POST", "/v1/agents/w1/reports", plan::host_report_to_json(report));
  }
  int seen = 0;
  std::uint64_t last = 0;
  int streams = 0;
  for (; seen < kEvents && streams < 20; ++streams) {
    const Status ended = admin().stream_events(
        "/v1/events?after=" + std::to_string(last), "", [&](const http::Event& event) {
          last = std::stoull(event.id);
          seen += event.name == "many" ? 1 : 0;
          return seen < kEvents ? http::Client::Next::more : http::Client::Next::stop;
        });
    ASSERT_TRUE(ended) << render_error(ended.error());
  }
  EXPECT_EQ(seen, kEvents);
  EXPECT_GT(streams, 1);
}

TEST_F(ControllerGate, RevokingATokenEndsItsEventStream) {
  const std::string ann = operator_token("ann", viewer());
  const Host w1 = joined("w1", join_token());
  std::promise<void> follows;
  auto stream = std::async(std::launch::async, [&] {
    bool told = false;
    return client(std::nullopt, ann)
        .stream_events("/v1/events?after=0", "", [&](const http::Event&) {
          if (!std::exchange(told, true)) follows.set_value();
          return http::Client::Next::more;
        });
  });
  auto held = poll(w1, "w1");  // the host is heard of: an event
  ASSERT_EQ(follows.get_future().wait_for(tests::kPatience), std::future_status::ready);
  order(admin(), "DELETE", "/v1/operators/ann");
  ASSERT_EQ(stream.wait_for(tests::kPatience), std::future_status::ready);
  const Status ended = stream.get();
  EXPECT_TRUE(ended) << render_error(ended.error());
  EXPECT_EQ(refusal(client(std::nullopt, ann), "GET", "/v1/status"), ErrorCode::unauthenticated);
  order(admin(), "POST", "/v1/hosts/w1/revoke");
  EXPECT_THAT(held.get().status, ::testing::AnyOf(401, 204));
}

TEST_F(ControllerGate, AnOperatorsTokenThatHasExpiredOpensNothing) {
  order(admin(), "POST", "/v1/operators", Json::object({{"name", "ci"}, {"grants", viewer()}}));
  const std::string token =
      order(admin(), "POST", "/v1/operators/ci/tokens", Json::object({{"ttl", "1h"}}))
          .string_or("token");
  EXPECT_EQ(refusal(client(std::nullopt, token), "GET", "/v1/status"), std::nullopt);
  clock.late = -hours(2);
  EXPECT_EQ(refusal(client(std::nullopt, token), "GET", "/v1/status"), ErrorCode::unauthenticated);
}

TEST_F(ControllerGate, OnlyWhoIsOfTheSiteMaySendLargeBodies) {
  const std::string large(http::kStrangerBodyBytes + 1, ' ');
  const auto status = [&](http::Client client, const std::string& target) {
    return client.request("POST", target, {}, large).value().status;
  };
  const Host w1 = joined("w1", join_token());
  EXPECT_EQ(status(nobody(), "/v1/plan"), 413);
  EXPECT_EQ(status(client(std::nullopt, join_token()), "/v1/plan"), 413)
      << "a join token is many people's";
  EXPECT_EQ(status(client(std::nullopt, join_token()), "/v1/join"), 413);
  EXPECT_EQ(status(client(std::nullopt, operator_token("ann", viewer())), "/v1/plan"), 400);
  EXPECT_EQ(status(client(w1.shown), "/v1/agents/w1/reports"), 400);
}

// A database that a web server reaches; d1 says that it can guard its port, and not yet how.
class ControllerGateOfRollouts : public ControllerGate {
 protected:
  static tests::Model site(const std::vector<std::string>& also = {}) {
    tests::Model model;
    model.host("d1", "db").host("w1", "web");
    model.generation.hosts.at("d1").address = "10.0.0.1";
    model.generation.hosts.at("w1").address = "10.0.0.2";
    model.service("db", "db", "v1").service("web", "web", "v1", {"db"});
    model.generation.services.at("db").endpoints["e"] = {5432, plan::AccessMode::enforce, also};
    return model;
  }
  static void hosts_report(Shell& shell, const tests::Model& model, const Digest& admitted) {
    for (const auto& [name, observed] : model.running()) {
      plan::HostReport report;
      report.host = name;
      report.boot_id = "boot";
      report.number = 1;
      report.instances = observed.instances;
      report.access = plan::AccessReport{true, "", admitted};
      shell.carry_out(shell.core().on_report(report, shell.now()));
    }
  }
  static std::string deploy(Shell& shell, const tests::Model& model) {
    DeployRequest request;
    request.candidate = model.generation;
    request.manifests = model.manifests;
    request.by = "ada";
    Output output;
    const auto id = shell.core().deploy(request, shell.now(), output);
    shell.carry_out(std::move(output));
    return id ? *id : render_error(id.error());
  }
  std::string deployer_token(const std::string& name, const std::string& service) {
    return operator_token(name, access::grants_to_json({{access::Role::deployer, {service}}}));
  }
};

TEST_F(ControllerGateOfRollouts, OneThatChangesOnlyAccessIsSteeredByWhoMayDeployIt) {
  const std::string ada = deployer_token("ada", "db");
  const std::string bob = deployer_token("bob", "web");
  // Given a rollout that only lets a network reach the database, and waits for d1,
  const std::string id = look([](Shell& shell) {
    const tests::Model before = site();
    hosts_report(shell, before, Digest());
    static_cast<void>(deploy(shell, before));
    hosts_report(shell, before, plan::admissions_digest(*shell.core().target_of("d1")->admissions));
    std::string begun = deploy(shell, site({"10.8.0.0/16"}));
    Output output;
    static_cast<void>(
        shell.core().control(begun, Core::Control::pause, "adm", shell.now(), output).has_value());
    shell.carry_out(std::move(output));
    return begun;
  });
  ASSERT_TRUE(look([&](Shell& shell) {
    const auto it = shell.core().rollouts().find(id);
    return it != shell.core().rollouts().end() && it->second.result == rollout::Result::open &&
           it->second.forward.steps.empty() && shell.core().current() != nullptr;
  })) << id;
  // when the deployer of the web server steers it, then that is refused,
  for (const char* verb : {"pause", "resume", "abort"})
    EXPECT_EQ(refusal(client(std::nullopt, bob), "POST", "/v1/rollouts/" + id + "/" + verb),
              ErrorCode::forbidden);
  // and the database's own may.
  EXPECT_EQ(refusal(client(std::nullopt, ada), "POST", "/v1/rollouts/" + id + "/abort"),
            std::nullopt);
}

TEST_F(ControllerGate, NobodyTakesTheLastAdminAway) {
  EXPECT_EQ(refusal(admin(), "DELETE", "/v1/operators/admin"), ErrorCode::refused);
}

TEST_F(ControllerGate, TheAuditLogGoesOnWhereItWasAfterARestart) {
  const std::string ann = operator_token("ann", viewer());
  const auto before = audit();
  ASSERT_GE(before.size(), 2U);
  end();
  start();
  EXPECT_EQ(look([](Shell& shell) { return shell.audit_head(); }), access::head_of(before.back()));
  operator_token("bob", viewer());
  const auto after = audit();
  EXPECT_GT(after.size(), before.size());
  const auto broken = access::verify(after);
  EXPECT_FALSE(broken) << broken->what;
  EXPECT_EQ(refusal(client(std::nullopt, ann), "GET", "/v1/status"), std::nullopt)
      << "and so does the registry";
}

TEST_F(ControllerGate, AHeadThatACrashLeftBehindCatchesUp) {
  operator_token("ann", viewer());
  const auto entries = audit();
  ASSERT_GE(entries.size(), 2U);
  end();
  {
    // The head of one entry before; then of none at all.
    const auto file = state::open_sqlite_store(data() / "state.sqlite", clock).value();
    const auto head = access::head_of(entries[entries.size() - 2]);
    state::Transaction transaction;
    transaction.writes.push_back(
        state::Write::put("before", std::to_string(head.number) + " " + head.hash.str()));
    ASSERT_TRUE(file->commit(std::move(transaction)));
  }
  start();
  EXPECT_EQ(look([](Shell& shell) { return shell.audit_head(); }), access::head_of(entries.back()));
  end();
  {
    const auto file = state::open_sqlite_store(data() / "state.sqlite", clock).value();
    state::Transaction transaction;
    transaction.writes.push_back(state::Write::erase("before"));
    access::AuditHead head = access::head_of(entries.back());
    for (int i = 0; i < 2500; ++i) {
      access::AuditNote note;
      note.who = "operator ann";
      const access::AuditEntry entry = access::append(head, note);
      head = access::head_of(entry);
      transaction.writes.push_back(state::Write::put(fmt::format("audit/{:012}", entry.number),
                                                     access::audit_entry_to_json(entry).dump()));
      if (transaction.writes.size() == 500) {
        ASSERT_TRUE(file->commit(std::exchange(transaction, {})));
      }
    }
    if (!transaction.writes.empty()) {
      ASSERT_TRUE(file->commit(std::move(transaction)));
    }
  }
  start();
  EXPECT_EQ(look([](Shell& shell) { return shell.audit_head().number; }),
            entries.back().number + 2500);
}

TEST_F(ControllerGate, TheAuditLogStaysOnDisk) {
  const auto memory = state::make_memory_store(clock);
  for (int page = 0; page < 4; ++page) {
    state::Transaction transaction;
    for (int i = 0; i < 400; ++i)
      transaction.writes.push_back(
          state::Write::put(fmt::format("audit/{:012}", page * 400 + i + 1), "{}"));
    ASSERT_TRUE(memory->commit(std::move(transaction)));
  }
  state::Transaction transaction;
  transaction.writes.push_back(state::Write::put("access/x", "1"));
  transaction.writes.push_back(state::Write::put("before", "2"));
  transaction.writes.push_back(state::Write::put("zebra", "3"));
  ASSERT_TRUE(memory->commit(std::move(transaction)));
  auto objects = objects::ObjectStore::open(data() / "objects").value();
  Journal journal(*memory, objects, [](std::function<void()> act) { act(); });
  const Store loaded = journal.load().value();
  EXPECT_EQ(loaded, (Store{{"access/x", "1"}, {"before", "2"}, {"zebra", "3"}}));
}

TEST_F(ControllerGate, WhatTimeHasMadeUselessGoes) {
  join_token();
  const std::string ann = operator_token("ann", viewer());
  ASSERT_EQ(look([](Shell& shell) { return shell.registry().join_tokens.size(); }), 1U);
  end();
  clock.late = -hours(2);
  start();
  EXPECT_EQ(look([](Shell& shell) { return shell.registry().join_tokens.size(); }), 0U);
  EXPECT_EQ(look([](Shell& shell) { return shell.registry().operator_tokens.size(); }), 1U);
}

TEST_F(ControllerGate, ATokenThatIsBelievedKeepsItsConnectionHoweverManyStrangersCome) {
  end();
  limits.max_strangers_per_address = 1;
  start();
  const std::string token = operator_token("ann", access::grants_to_json({{access::Role::admin}}));
  http::Client ann = client(std::nullopt, token);
  const auto make_token = [&](http::Client& from) {
    const auto answer = from.send_json("POST", "/v1/tokens", Json::object({{"uses", 1}}));
    EXPECT_TRUE(answer) << render_error(answer.error());
    return audit().back().note.from;
  };
  const std::string before = make_token(ann);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(nobody().get("/healthz").value().status, 200);
  EXPECT_EQ(make_token(ann), before);
}

TEST_F(ControllerGate, WithoutProtectionPagesOfOtherSitesGetNothing) {
  end();
  start(Protection::none);
  const std::string body = Json::object({{"name", "eve"}, {"grants", viewer()}}).dump();
  const auto answer =
      nobody().request("POST", "/v1/operators", {{"Origin", "https://evil.example"}}, body).value();
  EXPECT_EQ(answer.status, 403);
  EXPECT_EQ(http::error_of(answer).code(), ErrorCode::forbidden);
  EXPECT_EQ(look([](Shell& shell) { return shell.registry().operators.contains("eve"); }), false);
}

TEST_F(ControllerGate, WithoutProtectionEverybodyIsLocalAndTheLogSaysSo) {
  end();
  start(Protection::none);
  EXPECT_EQ(order(nobody(), "POST", "/v1/operators",
                  Json::object({{"name", "ann"}, {"grants", viewer()}}))
                .string_or("name"),
            "ann");
  EXPECT_THAT(audit().back().note.who, HasSubstr("local"));
  EXPECT_EQ(refusal(nobody(), "POST", "/v1/tokens"), ErrorCode::unsupported);
}

}  // namespace
}  // namespace consort::controller
