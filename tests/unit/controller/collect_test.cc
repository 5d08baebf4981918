// The controller's collector: what it keeps, and for whom.
#include <gmock/gmock.h>

#include "base/files.h"
#include "controller/shell.h"
#include "fixtures/models.h"
#include "unit/controller/controller_at_home.h"
#include "unit/controller/stage.h"

namespace consort::controller {
namespace {

using tests::Model;

plan::Manifest service_with(const objects::ObjectStore& store, const std::string& version,
                            const std::string& script) {
  plan::Manifest out;
  out.service = "app";
  out.host_class = "web";
  out.version = version;
  out.hooks["validate"].program = store.put(script).value();
  return out;
}

TEST(Collect, KeepsWhatManifestsAndTheJournalNeedAndNothingElse) {
  const TempFolder folder = TempFolder::create("collect").value();
  const auto store = objects::ObjectStore::open(folder.path()).value();
  const plan::Manifest kept = service_with(store, "1", "#!/bin/sh\nexit 0\n");
  const Digest manifest = plan::put_manifest(store, kept).value();
  const Digest value = store.put("a large value of the journal").value();
  const Digest forgotten = plan::put_manifest(store, service_with(store, "2", "gone")).value();

  const auto none_yet = collect_objects(store, {manifest}, {value}, 3600);
  ASSERT_TRUE(none_yet) << render_error(none_yet.error());
  EXPECT_EQ(none_yet->removed, 0U) << "young objects may be on their way into a deploy";

  const auto report = collect_objects(store, {manifest}, {value}, 0);
  ASSERT_TRUE(report) << render_error(report.error());
  EXPECT_EQ(report->removed, 2U);
  EXPECT_TRUE(store.has(manifest));
  EXPECT_TRUE(store.has(kept.hooks.at("validate").program));
  EXPECT_TRUE(store.has(value));
  EXPECT_FALSE(store.has(forgotten));
}

class KeptManifests : public tests::Stage {};

TEST_F(KeptManifests, OldGenerationsAndOpenCandidatesAreKept) {
  const auto site = [](const std::string& version) {
    Model model;
    model.host("w1", "web").service("app", "web", version);
    return model;
  };
  const Model v1 = site("v1");
  const Model v2 = site("v2");
  const Model v3 = site("v3");
  hosts_join(v1);
  for (const Model* model : {&v1, &v2}) {
    ASSERT_TRUE(deploy(request(*model)));
    settle();
  }
  ASSERT_TRUE(deploy(request(v3)));
  const std::set<Digest> kept = core->manifests_kept();
  for (const Model* model : {&v1, &v2, &v3})
    EXPECT_TRUE(kept.contains(model->generation.services.at("app").manifest));
}

class CollectAtHome : public tests::ControllerAtHome {
 protected:
  // Whether the manifest is known, or else on the disk.
  bool can_be_had(const Digest& manifest) {
    std::promise<bool> out;
    look([&](Shell& shell) {
      shell.with_manifests({manifest}, {},
                           [&](const auto& found) { out.set_value(found.has_value()); });
      return true;
    });
    return out.get_future().get();
  }
};

TEST_F(CollectAtHome, ManifestsThatNothingHasDoNotStayInMemory) {
  start();
  const auto objects = look([](Shell& shell) { return shell.objects(); });
  const Digest planned = plan::put_manifest(objects, service_with(objects, "1", "a")).value();
  const Digest applied = plan::put_manifest(objects, service_with(objects, "2", "b")).value();
  look([&](Shell& shell) {
    plan::HostReport report;
    report.host = "w1";
    report.number = 1;
    report.instances["app"].applied = plan::InstanceState{applied};
    shell.carry_out(shell.core().on_report(report, shell.now()));
    return true;
  });
  for (const Digest& digest : {planned, applied}) {
    ASSERT_TRUE(can_be_had(digest));
    ASSERT_TRUE(objects.discard(digest));
    EXPECT_TRUE(can_be_had(digest)) << "it has been read";
  }
  look([](Shell& shell) {
    shell.collect();
    return true;
  });
  EXPECT_TRUE(can_be_had(applied));
  EXPECT_FALSE(can_be_had(planned)) << "it was only planned once";
}

}  // namespace
}  // namespace consort::controller
