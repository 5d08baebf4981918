#include "agent/supervisors/unit_file.h"

#include <gmock/gmock.h>

#include "agent/resource.h"

namespace consort::agent {
namespace {

using ::testing::HasSubstr;

DaemonSpec web() {
  DaemonSpec spec;
  spec.name = "web";
  spec.argv = {"/usr/bin/web", "100%", "a \"b\" $C"};
  spec.environment = {{"KEY", "two words"}};
  spec.writable = {"/var/lib/web"};
  spec.config_digest = Digest::of("x");
  return spec;
}

TEST(UnitFile, QuotesWhatSystemdWouldInterpret) {
  const std::string unit = render_unit(web()).value();
  EXPECT_THAT(unit, HasSubstr("ExecStart=\":/usr/bin/web\" \"100%%\" \"a \\\"b\\\" $C\"\n"));
  EXPECT_THAT(unit, HasSubstr("Environment=\"KEY=two words\"\n"));
}

TEST(UnitFile, IsHardenedUnlessToldOtherwise) {
  EXPECT_THAT(render_unit(web()).value(), HasSubstr("ProtectSystem=strict"));
  EXPECT_THAT(render_unit(web()).value(), HasSubstr("ReadWritePaths=\"-/var/lib/web\""));
  DaemonSpec open = web();
  open.hardening = Hardening::none;
  EXPECT_THAT(render_unit(open).value(), ::testing::Not(HasSubstr("ProtectSystem")));
}

TEST(UnitFile, GivesCredentialsToSystemd) {
  DaemonSpec spec = web();
  spec.credentials = {{"db", "/var/lib/web/100%"}};
  EXPECT_THAT(render_unit(spec).value(), HasSubstr("LoadCredential=db:/var/lib/web/100%%\n"));
  spec.credentials["db"] = "/x\nExecStartPre=/bin/evil";
  EXPECT_FALSE(render_unit(spec));
}

TEST(UnitFile, CarriesItsConfigurationDigest) {
  EXPECT_EQ(digest_in_unit(render_unit(web()).value()), Digest::of("x"));
  EXPECT_TRUE(digest_in_unit("[Unit]\n").is_none());
}

TEST(UnitFile, RefusesWhatItCannotHold) {
  DaemonSpec bad = web();
  bad.argv.emplace_back("a\rb");
  EXPECT_FALSE(render_unit(bad));
  bad = web();
  bad.user = "x\nExecStartPre=/bin/evil";
  EXPECT_FALSE(render_unit(bad));
}

TEST(UnitFile, NoVariableOfTheEnvironmentBecomesALineOfIt) {
  const auto parsed = [](const std::string& name, const std::string& value) {
    return parse_resource("web",
                          Json::object({{"type", "daemon"},
                                        {"argv", Json::Array{"/usr/bin/web"}},
                                        {"environment", Json::object({{name, value}})}}),
                          "/");
  };
  EXPECT_TRUE(parsed("KEY", "two\nlines"));
  EXPECT_FALSE(parsed("KEY\nExecStartPre", "/bin/evil"));
  EXPECT_FALSE(parsed("KEY=other", "x"));
  EXPECT_FALSE(parsed("KEY", std::string("a\0b", 3)));
  DaemonSpec spec = web();
  spec.environment["KEY"] = "x\"\nExecStartPre=\"/bin/evil";
  EXPECT_THAT(render_unit(spec).value(),
              HasSubstr("Environment=\"KEY=x\\\"\\nExecStartPre=\\\"/bin/evil\"\n"));
}

}  // namespace
}  // namespace consort::agent
