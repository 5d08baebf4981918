#include "fixture.h"

namespace consort::agent {
namespace {

TEST_F(AgentShellTest, ATransferGoesOnWhereItBrokeOffAlsoInAnotherLife) {
  // Given an artifact of ten pieces and a controller that stops answering after six,
  std::string bytes;
  for (int i = 0; bytes.size() < (1U << 20U); ++i) bytes += std::to_string(i) + ",";
  plan::Manifest shop = heart("1");
  shop.hooks.erase("validate");
  shop.artifacts["blob"] = {plan::Artifact::Kind::file, controller.store.put(bytes).value()};
  controller.piece_bytes = bytes.size() / 10 + 1;
  controller.pieces_left = 9;
  const Digest digest = shop.artifacts["blob"].digest;
  start_agent();
  static_cast<void>(install(shop, "r1"));
  ASSERT_TRUE(eventually([&] { return controller.pieces_left < 0; }));
  // when the agent is killed meanwhile and the controller answers again,
  kill_agent();
  const std::size_t before = controller.ranges().size();
  controller.pieces_left = 1'000'000;
  start_agent();
  const auto report = controller.outcome("shop", "r1");
  ASSERT_TRUE(report);
  EXPECT_EQ(report->outcome->result, plan::Outcome::Result::done) << report->outcome->message;
  // then no piece was sent twice.
  const auto ranges = controller.ranges();
  EXPECT_GT(ranges.size(), before);
  EXPECT_EQ(std::set<std::string>(ranges.begin(), ranges.end()).size(), ranges.size());
  EXPECT_EQ(text_of(service() / "versions" / report->applied->manifest.brief() / "artifacts/blob"),
            bytes);
  EXPECT_EQ(std::count_if(ranges.begin(), ranges.end(),
                          [&](const std::string& r) { return r.starts_with(digest.brief()); }),
            10);
}

TEST_F(AgentShellTest, AnObjectForWhichThereIsNoRoomIsNotBegun) {
  given_version_1_runs();
  plan::Manifest two = heart("2");
  controller.endless = controller.store.put("…").value();
  two.artifacts["endless"] = {plan::Artifact::Kind::file, *controller.endless};
  static_cast<void>(install(two, "r2"));
  const auto report = controller.outcome("shop", "r2");
  ASSERT_TRUE(report);
  EXPECT_EQ(report->outcome->result, plan::Outcome::Result::reverted);
  EXPECT_THAT(report->outcome->message, ::testing::HasSubstr("there is no room for it"));
  EXPECT_TRUE(beats("1"));
}

TEST_F(AgentShellTest, AMissingObjectIsAClearFailureAndChangesNothing) {
  given_version_1_runs();
  plan::Manifest two = heart("2");
  two.artifacts["gone"] = {plan::Artifact::Kind::file, Digest::of("never sent")};
  static_cast<void>(install(two, "r2"));
  const auto report = controller.outcome("shop", "r2");
  ASSERT_TRUE(report);
  EXPECT_EQ(report->outcome->result, plan::Outcome::Result::reverted);
  EXPECT_EQ(report->outcome->step, "fetch");
  EXPECT_TRUE(beats("1"));
}

}  // namespace
}  // namespace consort::agent
