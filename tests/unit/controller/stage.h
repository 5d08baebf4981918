// The controller's core on a stage: its store is a map, its agents do at once what they are told,
// unless a test says otherwise. Time is a number.
#pragma once

#include <gmock/gmock.h>

#include "controller/core.h"
#include "fixtures/models.h"

namespace consort::tests {

class Stage : public ::testing::Test {
 protected:
  Stage() { restart(); }

  // What is not in the store is forgotten.
  void restart();

  void take(const controller::Output& output);

  void hosts_join(const Model& model);

  controller::DeployRequest request(const Model& model);

  Result<std::string> deploy(const controller::DeployRequest& request);

  Status control(const std::string& id, controller::Core::Control what);

  // The next report of the host: what its agent has and where it stands. It is not sent yet.
  plan::HostReport report_of(const std::string& host);

  void report(const std::string& host, const Json::Array& events = {});

  // Each agent that is up performs what its target says, once.
  bool agents_act();

  // Until nobody has anything to do. Seconds pass.
  void settle();

  // Nobody says anything, and the controller is awake.
  void time_passes(Duration duration);

  [[nodiscard]] std::string version_on(const std::string& host, const std::string& service);

  [[nodiscard]] rollout::Result result_of(const std::string& id) const {
    return core->rollouts().at(id).result;
  }

  struct Agent {
    std::map<std::string, plan::InstanceReport> instances;
    std::uint64_t reports = 0;
    std::uint64_t epoch = 0;
    std::uint64_t seq = 0;
    bool down = false;
    std::set<std::string> failing;  // versions that do not start here
  };

  Instant now = from_millis(1'700'000'000'000);
  controller::Store store;
  std::optional<controller::Core> core;
  std::map<std::string, Agent> agents;
  std::map<Digest, plan::Manifest> manifests;
  std::vector<std::string> story;
  std::vector<Instant> told;  // when each of the story happened
  std::vector<std::string> texts;

 private:
  void act(const std::string& host, Agent& agent, const std::string& service,
           const plan::TargetEntry& entry);
};

}  // namespace consort::tests
