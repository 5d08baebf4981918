// What a service has brought along, kept as it was deployed.
#include <gmock/gmock.h>
#include <sys/stat.h>

#include "agent/converge.h"
#include "host_folder.h"
#include "objects/tree.h"

namespace consort::agent {
namespace {

class ArtifactTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const fs::path source = folder.path() / "source";
    ASSERT_TRUE(make_folders(source / "bin"));
    ASSERT_TRUE(write_file_atomic(source / "bin/shop", "program", 0755));
    ASSERT_TRUE(write_file_atomic(source / "bin/conf", "as shipped", 0644));
    ASSERT_EQ(::symlink("/var/uploads", (source / "uploads").c_str()), 0);
    digest = objects::put_folder(store, source).value();
    ASSERT_TRUE(make_folders(root));
    ConvergerOptions options;
    options.root = root;
    options.state_folder = folder.path() / "state";
    options.backups = &backups;
    options.artifacts = &store;
    converger = Converger::create(std::move(options)).value();
    ASSERT_TRUE(objects::materialise_tree(store, digest, root / "app"));
  }
  PassReport pass(std::map<std::string, Json> others = {}) {
    others["artifact:app"] = Json::object(
        {{"type", "artifact"}, {"path", "/app"}, {"kind", "tree"}, {"digest", digest.str()}});
    EXPECT_TRUE(converger->set_resources(others));
    return converger->pass();
  }
  [[nodiscard]] std::string get(const std::string& path) const {
    return read_file(root / "app" / path).value_or("(absent)");
  }
  void put(const std::string& path, const std::string& bytes) const {
    ASSERT_TRUE(write_file_atomic(root / "app" / path, bytes, 0755));
  }

  TempFolder folder = TempFolder::create("consort-artifact-").value();
  fs::path root = folder.path() / "root";
  objects::ObjectStore store = objects::ObjectStore::open(folder.path() / "objects").value();
  objects::ObjectStore backups = objects::ObjectStore::open(folder.path() / "backups").value();
  Digest digest;
  std::unique_ptr<Converger> converger;
};

TEST_F(ArtifactTest, WhatIsChangedIsPutBackAndNothingOfOthersIsLost) {
  EXPECT_EQ(pass().repaired, 0);
  put("bin/shop", "tampered");
  put("cache", "of the program");
  fs::remove(root / "app/uploads");
  ASSERT_TRUE(make_folders(root / "app/uploads"));
  put("uploads/order", "a customer's");
  const PassReport report = pass();
  EXPECT_EQ(report.repaired, 1);
  EXPECT_EQ(get("bin/shop"), "program");
  EXPECT_EQ(get("cache"), "of the program");
  EXPECT_TRUE(fs::is_symlink(root / "app/uploads"));
  // What was there can be found again.
  const ResourceReport* item = report.find("artifact:app");
  ASSERT_NE(item, nullptr);
  ASSERT_TRUE(item->backup);
  EXPECT_EQ(backups.get(*item->backup).value(), "tampered");
  ASSERT_EQ(item->notes.size(), 1U);
  const std::string aside = item->notes[0].substr(item->notes[0].rfind('/') + 1);
  EXPECT_EQ(get(aside + "/order"), "a customer's");
  EXPECT_EQ(pass().repaired, 0);
}

TEST_F(ArtifactTest, WhatAnotherResourceDecidesOnIsItsOwn) {
  const std::map<std::string, Json> conf = {{"conf", file_spec("/app/bin/conf", "as declared")}};
  static_cast<void>(pass(conf));
  EXPECT_EQ(get("bin/conf"), "as declared");
  EXPECT_EQ(pass(conf).repaired, 0) << "nobody undoes what the other does";
  put("bin/shop", "tampered");
  static_cast<void>(pass(conf));
  EXPECT_EQ(get("bin/shop"), "program") << "beside it all is kept";
  // A folder of which only the mode is wished for has its content kept,
  const auto bin = [](Json spec) {
    spec["type"] = "directory";
    spec["path"] = "/app/bin";
    return std::map<std::string, Json>{{"bin", spec}};
  };
  put("bin/shop", "tampered");
  static_cast<void>(pass(bin(Json::object({{"mode", "0700"}}))));
  EXPECT_EQ(get("bin/shop"), "program");
  // one that is decided on with all below is somebody else's.
  put("bin/shop", "tampered");
  static_cast<void>(pass(bin(Json::object({{"mode", "0700"}, {"recurse", true}}))));
  EXPECT_EQ(get("bin/shop"), "tampered");
}

}  // namespace
}  // namespace consort::agent
