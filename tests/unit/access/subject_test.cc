// What a deploy changes is more than its steps.
#include "access/subject.h"

#include <gtest/gtest.h>

namespace consort::access {
namespace {

plan::ServiceRecord service(const std::string& version, const std::string& owner) {
  plan::ServiceRecord out;
  out.manifest = Digest::of(version);
  out.hosts = {"web1"};
  out.owner = owner;
  return out;
}

plan::Plan plan_of(const std::vector<std::string>& names) {
  plan::Plan out;
  for (const std::string& name : names) {
    plan::Step step;
    step.id = static_cast<int>(out.steps.size());
    step.service = name;
    out.steps.push_back(std::move(step));
  }
  return out;
}

struct DeploySubject : testing::Test {
  plan::Generation base;
  plan::Generation candidate;
  DeploySubject() {
    base.services = {{"shop", service("1", "team-a")}, {"bank", service("1", "team-b")}};
    candidate = base;
    candidate.services["shop"] = service("2", "team-a");
  }
  [[nodiscard]] std::vector<std::string> changed() const {
    std::vector<std::string> out;
    for (const ServiceSubject& subject : services_changed(plan_of({"shop"}), &base, candidate))
      out.push_back(subject.name);
    return out;
  }
};

TEST_F(DeploySubject, IsTheServicesOfThePlanWithTheirOwners) {
  const auto subjects = services_changed(plan_of({"shop"}), &base, candidate);
  ASSERT_EQ(subjects.size(), 1U);
  EXPECT_EQ(subjects[0].name, "shop");
  EXPECT_EQ(subjects[0].owner_before, "team-a");
  EXPECT_EQ(subjects[0].owner_after, "team-a");
}

TEST_F(DeploySubject, IncludesAServiceOfWhichOnlyTheOwnerChanges) {
  candidate.services["bank"].owner = "team-a";
  EXPECT_EQ(changed(), (std::vector<std::string>{"bank", "shop"}));
}

TEST_F(DeploySubject, LeavesOutWhatADeployOfSomeServicesLeavesAsItIs) {
  candidate.services["bank"] = service("2", "team-a");
  candidate = plan::confined(candidate, &base, {"shop"}, {});
  EXPECT_EQ(changed(), (std::vector<std::string>{"shop"}));
}

TEST_F(DeploySubject, IncludesAServiceOfWhichOnlyTheAccessChanges) {
  candidate.services["bank"].endpoints["sql"] = {5432, plan::AccessMode::off, {"10.0.0.0/8"}};
  EXPECT_EQ(changed(), (std::vector<std::string>{"bank", "shop"}));
}

TEST_F(DeploySubject, LeavesOutAServiceThatOnlyLosesAHostThatHasLeft) {
  for (const char* host : {"h1", "h2", "web1"}) base.hosts[host];
  candidate.hosts = base.hosts;
  candidate.hosts.erase("h2");
  base.services["bank"].hosts = {"h1", "h2"};
  candidate.services["bank"].hosts = {"h1"};
  EXPECT_EQ(changed(), (std::vector<std::string>{"shop"}));
  candidate.hosts = base.hosts;
  EXPECT_EQ(changed(), (std::vector<std::string>{"bank", "shop"})) << "it was moved away";
}

TEST_F(DeploySubject, IncludesAServiceWhosePortsAnInventoryOpensOrCloses) {
  plan::Plan plan = plan_of({"shop"});
  plan::AccessChange change;
  change.service = "bank";
  change.before = change.after = plan::AccessMode::enforce;
  change.gained = {"web1 (10.0.0.7)"};
  plan.access = {change};
  const auto names = [&] {
    std::vector<std::string> out;
    for (const auto& subject : services_changed(plan, &base, candidate))
      out.push_back(subject.name);
    return out;
  };
  EXPECT_EQ(names(), (std::vector<std::string>{"bank", "shop"})) << "shop does not declare it";
  candidate.services["shop"].edges = {{plan::Edge::Kind::needs, "bank", "bank", "e", 0}};
  EXPECT_EQ(names(), (std::vector<std::string>{"shop"})) << "a dependent that grows";
  plan.access[0].lost = {"web9 (10.0.0.9)"};
  EXPECT_EQ(names(), (std::vector<std::string>{"bank", "shop"})) << "somebody else's host";
}

TEST_F(DeploySubject, KnowsWhatComesAndGoes) {
  candidate = base;
  candidate.services.erase("bank");
  candidate.services["new"] = service("1", "team-c");
  const auto subjects = services_changed(plan_of({"bank", "new"}), &base, candidate);
  ASSERT_EQ(subjects.size(), 2U);
  EXPECT_EQ(subjects[0].owner_before, "team-b");
  EXPECT_EQ(subjects[0].owner_after, std::nullopt);
  EXPECT_EQ(subjects[1].owner_before, std::nullopt);
  EXPECT_EQ(subjects[1].owner_after, "team-c");
  // Also where the plan has no step for it: there may be no host yet.
  EXPECT_EQ(services_changed(plan_of({}), &base, candidate).size(), 2U);
  EXPECT_EQ(services_changed(plan_of({"new"}), nullptr, candidate).size(), 2U);
}

TEST_F(DeploySubject, TheBudgetsAreEverybodys) {
  EXPECT_FALSE(changes_shared_policy(&base, candidate));
  candidate.policy.batches = {{1, false}};
  EXPECT_FALSE(changes_shared_policy(&base, candidate)) << "that is the deploy's own pace";
  candidate.policy.max_unavailable = budget::Amount{50, true};
  EXPECT_TRUE(changes_shared_policy(&base, candidate));
  EXPECT_TRUE(changes_shared_policy(nullptr, candidate));
}

}  // namespace
}  // namespace consort::access
