// Inventories and placement.
#include "fleet/fleet.h"

#include <gmock/gmock.h>

#include <algorithm>

#include "base/files.h"
#include "http/server.h"

namespace consort::fleet {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class FleetTest : public ::testing::Test {
 protected:
  FleetTest() : folder_(*TempFolder::create("consort-fleet-")) {
    site_.file = folder_.path() / "site.jsonnet";
  }

  void given_file(const std::string& name, const std::string& text, mode_t mode = 0644) {
    ASSERT_TRUE(write_file_atomic(folder_.path() / name, text, mode, Durability::cached));
  }
  void given_class(const std::string& name, Json inventory, std::int64_t min = 1) {
    site_.host_classes[name].name = name;
    site_.host_classes[name].inventory = std::move(inventory);
    site_.host_classes[name].min = min;
  }
  static Json file(const std::string& path) {
    return Json::object({{"type", "file"}, {"path", path}});
  }
  static Json exec(Json::Array argv) {
    return Json::object({{"type", "exec"}, {"argv", std::move(argv)}});
  }
  std::string error() {
    const auto fleet = resolve(site_, {});
    return fleet ? "it resolved" : render_error(fleet.error());
  }

  TempFolder folder_;
  site::Site site_;
};

TEST_F(FleetTest, ReadsYamlWithGroupsAndLabels) {
  given_file("h.yaml",
             "groups:\n  web:\n    hosts:\n      w1: { address: 10.0.0.1, labels: { dc: north } "
             "}\n      w2: 10.0.0.2\n  db:\n    hosts: { d1: {} }\n");
  given_class("web", file("h.yaml"));
  const auto fleet = resolve(site_, {});
  ASSERT_TRUE(fleet) << render_error(fleet.error());
  EXPECT_THAT(fleet->classes.at("web"), ElementsAre("w1", "w2"));
  EXPECT_EQ(fleet->hosts.at("w1").labels.at("dc"), "north");
  EXPECT_EQ(fleet->hosts.at("w2").address, "10.0.0.2");
}

TEST_F(FleetTest, NothingInOurOwnFormIsSkipped) {
  const auto given = [&](const std::string& text) {
    given_file("h.yaml", text);
    given_class("kv", file("h.yaml"));
    return error();
  };
  const std::string two = "groups:\n  kv:\n    hosts: { kv1: {}, kv2: {} }\n";
  EXPECT_EQ(given(two), "it resolved");
  EXPECT_THAT(given(two + "kv3: { address: 10.0.0.3 }\n"),
              ::testing::AllOf(HasSubstr("h.yaml: unknown field 'kv3'"),
                               HasSubstr("if 'kv3' belongs below groups, indent it")))
      << "a host in column 0 would be missing";
  EXPECT_THAT(given(two + "group:\n  web: [w1]\n"), HasSubstr("did you mean 'groups'?"));
  EXPECT_THAT(given(two + "hosts: [kv3]\n"), HasSubstr("unknown field 'hosts'"));
  EXPECT_THAT(given("groups:\n  kv:\n    hosts: [kv1]\n    kv3: {}\n"),
              HasSubstr("group kv: unknown field 'kv3'"));
  EXPECT_THAT(given("hosts: [kv1]\nhost: [kv3]\n"), HasSubstr("did you mean 'hosts'?"));
  EXPECT_EQ(given("groups:\n  kv: { kv1: {}, kv2: {} }\n  web: [w1]\n"), "it resolved")
      << "hosts may stand in their group at once";
}

TEST_F(FleetTest, RunsAProgramAndReadsAnsiblesForm) {
  given_file("inventory", R"(#!/bin/sh
cat <<'JSON'
{"_meta": {"hostvars": {"w1": {"ansible_host": "10.0.0.1", "dc": "north", "ansible_user": "x", "list": [1]}}},
 "all": {"children": ["ungrouped", "web"]}, "web": {"children": ["edge"], "hosts": ["w2"]}, "edge": {"hosts": ["w1"]}}
JSON
)",
             0755);
  given_class("web", exec({"./inventory", "--list"}));
  const auto fleet = resolve(site_, {});
  ASSERT_TRUE(fleet) << render_error(fleet.error());
  EXPECT_THAT(fleet->classes.at("web"), ElementsAre("w1", "w2"));
  EXPECT_EQ(fleet->hosts.at("w1").address, "10.0.0.1");
  EXPECT_EQ(fleet->hosts.at("w1").labels, (std::map<std::string, std::string>{{"dc", "north"}}));
}

TEST_F(FleetTest, AnIniFileIsNotTakenForYaml) {
  given_file("hosts.ini", "# ours\n[web]\nweb1 ansible_host=10.0.0.1\nweb2\n");
  given_class("web", file("hosts.ini"));
  const auto fleet = resolve(site_, {});
  ASSERT_FALSE(fleet);
  EXPECT_THAT(render_error(fleet.error()),
              ::testing::AllOf(HasSubstr("INI inventory"), HasSubstr("ansible-inventory")));
}

TEST_F(FleetTest, AsksAUrl) {
  http::EventLoop loop;
  auto server = http::Server::create(loop, {{"127.0.0.1:0"}, {}});
  ASSERT_TRUE(server);
  server->route("GET", "/hosts", [](const http::Request&, const http::Responder& responder) {
    responder.send(http::Response::text(R"({"hosts": {"w1": "10.0.0.1"}})"));
  });
  server->start();
  loop.start();
  given_class("web", Json::object({{"type", "http"}, {"url", server->url() + "/hosts"}}));
  const auto fleet = resolve(site_, {});
  loop.stop();
  ASSERT_TRUE(fleet) << render_error(fleet.error());
  EXPECT_THAT(fleet->classes.at("web"), ElementsAre("w1"));
}

TEST_F(FleetTest, AsksTheRegistryBySelector) {
  given_class("web", Json::object({{"type", "registry"}, {"selector", "role=web"}}));
  ResolveOptions options;
  options.registry = [](const std::string& selector) -> Result<std::vector<Host>> {
    return std::vector<Host>{{"w1", "10.0.0.1", {{"asked", selector}}}};
  };
  EXPECT_EQ(resolve(site_, options)->hosts.at("w1").labels.at("asked"), "role=web");
  EXPECT_THAT(error(), HasSubstr("needs a controller"));
}

TEST_F(FleetTest, AnAddressIsAnAddressOrAName) {
  const auto given = [&](const std::string& address) {
    given_class("web",
                Json::object({{"type", "hosts"},
                              {"hosts", Json::object({{"w1", Json::object({{"address", address}})},
                                                      {"odd-", Json::object()}})}}));
    return error();
  };
  EXPECT_EQ(given("web1.example"), "it resolved") << "and a host without one has its name";
  for (const char* bad : {"1.1.1.1; rm -rf /", "1.1.1.1\n", "10.0.0.0/8"})
    EXPECT_THAT(given(bad), HasSubstr("the address of host w1 is no IP address and no name"));
}

TEST_F(FleetTest, AProgramIsRunOnlyWhenTheGateLetsIt) {
  given_file("inventory", "#!/bin/sh\ntouch ran\necho '{\"hosts\": {\"w1\": \"10.0.0.1\"}}'\n",
             0755);
  given_class("web", exec({"./inventory", "--list"}));
  const fs::path folder = site_.file.parent_path();
  std::vector<std::string> seen;
  ResolveOptions options;
  options.before_program = [&](const std::vector<std::string>& argv) -> Status {
    seen = argv;
    return fail(ErrorCode::refused, "not here");
  };
  const auto refused = resolve(site_, options);
  ASSERT_FALSE(refused);
  EXPECT_THAT(render_error(refused.error()),
              ::testing::AllOf(HasSubstr("not here"), HasSubstr("in hostClasses.web.inventory")));
  EXPECT_THAT(seen, ElementsAre((folder / "inventory").string(), "--list"));
  EXPECT_FALSE(fs::exists(folder / "ran"));
  options.before_program = [](const std::vector<std::string>&) -> Status { return {}; };
  EXPECT_TRUE(resolve(site_, options));
  EXPECT_TRUE(fs::exists(folder / "ran"));
}

TEST_F(FleetTest, AFailedProgramIsAnErrorWithItsWords) {
  given_file("inventory", "#!/bin/sh\necho 'no credentials' >&2\nexit 3\n", 0755);
  given_class("web", exec({"./inventory"}));
  EXPECT_THAT(error(), ::testing::AllOf(HasSubstr("exit status 3"), HasSubstr("no credentials"),
                                        HasSubstr("in hostClasses.web.inventory")));
}

TEST_F(FleetTest, AProgramThatHangsIsEnded) {
  given_file("inventory", "#!/bin/sh\nsleep 100\n", 0755);
  Json slow = exec({"./inventory"});
  slow["timeout"] = "300ms";
  given_class("web", slow);
  EXPECT_THAT(error(), HasSubstr("did not answer within"));
}

TEST_F(FleetTest, AnEmptyInventoryIsAnErrorUnlessItIsMeant) {
  given_file("h.yaml", "hosts: {}\n");
  given_class("web", file("h.yaml"));
  EXPECT_THAT(error(), HasSubstr("say min: 0"));
  given_class("web", file("h.yaml"), 0);
  EXPECT_TRUE(resolve(site_, {}));
}

TEST_F(FleetTest, OneNameWithTwoAddressesIsAConflict) {
  given_file("a.yaml", "hosts: { w1: 10.0.0.1 }\n");
  given_file("b.yaml", "hosts: { w1: 10.0.0.2 }\n");
  given_class("a", file("a.yaml"));
  given_class("b", file("b.yaml"));
  EXPECT_THAT(error(), HasSubstr("host w1 has two addresses: 10.0.0.1 and 10.0.0.2"));
}

TEST_F(FleetTest, BrokenYamlHasItsLine) {
  given_file("h.yaml", "hosts:\n  w1: [\n");
  given_class("web", file("h.yaml"));
  EXPECT_THAT(error(), HasSubstr("h.yaml:"));
}

TEST_F(FleetTest, AHostThatIsThereTwiceIsRefused) {
  given_file("h.yaml", "hosts:\n  w1: 10.0.0.1\n  w1: 10.0.0.1\n");
  given_class("web", file("h.yaml"));
  EXPECT_THAT(error(), HasSubstr("'w1' is there twice"));
}

class PlacementTest : public FleetTest {
 protected:
  PlacementTest() {
    for (int i = 0; i < 6; ++i) {
      const std::string name = "w" + std::to_string(i);
      fleet_.hosts[name] = {name, name, {{"disk", i < 3 ? "ssd" : "hdd"}}};
      fleet_.classes["web"].push_back(name);
      fleet_.classes_of[name] = {"web"};
    }
    site_.services["s"].name = "s";
    site_.services["s"].on = "web";
  }
  Fleet fleet_;
};

TEST_F(PlacementTest, AServiceRunsOnEveryHostThatMatches) {
  EXPECT_EQ(place(site_, fleet_, {})->at("s").size(), 6U);
  site_.services["s"].when = "disk=ssd";
  EXPECT_THAT(place(site_, fleet_, {})->at("s"), ElementsAre("w0", "w1", "w2"));
}

TEST_F(PlacementTest, ReplicasAreChosenTheSameEachTimeAndMoveNoMoreThanTheyMust) {
  site_.services["s"].replicas = 3;
  const auto first = place(site_, fleet_, {});
  EXPECT_EQ(place(site_, fleet_, {})->at("s"), first->at("s"));
  const std::string lost = first->at("s").front();
  std::erase(fleet_.classes["web"], lost);
  const auto second = place(site_, fleet_, *first);
  std::vector<std::string> stayed;
  std::set_intersection(first->at("s").begin(), first->at("s").end(), second->at("s").begin(),
                        second->at("s").end(), std::back_inserter(stayed));
  EXPECT_EQ(stayed.size(), 2U);
}

TEST_F(PlacementTest, MoreReplicasThanHostsIsRefused) {
  site_.services["s"].replicas = 7;
  const auto placement = place(site_, fleet_, {});
  ASSERT_FALSE(placement);
  EXPECT_THAT(placement.error().message(), HasSubstr("7 are wanted, but class web has 6 hosts"));
}

TEST(InventoryBounds, AliasesAreRefusedWhereverTheyStand) {
  for (const char* text : {"a: &a [x]\nb: [*a, *a]\n", "- &a x\n- *a\n", "a: &a x\nb: *a\n"}) {
    const auto json = yaml_to_json(text, "hosts.yaml");
    ASSERT_FALSE(json) << text;
    EXPECT_THAT(json.error().message(), HasSubstr("aliases are not allowed"));
  }
  EXPECT_TRUE(yaml_to_json("a: 'a *star* in a text'\n", "hosts.yaml"));
}

TEST(InventoryBounds, AVeryLongChainOfGroupsIsFollowedToItsEnd) {
  constexpr int kGroups = 200'000;
  Json all = Json::object({{"_meta", Json::object()}});
  for (int i = 0; i < kGroups; ++i)
    all["g" + std::to_string(i)] =
        Json::object({{"children", Json::Array{Json("g" + std::to_string(i + 1))}}});
  all["g" + std::to_string(kGroups)] = Json::object({{"hosts", Json::Array{"last"}}});
  const auto hosts = hosts_from_json(all, "g0", "ansible");
  ASSERT_TRUE(hosts);
  ASSERT_EQ(hosts->size(), 1U);
  EXPECT_EQ(hosts->front().name, "last");
}

}  // namespace
}  // namespace consort::fleet
