// A rollback goes to the values of then: those that nobody has any more stop it before it begins.
#include "access/kept_secrets.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace consort::access {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

struct KeptSecrets : testing::Test {
  const Digest then = Digest::of("then");
  const Digest today = Digest::of("today");
  Registry registry;
  plan::Plan plan;
  std::map<Digest, plan::Manifest> manifests;
  std::map<std::string, Digest> before;

  void SetUp() override {
    for (const std::string name : {"web1", "web2"}) {
      HostIdentity& host = registry.hosts[name];
      host.name = name;
      host.state = HostState::approved;
      host.seal_key = "key of " + name;
      step(name);
    }
    SecretRecord& record = registry.secrets["tls-key"];
    record.name = "tls-key";
    for (std::uint64_t number = 3; number <= 5; ++number) keep(number, {"web1", "web2"});
    record.last = 5;
  }
  void keep(std::uint64_t number, const std::vector<std::string>& hosts) {
    SecretVersion version;
    version.number = number;
    for (const std::string& host : hosts) version.hosts[host] = "key of " + host;
    registry.secrets["tls-key"].versions.push_back(std::move(version));
  }
  void step(const std::string& host) {
    plan::Step step;
    step.service = "shop";
    step.host = host;
    step.from = plan::InstanceState{today};
    step.to = plan::InstanceState{then};
    plan.steps.push_back(std::move(step));
  }
  std::vector<plan::Need> needs(std::uint64_t version) {
    manifests[then].secrets["tls-key"] = version;
    return secrets_out_of_reach(registry, plan, manifests, before);
  }
};

TEST_F(KeptSecrets, AVersionThatIsKeptAndSealedForAllIsNoHindrance) {
  EXPECT_THAT(needs(3), IsEmpty());
}

TEST_F(KeptSecrets, AVersionThatIsOverIsToldOnceAndNoWordIsEnough) {
  const auto found = needs(2);
  ASSERT_THAT(found, SizeIs(1));
  EXPECT_EQ(found[0].option, "");
  EXPECT_EQ(found[0].reason,
            "shop would go back to version 2 of the secret 'tls-key', which is no longer kept");
  EXPECT_THAT(found[0].hint, HasSubstr("deploy the sources of then"));
}

TEST_F(KeptSecrets, AHostThatCameLaterOrHasANewKeyIsNamed) {
  registry.secrets["tls-key"].versions[0].hosts.erase("web2");
  const auto old = needs(3);
  ASSERT_THAT(old, SizeIs(1));
  EXPECT_THAT(old[0].reason, HasSubstr("not sealed for web2"));
  EXPECT_THAT(old[0].hint, HasSubstr("only the newest version can be sealed anew"));
  registry.hosts["web1"].seal_key = "another";
  const auto newest = needs(5);
  ASSERT_THAT(newest, SizeIs(1));
  EXPECT_THAT(newest[0].reason, HasSubstr("not sealed for web1"));
  EXPECT_THAT(newest[0].hint, HasSubstr("consort secret reseal tls-key"));
}

TEST_F(KeptSecrets, WhatRanJustBeforeIsStillOnTheHostsThatRanIt) {
  before["shop"] = then;
  EXPECT_THAT(needs(1), IsEmpty());
  plan.steps[1].from.reset();  // this one came later
  EXPECT_THAT(needs(1), SizeIs(1));
}

TEST_F(KeptSecrets, WhatStaysAndWhatGoesAwayNeedsNoValue) {
  plan.steps[0].from = plan.steps[0].to;  // stopped for a while, say
  plan.steps[1].to.reset();
  EXPECT_THAT(needs(1), IsEmpty());
}

}  // namespace
}  // namespace consort::access
