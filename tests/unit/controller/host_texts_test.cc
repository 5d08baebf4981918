// What hosts say in words, on its way to operators' terminals.
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

}  // namespace
}  // namespace consort::controller
