// Admissions as rules, and what a listing of them says.
#include "agent/access_rules.h"

#include <gmock/gmock.h>

#include "agent/core.h"

namespace consort::agent {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;

plan::Admission sql(plan::AccessMode mode = plan::AccessMode::enforce) {
  return {5432, "db", "sql", mode, {"10.0.0.7", "10.1.0.0/16", "fd00::/8"}};
}

TEST(AccessRules, TheTableIsReplacedAsAWhole) {
  EXPECT_EQ(access_rules({sql()}), R"(table inet consort
delete table inet consort
table inet consort {
  set strangers_v4 {
    type ipv4_addr . inet_service
    size 1024
    flags dynamic,timeout
    timeout 1h
  }
  set strangers_v6 {
    type ipv6_addr . inet_service
    size 1024
    flags dynamic,timeout
    timeout 1h
  }
  set from_5432_v4 {
    type ipv4_addr
    flags interval
    elements = { 10.0.0.7, 10.1.0.0/16 }
  }
  set from_5432_v6 {
    type ipv6_addr
    flags interval
    elements = { fd00::/8 }
  }
  chain port_5432 {
    ip saddr @from_5432_v4 return
    ip6 saddr @from_5432_v6 return
    update @strangers_v4 { ip saddr . tcp dport counter }
    update @strangers_v6 { ip6 saddr . tcp dport counter }
    counter reject with tcp reset
  }
  chain admit {
    type filter hook input priority filter - 10; policy accept;
    iifname "lo" return
    tcp flags & (fin | syn | rst | ack) != syn return
    tcp dport vmap { 5432 : jump port_5432 }
  }
}
)");
}

TEST(AccessRules, AnAuditRefusesNobody) {
  const std::string rules = access_rules({sql(plan::AccessMode::audit)});
  EXPECT_THAT(rules, HasSubstr("counter return"));
  EXPECT_THAT(rules, ::testing::Not(HasSubstr("reject")));
}

TEST(AccessRules, WithoutAdmissionsNoTableIsLeft) {
  EXPECT_EQ(access_rules({}), "table inet consort\ndelete table inet consort\n");
}

Json listing(std::string_view text) { return parse_json(text).value(); }

TEST(AccessRules, HandlesCountersAndStrangersAreNoDifference) {
  const auto one = listed_rules(listing(R"({"nftables": [{"metainfo": {"version": "1.0.6"}},
    {"table": {"family": "inet", "name": "consort", "handle": 2}},
    {"set": {"name": "from_5432_v4", "handle": 3, "elem": ["10.0.0.7", {"prefix": {"addr": "10.1.0.0", "len": 16}}]}},
    {"set": {"name": "strangers_v4", "handle": 4}},
    {"rule": {"chain": "port_5432", "handle": 9, "expr": [{"counter": {"packets": 0, "bytes": 0}}, {"reject": null}]}}]})"));
  const auto other = listed_rules(listing(R"({"nftables": [{"metainfo": {"version": "1.0.9"}},
    {"table": {"family": "inet", "name": "consort", "handle": 7}},
    {"set": {"name": "from_5432_v4", "handle": 8, "elem": [{"prefix": {"addr": "10.1.0.0", "len": 16}}, "10.0.0.7"]}},
    {"set": {"name": "strangers_v4", "handle": 5, "elem": [{"elem": {"val": {"concat": ["10.0.0.9", 5432]}, "expires": 3, "counter": {"packets": 4, "bytes": 240}}}]}},
    {"rule": {"chain": "port_5432", "handle": 11, "expr": [{"counter": {"packets": 4, "bytes": 240}}, {"reject": null}]}}]})"));
  EXPECT_EQ(one, other);
  EXPECT_EQ(rules_difference(one, other), "");
}

TEST(AccessRules, ADifferenceNamesWhatIsMissingAndWhatIsNotOurs) {
  const auto wanted = listed_rules(listing(R"({"nftables": [
    {"set": {"name": "from_5432_v4", "elem": ["10.0.0.7", "10.0.0.8"]}},
    {"rule": {"chain": "port_5432", "expr": [{"reject": null}]}}]})"));
  const auto now = listed_rules(listing(R"({"nftables": [
    {"set": {"name": "from_5432_v4", "elem": ["10.0.0.7", "10.66.6.6"]}}]})"));
  EXPECT_EQ(rules_difference(wanted, now),
            "missing: 10.0.0.8 in set from_5432_v4, rule 1 of chain port_5432; not ours: 10.66.6.6 "
            "in set from_5432_v4");
  EXPECT_EQ(rules_difference(wanted, {}), "the whole table was gone");
}

// As nft 1.0.6 lists what access_rules({sql()}) makes, less what nobody asks for.
constexpr std::string_view kWhole = R"({"nftables": [
  {"metainfo": {"version": "1.0.6", "json_schema_version": 1}},
  {"table": {"family": "inet", "name": "consort", "handle": 2}},
  {"set": {"name": "strangers_v4", "table": "consort", "type": ["ipv4_addr", "inet_service"], "handle": 3}},
  {"set": {"name": "from_5432_v4", "table": "consort", "type": "ipv4_addr", "flags": ["interval"], "elem": ["10.0.0.7", {"prefix": {"addr": "10.1.0.0", "len": 16}}]}},
  {"set": {"name": "from_5432_v6", "table": "consort", "type": "ipv6_addr", "flags": ["interval"], "elem": [{"prefix": {"addr": "fd00::", "len": 8}}]}},
  {"chain": {"table": "consort", "name": "port_5432", "handle": 1}},
  {"chain": {"table": "consort", "name": "admit", "type": "filter", "hook": "input", "prio": -10, "policy": "accept"}},
  {"rule": {"chain": "port_5432", "expr": [{"match": {"op": "==", "left": {"payload": {"protocol": "ip", "field": "saddr"}}, "right": "@from_5432_v4"}}, {"return": null}]}},
  {"rule": {"chain": "port_5432", "expr": [{"match": {"op": "==", "left": {"payload": {"protocol": "ip6", "field": "saddr"}}, "right": "@from_5432_v6"}}, {"return": null}]}},
  {"rule": {"chain": "port_5432", "expr": [{"counter": {"packets": 0, "bytes": 0}}, {"reject": {"type": "tcp reset"}}]}},
  {"rule": {"chain": "admit", "expr": [{"match": {"op": "==", "left": {"meta": {"key": "iifname"}}, "right": "lo"}}, {"return": null}]}},
  {"rule": {"chain": "admit", "expr": [{"vmap": {"key": {"payload": {"protocol": "tcp", "field": "dport"}}, "data": {"set": [[5432, {"jump": {"target": "port_5432"}}]]}}}]}}]})";

// The listing without the objects in whose text this stands.
Json whole_without(std::string_view text) {
  Json out = listing(kWhole);
  std::erase_if(out["nftables"].as_array(),
                [&](const Json& item) { return item.dump().find(text) != std::string::npos; });
  return out;
}

TEST(AccessRules, WhatWasWrittenIsBelievedOnlyWhenAllOfItIsListed) {
  EXPECT_EQ(missing_rules(listing(kWhole), {sql()}), "");
  EXPECT_EQ(missing_rules(Json::object(), {sql()}), "the whole table");
  EXPECT_EQ(missing_rules(whole_without("input"), {sql()}), "the chain admit");
  EXPECT_EQ(missing_rules(whole_without("vmap"), {sql()}),
            "the way to port_5432 in the chain admit");
  EXPECT_EQ(missing_rules(whole_without("reject"), {sql()}), "the refusal in the chain port_5432");
  EXPECT_EQ(missing_rules(whole_without("from_5432_v6"), {sql()}), "the set from_5432_v6");
  EXPECT_EQ(missing_rules(whole_without("@from_5432_v4"), {sql()}), "the set from_5432_v4");
  Json emptied = listing(kWhole);
  emptied["nftables"].as_array()[3]["set"].as_object().erase("elem");
  EXPECT_EQ(missing_rules(emptied, {sql()}), "the addresses of the set from_5432_v4");
  EXPECT_EQ(missing_rules(whole_without("reject"), {sql(plan::AccessMode::audit)}), "")
      << "an audit refuses nobody";
  plan::Admission other = sql();
  other.port = 5433;
  EXPECT_THAT(missing_rules(listing(kWhole), {sql(), other}), HasSubstr("port_5433"));
  EXPECT_EQ(missing_rules(Json::object(), {}), "") << "nothing is promised";
}

TEST(AccessRules, StrangersAreReadFromTheirSets) {
  EXPECT_THAT(listed_strangers(listing(R"({"nftables": [
    {"set": {"name": "from_5432_v4", "elem": ["10.0.0.7"]}},
    {"set": {"name": "strangers_v4", "elem": [{"elem": {"val": {"concat": ["10.0.0.9", 5432]}, "counter": {"packets": 4, "bytes": 240}}}]}},
    {"set": {"name": "strangers_v6", "elem": [17, {"elem": {"val": "x"}}]}}]})")),
              ElementsAre(Stranger{"10.0.0.9", 5432, 4}));
}

TEST(AccessRules, ASetThatIsFullOfStrangersIsSeen) {
  const auto listed = [](int strangers) {
    Json::Array elements;
    for (int i = 0; i < strangers; ++i)
      elements.push_back(Json::object(
          {{"elem", Json::object({{"val", Json::object({{"concat", Json::array()}})}})}}));
    const Json set = Json::object({{"name", "strangers_v4"}, {"elem", elements}});
    Json::Array items;
    items.push_back(Json::object({{"set", set}}));
    return Json::object({{"nftables", items}});
  };
  EXPECT_FALSE(is_full_of_strangers(Json::object()));
  EXPECT_FALSE(is_full_of_strangers(listed(1023)));
  EXPECT_TRUE(is_full_of_strangers(listed(1024)));
}

// --- the core ------------------------------------------------------------------------------------

plan::Target target(std::uint64_t seq, std::optional<plan::Admissions> admissions) {
  plan::Target out;
  out.epoch = 1;
  out.seq = seq;
  out.admissions = std::move(admissions);
  return out;
}

bool guards(const Output& output) {
  return !output.work.empty() && std::holds_alternative<GuardPorts>(output.work.front());
}

std::map<Digest, plan::Manifest> offer(const std::string& name, int port) {
  plan::Manifest manifest;
  manifest.service = "db";
  manifest.provides["sql"] = Json::object({{"port", port}});
  return {{Digest::of(name), manifest}};
}

plan::Target that_wants(std::uint64_t seq, const std::string& manifest,
                        const plan::Admissions& admissions) {
  plan::Target out = target(seq, admissions);
  out.instances["db"].wanted = plan::InstanceState{Digest::of(manifest)};
  out.instances["db"].attempt = manifest;
  return out;
}

// A host on which "m" runs, which offers 5432.
Core with_a_database(const std::optional<plan::Admissions>& admissions) {
  Instance runs;
  runs.applied = plan::InstanceState{Digest::of("m")};
  runs.outcome = plan::Outcome{};
  runs.outcome->attempt = "m";
  plan::Target held = that_wants(1, "m", {});
  held.admissions = admissions;
  Core core = Core::restore({{"instances/db", instance_to_json(runs).dump()},
                             {"target", plan::target_to_json(held).dump()}})
                  .value();
  core.learn(offer("m", 5432));
  static_cast<void>(core.start());
  return core;
}

TEST(AgentAccess, PortsAreGuardedBeforeWhatStandsBehindThemBegins) {
  Core core = Core::restore({}).value();
  const plan::Target first = that_wants(1, "m", {sql()});
  const Output told = core.on_target(first).value();
  EXPECT_FALSE(guards(told)) << "nobody knows yet whether anything here offers that port";
  ASSERT_EQ(told.work.size(), 1U);
  const Output loaded = core.on_manifests("db", offer("m", 5432));
  ASSERT_TRUE(guards(loaded));
  EXPECT_THAT(std::get<GuardPorts>(loaded.work.front()).admissions, ElementsAre(sql()));
  ASSERT_EQ(loaded.work.size(), 2U);
  EXPECT_TRUE(std::holds_alternative<PerformStep>(loaded.work.back()));
}

TEST(AgentAccess, ATargetThatChangesNothingOfAccessGuardsNothingAnew) {
  Core core = with_a_database(plan::Admissions{sql()});
  EXPECT_FALSE(guards(core.on_target(that_wants(2, "m", {sql()})).value()));
  plan::Admission more = sql();
  more.sources.insert(more.sources.begin(), "10.0.0.6");
  EXPECT_TRUE(guards(core.on_target(that_wants(3, "m", {more})).value()));
  EXPECT_TRUE(guards(core.on_target(that_wants(4, "m", {})).value()));
}

TEST(AgentAccess, APortThatNothingHereOffersIsLeftAlone) {
  Core core = with_a_database(plan::Admissions{sql()});
  plan::Admission ssh = sql();
  ssh.port = 22;
  ssh.sources.clear();
  EXPECT_FALSE(guards(core.on_target(that_wants(2, "m", {ssh, sql()})).value()));
  EXPECT_THAT(core.admissions(), ElementsAre(sql()));
  EXPECT_THAT(core.held_admissions(), ElementsAre(ssh));
  // A controller that waits for a port of which the host will hear later does not wait for ever.
  static_cast<void>(core.on_access({true, "", plan::admissions_digest({sql()})}));
  EXPECT_EQ(core.report().access->admitted, plan::admissions_digest({ssh, sql()}));
  static_cast<void>(core.on_access({true, "nft says no", Digest()}));
  EXPECT_TRUE(core.report().access->admitted.is_none());
}

TEST(AgentAccess, WhileAVersionComesThePortsOfBothAreGuarded) {
  plan::Admission next = sql();
  next.port = 5433;
  Core core = with_a_database(plan::Admissions{sql()});
  static_cast<void>(core.on_target(that_wants(2, "n", {sql(), next})).value());
  EXPECT_THAT(core.admissions(), ElementsAre(sql()));
  auto both = offer("m", 5432);
  both.merge(offer("n", 5433));
  const Output begun = core.on_manifests("db", both);
  ASSERT_TRUE(guards(begun));
  EXPECT_THAT(core.admissions(), ElementsAre(sql(), next));
}

TEST(AgentAccess, AllServicesThatOfferAGuardedPortStandBehindIt) {
  Core core = with_a_database(plan::Admissions{sql()});
  EXPECT_THAT(core.guarded().services, ElementsAre(Pair("db", true)));
  plan::Target both = that_wants(2, "m", {sql()});
  both.instances["other"].wanted = plan::InstanceState{Digest::of("n")};
  both.instances["other"].attempt = "n";
  static_cast<void>(core.on_target(both).value());
  // The rules stay the same; who waits for them at the next boot does not.
  const Output begun = core.on_manifests("other", offer("n", 5432));
  ASSERT_TRUE(guards(begun));
  EXPECT_THAT(std::get<GuardPorts>(begun.work.front()).services,
              ElementsAre(Pair("db", true), Pair("other", true)));
}

TEST(AgentAccess, ANameThatIsNoServicesIsNotTaken) {
  for (const char* name : {"x/../ssh", "", "class:", "a b", ".."}) {
    plan::Admission odd = sql();
    odd.service = name;
    EXPECT_FALSE(plan::admissions_from_json(plan::admissions_to_json({odd}), "admissions")) << name;
  }
  plan::Admission base = sql();
  base.service = "class:web";
  EXPECT_TRUE(plan::admissions_from_json(plan::admissions_to_json({base}), "admissions"));
}

TEST(AgentAccess, AManifestThatCannotBeReadAnyMoreDoesNotOpenItsPort) {
  Instance runs;
  runs.applied = plan::InstanceState{Digest::of("m")};
  const Core core =
      Core::restore({{"instances/db", instance_to_json(runs).dump()},
                     {"target", plan::target_to_json(target(1, plan::Admissions{sql()})).dump()}})
          .value();
  EXPECT_THAT(core.admissions(), ElementsAre(sql()));
}

TEST(AgentAccess, AControllerThatDoesNotKnowLeavesWhatIsInForceAlsoOverARestart) {
  Core core = with_a_database(plan::Admissions{sql()});
  plan::Target silent = that_wants(2, "m", {});
  silent.admissions = std::nullopt;
  const Output output = core.on_target(silent).value();
  EXPECT_FALSE(guards(output));
  EXPECT_THAT(core.admissions(), ElementsAre(sql()));
  Core again = Core::restore({{"target", *output.writes.at("target")}}).value();
  again.learn(offer("m", 5432));
  EXPECT_THAT(again.admissions(), ElementsAre(sql()));
}

TEST(AgentAccess, APromiseThatIsNotKeptMakesItsServiceUnhealthy) {
  Instance runs;
  runs.applied = plan::InstanceState{Digest::of("m")};
  Core core =
      Core::restore({{"instances/db", instance_to_json(runs).dump()},
                     {"instances/web", instance_to_json(runs).dump()},
                     {"target", plan::target_to_json(target(1, plan::Admissions{sql()})).dump()}})
          .value();
  for (const char* name : {"db", "web"})
    static_cast<void>(core.on_health(name, plan::Health::healthy, ""));
  EXPECT_TRUE(core.on_access({true, "nft says no", Digest()}).report);
  EXPECT_EQ(core.report().instances.at("db").health, plan::Health::unhealthy);
  EXPECT_THAT(core.report().instances.at("db").health_reason, HasSubstr("nft says no"));
  EXPECT_EQ(core.report().instances.at("web").health, plan::Health::healthy);
  const plan::AccessReport well{true, "", plan::admissions_digest({sql()})};
  static_cast<void>(core.on_access(well));
  EXPECT_EQ(core.report().instances.at("db").health, plan::Health::healthy);
  EXPECT_EQ(core.report().access, well);
  EXPECT_FALSE(core.on_access(well).report) << "nothing new";
  // An audit that cannot look is told of, and makes nobody sick.
  static_cast<void>(
      core.on_target(target(2, plan::Admissions{sql(plan::AccessMode::audit)})).value());
  static_cast<void>(core.on_access({false, "no nft", Digest()}));
  EXPECT_EQ(core.report().instances.at("db").health, plan::Health::healthy);
}

}  // namespace
}  // namespace consort::agent
