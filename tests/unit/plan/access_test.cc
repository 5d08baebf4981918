// Who may reach what: from edges, placements and addresses alone.
#include "plan/access.h"

#include <gmock/gmock.h>

#include "fixtures/models.h"

namespace consort::plan {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using tests::Model;

// A database on two hosts, a web shop that needs it, a report that uses it, a job that only comes
// after it.
struct Shop {
  explicit Shop(std::vector<std::string> web = {"web1", "web2"},
                AccessMode mode = AccessMode::enforce) {
    model.host("db1", "db").host("db2", "db").host("ops1", "ops").host("misc1", "misc");
    for (const std::string& name : web) model.host(name, "web");
    int last = 0;
    for (auto& [name, host] : model.generation.hosts)
      host.address = "10.0.0." + std::to_string(++last);  // db1 db2 misc1 ops1 web1 web2 …
    model.service("db", "db", "v1");
    model.service("shop", "web", "v1", {"db"});
    model.service("report", "ops", "v1", {"db"});
    model.service("job", "misc", "v1", {"db"});
    generation().services.at("report").edges.front().kind = Edge::Kind::uses;
    generation().services.at("job").edges.front().kind = Edge::Kind::after;
    generation().services.at("db").endpoints["e"] = {5432, mode, {}};
  }
  Generation& generation() { return model.generation; }
  EndpointRecord& sql() { return generation().services.at("db").endpoints.at("e"); }
  Model model;
};

AccessInput input_of(std::vector<const Generation*> generations) {
  AccessInput out;
  out.generations = std::move(generations);
  return out;
}

std::vector<std::string> sources(const AccessInput& input, const std::string& host = "db1") {
  const auto table = admissions(input);
  const auto it = table.find(host);
  if (it == table.end()) return {"open"};
  EXPECT_EQ(it->second.size(), 1U);
  return it->second.front().sources;
}

TEST(Access, OnlyHostsOfThoseWhoDeclareItReachAPort) {
  Shop shop;
  const auto table = admissions(input_of({&shop.generation()}));
  ASSERT_EQ(table.size(), 2U) << "hosts that offer nothing guard nothing";
  EXPECT_EQ(table.at("db1"), table.at("db2"));
  const Admission& admission = table.at("db1").front();
  EXPECT_EQ(admission.port, 5432);
  EXPECT_EQ(admission.service, "db");
  EXPECT_EQ(admission.mode, AccessMode::enforce);
  EXPECT_THAT(admission.sources, ElementsAre("10.0.0.4", "10.0.0.5", "10.0.0.6"))
      << "needs and uses, not after";
}

TEST(Access, OffGuardsNothing) {
  Shop shop({"web1"}, AccessMode::off);
  EXPECT_THAT(admissions(input_of({&shop.generation()})), IsEmpty());
}

TEST(Access, WhatTheOperatorAllowsBesideIsAllowed) {
  Shop shop({"web1"});
  shop.sql().also = {"10.0.0.0/29", "fd00::/8"};
  EXPECT_THAT(sources(input_of({&shop.generation()})), ElementsAre("10.0.0.0/29", "fd00::/8"));
}

TEST(Access, WhileARolloutIsOpenBothItsEndsAreLetIn) {
  Shop before({"web1", "web2"});
  Shop after({"web2", "web3"});
  for (auto* name : {"web2", "web3"})
    after.generation().hosts.at(name).address = std::string("10.0.9.") + name[3];
  EXPECT_THAT(sources(input_of({&before.generation(), &after.generation()})),
              ElementsAre("10.0.0.4", "10.0.0.5", "10.0.0.6", "10.0.9.2", "10.0.9.3"));
  EXPECT_THAT(sources(input_of({&after.generation()})),
              ElementsAre("10.0.0.4", "10.0.9.2", "10.0.9.3"));
}

TEST(Access, TheMoreOpenOfTwoModesHoldsUntilTheRolloutHasEnded) {
  Shop off({"web1"}, AccessMode::off);
  Shop audit({"web1"}, AccessMode::audit);
  Shop enforce({"web1"});
  EXPECT_THAT(sources(input_of({&off.generation(), &enforce.generation()})), ElementsAre("open"));
  EXPECT_THAT(sources(input_of({&enforce.generation(), &off.generation()})), ElementsAre("open"));
  const auto table = admissions(input_of({&enforce.generation(), &audit.generation()}));
  EXPECT_EQ(table.at("db1").front().mode, AccessMode::audit);
}

TEST(Access, AnInstanceThatStillRunsCountsUntilItIsGone) {
  Shop before({"web1", "web2"});
  Shop after({"web1"});
  AccessInput input = input_of({&after.generation()});
  after.generation().hosts["web2"] = before.generation().hosts.at("web2");
  EXPECT_THAT(sources(input), ElementsAre("10.0.0.4", "10.0.0.5"));
  input.still.push_back({"web2", "shop", &before.generation().services.at("shop")});
  EXPECT_THAT(sources(input), ElementsAre("10.0.0.4", "10.0.0.5", "10.0.0.6"));
  // Also one that offers: it stays guarded.
  after.generation().services.erase("db");
  input.still.push_back({"db2", "db", &before.generation().services.at("db")});
  EXPECT_THAT(sources(input, "db1"), ElementsAre("open"));
  EXPECT_THAT(sources(input, "db2"), ElementsAre("10.0.0.4", "10.0.0.5", "10.0.0.6"));
}

TEST(Access, AHostThatTheInventoryKnowsByNameCountsWithTheAddressItTells) {
  Shop shop({"web1"});
  shop.generation().hosts.at("web1").address = "web1.example";
  AccessInput input = input_of({&shop.generation()});
  EXPECT_THAT(sources(input), ElementsAre("10.0.0.4"));
  input.told = {{"web1", "10.7.7.7"}, {"ops1", "10.6.6.6"}};
  EXPECT_THAT(sources(input), ElementsAre("10.0.0.4", "10.7.7.7"))
      << "what the inventory says of an address is not for the host to change";
}

TEST(Access, AHostIsOneAddressAndNoNetworkWhoeverSaysSo) {
  Shop shop({"web1"});
  shop.generation().hosts.at("web1").address = "web1.example";
  AccessInput input = input_of({&shop.generation()});
  for (const char* network : {"0.0.0.0/0", "::/0", "10.7.0.0/16", "10.7.7.6/31", "::ffff:0:0/96"}) {
    input.told = {{"web1", network}};
    EXPECT_THAT(sources(input), ElementsAre("10.0.0.4")) << network;
  }
  input.told = {{"web1", "10.7.7.7/32"}};
  EXPECT_THAT(sources(input), ElementsAre("10.0.0.4", "10.7.7.7"));
  input.told = {{"web1", "fd00::7"}};
  EXPECT_THAT(sources(input), ElementsAre("10.0.0.4", "fd00::7"));
  // An inventory may come from a program that others feed.
  shop.generation().hosts.at("web1").address = "10.0.0.0/8";
  input.told.clear();
  EXPECT_THAT(sources(input), ElementsAre("10.0.0.4"));
}

TEST(Access, AdmissionsSurviveTheWireAndAreMadeCanonicalOnIt) {
  Shop shop;
  const Admissions admitted = admissions(input_of({&shop.generation()})).at("db1");
  const auto back = admissions_from_json(admissions_to_json(admitted), "t");
  ASSERT_TRUE(back) << render_error(back.error());
  EXPECT_EQ(*back, admitted);
  EXPECT_EQ(admissions_digest(*back), admissions_digest(admitted));
  EXPECT_TRUE(admissions_digest({}).is_none());
  Json evil = admissions_to_json(admitted);
  evil.as_array()[0]["sources"].push_back("10.0.0.1 } ; flush ruleset");
  EXPECT_FALSE(admissions_from_json(evil, "t"));
  Json twice = admissions_to_json(admitted);
  twice.push_back(twice.as_array()[0]);
  EXPECT_FALSE(admissions_from_json(twice, "t"));
}

TEST(Access, ATargetOfAControllerThatDoesNotKnowOfItSaysNothing) {
  Target target;
  EXPECT_EQ(target_to_json(target).find("admissions"), nullptr);
  target.admissions = Admissions();
  const auto back = target_from_json(target_to_json(target));
  ASSERT_TRUE(back);
  EXPECT_EQ(*back, target) << "nothing guarded is not the same as nothing known";
}

TEST(Access, APlanNamesWhoGainsAndWhoLosesAndTouchesNobodyForIt) {
  Shop before({"web1", "web2"});
  Shop after({"web1", "web2"});
  const tests::Planning same{&before.model, &after.model, before.model.running()};
  EXPECT_TRUE(same.plan().value().empty());
  after.generation().hosts.at("web2").address = "10.0.9.9";
  after.sql().also = {"10.8.0.0/16"};
  const Plan plan =
      tests::Planning{&before.model, &after.model, before.model.running()}.plan().value();
  EXPECT_THAT(plan.steps, IsEmpty());
  EXPECT_FALSE(plan.empty());
  ASSERT_EQ(plan.access.size(), 1U);
  EXPECT_EQ(access_change_text(plan.access.front()),
            "db/e (port 5432), enforced: now also from 10.8.0.0/16, web2 (10.0.9.9); no longer "
            "from web2 (10.0.0.6)");
  EXPECT_THAT(plan_totals(plan), HasSubstr("1 change of access"));
  EXPECT_EQ(plan_from_json(plan_to_json(plan)).value().access, plan.access);
}

TEST(Access, TurningItOnIsAChangeOfAccessAlone) {
  Shop before({"web1"}, AccessMode::off);
  Shop after({"web1"});
  const Plan plan =
      tests::Planning{&before.model, &after.model, before.model.running()}.plan().value();
  EXPECT_THAT(plan.steps, IsEmpty());
  ASSERT_EQ(plan.access.size(), 1U);
  EXPECT_EQ(access_change_text(plan.access.front()),
            "db/e (port 5432), open to all → enforced: from ops1 (10.0.0.4), web1 (10.0.0.5)");
}

TEST(Access, AGuardedPortThatIsDeclaredNoMoreIsToldOfAsOpen) {
  Shop before({"web1"});
  Shop undeclared({"web1"});
  undeclared.generation().services.at("db").endpoints.clear();
  const Plan plan =
      tests::Planning{&before.model, &undeclared.model, before.model.running()}.plan().value();
  ASSERT_EQ(plan.access.size(), 1U);
  EXPECT_EQ(access_change_text(plan.access.front()), "db/e (port 5432), enforced → open to all");
  // So is that of a service which is there no more,
  Shop removed({"web1"});
  removed.generation().services.erase("db");
  EXPECT_EQ(access_changes(&before.generation(), removed.generation()), plan.access);
  // and the old one of an endpoint that has another now.
  Shop moved({"web1"});
  moved.sql().port = 5433;
  const auto changes = access_changes(&before.generation(), moved.generation());
  ASSERT_EQ(changes.size(), 2U);
  EXPECT_EQ(changes[0], plan.access.front());
  EXPECT_EQ(access_change_text(changes[1]),
            "db/e (port 5433), open to all → enforced: from ops1 (10.0.0.4), web1 (10.0.0.5)");
  // What nobody guarded opens nothing.
  Shop off({"web1"}, AccessMode::off);
  EXPECT_THAT(access_changes(&off.generation(), undeclared.generation()), IsEmpty());
}

TEST(Access, APlanThatWasStoredBeforeHostsHadAMemberOfTheirOwnIsRead) {
  Shop before({"web1"});
  Shop after({"web1", "web2"});
  const auto changes = access_changes(&before.generation(), after.generation());
  ASSERT_EQ(changes.size(), 1U);
  EXPECT_THAT(changes[0].gained, ElementsAre(AccessSource{"web2", "10.0.0.6"}));
  Json old = access_change_to_json(changes[0]);
  old["gained"] = Json::array_of(std::vector<std::string>{"web2 (10.0.0.6)"});
  const auto back = access_change_from_json(old, "t");
  ASSERT_TRUE(back) << render_error(back.error());
  EXPECT_EQ(access_change_text(*back), access_change_text(changes[0]));
}

TEST(Access, WhatANewGenerationChangesIsOneRule) {
  Shop base({"web1", "web2"});
  Shop after({"web1"});
  const auto& fleet = after.generation().hosts;
  const auto differs = [&] { return services_that_differ(&base.generation(), after.generation()); };
  EXPECT_THAT(differs(), IsEmpty()) << "web2 has left: that is nobody's word on the shop";
  EXPECT_TRUE(says_the_same(find_service(&base.generation(), "shop"),
                            find_service(&after.generation(), "shop"), fleet));
  after.sql().also = {"10.8.0.0/16"};
  after.generation().services.erase("job");
  EXPECT_THAT(differs(), ElementsAre("db", "job"));
  EXPECT_FALSE(says_the_same(find_service(&base.generation(), "job"), nullptr, fleet));
  EXPECT_EQ(services_that_differ(nullptr, after.generation()).size(), 3U);
}

TEST(Access, WhatWasNotAskedForKeepsItsAccess) {
  Shop before({"web1"}, AccessMode::off);
  Shop after({"web1"});
  const Generation shop_only = confined(after.generation(), &before.generation(), {"shop"}, {});
  EXPECT_EQ(shop_only.services.at("db").endpoints.at("e").access, AccessMode::off);
  const Generation but_db = confined(after.generation(), &before.generation(), {}, {"db"});
  EXPECT_EQ(but_db.services.at("db").endpoints.at("e").access, AccessMode::off);
  EXPECT_EQ(confined(after.generation(), nullptr, {"shop"}, {}).services.size(), 1U);
}

TEST(Access, AGenerationKeepsItsEndpoints) {
  Shop shop;
  shop.sql().also = {"10.8.0.0/16"};
  const auto back = generation_from_json(generation_to_json(shop.generation()));
  ASSERT_TRUE(back) << render_error(back.error());
  EXPECT_EQ(back->services, shop.generation().services);
}

TEST(Access, ForPeopleItSaysWhoAndWhy) {
  Shop shop({"web1"});
  const std::vector<Reach> reach = reach_of(shop.generation(), "db");
  ASSERT_EQ(reach.size(), 1U);
  EXPECT_THAT(reach[0].dependents, ElementsAre("report", "shop"));
  EXPECT_THAT(reach[0].who,
              ElementsAre(AccessSource{"ops1", "10.0.0.4"}, AccessSource{"web1", "10.0.0.5"}));
  EXPECT_EQ(access_source_text(reach[0].who[0]), "ops1 (10.0.0.4)");
  EXPECT_EQ(access_source_text({"ops1", ""}), "ops1");
  EXPECT_EQ(access_source_text({"", "10.8.0.0/16"}), "10.8.0.0/16");
}

}  // namespace
}  // namespace consort::plan
