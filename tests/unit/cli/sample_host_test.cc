// What a host would refuse is known before a host is asked.
#include "cli/sample_host.h"

#include <gmock/gmock.h>

#include "base/text.h"

namespace consort::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class SampleHostTest : public ::testing::Test {
 protected:
  SampleHostTest() { manifest_.service = "shop"; }

  // The messages of all mistakes, each with its contexts.
  [[nodiscard]] std::vector<std::string> mistakes() const {
    std::vector<std::string> out;
    for (const Error& error : mistakes_on_host(manifest_, &host_))
      out.push_back(error.message() +
                    (error.contexts().empty() ? "" : " | " + join(error.contexts(), " | ")));
    return out;
  }

  void file(const std::string& name, const std::string& path,
            const std::vector<std::string>& after = {}) {
    manifest_.resources[name] = Json::object(
        {{"type", "file"}, {"path", path}, {"content", ""}, {"after", Json::array_of(after)}});
  }

  plan::Manifest manifest_;
  fleet::Host host_{"web1", "10.0.0.7", {{"root", "/srv/a"}, {"rack", "r1"}}};
};

TEST_F(SampleHostTest, SoundResourcesPass) {
  file("config", "${service.dir}/config");
  file("data", "${service.data}/x");
  file("label", "${host.labels.root}/x");
  manifest_.daemon = Json::object({{"argv", Json::Array{"/bin/x", "${host.address}"}}});
  EXPECT_THAT(mistakes(), IsEmpty());
}

TEST_F(SampleHostTest, EachMistakeNamesItsPlaceInTheSite) {
  file("config", "etc/shop");
  file("other", "/etc/../shop");
  manifest_.daemon = Json::object({{"argv", Json::array()}});
  EXPECT_THAT(
      mistakes(),
      ElementsAre("'etc/shop' is not an absolute path | reading "
                  "services.shop.resources.config.path",
                  "'/etc/../shop' contains '..' | reading services.shop.resources.other.path",
                  "services.shop.daemon.argv: a daemon needs the program to run"));
  manifest_.service = "class:web";
  EXPECT_THAT(mistakes().front(), HasSubstr("hostClasses.web.resources.config.path"));
}

TEST_F(SampleHostTest, CirclesAndContradictionsAreFound) {
  file("a", "/a", {"b"});
  file("b", "/b", {"a"});
  EXPECT_THAT(mistakes(), ElementsAre(HasSubstr("wait for each other in a circle")));
  EXPECT_THAT(mistakes().front(), HasSubstr("in services.shop.resources"));
  file("a", "/same", {});
  manifest_.resources["b"] = Json::object({{"type", "directory"}, {"path", "/same"}});
  EXPECT_THAT(mistakes(), ElementsAre(HasSubstr("both claim /same")));
}

TEST_F(SampleHostTest, TheAgentsOwnFoldersAreItsOwn) {
  file("a", "/var/lib/consort/state/journal");
  EXPECT_THAT(mistakes(), ElementsAre(HasSubstr("belongs to the agent")));
  file("a", "/var/lib/consort/exchange");
  EXPECT_THAT(mistakes(), IsEmpty());
}

TEST_F(SampleHostTest, LabelsThatTheInventoryKnowsCount) {
  file("a", "${host.labels.root}/x");
  EXPECT_THAT(mistakes(), IsEmpty());
  file("a", "${host.labels.rack}/x");
  EXPECT_THAT(mistakes(), ElementsAre(HasSubstr("'r1/x' is not an absolute path")));
}

TEST_F(SampleHostTest, WhatOnlyTheHostKnowsGetsTheBenefitOfTheDoubt) {
  // given: values that may be a path or a word
  file("a", "${host.labels.place}/x");
  file("b", "/etc/${fact.os.id}");
  file("c", "/etc/${fact.os.version}");
  EXPECT_THAT(mistakes(), IsEmpty());
  // then: what no value can mend is a mistake
  file("d", "etc/${fact.os.id}");
  EXPECT_THAT(mistakes(), ElementsAre(HasSubstr("services.shop.resources.d.path")));
  // and: one value cannot be both
  manifest_.resources.erase("d");
  manifest_.resources["u"] = Json::object({{"type", "user"}, {"name", "${host.labels.place}"}});
  EXPECT_THAT(mistakes(), ElementsAre(HasSubstr("services.shop.resources")));
}

}  // namespace
}  // namespace consort::cli
