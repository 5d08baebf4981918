// What hosts say in words, on its way to operators' terminals.
#include "controller/host_texts.h"

#include "unit/controller/stage.h"

namespace consort::controller {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using tests::Model;

class ControllerHostTexts : public tests::Stage {
 protected:
  static Model site(const std::string& version) {
    Model model;
    model.host("w1", "web").host("w2", "web");
    model.service("app", "web", version);
    return model;
  }
};

TEST_F(ControllerHostTexts, WhatAHostSaysSteersNobodysTerminal) {
  hosts_join(site("v1"));
  ASSERT_TRUE(deploy(request(site("v1"))));
  settle();
  // Given root on w1, who writes what clears the screen and forges lines into every text,
  const std::string evil =
      "a\x1b[2J\x7f\xc2\x9b"
      "1m\tb\nw2 healthy\r";
  plan::HostReport report = report_of("w1");
  report.untrusted = evil;
  report.facts = {{"os" + evil, evil}};
  report.access = plan::AccessReport{false, evil, Digest()};
  plan::InstanceReport& app = report.instances.at("app");
  app.health_reason = app.step = evil;
  plan::Outcome bad;
  bad.attempt = bad.step = bad.message = bad.tail = bad.lost = evil;
  app.outcome = bad;
  app.duties.emplace("token", bad);
  // when it is reported, also while it has broken a rollout,
  ASSERT_TRUE(deploy(request(site("v2"))));
  app.outcome->attempt = core->target_of("w1")->instances.at("app").attempt;
  app.outcome->result = plan::Outcome::Result::failed;
  app.step.clear();
  take(core->on_report(report, now));
  // then neither what is kept nor what is told has a control character but for tabs and newlines,
  for (const auto& [key, value] : store) {
    for (const std::string_view sign : {"\\u001b", "\x1b", "\x7f", "\\u007f", "\\r", "\xc2\x9b"})
      EXPECT_THAT(value, Not(HasSubstr(std::string(sign)))) << key;
  }
  // and only the end of a hook's output has lines.
  const plan::HostReport& kept = core->hosts().at("w1").report;
  const plan::InstanceReport& shown = kept.instances.at("app");
  const std::string line =
      "a?[2J?\xc2\xbf"
      "1m\tb w2 healthy?";
  for (const std::string& text :
       {kept.untrusted, kept.access->problem, shown.health_reason, shown.outcome->message,
        shown.outcome->lost, shown.duties.at("token").step})
    EXPECT_EQ(text, line);
  EXPECT_EQ(kept.facts.at("os" + line), line);
  EXPECT_EQ(shown.outcome->tail,
            "a?[2J?\xc2\xbf"
            "1m\tb\nw2 healthy?");
}

TEST_F(ControllerHostTexts, WhatAHostSaysIsKeptOnlyAsFarAsItIsOfUse) {
  hosts_join(site("v1"));
  ASSERT_TRUE(deploy(request(site("v1"))));
  settle();
  // Given an agent that fills every text that there is,
  const std::string much = std::string(300'000, 'm') + "the end";
  plan::HostReport report = report_of("w1");
  report.boot_id = report.untrusted = much;
  for (int i = 0; i < 3000; ++i) report.facts.emplace("fact" + std::to_string(i), "x");
  report.facts.emplace("a" + much, "x");
  report.facts.emplace("address", much);
  report.access = plan::AccessReport{false, much, Digest()};
  plan::InstanceReport& app = report.instances.at("app");
  app.health_reason = app.step = much;
  app.applied->host = {{"address", "10.0.0.1"}, {"labels.rack", much}};
  plan::Outcome bad;
  bad.attempt = bad.step = bad.message = bad.tail = bad.lost = much;
  app.outcome = bad;
  app.duties.emplace(much, bad);
  for (int i = 0; i < 200; ++i) app.duties.emplace("token" + std::to_string(i), plan::Outcome());
  app.duties.begin()->second = bad;
  // when it is reported,
  take(core->on_report(report, now));
  // then little of it stays, of a hook's output the end.
  const plan::HostReport& kept = core->hosts().at("w1").report;
  const plan::InstanceReport& shown = kept.instances.at("app");
  for (const std::string& text : {kept.untrusted, kept.access->problem, shown.health_reason,
                                  shown.outcome->message, shown.outcome->lost})
    EXPECT_LE(text.size(), kMostHostText);
  for (const std::string& name : {kept.boot_id, shown.step, shown.outcome->attempt})
    EXPECT_LE(name.size(), kMostHostName);
  EXPECT_LE(shown.outcome->tail.size(), kMostHostTail);
  EXPECT_TRUE(shown.outcome->tail.ends_with("the end"));
  EXPECT_EQ(kept.facts.size(), kMostFacts - 1) << "an address that is none is no fact";
  EXPECT_EQ(shown.duties.size(), kMostDuties);
  EXPECT_EQ(shown.applied->host.size(), 1U);
  EXPECT_LT(store.at("hosts/w1").size(), 100'000U);
}

TEST(HostTexts, MoreInstancesThanAnyHostHasAreRefused) {
  plan::HostReport report;
  for (std::size_t i = 0; i < kMostInstances; ++i) report.instances["s" + std::to_string(i)];
  EXPECT_TRUE(check_extent(report));
  report.instances["one-more"];
  EXPECT_EQ(check_extent(report).error().code(), ErrorCode::too_large);
}

}  // namespace
}  // namespace consort::controller
