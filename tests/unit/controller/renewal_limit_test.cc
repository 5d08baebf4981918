// New certificates are given when they are needed, and not as often as somebody likes.
#include "controller/renewal_limit.h"

#include "unit/controller/controller_at_home.h"

namespace consort::controller {
namespace {

constexpr Instant kNoon = Instant(hours(24 * 20'000));

TEST(RenewalLimit, WhoLostAnswersMayAskAgainAndThenWaits) {
  RenewalLimit limit;
  for (int i = 0; i < RenewalLimit::kAtOnce; ++i) EXPECT_TRUE(limit.take("host web1", kNoon)) << i;
  const Status refused = limit.take("host web1", kNoon);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), ErrorCode::unavailable);
  EXPECT_THAT(refused.error().hint_text(), ::testing::HasSubstr("in 30 s"));
  EXPECT_TRUE(limit.take("host web2", kNoon)) << "others do not suffer";
  // One comes free after a while, and only one.
  EXPECT_FALSE(limit.take("host web1", kNoon + RenewalLimit::kEvery - Duration(1)));
  EXPECT_TRUE(limit.take("host web1", kNoon + RenewalLimit::kEvery));
  EXPECT_FALSE(limit.take("host web1", kNoon + RenewalLimit::kEvery));
}

TEST(RenewalLimit, AClockThatIsSetBackLocksNobodyOut) {
  RenewalLimit limit;
  for (int i = 0; i < RenewalLimit::kAtOnce; ++i) ASSERT_TRUE(limit.take("host web1", kNoon));
  const Instant back = kNoon - hours(100);
  EXPECT_FALSE(limit.take("host web1", back));
  EXPECT_TRUE(limit.take("host web1", back + RenewalLimit::kEvery));
}

TEST(RenewalLimit, WhoHasPaidIsForgotten) {
  RenewalLimit limit;
  for (int i = 0; i < 5000; ++i)
    ASSERT_TRUE(limit.take("host " + std::to_string(i), kNoon + i * RenewalLimit::kEvery));
  EXPECT_LE(limit.remembered(), 1001U);
}

class Renewing : public tests::ControllerAtHome {};

TEST_F(Renewing, AViewerDoesNotFillTheAuditLog) {
  start();
  const std::string ann = operator_token("ann", viewer());
  const std::string ben = operator_token("ben", viewer());
  const auto ask = [&](const std::string& token) {
    const auto key = crypto::PrivateKey::generate(crypto::KeyKind::ecdsa_p256);
    const Json body = Json::object(
        {{"request",
          crypto::make_request(key, {crypto::IdentityKind::operator_, "any", "ann"}).value()}});
    return refusal(client(std::nullopt, token), "POST", "/v1/renew", body);
  };
  const std::size_t before = audit().size();
  int given = 0;
  for (int i = 0; i < 3 * RenewalLimit::kAtOnce; ++i) given += ask(ann) ? 0 : 1;
  EXPECT_GE(given, RenewalLimit::kAtOnce);
  EXPECT_LT(given, 3 * RenewalLimit::kAtOnce);
  EXPECT_EQ(audit().size(), before + static_cast<std::size_t>(given));
  EXPECT_EQ(ask(ben), std::nullopt);
}

}  // namespace
}  // namespace consort::controller
