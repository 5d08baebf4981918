// A host that was removed and comes again by its name, as another machine or installed anew.
#include "fixtures/models.h"
#include "unit/controller/controller_at_home.h"

namespace consort::controller {
namespace {

using ::testing::HasSubstr;

class Returning : public tests::ControllerAtHome {
 protected:
  void SetUp() override {
    ControllerAtHome::SetUp();
    start();
  }
  static tests::Model site(const std::vector<std::string>& hosts, const std::string& version) {
    tests::Model model;
    for (const std::string& host : hosts) model.host(host, "web");
    model.service("app", "web", version);
    model.generation.policy.batches = {{100, true}};
    model.generation.policy.max_unavailable = budget::Amount{100, true};
    return model;
  }
  void deploy(const tests::Model& model) {
    known.insert(model.manifests.begin(), model.manifests.end());
    const std::string failed = look([&](Shell& shell) {
      DeployRequest request;
      request.candidate = model.generation;
      request.manifests = known;
      request.allow_outage = request.allow_shrink = true;
      Output output;
      const auto id = shell.core().deploy(request, shell.now(), output);
      shell.carry_out(std::move(output));
      return id ? std::string() : render_error(id.error());
    });
    EXPECT_EQ(failed, "");
  }
  // They do at once what they are told, until no rollout is open.
  void hosts_act(const std::vector<std::string>& hosts) {
    wait_until([&](Shell& shell) {
      for (const std::string& host : hosts) report(shell, host);
      const auto& rollouts = shell.core().rollouts();
      return std::none_of(rollouts.begin(), rollouts.end(), [](const auto& item) {
        return item.second.result == rollout::Result::open;
      });
    });
  }
  void report(Shell& shell, const std::string& host) {
    plan::HostReport report;
    report.host = host;
    report.boot_id = "boot";
    report.number = ++reports;
    if (const auto target = shell.core().target_of(host)) {
      report.epoch = target->epoch;
      report.seq = target->seq;
      for (const auto& [service, entry] : target->instances) {
        plan::InstanceReport& instance = report.instances[service];
        instance.applied = entry.wanted;
        instance.health = plan::Health::healthy;
        instance.outcome = plan::Outcome();
        instance.outcome->attempt = entry.attempt;
      }
    }
    shell.carry_out(shell.core().on_report(report, shell.now()));
  }

  std::map<Digest, plan::Manifest> known;
  std::uint64_t reports = 0;
};

TEST_F(Returning, AMachineThatComesAnewByTheNameOfARemovedHostIsToldItsTarget) {
  // Given w2, which has been told many things,
  joined("w2", join_token());
  look([&](Shell& shell) {
    for (const char* host : {"w1", "w2"}) report(shell, host);
    return true;
  });
  for (const char* version : {"v1", "v2", "v3"}) {
    deploy(site({"w1", "w2"}, version));
    hosts_act({"w1", "w2"});
  }
  ASSERT_GT(look([](Shell& shell) { return shell.core().target_of("w2")->seq; }), 2U);
  // and which dies, leaves the inventory and is removed,
  look([](Shell& shell) {
    shell.carry_out(shell.core().on_silence("w2", shell.now()));
    return true;
  });
  deploy(site({"w1"}, "v3"));
  order(admin(), "DELETE", "/v1/hosts/w2");
  // when a new machine joins by that name and asks, knowing of nothing,
  const Host again = joined("w2", join_token());
  auto asked = std::async(std::launch::async, [&] {
    auto agent = client(again.shown);
    std::string told;
    std::string position = "epoch=0&seq=0";
    // First, perhaps, that there is nothing yet.
    for (int i = 0; i < 3 && told.find("\"app\"") == std::string::npos; ++i) {
      told = agent.get("/v1/agents/w2/target?" + position).value().body;
      const Json target = parse_json(told).value_or(Json::object());
      position = fmt::format("epoch={}&seq={}", target.int_or("epoch"), target.int_or("seq"));
    }
    return told;
  });
  wait_until([](Shell& shell) { return shell.metrics().polls >= 1; });
  // then what is deployed to it reaches it.
  deploy(site({"w1", "w2"}, "v3"));
  EXPECT_THAT(asked.get(), HasSubstr("\"app\""));
}

}  // namespace
}  // namespace consort::controller
