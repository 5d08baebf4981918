// What comes in as a deploy is looked at before it becomes anything.
#include "controller/deploy_body.h"

#include <gmock/gmock.h>

#include "fixtures/models.h"

namespace consort::controller {
namespace {

using ::testing::HasSubstr;

std::string said(const std::string& host, const std::string& address) {
  tests::Model model;
  model.host("w1", "web");
  model.generation.hosts[host].address = address;
  const auto request = deploy_request_from_json(
      Json::object({{"generation", plan::generation_to_json(model.generation)}}));
  return request ? "taken" : request.error().message();
}

TEST(DeployBody, AHostHasAGoodNameAndAnAddress) {
  EXPECT_EQ(said("w2", "10.0.0.2"), "taken");
  EXPECT_EQ(said("odd-", "odd-"), "taken") << "a host without an address has its name";
  EXPECT_THAT(said("w2", "10.0.0.2\n; reboot"), HasSubstr("generation.hosts.w2.address"));
  EXPECT_THAT(said("w2", ""), HasSubstr("generation.hosts.w2.address"));
  EXPECT_THAT(said("w2\x1b[2J", "10.0.0.2"), HasSubstr("no good name"));
}

std::string said(const plan::Generation& generation) {
  const auto request = deploy_request_from_json(
      Json::object({{"generation", plan::generation_to_json(generation)}}));
  return request ? "taken" : request.error().message();
}

TEST(DeployBody, TheFleetAgreesWithItself) {
  tests::Model model;
  model.host("d1", "db").host("w1", "web").host("w2", "web");
  model.service("app", "web", "v1").service("db", "db", "v1");
  const plan::Generation good = model.generation;
  EXPECT_EQ(said(good), "taken");
  // A host whose classes are not told would take no slot.
  plan::Generation bad = good;
  bad.hosts.at("w1").classes.clear();
  EXPECT_THAT(said(bad), HasSubstr("generation.hosts.w1.classes"));
  bad = good;
  bad.hosts.at("w1").classes = {"db"};
  EXPECT_THAT(said(bad), HasSubstr("generation.hosts.w1.classes"));
  bad = good;
  bad.classes.at("web") = {"w1"};
  EXPECT_THAT(said(bad), HasSubstr("generation.hosts.w2.classes"));
  bad = good;
  bad.classes.at("web") = {"w1", "w2", "w9"};
  EXPECT_THAT(said(bad), HasSubstr("generation.classes.web: unknown host 'w9'"));
  // A service is on hosts of its class, and nowhere else.
  bad = good;
  bad.services.at("app").hosts = {"d1", "w1"};
  EXPECT_THAT(said(bad), HasSubstr("generation.services.app.hosts: d1 is no host"));
  bad = good;
  bad.services.at("app").host_class = "other";
  EXPECT_THAT(said(bad), HasSubstr("generation.services.app.hosts: w1 is no host"));
  // Lists are sorted: they are searched and compared as such.
  bad = good;
  bad.classes.at("web") = {"w2", "w1"};
  EXPECT_THAT(said(bad), HasSubstr("generation.classes.web: 'w2' and 'w1'"));
  bad = good;
  bad.services.at("app").hosts = {"w1", "w1"};
  EXPECT_THAT(said(bad), HasSubstr("generation.services.app.hosts: 'w1' and 'w1'"));
  bad = good;
  bad.classes["all"] = {"d1", "w1", "w2"};
  for (auto& [name, host] : bad.hosts) host.classes.emplace_back("all");
  EXPECT_THAT(said(bad), HasSubstr("generation.hosts.d1.classes")) << "db comes after all";
  // A class may have no hosts, and a host no class.
  plan::Generation odd = good;
  odd.classes["empty"];
  odd.services.at("app").hosts = {"w2"};
  odd.hosts["w3"].address = "w3";
  EXPECT_EQ(said(odd), "taken");
}

TEST(DeployBody, WordsAreNotWithoutEnd) {
  tests::Model model;
  model.host("w1", "web", {{"note", std::string(20'000, 'n')}});
  EXPECT_THAT(said(model.generation), HasSubstr("generation.hosts.w1.labels"));
  const auto request = deploy_request_from_json(
      Json::object({{"generation", plan::generation_to_json(tests::Model().generation)},
                    {"message", std::string(10'000, 'm')}}));
  ASSERT_FALSE(request);
  EXPECT_THAT(request.error().message(), HasSubstr("message: 10000 bytes"));
}

}  // namespace
}  // namespace consort::controller
