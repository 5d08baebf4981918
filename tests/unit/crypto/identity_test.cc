// Who a certificate speaks for, as a URI.
#include "crypto/identity.h"

#include <gmock/gmock.h>

namespace consort::crypto {
namespace {

TEST(Identity, EachKindHasItsUri) {
  const std::pair<Identity, std::string> examples[] = {
      {{IdentityKind::host, "prod", "web1.example.org"}, "consort://prod/host/web1.example.org"},
      {{IdentityKind::operator_, "prod", "ann@example.org"},
       "consort://prod/operator/ann%40example.org"},
      {{IdentityKind::controller, "eu west", "c/1"}, "consort://eu%20west/controller/c%2F1"},
      {{IdentityKind::host, "prod", "m\u00fcller%"}, "consort://prod/host/m%C3%BCller%25"}};
  for (const auto& [identity, uri] : examples) {
    EXPECT_EQ(identity.uri(), uri);
    EXPECT_EQ(identity_from_uri(uri).value(), identity);
  }
}

TEST(Identity, WhatIsNoneIsRefused) {
  for (const std::string bad : {"",
                                "consort://",
                                "consort://prod",
                                "consort://prod/host",
                                "consort://prod/host/",
                                "consort:///host/web1",
                                "consort://prod/host/web1/",
                                "consort://prod/host/web1/x",
                                "consort://prod/root/web1",
                                "consort://prod/HOST/web1",
                                "http://prod/host/web1",
                                "Consort://prod/host/web1",
                                "consort://prod/host/web1%",
                                "consort://prod/host/web1%2",
                                "consort://prod/host/web1%zz",
                                "consort://prod/host/%2e%2e",
                                "consort://prod/host/..",
                                "consort://./host/web1",
                                "consort://prod/host/web1%00",
                                "consort://prod/host/web1%0A",
                                "consort://prod/host/%FF",
                                "consort://prod/host/web1?x",
                                "consort://prod/host/web1#x",
                                "consort://a@prod/host/web1",
                                "consort://prod:1/host/web1"}) {
    const auto identity = identity_from_uri(bad);
    ASSERT_FALSE(identity) << bad;
    EXPECT_EQ(identity.error().code(), ErrorCode::invalid_input);
    EXPECT_FALSE(identity.error().hint_text().empty()) << bad;
  }
}

TEST(Identity, HasOneUriOnly) {
  for (const std::string other : {"consort://prod/host/%77eb1", "consort://prod/host/a%2fb",
                                  "consort://prod/host/m\xc3\xbcller"})
    EXPECT_FALSE(identity_from_uri(other)) << other;
}

TEST(Identity, NamesAreBounded) {
  EXPECT_TRUE(validate_identity({IdentityKind::host, "prod", std::string(253, 'x')}));
  EXPECT_FALSE(validate_identity({IdentityKind::host, "prod", std::string(254, 'x')}));
  EXPECT_FALSE(validate_identity({IdentityKind::host, std::string(254, 'x'), "web1"}));
  EXPECT_FALSE(validate_identity({IdentityKind::host, "prod", std::string("web1\0x", 6)}));
  EXPECT_FALSE(validate_identity({IdentityKind::host, "", "web1"}));
  EXPECT_FALSE(identity_from_uri("consort://prod/host/" + std::string(100'000, 'x')));
  const Identity longest{IdentityKind::controller, std::string(253, ' '), std::string(253, '/')};
  EXPECT_EQ(identity_from_uri(longest.uri()).value(), longest);
}

}  // namespace
}  // namespace consort::crypto
