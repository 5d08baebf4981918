// Stories of a secret between who has sealed it and a host that does not believe its controller.
#include "signing/sealed_secret.h"

#include <gmock/gmock.h>

#include "fixtures/statements.h"

namespace consort::signing {
namespace {

using ::testing::HasSubstr;
using tests::Signers;

access::SealedSecret sealed() {
  access::SealedSecret out;
  out.name = "db";
  out.version = 3;
  out.sealed = "sealed.v1.AAAA";
  return out;
}

TEST(SealedSecretSignature, OneKeyOfTheListIsEnough) {
  const Signers signers(3, 2);
  access::SealedSecret secret = sealed();
  const Status unsigned_one = check_secret(signers.list, "main", secret);
  ASSERT_FALSE(unsigned_one);
  EXPECT_EQ(unsigned_one.error().code(), ErrorCode::forbidden);
  EXPECT_THAT(unsigned_one.error().hint_text(), HasSubstr("consort secret reseal db"));
  ASSERT_TRUE(add_signature(signers.keys.at(1), signers.list, "main", secret));
  EXPECT_TRUE(check_secret(signers.list, "main", secret));
}

TEST(SealedSecretSignature, NothingOfItMayBeAnother) {
  const Signers signers(1, 1);
  access::SealedSecret secret = sealed();
  ASSERT_TRUE(add_signature(signers.keys.at(0), signers.list, "main", secret));
  access::SealedSecret other = secret;
  other.sealed = "sealed.v1.AAAB";
  EXPECT_FALSE(check_secret(signers.list, "main", other));
  other = secret;
  other.version = 4;
  EXPECT_FALSE(check_secret(signers.list, "main", other));
  other = secret;
  other.name = "web";
  EXPECT_FALSE(check_secret(signers.list, "main", other));
  EXPECT_FALSE(check_secret(signers.list, "west", secret));
  TrustList elsewhere = signers.list;
  elsewhere.site = "another";
  EXPECT_FALSE(check_secret(elsewhere, "main", secret));
  EXPECT_FALSE(add_signature(signers.keys.at(0), signers.list, "west", secret));
}

TEST(SealedSecretSignature, AStrangersCountsNothingAndAnEmptyListBelievesNobody) {
  const Signers signers(1, 1);
  const Signers strangers(1, 1);
  access::SealedSecret secret = sealed();
  ASSERT_TRUE(add_signature(strangers.keys.at(0), strangers.list, "main", secret));
  EXPECT_FALSE(check_secret(signers.list, "main", secret));
  secret.signatures = {{signers.list.keys.front().to_text(), secret.signatures.begin()->second}};
  EXPECT_FALSE(check_secret(signers.list, "main", secret));
  ASSERT_TRUE(add_signature(signers.keys.at(0), signers.list, "main", secret));
  EXPECT_TRUE(check_secret(signers.list, "main", secret));
  EXPECT_FALSE(check_secret(TrustList{}, "main", secret));
}

}  // namespace
}  // namespace consort::signing
