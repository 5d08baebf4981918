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

TEST_F(DeploySubject, IncludesAServiceWhoseClassAHostThatStaysLoses) {
  for (plan::Generation* generation : {&base, &candidate}) {
    for (auto& [name, record] : generation->services) record.host_class = "web";
    generation->hosts["web1"].classes = {"web"};
    generation->hosts["web2"].classes = {"web"};
  }
  base.services["bank"].hosts = candidate.services["bank"].hosts = {"web1", "web2"};
  EXPECT_EQ(changed(), (std::vector<std::string>{"shop"}));
  // The slots of web would not be asked for there any more.
  candidate.hosts["web2"].classes = {"mine"};
  EXPECT_EQ(changed(), (std::vector<std::string>{"bank", "shop"}));
  candidate.hosts["web2"].classes = {"mine", "web"};
  EXPECT_EQ(changed(), (std::vector<std::string>{"shop"}));
  candidate.hosts.erase("web2");
  EXPECT_EQ(changed(), (std::vector<std::string>{"shop"})) << "that it is gone is nobody's word";
}

TEST_F(DeploySubject, IncludesAServiceWhosePortsAnInventoryOpensOrCloses) {
  plan::Plan plan = plan_of({"shop"});
  plan::AccessChange change;
  change.service = "bank";
  change.endpoint = "e";
  change.before = change.after = plan::AccessMode::enforce;
  change.gained = {{"web1", "10.0.0.7"}};
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
  plan.access[0].gained = {{"", "web1 (10.0.0.7)"}};
  EXPECT_EQ(names(), (std::vector<std::string>{"bank", "shop"}))
      << "what is shown of an address is nobody's host, whatever it looks like";
  plan.access[0].gained = {{"web1", "10.0.0.7"}};
  candidate.services["shop"].edges[0].kind = plan::Edge::Kind::after;
  EXPECT_EQ(names(), (std::vector<std::string>{"bank", "shop"})) << "who comes after asks no port";
  plan.access[0].gained.clear();
  plan.access[0].lost = {{"web9", "10.0.0.9"}};
  EXPECT_EQ(names(), (std::vector<std::string>{"bank", "shop"})) << "somebody else's host";
}

TEST_F(DeploySubject, IncludesAServiceThatAnUnchangedDependentOfTheSameHostLoses) {
  // shop and till are both on h2, and both need the bank's port.
  const plan::Edge need{plan::Edge::Kind::needs, "bank", "bank", "e", 0};
  for (plan::Generation* generation : {&base, &candidate}) {
    for (const char* host : {"web1", "h2"}) generation->hosts[host].address = host;
    generation->services["till"] = service("1", "team-c");
    generation->services["bank"].endpoints["e"] = {5432, plan::AccessMode::enforce, {}};
    for (const char* name : {"shop", "till"}) {
      generation->services[name].hosts = {"h2"};
      generation->services[name].edges = {need};
    }
  }
  const auto names = [&] {
    plan::Plan plan = plan_of({"shop"});
    plan.access = plan::access_changes(&base, candidate);
    std::vector<std::string> out;
    for (const auto& subject : services_changed(plan, &base, candidate))
      out.push_back(subject.name);
    return out;
  };
  EXPECT_EQ(names(), (std::vector<std::string>{"shop"})) << "nobody gains or loses anything";
  candidate.hosts["h2"].address = "10.6.6.6";
  EXPECT_EQ(names(), (std::vector<std::string>{"bank", "shop"})) << "till is sent elsewhere, too";
  candidate.services["shop"].hosts = {"web1"};
  EXPECT_EQ(names(), (std::vector<std::string>{"bank", "shop"}))
      << "that shop was there before does not open the port to what its host is now";
  candidate.hosts.erase("h2");
  candidate.services["till"].hosts.clear();
  EXPECT_EQ(names(), (std::vector<std::string>{"bank", "shop"})) << "till still runs there";
  base.services["till"].edges.clear();
  candidate.services["till"].edges.clear();
  EXPECT_EQ(names(), (std::vector<std::string>{"shop"})) << "it was shop's alone";
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
