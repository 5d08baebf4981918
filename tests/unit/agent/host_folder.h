// A root folder of its own with a converger over it: what the tests of resources need.
#pragma once

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <map>

#include "agent/converge.h"
#include "objects/store.h"

namespace consort::agent {

class HostFolder {
 public:
  HostFolder()
      : folder_(TempFolder::create("consort-host-").value()),
        store_(objects::ObjectStore::open(folder_.path() / "store").value()) {
    fs::create_directories(root() / "etc");
    put("/etc/passwd", "root:x:0:0:root:/root:/bin/sh\n");
    put("/etc/group", "root:x:0:\n");
    reopen();
  }

  [[nodiscard]] fs::path root() const { return folder_.path() / "root"; }
  [[nodiscard]] fs::path at(const std::string& path) const {
    return fs::path(root().string() + path);
  }
  [[nodiscard]] fs::path outside() const { return folder_.path(); }
  void put(const std::string& path, const std::string& bytes) const {
    fs::create_directories(at(path).parent_path());
    ASSERT_TRUE(write_file_atomic(at(path), bytes));
  }
  [[nodiscard]] std::string get(const std::string& path) const {
    return read_file(at(path)).value_or("(absent)");
  }
  [[nodiscard]] mode_t mode(const std::string& path) const {
    struct stat info {};
    return ::lstat(at(path).c_str(), &info) == 0 ? info.st_mode & 07777U : 0;
  }
  [[nodiscard]] const objects::ObjectStore& store() const { return store_; }

  // As a restarted agent: nothing but what is on the disk is known.
  void reopen() {
    converger.reset();
    ConvergerOptions o;
    o.root = root();
    o.state_folder = folder_.path() / "state";
    o.backups = &store_;
    o.supervisor = supervisor;
    o.runner = runner;
    o.labels = labels;
    o.clock = clock;
    o.claims = claims;
    o.secrets = secrets;
    o.name = "mine";
    o.enforcement = enforcement;
    converger = Converger::create(std::move(o)).value();
  }

  PassReport pass(const std::map<std::string, Json>& specs, const PassOptions& options = {}) {
    const Status status = converger->set_resources(specs);
    EXPECT_TRUE(status) << (status ? "" : render_error(status.error()));
    return converger->pass(options);
  }

  // The promise of every resource: a second run finds all kept, writes nothing, and no mtime moves.
  PassReport twice(const std::map<std::string, Json>& specs) {
    PassReport first = pass(specs);
    const auto writes = converger->changes_made();
    const std::string before = stamps();
    for (const Audit audit : {Audit::changed_only, Audit::full}) {
      PassOptions options;
      options.audit = audit;
      const PassReport second = converger->pass(options);
      EXPECT_EQ(second.repaired, 0U) << render_report(second);
      EXPECT_EQ(second.failed, 0U) << render_report(second);
      EXPECT_EQ(second.exit_status(), 0);
    }
    EXPECT_EQ(converger->changes_made(), writes);
    EXPECT_EQ(stamps(), before);
    return first;
  }

  [[nodiscard]] std::string stamps() const {
    std::map<std::string, std::string> all;
    for (const auto& item : fs::recursive_directory_iterator(root()))
      all[item.path()] = file_stamp(item.path());
    std::string out;
    for (const auto& [path, stamp] : all) out += path + " " + stamp + "\n";
    return out;
  }

  Supervisor* supervisor = nullptr;
  ProcessRunner* runner = nullptr;
  LabelMap labels;
  const Clock* clock = nullptr;
  Claims* claims = nullptr;
  SecretSource* secrets = nullptr;
  Enforcement enforcement = Enforcement::enforce;
  std::unique_ptr<Converger> converger;

 private:
  TempFolder folder_;
  objects::ObjectStore store_;
};

inline Json file_spec(const std::string& path, const std::string& content) {
  return Json::object({{"type", "file"}, {"path", path}, {"content", content}});
}

}  // namespace consort::agent
