// A fleet of web hosts and a database, on a stage.
#pragma once

#include "unit/controller/stage.h"

namespace consort::controller {

class ControllerCore : public tests::Stage {
 protected:
  static tests::Model site(const std::string& version, int hosts = 3) {
    tests::Model model;
    for (int i = 1; i <= hosts; ++i) model.host("w" + std::to_string(i), "web");
    model.host("d1", "db");
    model.service("app", "web", version).service("cron", "db", "v1");
    return model;
  }

  void given_v1_is_deployed(int hosts = 3) {
    const tests::Model v1 = site("v1", hosts);
    hosts_join(v1);
    const auto id = deploy(request(v1));
    ASSERT_TRUE(id) << render_error(id.error());
    settle();
    ASSERT_EQ(result_of(*id), rollout::Result::done);
  }
};

}  // namespace consort::controller
