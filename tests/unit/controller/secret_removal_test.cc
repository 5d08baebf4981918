// Secrets are removed while the controller goes on with everything else.
#include "access/secrets.h"
#include "unit/controller/controller_at_home.h"

namespace consort::controller {
namespace {

using ::testing::HasSubstr;

class SecretRemoval : public tests::ControllerAtHome {
 protected:
  static constexpr int kMoreThanWorkers = 16;

  void given_the_secret(const std::string& name) {
    std::promise<Status> kept;
    look([&](Shell& shell) {
      const access::SealedSecret secret{name, 1, {"shop"}, {}, {}, "sealed.v1.AAAA"};
      auto writes = access::put_secret(shell.registry(), secret, 0, "operator ann", shell.now());
      shell.change_access(std::move(writes).value(), std::nullopt,
                          [&](const Status& status) { kept.set_value(status); });
      return true;
    });
    ASSERT_TRUE(kept.get_future().get());
  }
  // It says so now; it may be long until that is on disk.
  std::future<Status> host_tells(const std::string& host, const Digest& manifest) {
    auto kept = std::make_shared<std::promise<Status>>();
    look([&](Shell& shell) {
      plan::HostReport report;
      report.host = host;
      report.number = 1;
      report.instances["shop"].applied = plan::InstanceState{manifest};
      shell.carry_out(shell.core().on_report(report, shell.now()),
                      [kept](const Status& status) { kept->set_value(status); });
      return true;
    });
    return kept->get_future();
  }
  Digest stored_manifest_with(const std::string& secret) {
    plan::Manifest manifest;
    manifest.service = "shop";
    manifest.host_class = "web";
    manifest.secrets[secret] = 1;
    return look(
        [&](Shell& shell) { return plan::put_manifest(shell.objects(), manifest).value(); });
  }
};

TEST_F(SecretRemoval, WhatComesIntoUseWhileManifestsAreReadIsNotMissed) {
  start();
  given_the_secret("db");
  const Digest with_it = stored_manifest_with("db");
  // Given a manifest that has to be looked for on the disk, which takes long,
  ASSERT_TRUE(host_tells("w1", Digest::of("of a life that is lost")).get());
  std::promise<void> disk;
  look([&, ready = disk.get_future().share()](Shell& shell) {
    for (int i = 0; i < kMoreThanWorkers; ++i) shell.workers().post([ready] { ready.wait(); });
    return true;
  });
  const std::uint64_t asked = clock.asked;
  auto removed = std::async(std::launch::async, [&] {
    return http::error_of(admin().request("DELETE", "/v1/secrets/db").value());
  });
  // (a request without a body is looked at once, by the clock, and goes on to the disk in one go)
  wait_until([&](Shell&) { return clock.asked > asked; });
  // when a host comes to have a manifest with the secret meanwhile,
  auto told = host_tells("w2", with_it);
  disk.set_value();
  // then the secret stays.
  const Error answer = removed.get();
  EXPECT_EQ(answer.code(), ErrorCode::conflict) << "nobody had looked at that manifest";
  EXPECT_EQ(answer.hint_text(), "try again");
  ASSERT_TRUE(told.get());
  const auto again = admin().send_json("DELETE", "/v1/secrets/db", Json::object());
  ASSERT_FALSE(again);
  EXPECT_THAT(again.error().message(), HasSubstr("in use by shop on w2"));
}

}  // namespace
}  // namespace consort::controller
