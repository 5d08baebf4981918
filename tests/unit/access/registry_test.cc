// Stories of operators, join tokens and hosts: who gets in, who is kept out, what is revoked.
#include "access/registry.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "crypto/random.h"

namespace consort::access {
namespace {

using testing::HasSubstr;
using Verdict = JoinOutcome::Verdict;

const std::string kSecret = "abcdefghijklmnopqrstuvwxyz0123456789-_ABCDE";
const std::string kAdmin = "operator ann";
const Digest kKey = Digest::of("key of web1");
const Digest kOther = Digest::of("another key");

// A controller's access state: what an operation writes is applied at once, and always equals what
// would be read from the store.
struct RegistryTest : testing::Test {
  Registry registry;
  Store store;
  Instant now = from_millis(1'800'000'000'000);

  void keep(const Writes& writes) {
    ASSERT_TRUE(registry.apply(writes));
    for (const auto& [key, value] : writes) {
      if (value)
        store[key] = *value;
      else
        store.erase(key);
    }
    ASSERT_EQ(Registry::restore(store).value(), registry);
  }
  void keep(const Result<Writes>& writes) {
    ASSERT_TRUE(writes) << render_error(writes.error());
    keep(*writes);
  }

  void token(const std::string& id, bool auto_approve = false, std::int64_t uses = 1,
             const std::string& names = "*") {
    JoinToken out;
    out.id = id;
    out.hash = crypto::hash_token(kSecret);
    out.names = names;
    out.expires = now + hours(1);
    out.uses_left = uses;
    out.auto_approve = auto_approve;
    out.created = now;
    keep(create_join_token(registry, out, now));
  }
  [[nodiscard]] Result<JoinOutcome> ask(const std::string& id, const std::string& host,
                                        const Digest& key = kKey,
                                        const std::string& machine = "m1") const {
    return join(registry, {id, crypto::SecretText(kSecret), host, key, machine, "10.0.0.7:5000"},
                now);
  }
  JoinOutcome comes(const std::string& id, const std::string& host, const Digest& key = kKey,
                    const std::string& machine = "m1") {
    auto outcome = ask(id, host, key, machine);
    EXPECT_TRUE(outcome) << render_error(outcome.error());
    if (!outcome) return {};
    keep(outcome->writes);
    return std::move(*outcome);
  }
  [[nodiscard]] IssuedCertificate certificate(const std::string& serial,
                                              const Digest& key = kKey) const {
    return {serial, key, now + hours(24), now + hours(24)};
  }
  [[nodiscard]] ErrorCode code_of(const Result<Writes>& result) const {
    return result ? ErrorCode::internal : result.error().code();
  }
};

struct Operators : RegistryTest {};
struct Joining : RegistryTest {};
struct Certificates : RegistryTest {};

TEST_F(Operators, AreMadeChangedAndRemoved) {
  keep(create_operator(registry, "ann", {{Role::admin}}, "local", now));
  keep(create_operator(registry, "bob", {{Role::viewer}}, kAdmin, now));
  EXPECT_EQ(code_of(create_operator(registry, "bob", {}, kAdmin, now)), ErrorCode::conflict);
  EXPECT_EQ(code_of(create_operator(registry, "../x", {}, kAdmin, now)), ErrorCode::invalid_input);
  EXPECT_EQ(code_of(create_operator(registry, "eve", {{Role::deployer}}, kAdmin, now)),
            ErrorCode::invalid_input);
  keep(grant_operator(registry, "bob", {{Role::deployer, {"shop-*"}, {}}}));
  EXPECT_EQ(registry.operators.at("bob").grants.front().role, Role::deployer);
  keep(add_operator_certificate(registry, "bob", certificate("b0b"), now));
  keep(add_operator_token(registry, {"bobtoken1", crypto::hash_token(kSecret), "bob"}));
  keep(remove_operator(registry, "bob", kAdmin, now));
  EXPECT_FALSE(registry.operators.contains("bob"));
  EXPECT_TRUE(registry.operator_tokens.empty()) << "its tokens go with it";
  EXPECT_EQ(registry.revoked.at("b0b").owner, "operator bob");
}

TEST_F(Operators, TheLastAdminStays) {
  keep(create_operator(registry, "ann", {{Role::admin}}, "local", now));
  keep(create_operator(registry, "bob", {{Role::viewer}}, kAdmin, now));
  EXPECT_EQ(code_of(remove_operator(registry, "ann", kAdmin, now)), ErrorCode::refused);
  EXPECT_EQ(code_of(grant_operator(registry, "ann", {{Role::viewer}})), ErrorCode::refused);
  keep(grant_operator(registry, "bob", {{Role::admin}}));
  keep(remove_operator(registry, "ann", kAdmin, now));
}

TEST_F(Operators, TokensAreForThoseWhoAre) {
  EXPECT_EQ(code_of(add_operator_token(registry, {"tok123", crypto::hash_token("x"), "eve"})),
            ErrorCode::not_found);
  keep(create_operator(registry, "ann", {{Role::admin}}, "local", now));
  EXPECT_EQ(code_of(add_operator_token(registry, {"tok123", "a secret", "ann"})),
            ErrorCode::invalid_input);
  keep(add_operator_token(registry, {"tok123", crypto::hash_token("x"), "ann"}));
  IssuedCertificate own{"ab01", Digest::of("own"), now + hours(9), now + hours(9)};
  IssuedCertificate of_token{"ab02", Digest::of("got"), now + hours(9), now + hours(9)};
  of_token.token = "tok123";
  keep(add_operator_certificate(registry, "ann", own, now));
  keep(add_operator_certificate(registry, "ann", of_token, now));
  keep(revoke_operator_token(registry, "tok123", kAdmin, now));
  EXPECT_THAT(registry.operators.at("ann").certificates, testing::ElementsAre(own))
      << "what was got with it goes with it";
  EXPECT_TRUE(registry.revoked.contains("ab02"));
  EXPECT_EQ(code_of(revoke_operator_token(registry, "tok123", kAdmin, now)), ErrorCode::not_found);
}

TEST_F(Joining, WaitsForAnAdminAndThenGetsItsCertificate) {
  token("token1");
  EXPECT_EQ(comes("token1", "web1").verdict, Verdict::pending);
  EXPECT_EQ(registry.join_tokens.at("token1").uses_left, 0);
  EXPECT_EQ(comes("token1", "web1").verdict, Verdict::pending) << "asking again takes no use";
  EXPECT_EQ(code_of(add_host_certificate(registry, "web1", certificate("1"), hours(1), now)),
            ErrorCode::forbidden);
  keep(approve_host(registry, "web1", std::nullopt, kAdmin, now));
  now += hours(2);  // the token is over; whom it let in may still fetch its certificate
  EXPECT_EQ(comes("token1", "web1").verdict, Verdict::approved);
  keep(add_host_certificate(registry, "web1", certificate("1"), hours(1), now));
  EXPECT_TRUE(check_renewal(registry, "web1", "1", kKey, now));
}

TEST_F(Joining, ATokenMayApproveByItself) {
  token("token1", true, 2);
  EXPECT_EQ(comes("token1", "web1").verdict, Verdict::approved);
  EXPECT_EQ(registry.hosts.at("web1").decided_by, "join token token1");
  EXPECT_EQ(comes("token1", "web2", kOther, "m2").verdict, Verdict::approved);
  const auto third = ask("token1", "web3", Digest::of("third"), "m3");
  ASSERT_FALSE(third);
  EXPECT_THAT(third.error().message(), HasSubstr("used up"));
}

TEST_F(Joining, UnknownTokensAndWrongSecretsLookTheSame) {
  token("token1");
  const auto unknown = ask("token9", "web1");
  const auto wrong = join(registry, {"token1", crypto::SecretText("x"), "web1", kKey, "", ""}, now);
  ASSERT_FALSE(unknown);
  ASSERT_FALSE(wrong);
  EXPECT_EQ(unknown.error().message(), wrong.error().message());
  keep(revoke_join_token(registry, "token1"));
  EXPECT_FALSE(ask("token1", "web1"));
}

TEST_F(Joining, ATokenIsForTheNamesItSays) {
  token("token1", true, 5, "web*");
  EXPECT_EQ(comes("token1", "web1").verdict, Verdict::approved);
  const auto db = ask("token1", "db1", kOther, "m2");
  ASSERT_FALSE(db);
  EXPECT_EQ(db.error().code(), ErrorCode::forbidden);
}

TEST_F(Joining, NobodyTakesAnotherHostsName) {
  token("token1", true, 5);
  comes("token1", "web1");
  keep(add_host_certificate(registry, "web1", certificate("1"), hours(1), now));
  const JoinOutcome thief = comes("token1", "web1", kOther, "m2");
  EXPECT_EQ(thief.verdict, Verdict::refused);
  EXPECT_EQ(thief.refusal->code(), ErrorCode::conflict);
  ASSERT_EQ(thief.findings.size(), 1U);
  EXPECT_EQ(thief.findings[0].kind, Finding::Kind::name_taken);
  EXPECT_EQ(registry.hosts.at("web1").key, kKey);
  EXPECT_TRUE(check_renewal(registry, "web1", "1", kKey, now)) << "the host itself goes on";
  EXPECT_TRUE(comes("token1", "web1", kOther, "m2").writes.empty()) << "told once is enough";
}

TEST_F(Joining, AnAdminDecidesWhichMachineHasTheName) {
  token("token1", true, 5);
  comes("token1", "web1");
  keep(add_host_certificate(registry, "web1", certificate("1"), hours(1), now));
  comes("token1", "web1", kOther, "m1");
  EXPECT_EQ(code_of(approve_host(registry, "web1", std::nullopt, kAdmin, now)), ErrorCode::refused)
      << "which of the two?";
  EXPECT_EQ(code_of(approve_host(registry, "web1", Digest::of("third"), kAdmin, now)),
            ErrorCode::not_found);
  keep(approve_host(registry, "web1", kOther, kAdmin, now));
  EXPECT_EQ(registry.hosts.at("web1").key, kOther);
  EXPECT_TRUE(registry.revoked.contains("1")) << "what the machine before had is over";
  EXPECT_EQ(comes("token1", "web1", kOther).verdict, Verdict::approved);
  EXPECT_EQ(comes("token1", "web1", kKey).verdict, Verdict::refused);
  keep(approve_host(registry, "web1", kOther, kAdmin, now));
  EXPECT_FALSE(registry.hosts.at("web1").rival) << "the claim is answered";
}

TEST_F(Joining, ATokenThatIsOverMakesNoClaims) {
  token("token1", true, 1);
  comes("token1", "web1");
  EXPECT_FALSE(ask("token1", "web1", kOther, "m2"));
}

TEST_F(Joining, ACopiedMachineIsFound) {
  token("token1", true, 5);
  comes("token1", "web1");
  const JoinOutcome renamed = comes("token1", "web2", kOther, "m1");
  EXPECT_EQ(renamed.verdict, Verdict::pending) << "in spite of the token";
  ASSERT_EQ(renamed.findings.size(), 1U);
  EXPECT_EQ(renamed.findings[0].kind, Finding::Kind::cloned_machine);
  EXPECT_EQ(renamed.findings[0].other, "web1");
  const JoinOutcome copied = comes("token1", "web3", kKey, "m3");
  EXPECT_EQ(copied.verdict, Verdict::refused);
  EXPECT_EQ(copied.findings.at(0).kind, Finding::Kind::cloned_key);
  EXPECT_FALSE(registry.hosts.contains("web3"));
  EXPECT_FALSE(check_machine(registry, "web1", "m1"));
  EXPECT_FALSE(check_machine(registry, "web1", ""));
  EXPECT_TRUE(check_machine(registry, "web1", "m9"));
}

TEST_F(Joining, ARevokedHostComesBackOnlyByAnAdmin) {
  token("token1", true, 9);
  comes("token1", "web1");
  keep(add_host_certificate(registry, "web1", certificate("1"), hours(1), now));
  keep(revoke_host(registry, "web1", kAdmin, now));
  EXPECT_TRUE(registry.revoked.contains("1"));
  EXPECT_FALSE(check_renewal(registry, "web1", "1", kKey, now));
  EXPECT_EQ(comes("token1", "web1").verdict, Verdict::refused);
  EXPECT_EQ(comes("token1", "web1", kOther).verdict, Verdict::refused) << "a new key is no way";
  EXPECT_EQ(comes("token1", "web7", kKey).verdict, Verdict::refused) << "nor another name";
  EXPECT_EQ(comes("token1", "web8", Digest::of("k8"), "m1").verdict, Verdict::pending)
      << "nor both";
  EXPECT_EQ(code_of(approve_host(registry, "web1", std::nullopt, kAdmin, now)), ErrorCode::refused);
  keep(approve_host(registry, "web1", kKey, kAdmin, now));
  EXPECT_EQ(comes("token1", "web1").verdict, Verdict::approved);
}

TEST_F(Joining, ARemovedHostLeavesItsName) {
  token("token1", true, 9);
  comes("token1", "web1");
  keep(add_host_certificate(registry, "web1", certificate("1"), hours(1), now));
  keep(remove_host(registry, "web1", kAdmin, now));
  EXPECT_TRUE(registry.revoked.contains("1"));
  EXPECT_EQ(comes("token1", "web1", kOther).verdict, Verdict::approved);
  EXPECT_EQ(code_of(remove_host(registry, "web9", kAdmin, now)), ErrorCode::not_found);
}

TEST_F(Joining, BadRequestsAreRefused) {
  token("token1", true, 9);
  EXPECT_EQ(ask("token1", "../web1").error().code(), ErrorCode::invalid_input);
  EXPECT_EQ(ask("token1", "web1", Digest()).error().code(), ErrorCode::invalid_input);
  EXPECT_EQ(ask("token1", "web1", kKey, std::string(9999, 'm')).error().code(),
            ErrorCode::invalid_input);
  JoinToken over;
  over.id = "token2";
  over.hash = crypto::hash_token("x");
  over.expires = now;
  EXPECT_EQ(code_of(create_join_token(registry, over, now)), ErrorCode::invalid_input);
}

TEST_F(Certificates, TheOldOneStaysGoodForAWhile) {
  token("token1", true);
  comes("token1", "web1");
  keep(add_host_certificate(registry, "web1", certificate("1"), hours(1), now));
  EXPECT_EQ(code_of(add_host_certificate(registry, "web1", certificate("1"), hours(1), now)),
            ErrorCode::conflict);
  keep(add_host_certificate(registry, "web1", certificate("2", kOther), hours(1), now));
  EXPECT_TRUE(check_renewal(registry, "web1", "1", kKey, now)) << "the answer may have been lost";
  EXPECT_TRUE(check_renewal(registry, "web1", "2", kOther, now));
  now += hours(1);
  EXPECT_FALSE(check_renewal(registry, "web1", "1", kKey, now));
  EXPECT_TRUE(check_renewal(registry, "web1", "2", kOther, now));
  keep(prune(registry, now));
  EXPECT_EQ(registry.hosts.at("web1").certificates.size(), 1U);
}

TEST_F(Certificates, NobodyRenewsWithAnotherHostsKey) {
  token("token1", true, 2);
  comes("token1", "web1");
  comes("token1", "web2", kOther, "m2");
  keep(add_host_certificate(registry, "web1", certificate("1"), hours(1), now));
  EXPECT_EQ(check_renewal(registry, "web1", "1", kOther, now).error().code(), ErrorCode::conflict);
  EXPECT_FALSE(check_renewal(registry, "web2", "1", kOther, now)) << "a certificate of web1";
}

TEST_F(Certificates, AreRevokedOneByOne) {
  keep(create_operator(registry, "ann", {{Role::admin}}, "local", now));
  keep(add_operator_certificate(registry, "ann", certificate("a1"), now));
  keep(add_operator_certificate(registry, "ann", certificate("a2"), now));
  keep(revoke_certificate(registry, "a1", kAdmin, now));
  EXPECT_EQ(registry.operators.at("ann").certificates.size(), 1U);
  EXPECT_TRUE(revoke_certificate(registry, "a1", kAdmin, now)->empty()) << "twice is once";
  EXPECT_EQ(code_of(revoke_certificate(registry, "a9", kAdmin, now)), ErrorCode::not_found);
  EXPECT_EQ(code_of(add_operator_certificate(registry, "ann", certificate("a1"), now)),
            ErrorCode::conflict)
      << "its number is not given again";
}

TEST_F(Certificates, HaveALimit) {
  keep(create_operator(registry, "ann", {{Role::admin}}, "local", now));
  for (std::size_t i = 0; i < kMaxCertificates + 1; ++i)
    keep(add_operator_certificate(registry, "ann", certificate("a" + std::to_string(i)), now));
  EXPECT_EQ(registry.operators.at("ann").certificates.size(), kMaxCertificates);
  EXPECT_TRUE(registry.revoked.contains("a0"));
}

TEST_F(Certificates, TheListOfRevokedOnesEmptiesItself) {
  token("token1", true);
  token("token2");
  comes("token1", "web1");
  comes("token2", "web2", kOther, "m2");
  keep(add_host_certificate(registry, "web1", certificate("1"), hours(1), now));
  keep(revoke_host(registry, "web1", kAdmin, now));
  keep(prune(registry, now + hours(23)));
  EXPECT_TRUE(registry.revoked.contains("1"));
  EXPECT_FALSE(registry.join_tokens.contains("token1"));
  EXPECT_TRUE(registry.join_tokens.contains("token2")) << "a host waits with it";
  keep(prune(registry, now + hours(24)));
  EXPECT_TRUE(registry.revoked.empty());
}

TEST_F(RegistryTest, DamagedRecordsAreNamed) {
  store["access/hosts/web1"] = "{";
  const auto damaged = Registry::restore(store);
  ASSERT_FALSE(damaged);
  EXPECT_EQ(damaged.error().code(), ErrorCode::corrupt);
  EXPECT_THAT(damaged.error().message(), HasSubstr("access/hosts/web1"));
  store.clear();
  token("token1", true);
  comes("token1", "web1");
  store["access/hosts/web2"] = store.at("access/hosts/web1");
  EXPECT_FALSE(Registry::restore(store)) << "a record under another's key";
  const Registry before = registry;
  EXPECT_FALSE(registry.apply({{"access/hosts/web1", std::nullopt}, {"access/hosts/web3", "[]"}}));
  EXPECT_EQ(registry, before) << "all or nothing";
  EXPECT_TRUE(Registry::restore({{"epoch", "1"}, {"access/unknown/x", "y"}}));
}

}  // namespace
}  // namespace consort::access
