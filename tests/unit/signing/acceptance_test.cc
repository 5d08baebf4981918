// What a host with a trust list takes. The host is web1; shop runs there.
#include "signing/acceptance.h"

#include <gmock/gmock.h>

#include "fixtures/statements.h"

namespace consort::signing {
namespace {

using plan::InstanceState;
using plan::Mode;
using ::testing::HasSubstr;
using tests::version;

class AcceptanceTest : public ::testing::Test {
 protected:
  AcceptanceTest() {
    first.services["shop"] = {version("v1"), {{"web1", {{"address", "10.0.0.1"}}}, {"web2", {}}}};
    first.services["sql"] = {version("sql"), {{"db1", {}}}};
    second = first;
    second.sequence = 2;
    second.previous = tests::digest_of(first);
    second.services["shop"].manifest = version("v2");
    now.host = "web1";
    now.held = &held;
  }
  static InstanceState shop(const std::string& name, Mode mode = Mode::running) {
    return {version(name), mode, {{"address", "10.0.0.1"}}};
  }
  void runs(const InstanceState& state) { now.services["shop"].applied = state; }

  // A target that wants this of the shop, as the statements say.
  plan::Target target(const std::optional<InstanceState>& wanted, const plan::Statement& current,
                      const plan::Statement* previous = nullptr) {
    plan::Target out;
    out.epoch = 1;
    out.seq = ++seq;
    out.instances["shop"] = {wanted, "r" + std::to_string(seq), std::nullopt};
    out.attestation = signers.attest(current, "web1", previous);
    return out;
  }
  Status offer(const plan::Target& target) {
    auto taken = accept(signers.list, accepted, now, target);
    if (!taken) return fail(std::move(taken).error());
    accepted = std::move(*taken);
    return {};
  }
  // The controller's half of a deploy that went well.
  void deployed(const InstanceState& state, const plan::Statement& current,
                const plan::Statement* previous = nullptr) {
    const plan::Target wanted = target(state, current, previous);
    const Status status = offer(wanted);
    ASSERT_TRUE(status) << status.error().message();
    held = wanted;
    runs(state);
  }

  tests::Signers signers{2, 2};
  plan::Statement first = tests::statement(1);
  plan::Statement second;
  plan::Target held;
  HostNow now;
  Accepted accepted;
  std::uint64_t seq = 0;
};

TEST_F(AcceptanceTest, WhatIsSignedIsTaken) {
  deployed(shop("v1"), first);
  EXPECT_EQ(accepted.sequence, 1U);
  deployed(shop("v2"), second, &first);
  EXPECT_EQ(accepted.sequence, 2U);
  EXPECT_EQ(accepted.ran.at("shop"), shop("v1"));
}

TEST_F(AcceptanceTest, AThiefRunsNothingOfItsOwn) {
  deployed(shop("v1"), first);
  // With the right statement, another manifest; without one; with one that is signed by too few.
  plan::Target evil = target(shop("evil"), first);
  EXPECT_FALSE(offer(evil));
  evil.attestation.reset();
  EXPECT_FALSE(offer(evil));
  plan::Statement forged = second;
  forged.services["shop"].manifest = version("evil");
  evil = target(shop("evil"), forged, &first);
  evil.attestation->signatures.erase(evil.attestation->signatures.begin());
  const Status refused = offer(evil);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message(), HasSubstr("1 of 2 needed signatures"));
  // Another's share of what is signed, or a share that is not in the tree.
  evil = target(shop("v1"), first);
  evil.attestation->current = plan::ShareTree(first).part("web2").value();
  evil.instances["shop"].wanted = InstanceState{version("v1"), Mode::running, {}};
  EXPECT_FALSE(offer(evil));
  evil = target(shop("evil"), first);
  evil.attestation->current.share["shop"].manifest = version("evil");
  EXPECT_FALSE(offer(evil));
  EXPECT_EQ(accepted.sequence, 1U);
}

TEST_F(AcceptanceTest, ValuesOfTheHostAreSignedToo) {
  deployed(shop("v1"), first);
  InstanceState elsewhere = shop("v1");
  elsewhere.host["address"] = "10.6.6.6";
  EXPECT_FALSE(offer(target(elsewhere, first)));
}

TEST_F(AcceptanceTest, OneBadEntryRefusesTheWholeTarget) {
  plan::Target both = target(shop("v1"), first);
  both.instances["sql"] = {InstanceState{version("sql"), Mode::running, {}}, "r", std::nullopt};
  EXPECT_FALSE(offer(both)) << "sql belongs on db1";
  EXPECT_EQ(accepted, Accepted());
}

TEST_F(AcceptanceTest, AnOlderStatementIsRefused) {
  deployed(shop("v1"), first);
  deployed(shop("v2"), second, &first);
  plan::Statement third = second;
  third.sequence = 3;
  third.previous = tests::digest_of(second);
  third.services["shop"].manifest = version("v3");
  deployed(shop("v3"), third, &second);
  const Status old = offer(target(shop("v1"), first));
  ASSERT_FALSE(old);
  EXPECT_THAT(old.error().message(), HasSubstr("older"));
  EXPECT_FALSE(offer(target(shop("v1"), third, &second))) << "nor under the newest one's name";
  EXPECT_FALSE(offer(target(shop("v1"), third, &first))) << "first is not the one before";
}

TEST_F(AcceptanceTest, TwoStatementsOfOneNumberAreAConspiracy) {
  deployed(shop("v1"), first);
  plan::Statement twin = first;
  twin.services["shop"].manifest = version("twin");
  EXPECT_FALSE(offer(target(shop("twin"), twin)));
}

TEST_F(AcceptanceTest, TheWayBackOfARolloutIsOpen) {
  deployed(shop("v1"), first);
  deployed(shop("v2"), second, &first);
  EXPECT_TRUE(offer(target(shop("v1"), second, &first)));
}

TEST_F(AcceptanceTest, WhatRanBeforeAnybodySignedMayComeBack) {
  runs(shop("v0"));
  deployed(shop("v1"), first);
  EXPECT_TRUE(offer(target(shop("v0"), first)));
  EXPECT_FALSE(offer(target(shop("older"), first)));
}

TEST_F(AcceptanceTest, NothingGoesThatStatementsWant) {
  deployed(shop("v1"), first);
  deployed(shop("v2"), second, &first);
  const Status removal = offer(target(std::nullopt, second, &first));
  ASSERT_FALSE(removal);
  EXPECT_THAT(removal.error().message(), HasSubstr("does not say that shop goes"));
  plan::Statement third = second;
  third.sequence = 3;
  third.previous = tests::digest_of(second);
  third.services.erase("shop");
  EXPECT_TRUE(offer(target(std::nullopt, third, &second)));
}

TEST_F(AcceptanceTest, OnlyWhatTheStatementHoldsIsStopped) {
  deployed(shop("v1"), first);
  EXPECT_FALSE(offer(target(shop("v1", Mode::stopped), first)));
  second.held = {"shop"};
  EXPECT_TRUE(offer(target(shop("v1", Mode::drained), second, &first)));
  EXPECT_FALSE(offer(target(shop("evil", Mode::drained), second, &first)));
}

TEST_F(AcceptanceTest, HooksComeFromSignedManifestsAndRunOnce) {
  deployed(shop("v1"), first);
  plan::Target with_duty = target(shop("v1"), second, &first);
  plan::Duty duty{"r2/migrate", "migrate", "up", version("v2"), version("v1"), version("v2")};
  with_duty.instances["shop"].duty = duty;
  EXPECT_TRUE(offer(with_duty));
  EXPECT_TRUE(offer(with_duty)) << "the same once more";
  with_duty.instances["shop"].duty->token = "again";
  EXPECT_FALSE(offer(with_duty)) << "a migration is not run twice";
  duty.owner = version("evil");
  with_duty.instances["shop"].duty = duty;
  EXPECT_FALSE(offer(with_duty));
}

TEST_F(AcceptanceTest, WhatChangesNothingNeedsNobodysWord) {
  runs(shop("v0"));
  plan::Target same = target(shop("v0"), first);
  same.attestation.reset();
  EXPECT_TRUE(offer(same));
  EXPECT_EQ(accepted, Accepted());
  plan::Target empty;
  EXPECT_TRUE(offer(empty));
  now.services["shop"].changing = true;
  EXPECT_FALSE(offer(same)) << "in the middle of a change it would turn it round";
}

TEST_F(AcceptanceTest, IsReadBack) {
  runs(shop("v0"));
  deployed(shop("v1"), first);
  accepted.duties["shop migrate up x"] = "token";
  EXPECT_EQ(accepted_from_json(accepted_to_json(accepted)).value(), accepted);
}

}  // namespace
}  // namespace consort::signing
