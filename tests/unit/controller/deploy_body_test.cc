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

}  // namespace
}  // namespace consort::controller
