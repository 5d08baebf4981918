// A native supervisor with real shims, in a folder of its own; its daemons are "web" and "other".
#pragma once

#include <gmock/gmock.h>

#include "agent/supervisors/native.h"
#include "base/files.h"
#include "base/json.h"

namespace consort::agent {

class NativeSupervisorTest : public ::testing::Test {
 protected:
  void SetUp() override { open(); }
  void TearDown() override {
    for (const char* name : {"web", "other"}) EXPECT_TRUE(supervisor->remove(name));
  }
  void open() {
    supervisor.reset();
    supervisor = make_native_supervisor({folder.path() / "daemons", {CONSORT_SHIM}}).value();
  }
  static DaemonSpec shell(const std::string& name, const std::string& text) {
    DaemonSpec spec;
    spec.name = name;
    spec.argv = {"/bin/sh", "-c", text};
    spec.stop_timeout = seconds(5);
    spec.config_digest = Digest::of(text);
    return spec;
  }
  [[nodiscard]] DaemonStatus status(const std::string& name = "web") const {
    return supervisor->status(name).value();
  }

  [[nodiscard]] pid_t shim() const {
    const auto text = read_file(folder.path() / "daemons/web/state.json");
    return static_cast<pid_t>(parse_json(text.value()).value().int_or("shim"));
  }

  TempFolder folder = TempFolder::create("consort-native-").value();
  std::unique_ptr<Supervisor> supervisor;
};

}  // namespace consort::agent
