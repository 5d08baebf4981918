// Stories of secrets at the controller: versions, recipients, and records that lose nothing.
#include "access/secrets.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "access/registry.h"
#include "crypto/keys.h"

namespace consort::access {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::string some_key() {
  return crypto::PrivateKey::generate(crypto::KeyKind::x25519).public_key().to_text();
}

struct SecretsTest : testing::Test {
  Registry registry;
  Store store;
  Instant now = from_millis(1'800'000'000'000);
  std::string web1 = some_key();

  void SetUp() override { let_in("web1", web1); }

  void keep(const Result<Writes>& writes) {
    ASSERT_TRUE(writes) << render_error(writes.error());
    ASSERT_TRUE(registry.apply(*writes));
    for (const auto& [key, value] : *writes) {
      if (value)
        store[key] = *value;
      else
        store.erase(key);
    }
    ASSERT_EQ(Registry::restore(store).value(), registry);
  }
  void let_in(const std::string& name, const std::string& seal_key) {
    HostIdentity host;
    host.name = name;
    host.state = HostState::approved;
    host.key = Digest::of(name);
    keep(Writes{{"access/hosts/" + name, host_identity_to_json(host).dump()}});
    keep(tell_seal_key(registry, name, seal_key));
  }
  [[nodiscard]] SealedSecret sealed(std::uint64_t version) const {
    return {"db", version, {"shop", "web"}, {{"web1", web1}}, {web1}, "sealed.v1.AAAA"};
  }
  [[nodiscard]] Result<Writes> put(const SealedSecret& secret, std::uint64_t above = 0) const {
    return put_secret(registry, secret, above, "operator ann", now);
  }
};

TEST_F(SecretsTest, VersionsFollowEachOtherAndTheLastThreeStay) {
  for (std::uint64_t version = 1; version <= 5; ++version) keep(put(sealed(version)));
  const SecretRecord& record = *find_secret(registry, "db").value();
  EXPECT_EQ(record.version(2), nullptr);
  ASSERT_NE(record.version(3), nullptr);
  EXPECT_EQ(record.version(5)->by, "operator ann");
  EXPECT_THAT(readers_of(registry, *record.version(5)), ElementsAre("web1"));
}

TEST_F(SecretsTest, EachVersionKeepsTheServicesThatItWasFor) {
  SealedSecret first = sealed(1);
  first.services = {"cron", "shop"};
  keep(put(first));
  SealedSecret second = sealed(2);
  second.services = {"shop"};
  keep(put(second));
  const SecretRecord& record = *find_secret(registry, "db").value();
  EXPECT_THAT(record.version(1)->services, ElementsAre("cron", "shop"))
      << "a rollback to what cron used needs it";
  EXPECT_THAT(record.version(2)->services, ElementsAre("shop"));
  EXPECT_THAT(record.services, ElementsAre("shop"));
  // Sealed anew for a service that came later.
  second.services = {"mail", "shop"};
  keep(put(second));
  EXPECT_THAT(find_secret(registry, "db").value()->version(2)->services,
              ElementsAre("mail", "shop"));
  EXPECT_THAT(find_secret(registry, "db").value()->version(1)->services,
              ElementsAre("cron", "shop"));
}

TEST_F(SecretsTest, VersionsOfAnOlderRecordAreForItsServices) {
  keep(put(sealed(1)));
  keep(put(sealed(2)));
  Json json = secret_record_to_json(*find_secret(registry, "db").value());
  for (Json& version : json["versions"].as_array()) version.as_object().erase("services");
  const auto record = secret_record_from_json(json);
  ASSERT_TRUE(record) << render_error(record.error());
  EXPECT_EQ(*record, *find_secret(registry, "db").value());
  json["versions"].as_array()[0]["services"] = Json::array();
  EXPECT_FALSE(secret_record_from_json(json));
}

TEST_F(SecretsTest, TwoWhoSetItAtOnceDoNotOverwriteEachOther) {
  keep(put(sealed(1)));
  keep(put(sealed(2)));
  EXPECT_EQ(put(sealed(4)).error().code(), ErrorCode::conflict);
  EXPECT_EQ(put(sealed(1)).error().code(), ErrorCode::conflict);
}

TEST_F(SecretsTest, WhoHasNotSeenTheLastVersionOverwritesNothing) {
  keep(put(sealed(1)));
  SealedSecret anns = sealed(2);
  anns.before = 1;
  SealedSecret bens = anns;
  bens.sealed = "sealed.v1.BENS";
  keep(put(anns));
  EXPECT_EQ(put(bens).error().code(), ErrorCode::conflict)
      << "another value is not the same version sealed anew";
  EXPECT_EQ(find_secret(registry, "db").value()->version(2)->sealed, anns.sealed);
}

TEST_F(SecretsTest, NumbersOfALifeOfTheStoreThatIsLostAreNotGivenAgain) {
  keep(put(sealed(1)));
  EXPECT_EQ(next_version(registry, "db", 0), 2U);
  const std::uint64_t above = 3'000'000;
  EXPECT_EQ(next_version(registry, "db", above), above + 1);
  EXPECT_EQ(next_version(registry, "never-seen", above), above + 1);
  EXPECT_EQ(put(sealed(2), above).error().code(), ErrorCode::conflict)
      << "hosts may have another value as version 2";
  keep(put(sealed(above + 1), above));
  EXPECT_EQ(next_version(registry, "db", above), above + 2);
  keep(put(sealed(above + 1), above));  // sealed anew
  keep(put(sealed(above + 2), above));
}

TEST_F(SecretsTest, AProgramThatHasSeenALaterVersionGoesBeyondIt) {
  keep(put(sealed(1)));
  SealedSecret later = sealed(6);
  EXPECT_EQ(put(later).error().code(), ErrorCode::conflict) << "it does not say what it has seen";
  later.before = 1;
  keep(put(later));
  EXPECT_EQ(next_version(registry, "db", 0), 7U);
  SealedSecret last = sealed(kMaxSecretVersion);
  last.before = 6;
  EXPECT_EQ(put(last).error().code(), ErrorCode::invalid_input) << "no number would be left";
}

TEST_F(SecretsTest, SealingAnewTakesNoSignatureAway) {
  SealedSecret secret = sealed(1);
  secret.signatures = {{"ed25519:ann", "sig"}};
  keep(put(secret));
  const auto bare = put(sealed(1));
  ASSERT_FALSE(bare);
  EXPECT_EQ(bare.error().code(), ErrorCode::refused);
  EXPECT_THAT(bare.error().hint_text(), HasSubstr("consort secret set db"));
  secret.signatures = {{"ed25519:ben", "sig"}};
  keep(put(secret));
  keep(put(sealed(2)));  // a new value may be without one
}

TEST_F(SecretsTest, SealingAnewKeepsTheVersion) {
  keep(put(sealed(1)));
  SealedSecret again = sealed(1);
  again.sealed = "sealed.v1.BBBB";
  keep(put(again));
  const SecretRecord& record = *find_secret(registry, "db").value();
  EXPECT_EQ(record.versions.size(), 1U);
  EXPECT_EQ(record.versions[0].sealed, "sealed.v1.BBBB");
}

TEST_F(SecretsTest, ARemovedSecretNeverHasTheSameVersionAgain) {
  keep(put(sealed(1)));
  keep(remove_secret(registry, "db"));
  EXPECT_EQ(find_secret(registry, "db").error().code(), ErrorCode::not_found);
  EXPECT_EQ(find_secret(registry, "db").error().hint_text().find("did you mean"), std::string::npos)
      << "what is gone is not what was meant";
  EXPECT_EQ(remove_secret(registry, "db").error().code(), ErrorCode::not_found);
  EXPECT_EQ(put(sealed(1)).error().code(), ErrorCode::conflict)
      << "what is deployed as version 1 would not be planned anew";
  keep(put(sealed(2)));
  EXPECT_EQ(find_secret(registry, "db").value()->versions.size(), 1U);
}

TEST_F(SecretsTest, AHostWithANewKeyCannotReadWhatWasSealedToTheOld) {
  keep(put(sealed(1)));
  keep(tell_seal_key(registry, "web1", some_key()));
  EXPECT_TRUE(readers_of(registry, find_secret(registry, "db").value()->versions[0]).empty());
  EXPECT_THAT(put(sealed(2)).error().message(), HasSubstr("another key"));
}

TEST_F(SecretsTest, OnlyHostsThatWereLetInAreRecipients) {
  SealedSecret secret = sealed(1);
  secret.hosts["stranger"] = some_key();
  EXPECT_EQ(put(secret).error().code(), ErrorCode::not_found);
  EXPECT_EQ(tell_seal_key(registry, "stranger", some_key()).error().code(), ErrorCode::not_found);
  keep(revoke_host(registry, "web1", "operator ann", now));
  EXPECT_EQ(tell_seal_key(registry, "web1", some_key()).error().code(), ErrorCode::forbidden);
}

TEST_F(SecretsTest, AnotherMachineThatTakesTheNameHasNoKeyYet) {
  HostIdentity host = registry.hosts.at("web1");
  host.rival = Rival{Digest::of("new disk"), "m", "10.0.0.1", "t", now};
  keep(Writes{{"access/hosts/web1", host_identity_to_json(host).dump()}});
  keep(approve_host(registry, "web1", Digest::of("new disk"), "operator ann", now));
  EXPECT_EQ(registry.hosts.at("web1").seal_key, "");
}

TEST_F(SecretsTest, OtherKindsOfKeysAreRefused) {
  const std::string other =
      crypto::PrivateKey::generate(crypto::KeyKind::ed25519).public_key().to_text();
  EXPECT_EQ(tell_seal_key(registry, "web1", other).error().code(), ErrorCode::invalid_input);
  EXPECT_FALSE(check_seal_key("x25519:short"));
}

TEST_F(SecretsTest, WhatIsSentIsReadStrictly) {
  const Json good = sealed_secret_to_json(sealed(1));
  EXPECT_EQ(sealed_secret_from_json(good).value(), sealed(1));
  SealedSecret second = sealed(2);
  second.before = 1;
  EXPECT_EQ(sealed_secret_from_json(sealed_secret_to_json(second)).value(), second);
  const std::vector<std::pair<std::string, Json>> bad = {
      {"name", Json("../x")},
      {"version", Json(0)},
      {"services", Json::array()},
      {"services", Json(Json::Array{"web", "shop"})},
      {"hosts", Json::object({{"web1", "x25519:no"}})},
      {"recovery", Json(Json::Array{"no"})},
      {"sealed", Json("the value itself")},
      {"value", Json("the value itself")},
      {"before", Json(-1)},
      {"before", Json("1")},
  };
  for (const auto& [key, value] : bad) {
    Json json = good;
    json[key] = value;
    EXPECT_FALSE(sealed_secret_from_json(json)) << key;
  }
}

TEST_F(SecretsTest, ARecordOfAHostOfBeforeThereWereSecretsIsRead) {
  Json json = host_identity_to_json(registry.hosts.at("web1"));
  json.as_object().erase("sealKey");
  EXPECT_EQ(host_identity_from_json(json).value().seal_key, "");
}

}  // namespace
}  // namespace consort::access
