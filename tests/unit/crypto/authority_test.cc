// An authority, what it issues, and who believes it.
#include "crypto/authority.h"

#include <gmock/gmock.h>

#include "crypto/random.h"

namespace consort::crypto {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::MatchesRegex;

const Identity kWeb1{IdentityKind::host, "prod", "web1"};
const Instant kNow = parse_instant("2026-01-31T12:00:00Z").value();
constexpr Duration kYear = hours(365 * 24);

Authority make_authority(std::string_view partition = "prod") {
  return Authority::create(partition, PrivateKey::generate(KeyKind::ecdsa_p256), 10 * kYear, kNow)
      .value();
}

class AuthorityTest : public testing::Test {
 protected:
  Authority authority = make_authority();
  PrivateKey key = PrivateKey::generate(KeyKind::ecdsa_p256);
  CertificateOrder order{key.public_key(), kWeb1, {}, hours(24)};
};

TEST_F(AuthorityTest, ACertificateSaysWhoItIsForAndHowLong) {
  const auto issued = authority.issue(order, kNow);
  ASSERT_TRUE(issued) << render_error(issued.error());
  const auto read = Certificate::from_pem(issued->to_pem());
  ASSERT_TRUE(read);
  EXPECT_EQ(*read, *issued);
  EXPECT_EQ(read->identity().value(), kWeb1);
  EXPECT_EQ(read->public_key().value(), key.public_key());
  EXPECT_EQ(read->not_before(), kNow - minutes(5));
  EXPECT_EQ(read->not_after(), kNow + hours(24));
  EXPECT_EQ(read->subject(), "O=Consort,OU=host,CN=web1");
  EXPECT_FALSE(read->is_authority());
  EXPECT_THAT(read->serial(), MatchesRegex("[0-9a-f]{24,32}"));
  EXPECT_NE(read->serial(), authority.issue(order, kNow)->serial());
}

TEST_F(AuthorityTest, ItIsBelievedWithinItsTimeByThoseWhoTrustTheAuthority) {
  const Certificate issued = authority.issue(order, kNow).value();
  const std::vector<Certificate> roots{make_authority().certificate(), authority.trust_anchor()};
  EXPECT_TRUE(verify(issued, roots, kNow));
  EXPECT_TRUE(verify(issued, roots, kNow - minutes(4))) << "a clock may be behind";

  const auto late = verify(issued, roots, kNow + hours(25));
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code(), ErrorCode::refused);
  EXPECT_THAT(late.error().message(), HasSubstr("has expired at 2026-02-01T12:00:00.000Z"));
  EXPECT_THAT(late.error().hint_text(), HasSubstr("2026-02-01T13:00:00.000Z"));
  const auto early = verify(issued, roots, kNow - hours(1));
  ASSERT_FALSE(early);
  EXPECT_THAT(early.error().message(), HasSubstr("valid only from 2026-01-31T11:55:00.000Z"));
  EXPECT_THAT(early.error().hint_text(), HasSubstr("mend the clock"));
}

TEST_F(AuthorityTest, AnotherAuthorityOfTheSameNameIsNotBelieved) {
  const Certificate issued = make_authority().issue(order, kNow).value();
  for (const auto& refused :
       {verify(issued, {authority.trust_anchor()}, kNow), verify(issued, {}, kNow)}) {
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code(), ErrorCode::refused);
    EXPECT_THAT(refused.error().message(), HasSubstr("not of an authority that is trusted"));
    EXPECT_FALSE(refused.error().hint_text().empty());
  }
}

TEST_F(AuthorityTest, OnlyControllersServe) {
  const std::vector<Certificate> roots{authority.trust_anchor()};
  for (const IdentityKind kind : {IdentityKind::host, IdentityKind::operator_}) {
    order.identity.kind = kind;
    const Certificate issued = authority.issue(order, kNow).value();
    EXPECT_TRUE(verify(issued, roots, kNow, CertificateUse::client));
    const auto serving = verify(issued, roots, kNow, CertificateUse::server);
    ASSERT_FALSE(serving);
    EXPECT_THAT(serving.error().message(), HasSubstr("not made for this use"));
  }
  order.identity = {IdentityKind::controller, "prod", "c1"};
  order.names = {{"consort.example.org"}, {"10.0.0.1", "2001:db8::1"}};
  const auto issued = authority.issue(order, kNow);
  ASSERT_TRUE(issued) << render_error(issued.error());
  EXPECT_TRUE(verify(*issued, roots, kNow, CertificateUse::client));
  EXPECT_TRUE(verify(*issued, roots, kNow, CertificateUse::server));
  EXPECT_EQ(issued->extra_names(), order.names);
}

TEST_F(AuthorityTest, NamesAreForControllersAndAreNames) {
  order.names.dns = {"web1.example.org"};
  EXPECT_EQ(authority.issue(order, kNow).error().code(), ErrorCode::refused);
  order.identity = {IdentityKind::controller, "prod", "c1"};
  EXPECT_TRUE(authority.issue(order, kNow));
  for (const std::string bad :
       {"", "a b", "*.example.org", "a..b", ".a", "a.", "a,DNS:b", "a\nb"}) {
    order.names.dns = {bad};
    EXPECT_EQ(authority.issue(order, kNow).error().code(), ErrorCode::invalid_input) << bad;
  }
  order.names = {{}, {"10.0.0"}};
  EXPECT_EQ(authority.issue(order, kNow).error().code(), ErrorCode::invalid_input);
  order.names = {std::vector<std::string>(kExtraNameLimit + 1, "a"), {}};
  EXPECT_EQ(authority.issue(order, kNow).error().code(), ErrorCode::invalid_input);
}

TEST_F(AuthorityTest, APartitionsAuthorityIssuesForNoOther) {
  order.identity.partition = "staging";
  const auto other = authority.issue(order, kNow);
  ASSERT_FALSE(other);
  EXPECT_EQ(other.error().code(), ErrorCode::refused);
  EXPECT_THAT(other.error().message(), HasSubstr("consort://staging/host/web1"));
}

TEST_F(AuthorityTest, NothingOutlivesIt) {
  order.lifetime = 20 * kYear;
  EXPECT_EQ(authority.issue(order, kNow)->not_after(), authority.certificate().not_after());
  const auto late = authority.issue(order, kNow + 11 * kYear);
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code(), ErrorCode::refused);
  order.lifetime = seconds(10);
  EXPECT_EQ(authority.issue(order, kNow).error().code(), ErrorCode::invalid_input);
}

TEST_F(AuthorityTest, KeysAreOfTheKindForCertificates) {
  const PrivateKey wrong = PrivateKey::generate(KeyKind::ed25519);
  EXPECT_FALSE(Authority::create("prod", wrong, kYear, kNow));
  order.key = wrong.public_key();
  EXPECT_EQ(authority.issue(order, kNow).error().code(), ErrorCode::invalid_input);
  EXPECT_FALSE(Authority::create("a\nb", key, kYear, kNow));
}

TEST_F(AuthorityTest, LongNamesAreInTheIdentityOnly) {
  order.identity.name = std::string(253, 'x');
  const auto issued = authority.issue(order, kNow);
  ASSERT_TRUE(issued) << render_error(issued.error());
  EXPECT_EQ(issued->subject(), "O=Consort,OU=host");
  EXPECT_EQ(issued->identity()->name, order.identity.name);
}

TEST_F(AuthorityTest, AnAuthorityDoesNotConnectItself) {
  const auto refused = verify(authority.certificate(), {authority.certificate()}, kNow);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message(), HasSubstr("an authority's certificate"));
}

TEST_F(AuthorityTest, AHostsCertificateIsNoAuthoritys) {
  const Certificate host = authority.issue(order, kNow).value();
  EXPECT_EQ(Authority::load("prod", host.to_pem() + authority.certificate().to_pem(),
                            key.to_pem().reveal())
                .error()
                .code(),
            ErrorCode::invalid_input);
}

TEST_F(AuthorityTest, ItIsLoadedAsItWasStored) {
  const SecretText passphrase("correct horse");
  const std::string stored = authority.key().to_encrypted_pem(passphrase).value();
  const std::string chain = certificates_to_pem(authority.chain());
  const auto loaded = Authority::load("prod", chain, stored, &passphrase);
  ASSERT_TRUE(loaded) << render_error(loaded.error());
  EXPECT_TRUE(verify(loaded->issue(order, kNow).value(), {authority.trust_anchor()}, kNow));

  const SecretText wrong("wrong");
  EXPECT_EQ(Authority::load("prod", chain, stored, &wrong).error().code(), ErrorCode::refused);
  EXPECT_EQ(Authority::load("prod", chain, stored).error().code(), ErrorCode::refused);
  const auto mixed = Authority::load("prod", chain, key.to_pem().reveal());
  ASSERT_FALSE(mixed);
  EXPECT_THAT(mixed.error().message(), HasSubstr("the key is not that of"));
  const auto unrelated =
      Authority::load("prod", chain + make_authority().certificate().to_pem(), stored, &passphrase);
  ASSERT_FALSE(unrelated);
  EXPECT_THAT(unrelated.error().message(), HasSubstr("was not issued by"));
}

TEST_F(AuthorityTest, AfterARotationBothAreBelieved) {
  const Authority next = make_authority();
  EXPECT_NE(next.certificate().subject(), authority.certificate().subject());
  const std::vector<Certificate> both{authority.trust_anchor(), next.trust_anchor()};
  EXPECT_TRUE(verify(authority.issue(order, kNow).value(), both, kNow));
  EXPECT_TRUE(verify(next.issue(order, kNow).value(), both, kNow));
}

}  // namespace
}  // namespace consort::crypto
