// What hosts and holders of join tokens can write into logs that only grow.
#include "controller/telling_limits.h"

#include <algorithm>

#include "controller/renewal_limit.h"
#include "unit/controller/controller_at_home.h"

namespace consort::controller {
namespace {

constexpr Instant kNoon = Instant(hours(24 * 20'000));

TEST(OnceAMinute, TheSameIsTakenAgainAfterAMinuteAndOthersAtOnce) {
  OnceAMinute limit;
  EXPECT_TRUE(limit.take("token1 web1", kNoon));
  EXPECT_FALSE(limit.take("token1 web1", kNoon + OnceAMinute::kGrain - Duration(1)));
  EXPECT_TRUE(limit.take("token1 web2", kNoon));
  EXPECT_TRUE(limit.take("token1 web1", kNoon + OnceAMinute::kGrain));
  EXPECT_TRUE(limit.take("token1 web1", kNoon - hours(1))) << "a clock that was set back";
}

TEST(OnceAMinute, WhatIsPastIsForgotten) {
  OnceAMinute limit;
  for (int i = 0; i < 5000; ++i)
    ASSERT_TRUE(limit.take("token1 web" + std::to_string(i), kNoon + i * OnceAMinute::kGrain));
  EXPECT_LE(limit.remembered(), 1001U);
}

TEST(ToldFindings, AHostThatAlwaysSaysSomethingElseFillsItsOwnShare) {
  ToldFindings told;
  std::size_t taken = 0;
  for (int i = 0; i < 1000; ++i) taken += told.take("web1", std::to_string(i), kNoon) ? 1 : 0;
  EXPECT_EQ(taken, ToldFindings::kOfHost);
  EXPECT_TRUE(told.take("web2", "a real clone", kNoon));
  EXPECT_FALSE(told.take("web2", "a real clone", kNoon + hours(100))) << "told once is enough";
  EXPECT_FALSE(told.take("web1", "x", kNoon + ToldFindings::kShareOf - Duration(1)));
  EXPECT_TRUE(told.take("web1", "x", kNoon + ToldFindings::kShareOf));
}

class Flooding : public tests::ControllerAtHome {
 protected:
  void SetUp() override {
    ControllerAtHome::SetUp();
    start();
  }
  static Json joining(const crypto::PrivateKey& key, const std::string& name) {
    return Json::object({{"request", request_of(key, name)}});
  }
  static crypto::PrivateKey new_key() {
    return crypto::PrivateKey::generate(crypto::KeyKind::ecdsa_p256);
  }
  // That were added by it.
  std::size_t entries_of(const std::function<void()>& act) {
    const std::size_t before = audit().size();
    act();
    return audit().size() - before;
  }
};

TEST_F(Flooding, AJoinTokenThatIsNeverUsedUpMakesOneClaimAMinute) {
  joined("w1", join_token());
  const std::string token = join_token(1);
  const auto added = entries_of([&] {
    for (int i = 0; i < 20; ++i)
      EXPECT_EQ(refusal(client(std::nullopt, token), "POST", "/v1/join", joining(new_key(), "w1")),
                ErrorCode::conflict);
  });
  EXPECT_EQ(added, 1U);
  // Another token is another holder, and is heard.
  const std::string other = join_token(1);
  EXPECT_EQ(entries_of([&] {
              refusal(client(std::nullopt, other), "POST", "/v1/join", joining(new_key(), "w1"));
            }),
            1U)
      << "another holder is heard";
}

TEST_F(Flooding, AMachineThatClaimsManyNamesWithTheKeyOfOneHostIsToldOnceAMinute) {
  const std::string token = join_token(2);
  const Host w1 = joined("w1", token);
  const auto added = entries_of([&] {
    for (int i = 0; i < 20; ++i)
      EXPECT_EQ(refusal(client(std::nullopt, token), "POST", "/v1/join",
                        joining(w1.key, "a" + std::to_string(i))),
                ErrorCode::conflict);
  });
  EXPECT_EQ(added, 1U);
}

TEST_F(Flooding, AHostThatHasJoinedDoesNotGetACertificateAsOftenAsItAsks) {
  const std::string token = join_token(1);
  const Host w1 = joined("w1", token);
  const auto added = entries_of([&] {
    for (int i = 0; i < 3 * RenewalLimit::kAtOnce; ++i)
      refusal(client(std::nullopt, token), "POST", "/v1/join", joining(w1.key, "w1"));
  });
  EXPECT_LT(added, 2U * RenewalLimit::kAtOnce);
  EXPECT_GE(added, RenewalLimit::kAtOnce - 1U) << "lost answers are asked for again";
}

TEST_F(Flooding, AHostTellsNewKeysForSecretsWhenItNeedsThemAndNotAsOftenAsItLikes) {
  const Host w1 = joined("w1", join_token());
  std::string last;
  const auto tell = [&] {
    const std::string key =
        crypto::PrivateKey::generate(crypto::KeyKind::x25519).public_key().to_text();
    const auto refused =
        refusal(client(w1.shown), "PUT", "/v1/agents/w1/key", Json::object({{"key", key}}));
    if (!refused) last = key;
    return refused;
  };
  const auto added = entries_of([&] {
    for (int i = 0; i < 3 * RenewalLimit::kAtOnce; ++i) tell();
  });
  EXPECT_LT(added, 2U * RenewalLimit::kAtOnce);
  EXPECT_EQ(tell(), ErrorCode::unavailable);
  // The last one that was taken is valid, and may be told again.
  EXPECT_EQ(refusal(client(w1.shown), "PUT", "/v1/agents/w1/key", Json::object({{"key", last}})),
            std::nullopt);
}

TEST(ReportPace, MuchAtOnceAndLittleForEver) {
  ReportPace pace;
  Instant now = from_millis(1'700'000'000'000);
  constexpr std::size_t kReport = 4U << 20U;
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(pace.take("w1", kReport, now));
  EXPECT_FALSE(pace.take("w1", kReport, now));
  EXPECT_TRUE(pace.take("w2", kReport, now)) << "another has its own share";
  now += seconds(63);
  EXPECT_FALSE(pace.take("w1", kReport, now));
  now += seconds(1);
  EXPECT_TRUE(pace.take("w1", kReport, now));
  // A day of it, against what can be regained in a day.
  std::size_t taken = 0;
  for (int i = 0; i < 24 * 3600; ++i) {
    now += seconds(1);
    taken += pace.take("w1", kReport, now) ? kReport : 0;
  }
  EXPECT_LE(taken, std::size_t{24} * 3600 * ReportPace::kEachSecond + ReportPace::kAtOnce);
  EXPECT_TRUE(pace.take("w1", std::size_t{100} << 20U, now + hours(10'000)));
}

TEST_F(Flooding, OneHostDoesNotSilenceWhatIsFoundAboutOthers) {
  const auto join_as = [&](const std::string& name) {
    crypto::PrivateKey key = new_key();
    Json body = joining(key, name);
    body["machine"] = "machine-of-" + name;
    const Json answer = order(client(std::nullopt, join_token()), "POST", "/v1/join", body);
    return Host{key, {answer.string_or("certificate"), key.to_pem()}};
  };
  const Host w1 = join_as("w1");
  const Host w2 = join_as("w2");
  std::uint64_t number = 0;
  const auto reports = [&](const Host& host, const std::string& name, const std::string& machine) {
    plan::HostReport report;
    report.host = name;
    report.number = ++number;
    report.facts["machine.id"] = machine;
    order(client(host.shown), "POST", "/v1/agents/" + name + "/reports",
          plan::host_report_to_json(report));
  };
  EXPECT_EQ(entries_of([&] {
              for (int i = 0; i < 30; ++i) reports(w1, "w1", std::to_string(i));
            }),
            ToldFindings::kOfHost);
  EXPECT_EQ(entries_of([&] { reports(w2, "w2", "\x1b[31m\nother"); }), 1U);
  const std::string reason = audit().back().note.reason;
  EXPECT_THAT(reason, ::testing::HasSubstr("host w2 joined"));
  EXPECT_EQ(std::count_if(reason.begin(), reason.end(), [](char c) { return c < ' '; }), 0)
      << "its words make no lines of the log";
}

}  // namespace
}  // namespace consort::controller
