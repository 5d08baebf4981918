// Certificates and requests as they come from others.
#include "crypto/certificates.h"

#include <gmock/gmock.h>
#include <openssl/err.h>

#include "crypto/authority.h"
#include "hostile.h"

namespace consort::crypto {
namespace {

using testing::HasSubstr;
using tests::Name;

const Identity kWeb1{IdentityKind::host, "prod", "web1"};
const Instant kNow = parse_instant("2026-01-31T12:00:00Z").value();

const PrivateKey& a_key() {
  static const PrivateKey key = PrivateKey::generate(KeyKind::ecdsa_p256);
  return key;
}

TEST(Request, SaysWhoItIsForAndProvesItsKey) {
  const std::string pem = make_request(a_key(), kWeb1).value();
  const auto request = parse_request(pem);
  ASSERT_TRUE(request) << request.error().message();
  EXPECT_EQ(request->key, a_key().public_key());
  EXPECT_EQ(request->identity, kWeb1);
}

TEST(Request, WithABrokenSignatureIsRefused) {
  const std::string pem = tests::with_a_flipped_byte(make_request(a_key(), kWeb1).value(), 3);
  const auto request = parse_request(pem);
  ASSERT_FALSE(request);
  EXPECT_EQ(request.error().code(), ErrorCode::invalid_input);
  EXPECT_THAT(request.error().message(), HasSubstr("not signed with the key"));
}

TEST(Request, ForSeveralIdentitiesIsRefused) {
  const auto request = parse_request(tests::request_with_names(
      a_key(), {{Name::Kind::uri, kWeb1.uri()}, {Name::Kind::uri, kWeb1.uri() + "0"}}));
  ASSERT_FALSE(request);
  EXPECT_THAT(request.error().message(), HasSubstr("several URI names"));
}

TEST(Request, ForNobodyIsRefused) {
  for (const std::vector<Name>& names :
       {std::vector<Name>{{Name::Kind::dns, "web1"}},
        std::vector<Name>{{Name::Kind::uri, "https://example.org/"}},
        std::vector<Name>{{Name::Kind::uri, "consort://prod/root/web1"}},
        std::vector<Name>{{Name::Kind::uri, std::string("consort://prod/host/web1\0.x", 27)}},
        std::vector<Name>{{Name::Kind::uri, kWeb1.uri()},
                          {Name::Kind::dns, std::string("web1\0.example.org", 17)}},
        std::vector<Name>{{Name::Kind::uri, "consort://prod/host/" + std::string(254, 'x')}}}) {
    const auto request = parse_request(tests::request_with_names(a_key(), names));
    ASSERT_FALSE(request) << names.front().bytes;
    EXPECT_EQ(request.error().code(), ErrorCode::invalid_input);
  }
}

TEST(Request, IsForAKeyThatCertificatesHave) {
  const auto rsa = parse_request(tests::rsa_request());
  ASSERT_FALSE(rsa);
  EXPECT_EQ(rsa.error().code(), ErrorCode::unsupported);
  EXPECT_FALSE(make_request(PrivateKey::generate(KeyKind::ed25519), kWeb1));
  EXPECT_FALSE(make_request(a_key(), {IdentityKind::host, "prod", "a\nb"}));
}

TEST(Request, WhatIsNoneIsRefused) {
  const std::string pem = make_request(a_key(), kWeb1).value();
  for (const std::string& bad : {std::string(), std::string("x"), pem.substr(0, pem.size() / 2)})
    EXPECT_EQ(parse_request(bad).error().code(), ErrorCode::invalid_input);
  EXPECT_EQ(parse_request(pem + std::string(kPemLimit, '\n')).error().code(), ErrorCode::too_large);
}

TEST(Certificate, WithSeveralUrisIsRefused) {
  const auto certificate = Certificate::from_pem(tests::self_signed_with_names(
      a_key(), {{Name::Kind::uri, kWeb1.uri()}, {Name::Kind::uri, "https://example.org/"}}));
  ASSERT_FALSE(certificate);
  EXPECT_EQ(certificate.error().code(), ErrorCode::invalid_input);
  EXPECT_THAT(certificate.error().message(), HasSubstr("several URI names"));
}

TEST(Certificate, WithAHiddenEndInANameIsRefused) {
  for (const Name& name :
       {Name{Name::Kind::uri, std::string("consort://prod/host/web1\0", 25)},
        Name{Name::Kind::dns, std::string("controller\0.evil.example", 24)},
        Name{Name::Kind::dns, "a\nb"}, Name{Name::Kind::uri, "https://x\x7f/"}}) {
    const auto certificate = Certificate::from_pem(tests::self_signed_with_names(a_key(), {name}));
    ASSERT_FALSE(certificate) << name.bytes;
    EXPECT_EQ(certificate.error().code(), ErrorCode::invalid_input);
  }
}

TEST(Certificate, WithoutAnIdentityIsReadButSpeaksForNobody) {
  const auto certificate = Certificate::from_pem(tests::self_signed_with_names(
      a_key(), {{Name::Kind::dns, "www.example.org"}, {Name::Kind::uri, "https://example.org/"}}));
  ASSERT_TRUE(certificate) << certificate.error().message();
  EXPECT_EQ(certificate->extra_names().dns, std::vector<std::string>{"www.example.org"});
  EXPECT_THAT(certificate->identity().error().message(), HasSubstr("no Consort identity"));
  EXPECT_EQ(certificate->serial(), "07");
}

TEST(Certificate, WhatIsNoneIsRefused) {
  const std::string pem = tests::self_signed_with_names(a_key(), {{Name::Kind::uri, kWeb1.uri()}});
  ASSERT_TRUE(Certificate::from_pem(pem));
  for (const std::string& bad :
       {std::string(), std::string("x"), pem.substr(0, pem.size() / 2),
        pem + pem.substr(0, pem.size() / 2), std::string(a_key().to_pem().reveal())}) {
    EXPECT_EQ(Certificate::from_pem(bad).error().code(), ErrorCode::invalid_input) << bad;
    EXPECT_EQ(certificates_from_pem(bad).error().code(), ErrorCode::invalid_input) << bad;
  }
  EXPECT_EQ(Certificate::from_pem(pem + pem).error().code(), ErrorCode::invalid_input);
  EXPECT_EQ(certificates_from_pem(pem + "a remark\n" + pem).value().size(), 2U);
  EXPECT_EQ(Certificate::from_pem(pem + std::string(kPemLimit, '\n')).error().code(),
            ErrorCode::too_large);
  std::string many;
  for (int i = 0; i < 33; ++i) many += pem;
  EXPECT_EQ(certificates_from_pem(many).error().code(), ErrorCode::too_large);
}

// A TLS connection of the same thread would take them for its own.
TEST(Certificate, FailuresLeaveNothingInOpenSslsErrorQueue) {
  EXPECT_FALSE(Certificate::from_pem("x"));
  EXPECT_FALSE(parse_request("x"));
  EXPECT_FALSE(PrivateKey::from_pem("x"));
  EXPECT_FALSE(PublicKey::from_text("p256:AAAA"));
  const auto own = Certificate::from_pem(
      tests::self_signed_with_names(a_key(), {{Name::Kind::uri, kWeb1.uri()}}));
  ERR_clear_error();
  EXPECT_FALSE(verify(*own, {}, kNow));
  EXPECT_FALSE(own->identity() && Certificate::from_pem("x"));
  EXPECT_EQ(ERR_peek_error(), 0U);
}

}  // namespace
}  // namespace consort::crypto
