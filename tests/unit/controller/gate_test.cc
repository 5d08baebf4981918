// Who gets through the door of the API, what is written down of it, and what ends when somebody is
// believed no more.
#include "unit/controller/controller_at_home.h"

#include <fmt/format.h>

#include "controller/journal.h"
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

TEST_F(ControllerGate, RevokingAHostEndsItsPollAtOnce) {
  const Host w1 = joined("w1", join_token());
  auto held = poll(w1, "w1");
  wait_until([](Shell& shell) { return shell.metrics().polls == 1; });
  order(admin(), "POST", "/v1/hosts/w1/revoke");
  ASSERT_EQ(held.wait_for(kPollHold / 2), std::future_status::ready);
  EXPECT_EQ(held.get().status, 401);
  EXPECT_EQ(refusal(client(w1.shown), "GET", "/v1/whoami"), ErrorCode::unauthenticated);
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
        state::Write::put("audited", std::to_string(head.number) + " " + head.hash.str()));
    ASSERT_TRUE(file->commit(std::move(transaction)));
  }
  start();
  EXPECT_EQ(look([](Shell& shell) { return shell.audit_head(); }), access::head_of(entries.back()));
  end();
  {
    const auto file = state::open_sqlite_store(data() / "state.sqlite", clock).value();
    state::Transaction transaction;
    transaction.writes.push_back(state::Write::erase("audited"));
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
  transaction.writes.push_back(state::Write::put("audited", "2"));
  transaction.writes.push_back(state::Write::put("zebra", "3"));
  ASSERT_TRUE(memory->commit(std::move(transaction)));
  auto objects = objects::ObjectStore::open(data() / "objects").value();
  Journal journal(*memory, objects, [](std::function<void()> act) { act(); });
  const Store loaded = journal.load().value();
  EXPECT_EQ(loaded, (Store{{"access/x", "1"}, {"audited", "2"}, {"zebra", "3"}}));
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
