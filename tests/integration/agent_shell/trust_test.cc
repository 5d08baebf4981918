// An agent with a trust list and a controller that has been stolen.
#include "fixture.h"
#include "fixtures/statements.h"

namespace consort::agent {
namespace {

class TrustTest : public AgentShellTest {
 protected:
  TrustTest() {
    fs::create_directories(data());
    trust(signing::trust_list_to_json(signers.list).dump());
  }
  void trust(const std::string& text) const {
    EXPECT_TRUE(write_file_atomic(data() / "trust.json", text));
  }
  // What operators have signed last: this version of the shop on web1.
  void sign(const plan::Manifest& manifest) {
    std::optional<plan::Statement> before;
    if (!statements.empty()) before = statements.back();
    plan::Statement next =
        tests::statement(statements.size() + 1, before ? tests::digest_of(*before) : Digest());
    next.services["shop"] = {controller.publish(manifest), {{"web1", {}}}};
    controller.attestation = signers.attest(next, "web1", before ? &*before : nullptr);
    statements.push_back(next);
  }
  [[nodiscard]] bool is_done(const std::string& attempt) {
    const auto report = controller.outcome("shop", attempt);
    return report && report->outcome->result == plan::Outcome::Result::done;
  }
  // Nothing of it is done, and the controller is told why.
  [[nodiscard]] std::string refusal_of(const std::string& attempt) {
    const auto report = controller.outcome("shop", attempt);
    if (!report || report->outcome->result != plan::Outcome::Result::failed) return "";
    EXPECT_EQ(report->outcome->step, "trust");
    return report->outcome->message;
  }
  void tell(const plan::Manifest& manifest, const std::string& attempt) {
    static_cast<void>(install(manifest, attempt));
  }
  [[nodiscard]] std::string config() const { return text_of(root() / "etc/shop.conf"); }

  tests::Signers signers{2, 2};
  std::vector<plan::Statement> statements;
};

TEST_F(TrustTest, RunsOnWithWhatWasSigned) {
  start_agent();
  sign(heart("v1"));
  tell(heart("v1"), "a1");
  ASSERT_TRUE(is_done("a1"));
  // The thief has no signature for another version, nor for the end of this one.
  tell(heart("evil"), "a2");
  EXPECT_THAT(refusal_of("a2"), HasSubstr("statement 1 does not want"));
  controller.attestation.reset();
  tell(heart("evil"), "a3");
  EXPECT_THAT(refusal_of("a3"), HasSubstr("not signed"));
  EXPECT_THAT(config(), HasSubstr("version v1"));
  EXPECT_TRUE(controller.wait([](const plan::HostReport& r) { return !r.untrusted.empty(); }));
  EXPECT_GE(controller.events("untrusted").size(), 1U);
  // The operators can go on.
  sign(heart("v2"));
  tell(heart("v2"), "a4");
  ASSERT_TRUE(is_done("a4"));
  EXPECT_THAT(config(), HasSubstr("version v2"));
  EXPECT_TRUE(controller.wait([](const plan::HostReport& r) { return r.untrusted.empty(); }));
}

TEST_F(TrustTest, RemembersHowFarTheSignaturesHaveCome) {
  start_agent();
  for (const char* version : {"v1", "v2", "v3"}) {
    sign(heart(version));
    tell(heart(version), std::string("to ") + version);
    ASSERT_TRUE(is_done(std::string("to ") + version));
  }
  kill_agent();
  start_agent();
  // A signed statement of long ago, as it was sent then.
  controller.attestation = signers.attest(statements[0], "web1");
  tell(heart("v1"), "replay");
  EXPECT_THAT(refusal_of("replay"), HasSubstr("older"));
  EXPECT_THAT(config(), HasSubstr("version v3"));
  const auto report =
      controller.wait([](const plan::HostReport& r) { return !r.untrusted.empty(); });
  ASSERT_TRUE(report);
  EXPECT_EQ(report->statement, 3U);
}

TEST_F(TrustTest, ADamagedListBelievesNothingAndKeepsWhatRuns) {
  start_agent();
  sign(heart("v1"));
  tell(heart("v1"), "a1");
  ASSERT_TRUE(is_done("a1"));
  kill_agent();
  trust("{");
  start_agent();
  sign(heart("v2"));
  tell(heart("v2"), "a2");
  EXPECT_THAT(refusal_of("a2"), HasSubstr("trust list"));
  EXPECT_TRUE(write_file_atomic(root() / "etc/shop.conf", "spoilt"));
  EXPECT_TRUE(eventually([&] { return config().starts_with("version v1"); }));
}

}  // namespace
}  // namespace consort::agent
