// From certificates and tokens to principals.
#include "access/identify.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "crypto/random.h"

namespace consort::access {
namespace {

using testing::HasSubstr;
using testing::Not;

const std::string kSecret = "abcdefghijklmnopqrstuvwxyz0123456789-_ABCDE";

// The fingerprint of a CA whose bytes are all zero.
const std::string kZeroes = "." + std::string(43, 'A');

struct Identify : testing::Test {
  Registry registry;
  Instant now = from_millis(1'800'000'000'000);
  Identify() {
    const IssuedCertificate certificate{"3f2a9c", Digest::of("key"), now + hours(2),
                                        now + hours(1)};
    HostIdentity host;
    host.name = "web1";
    host.state = HostState::approved;
    host.certificates = {certificate};
    registry.hosts["web1"] = host;
    registry.operators["ann"] = {"ann", {{Role::admin}}, {certificate}};
    registry.operator_tokens["anntoken"] = {"anntoken", crypto::hash_token(kSecret), "ann"};
    registry.join_tokens["jointoken"] = {"jointoken", crypto::hash_token(kSecret)};
  }
};

TEST_F(Identify, AHostByItsCertificate) {
  const auto known = identify_host(registry, {"web1", "east", "3f2a9c"}, "10.0.0.7:1", now);
  ASSERT_TRUE(known) << render_error(known.error());
  EXPECT_EQ(principal_text(known->principal), "host web1 (certificate 3f2a9c)");
  EXPECT_EQ(known->principal.partition, "east");
  EXPECT_EQ(known->principal.address, "10.0.0.7:1");
}

TEST_F(Identify, NotByOneThatWasReplacedOrRevoked) {
  const auto code = [&](const ShownCertificate& shown) {
    const auto known = identify_host(registry, shown, "", now);
    return known ? ErrorCode::internal : known.error().code();
  };
  EXPECT_EQ(code({"web1", "", "1234"}), ErrorCode::unauthenticated);
  EXPECT_EQ(code({"web2", "", "3f2a9c"}), ErrorCode::unauthenticated);
  now += hours(1);
  EXPECT_EQ(code({"web1", "", "3f2a9c"}), ErrorCode::unauthenticated) << "its overlap is over";
  now -= hours(1);
  registry.hosts["web1"].state = HostState::revoked;
  EXPECT_EQ(code({"web1", "", "3f2a9c"}), ErrorCode::unauthenticated);
}

TEST_F(Identify, AnOperatorByCertificateOrToken) {
  const auto certificate = identify_operator(registry, {"ann", "", "3f2a9c"}, "", now);
  ASSERT_TRUE(certificate);
  EXPECT_EQ(certificate->grants.size(), 1U);
  const auto token =
      identify_bearer(registry, "Bearer cop1.anntoken." + kSecret + kZeroes, "", now);
  ASSERT_TRUE(token) << render_error(token.error());
  EXPECT_EQ(principal_text(token->principal), "operator ann (token anntoken)");
  EXPECT_THAT(principal_text(token->principal), Not(HasSubstr(kSecret)));
  EXPECT_EQ(token->grants.front().role, Role::admin);
  registry.operators.erase("ann");
  EXPECT_FALSE(identify_bearer(registry, "Bearer cop1.anntoken." + kSecret + kZeroes, "", now));
}

TEST_F(Identify, AJoiningHostByItsToken) {
  const JoinTokenText text{"jointoken", crypto::SecretText(kSecret), Digest::of("ca")};
  const auto known =
      identify_bearer(registry, "Bearer " + std::string(text.text().reveal()), "", now);
  ASSERT_TRUE(known) << render_error(known.error());
  EXPECT_EQ(known->principal.kind, Principal::Kind::joining);
}

TEST_F(Identify, NobodyByAnythingElse) {
  for (const std::string& header :
       {std::string("Basic YTpi"), std::string(), "Bearer cop1.anntoken." + kSecret + "x" + kZeroes,
        "Bearer cop1.anntokem." + kSecret + kZeroes, std::string("Bearer x"),
        "bearer cop1.anntoken." + kSecret + kZeroes})
    EXPECT_FALSE(identify_bearer(registry, header, "", now)) << header;
}

TEST_F(Identify, TheUseOfATokenIsNotedOnceAnHour) {
  const Writes first = note_use(registry, "anntoken", now);
  ASSERT_FALSE(first.empty());
  ASSERT_TRUE(registry.apply(first));
  EXPECT_EQ(registry.operator_tokens.at("anntoken").last_used, now);
  EXPECT_TRUE(note_use(registry, "anntoken", now + minutes(59)).empty());
  EXPECT_FALSE(note_use(registry, "anntoken", now + minutes(60)).empty());
  EXPECT_TRUE(note_use(registry, "nobody", now).empty());
}

TEST_F(Identify, TheUseOfACertificateIsNotedOnceAnHour) {
  const ShownCertificate shown{"ann", "", "3f2a9c"};
  const Writes first = note_certificate_use(registry, shown, now);
  ASSERT_FALSE(first.empty());
  ASSERT_TRUE(registry.apply(first));
  EXPECT_EQ(registry.operators.at("ann").certificates.front().last_used, now);
  EXPECT_TRUE(note_certificate_use(registry, shown, now + minutes(59)).empty());
  EXPECT_FALSE(note_certificate_use(registry, shown, now + minutes(60)).empty());
  EXPECT_TRUE(note_certificate_use(registry, {"ann", "", "1234"}, now).empty());
  EXPECT_TRUE(note_certificate_use(registry, {"eve", "", "3f2a9c"}, now).empty());
}

}  // namespace
}  // namespace consort::access
