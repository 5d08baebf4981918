#include "signing/trust_list.h"

#include <gmock/gmock.h>

#include "fixtures/statements.h"

namespace consort::signing {
namespace {

using ::testing::HasSubstr;
using tests::Signers;

plan::StatementHead head() { return plan::ShareTree(tests::statement(1)).head(); }

TEST(TrustList, TwoOfThreeMustSign) {
  const Signers signers(3, 2);
  EXPECT_FALSE(check_signed(signers.list, head(), {}));
  const Status one = check_signed(signers.list, head(), signers.sign(head(), 1));
  ASSERT_FALSE(one);
  EXPECT_THAT(one.error().message(), HasSubstr("1 of 2 needed"));
  EXPECT_TRUE(check_signed(signers.list, head(), signers.sign(head(), 2)));
}

TEST(TrustList, SignaturesOfStrangersCountNothing) {
  const Signers signers(1, 1);
  const Signers strangers(5, 1);
  EXPECT_FALSE(check_signed(signers.list, head(), strangers.sign(head(), 5)));
  // Nor does a stranger's signature under a trusted key's name.
  plan::Signatures forged;
  forged[signers.list.keys.front().to_text()] = strangers.sign(head(), 1).begin()->second;
  EXPECT_FALSE(check_signed(signers.list, head(), forged));
}

TEST(TrustList, OneKeyCountsOnce) {
  Signers signers(2, 2);
  plan::Signatures twice = signers.sign(head(), 1);
  twice[" " + twice.begin()->first] = twice.begin()->second;
  EXPECT_FALSE(check_signed(signers.list, head(), twice));
}

TEST(TrustList, AnotherSiteOrPartitionIsNotOurs) {
  Signers signers(1, 1);
  const auto signatures = signers.sign(head(), 1);
  signers.list.partition = "staging";
  EXPECT_FALSE(check_signed(signers.list, head(), signatures));
  signers.list.partition = "main";
  signers.list.site = "other";
  EXPECT_FALSE(check_signed(signers.list, head(), signatures));
}

TEST(TrustList, IsReadStrictly) {
  const Signers signers(2, 2);
  const Json good = trust_list_to_json(signers.list);
  ASSERT_EQ(trust_list_from_json(good).value(), signers.list);
  const auto broken = [&](const std::string& member, const Json& value) {
    Json json = good;
    json[member] = value;
    return !trust_list_from_json(json).has_value();
  };
  EXPECT_TRUE(broken("needed", 3)) << "more signatures than keys";
  EXPECT_TRUE(broken("needed", 0)) << "nobody has to sign";
  EXPECT_TRUE(broken("site", ""));
  EXPECT_TRUE(broken("surprise", true));
  const std::string key = signers.list.keys.front().to_text();
  EXPECT_TRUE(broken("keys", Json::Array{key, key})) << "one key twice is one person";
  const auto other = crypto::PrivateKey::generate(crypto::KeyKind::ecdsa_p256);
  EXPECT_TRUE(broken("keys", Json::Array{key, other.public_key().to_text()}));
  EXPECT_FALSE(trust_list_from_text(std::string(kTrustListBytes + 1, ' ')));
}

}  // namespace
}  // namespace consort::signing
