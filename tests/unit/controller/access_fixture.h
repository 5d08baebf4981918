// A database that lets in the hosts of its service, on a stage.
#pragma once

#include "unit/controller/stage.h"

namespace consort::controller {

class ControllerAccess : public tests::Stage {
 protected:
  // A database for the hosts of web, whatever their number.
  static tests::Model site(int webs, const std::string& version = "v1",
                           plan::AccessMode mode = plan::AccessMode::enforce) {
    tests::Model model;
    model.host("d1", "db");
    for (int i = 1; i <= webs; ++i) model.host("w" + std::to_string(i), "web");
    for (auto& [name, host] : model.generation.hosts)
      host.address = std::string("10.0.0.") + (name[0] == 'd' ? "1" : "") + name[1];
    model.service("db", "db", "v1").service("web", "web", version, {"db"});
    model.generation.services.at("db").endpoints["e"] = {5432, mode, {}};
    return model;
  }
  void given(const tests::Model& model) {
    hosts_join(model);
    const auto id = deploy(request(model));
    ASSERT_TRUE(id) << render_error(id.error());
    settle();
    ASSERT_EQ(result_of(*id), rollout::Result::done);
  }
  void says_address(const std::string& host, const std::string& address) {
    plan::HostReport report = report_of(host);
    report.facts["address"] = address;
    take(core->on_report(report, now));
  }
  std::vector<std::string> let_in(const std::string& host = "d1") {
    const auto target = core->target_of(host);
    if (!target || !target->admissions) return {"never told"};
    if (target->admissions->empty()) return {"open"};
    return target->admissions->front().sources;
  }
};

}  // namespace consort::controller
