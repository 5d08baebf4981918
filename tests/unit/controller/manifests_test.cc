// What the controller makes of the manifests that its hosts name.
#include "objects/store.h"
#include "unit/controller/controller_at_home.h"

namespace consort::controller {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using Manifests = std::map<Digest, plan::Manifest>;

class NamedManifests : public tests::ControllerAtHome {
 protected:
  Digest stored(const std::string& bytes) {
    return look([&](Shell& shell) { return shell.objects().put(bytes).value(); });
  }
  Digest stored_manifest() {
    plan::Manifest manifest;
    manifest.service = "shop";
    manifest.host_class = "web";
    return look(
        [&](Shell& shell) { return plan::put_manifest(shell.objects(), manifest).value(); });
  }
  void host_says_that_it_runs(const Digest& manifest) {
    plan::HostReport report;
    report.host = "w1";
    report.number = 1;
    report.instances["shop"].applied = plan::InstanceState{manifest};
    order(client(w1->shown), "POST", "/v1/agents/w1/reports", plan::host_report_to_json(report));
  }
  Result<Manifests> loaded(const std::set<Digest>& required) {
    auto promise = std::make_shared<std::promise<Result<Manifests>>>();
    look([&](Shell& shell) {
      shell.with_manifests(required, shell.core().manifests_in_use(),
                           [promise](Result<Manifests> all) { promise->set_value(all); });
      return true;
    });
    return promise->get_future().get();
  }
  void SetUp() override {
    ControllerAtHome::SetUp();
    start();
    w1 = joined("w1", join_token());
  }
  std::optional<Host> w1;
};

TEST_F(NamedManifests, AHostThatNamesSomethingElseAsItsManifestIsInNobodysWay) {
  const Digest good = stored_manifest();
  for (const char* bytes : {"#!/bin/sh\necho not a manifest\n", "{\"consort\": \"tree\"}", "[]",
                            "{\"consort\": \"manifest\"}", ""}) {
    SCOPED_TRACE(bytes);
    const Digest other = stored(bytes);
    host_says_that_it_runs(other);
    const auto all = loaded({good});
    ASSERT_TRUE(all) << render_error(all.error());
    EXPECT_TRUE(all->contains(good));
    EXPECT_FALSE(all->contains(other));
  }
}

TEST_F(NamedManifests, WhatIsRequiredMustBeAManifestAndTheErrorShowsNothingOfWhatItIs) {
  const Digest other = stored("password=hunter2\n");
  const auto all = loaded({other});
  ASSERT_FALSE(all);
  EXPECT_THAT(render_error(all.error()), HasSubstr(other.str()));
  EXPECT_THAT(render_error(all.error()), Not(HasSubstr("hunter2")));
  EXPECT_THAT(error_to_json(all.error()).dump(), Not(HasSubstr("hunter2")));
}

}  // namespace
}  // namespace consort::controller
