// Hosts that were told something by a rollout, and that answer when it has ended, or never.
#include "controller/commit_order.h"
#include "unit/controller/core_fixture.h"

namespace consort::controller {
namespace {

using rollout::Result;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using tests::Model;

class Stragglers : public ControllerCore {
 protected:
  [[nodiscard]] static Model site_with_slots(const std::string& version, std::int64_t slots) {
    Model out = site(version);
    out.generation.policy.max_unavailable = budget::Amount{slots, false};
    return out;
  }
  [[nodiscard]] std::string wanted_on(const std::string& host) const {
    const auto target = core->target_of(host);
    return manifests.at(target->instances.at("app").wanted->manifest).version;
  }
  [[nodiscard]] std::set<std::string> holders() const {
    std::set<std::string> out;
    const auto budget = core->budgets().find("web");
    if (budget == core->budgets().end()) return out;
    for (const auto& [host, reasons] : budget->second.holders) out.insert(host);
    return out;
  }
  // The host takes its target, and falls silent before it begins.
  void falls_silent(const std::string& host) {
    agents[host].epoch = core->target_of(host)->epoch;
    agents[host].seq = core->target_of(host)->seq;
    report(host);
    agents[host].down = true;
    take(core->on_silence(host, now));
  }
  // It goes on with the target that it has taken.
  void carries_out_what_it_was_told(const std::string& host) {
    agents[host].down = false;
    agents[host].seq = 0;
    const plan::TargetEntry entry = core->target_of(host)->instances.at("app");
    plan::InstanceReport& app = agents[host].instances.at("app");
    app.applied = entry.wanted;
    app.outcome->attempt = entry.attempt;
    agents[host].seq = core->target_of(host)->seq;
    take(core->on_contact(host, now));
    report(host);
  }
  void given_w1_was_told_v2_and_fell_silent(const Model& v2) {
    given_v1_is_deployed();
    const auto id = deploy(request(v2));
    ASSERT_TRUE(id) << render_error(id.error());
    ASSERT_EQ(wanted_on("w1"), "v2");
    falls_silent("w1");
    rollout = *id;
  }
  // Until it has ended, with everybody else in sight.
  void ends() {
    for (int i = 0; i < 200 && result_of(rollout) == Result::open; ++i) {
      now += seconds(1);
      agents_act();
      if (core->wake() && *core->wake() <= now) take(core->tick(now));
    }
    ASSERT_NE(result_of(rollout), Result::open);
  }

  std::string rollout;
};

TEST_F(Stragglers, I4_WhoWasToldJustBeforeAnAbortDoesNotGoForwardWhenItReturns) {
  given_w1_was_told_v2_and_fell_silent(site_with_slots("v2", 2));
  ASSERT_TRUE(control(rollout, Core::Control::abort));
  ends();
  EXPECT_EQ(wanted_on("w1"), "v1");
  EXPECT_THAT(holders(), ElementsAre("w1"));
  restart();
  EXPECT_EQ(wanted_on("w1"), "v1");
  EXPECT_THAT(holders(), ElementsAre("w1"));
  agents["w1"].down = false;
  settle();
  EXPECT_EQ(version_on("w1", "app"), "v1");
  EXPECT_THAT(holders(), IsEmpty());
}

// It knows nothing of the service yet when it falls silent, so nothing that it has said tells how
// it ends.
TEST_F(Stragglers, I4_WhomOnlyAnAbortedRolloutBroughtTakesBackWhatItBegins) {
  given_v1_is_deployed(2);
  const Model grown = site("v1", 3);
  hosts_join(grown);
  take(core->on_poll("w3", 0, 0, now));
  const auto id = deploy(request(grown));
  ASSERT_TRUE(id) << render_error(id.error());
  rollout = *id;
  ASSERT_EQ(wanted_on("w3"), "v1");
  falls_silent("w3");
  ASSERT_TRUE(control(rollout, Core::Control::abort));
  ends();
  const auto given = [&] { return core->target_of("w3")->instances; };
  ASSERT_TRUE(given().contains("app")) << "else it would end what it has begun";
  EXPECT_FALSE(given().at("app").wanted);
  restart();
  ASSERT_TRUE(given().contains("app"));
  agents["w3"].down = false;
  settle();
  EXPECT_EQ(version_on("w3", "app"), "nothing");
}

TEST_F(Stragglers, I4_AfterAPauseToo) {
  given_w1_was_told_v2_and_fell_silent(site("v2"));
  ASSERT_TRUE(control(rollout, Core::Control::pause));
  for (int i = 0; i < 600; ++i) {
    time_passes(seconds(1));
    for (const std::string host : {"w2", "w3", "d1"}) take(core->on_contact(host, now));
  }
  ASSERT_TRUE(control(rollout, Core::Control::abort));
  ends();
  EXPECT_EQ(wanted_on("w1"), "v1");
  EXPECT_THAT(holders(), ElementsAre("w1"));
}

TEST_F(Stragglers, I4_AHaltLeavesItsSlotToWhoHasNotAnswered) {
  Model v2 = site_with_slots("v2", 2);
  v2.generation.policy.on_failure = plan::OnFailure::halt;
  given_v1_is_deployed();
  agents["w2"].failing.insert("v2");
  const auto id = deploy(request(v2));
  ASSERT_TRUE(id) << render_error(id.error());
  rollout = *id;
  falls_silent("w1");
  ends();
  ASSERT_EQ(result_of(rollout), Result::inconsistent);
  EXPECT_THAT(holders(), ElementsAre("w1"));
  restart();
  EXPECT_THAT(holders(), ElementsAre("w1"));
  // When it returns it ends what it was told, and is left as it is then.
  carries_out_what_it_was_told("w1");
  settle();
  EXPECT_EQ(version_on("w1", "app"), "v2");
  EXPECT_THAT(holders(), IsEmpty());
  EXPECT_THAT(story, Contains("straggler app@w1"));
  for (const auto& [key, value] : store) EXPECT_FALSE(key.starts_with("tail/")) << key;
}

TEST_F(Stragglers, WhomAHaltedRolloutHasBroughtSomewhereIsNotLedElsewhereByAnEarlierOne) {
  // Given a straggler of version 2,
  given_v1_is_deployed();
  Model v2 = site_with_slots("v2", 2);
  v2.generation.policy.max_failures = {1, false};
  agents["w1"].down = true;
  take(core->on_silence("w1", now));
  const auto second = deploy(request(v2));
  ASSERT_TRUE(second) << render_error(second.error());
  rollout = *second;
  ends();
  ASSERT_EQ(result_of(rollout), Result::partial);
  // and a rollout of version 3 that reaches it and is halted by another one's failure,
  Model v3 = site_with_slots("v3", 1);
  v3.generation.policy.on_failure = plan::OnFailure::halt;
  agents["w2"].failing.insert("v3");
  core.reset();  // it comes back while nobody listens
  restart();
  agents["w1"].down = false;
  const auto third = deploy(request(v3));
  ASSERT_TRUE(third) << render_error(third.error());
  rollout = *third;
  ends();
  settle();
  ASSERT_EQ(result_of(rollout), Result::inconsistent);
  // then it stays where that one has brought it.
  EXPECT_EQ(version_on("w1", "app"), "v3");
}

TEST_F(Stragglers, ANewerGenerationReplacesWhatAStragglerWasTold) {
  // Given a straggler that was told version 2 and has not begun,
  Model v2 = site_with_slots("v2", 2);
  v2.generation.policy.max_failures = {1, false};
  given_w1_was_told_v2_and_fell_silent(v2);
  ends();
  ASSERT_EQ(result_of(rollout), Result::partial);
  // when all others have gone back to version 1, which it still has,
  const auto back = deploy(request(site_with_slots("v1", 2)));
  ASSERT_TRUE(back) << render_error(back.error());
  rollout = *back;
  ends();
  ASSERT_EQ(result_of(rollout), Result::done);
  EXPECT_THAT(holders(), ElementsAre("w1"));
  // then it is not version 2 that it begins with when it returns.
  agents["w1"].down = false;
  take(core->on_contact("w1", now));
  EXPECT_EQ(wanted_on("w1"), "v1");
  settle();
  EXPECT_EQ(version_on("w1", "app"), "v1");
  EXPECT_THAT(holders(), IsEmpty());
}

TEST_F(Stragglers, AfterACrashWhileARolloutEndsItsUnansweredHostsStillHoldSlots) {
  given_w1_was_told_v2_and_fell_silent(site_with_slots("v2", 2));
  ASSERT_TRUE(control(rollout, Core::Control::abort));
  // Given the event that ends it,
  std::optional<Output> end;
  for (int i = 0; i < 200 && !end; ++i) {
    now += seconds(1);
    for (const std::string host : {"w2", "w3", "d1"}) take(core->on_contact(host, now));
    agents_act();
    ASSERT_EQ(result_of(rollout), Result::open);
    Output out = core->tick(now);
    if (result_of(rollout) != Result::open)
      end = std::move(out);
    else
      take(out);
  }
  ASSERT_TRUE(end);
  // when the controller dies while it writes it down, at whatever place,
  const std::vector<Writes> parts = in_transactions(end->writes, {1, 1'000'000});
  ASSERT_GT(parts.size(), 3U);
  for (std::size_t written = 0; written <= parts.size(); ++written) {
    Store left = store;
    for (std::size_t i = 0; i < written; ++i) apply_writes(left, parts[i]);
    auto next = Core::restore(left);
    ASSERT_TRUE(next) << render_error(next.error());
    next->start(now);
    EXPECT_TRUE(next->budgets().at("web").holders.contains("w1"))
        << "after " << written << " of " << parts.size();
  }
}

TEST(StragglerText, IsReadAsItWasWritten) {
  for (const auto fate : {Straggler::Fate::converges, Straggler::Fate::stays}) {
    const Straggler again = straggler_from_text(straggler_to_text({"r000012.e3", fate}));
    EXPECT_EQ(again.rollout, "r000012.e3");
    EXPECT_EQ(again.fate, fate);
  }
  EXPECT_EQ(straggler_from_text("r000001").fate, Straggler::Fate::converges);
}

}  // namespace
}  // namespace consort::controller
