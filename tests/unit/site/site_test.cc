// The site language: two evaluations, limits, checks, errors with a place.
#include "site/site.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include "base/files.h"
#include "site/placeholder.h"
#include "site/schema.h"

namespace consort::site {
namespace {

using ::testing::HasSubstr;

class SiteTest : public ::testing::Test {
 protected:
  SiteTest() : folder_(*TempFolder::create("consort-site-")) {}

  fs::path write(const std::string& name, const std::string& text) {
    const fs::path path = folder_.path() / name;
    EXPECT_TRUE(write_file_atomic(path, text, 0644, Durability::cached));
    return path;
  }

  Result<Site> evaluate(const std::string& text) {
    return evaluate_static(write("site.jsonnet", text));
  }

  // The rendered error of a site that must not evaluate.
  std::string error_of(const std::string& text, const EvaluationLimits& limits = {}) {
    const auto site = evaluate_static(write("site.jsonnet", text), limits);
    return site ? "it evaluated" : render_error(site.error());
  }

  TempFolder folder_;
};

constexpr std::string_view kShop = R"(local c = import 'consort.libsonnet';
c.site('shop') {
  hostClasses: { db: { inventory: c.inventory.file('h.yaml') }, web: { inventory: c.inventory.file('h.yaml') } },
  services: {
    postgres: c.service { on: 'db', provides: { sql: { port: 5432 } }, daemon: c.daemon(['postgres']) },
    shop: c.service {
      local sql = self.needs.sql,
      on: 'web',
      needs: { sql: c.endpoint('postgres', 'sql') },
      resources: { config: c.file('/etc/shop', sql.url('postgresql', '/shop')) { purpose: 'says where' } },
    },
  },
  policy: { batches: [1, '30%'] },
})";

TEST_F(SiteTest, TheFirstEvaluationNeedsNoFleetAndTheSecondKnowsAddresses) {
  auto site = evaluate(std::string(kShop));
  ASSERT_TRUE(site) << render_error(site.error());
  EXPECT_EQ(site->services.at("shop").needs.at("sql").service, "postgres");
  EXPECT_TRUE(site->services.at("shop").resources.empty());
  const EndpointTable endpoints = {{"postgres/sql", {{"10.0.0.7"}, {"db1"}, 5432}}};
  ASSERT_TRUE(evaluate_bodies(*site, endpoints));
  EXPECT_TRUE(site->broken.empty());
  EXPECT_EQ(site->services.at("shop").resources.at("config").string_or("content"),
            "postgresql://10.0.0.7:5432/shop");
}

TEST_F(SiteTest, APlainJsonSiteWorks) {
  const auto site = evaluate(
      R"({"name": "s", "hostClasses": {"a": {"inventory": {"type": "hosts", "hosts": {"h1": {}}}}}, "services": {"x": {"on": "a"}}})");
  ASSERT_TRUE(site) << render_error(site.error());
  EXPECT_EQ(site->services.at("x").on, "a");
}

TEST_F(SiteTest, OneBrokenServiceDoesNotBreakTheOthers) {
  auto site =
      evaluate(R"({name: 's', hostClasses: {a: {inventory: {type: 'hosts', hosts: {h1: {}}}}},
    services: {good: {on: 'a', daemon: {argv: ['x']}}, bad: {on: 'a', daemon: {argv: [error 'no such release']}}}})");
  ASSERT_TRUE(site);
  ASSERT_TRUE(evaluate_bodies(*site, {}));
  EXPECT_TRUE(site->services.at("good").daemon);
  ASSERT_TRUE(site->broken.contains("bad"));
  EXPECT_THAT(site->broken.at("bad").message(), HasSubstr("no such release"));
}

TEST_F(SiteTest, AllThatAreBrokenAreFoundAndTheSoundOnesAreWhole) {
  // given: of 60 services every seventh has no body
  auto site = evaluate(R"(
{ name: 's', hostClasses: { a: { inventory: { type: 'hosts', hosts: { h1: {} } } } },
  services: { ['s' + i]: { on: 'a', daemon: { argv: [
    if i % 7 == 3 then error 'no release ' + i else 's' + i] } }
  for i in std.range(0, 59) } })");
  ASSERT_TRUE(site) << render_error(site.error());
  // when
  ASSERT_TRUE(evaluate_bodies(*site, {}));
  // then
  EXPECT_EQ(site->broken.size(), 9U);
  for (int i = 0; i < 60; ++i) {
    const std::string name = fmt::format("s{}", i);
    if (i % 7 == 3) {
      ASSERT_TRUE(site->broken.contains(name)) << name;
      EXPECT_THAT(site->broken.at(name).message(), HasSubstr(fmt::format("no release {}", i)));
      EXPECT_THAT(site->broken.at(name).contexts(), ::testing::Contains("in services." + name));
    } else {
      ASSERT_TRUE(site->services.at(name).daemon) << name;
      EXPECT_EQ(site->services.at(name).daemon->find("argv")->as_array().front().as_string(), name);
    }
  }
}

#ifndef CONSORT_SANITIZED  // the sanitizers limit no memory
TEST_F(SiteTest, AServiceThatEndsItsEvaluationEndsNoOther) {
  auto site =
      evaluate(R"({name: 's', hostClasses: {a: {inventory: {type: 'hosts', hosts: {h1: {}}}}},
    services: {good: {on: 'a', daemon: {argv: ['x']}},
               huge: {on: 'a', daemon: {argv: [std.repeat('x', 4000000000)]}}}})");
  ASSERT_TRUE(site);
  ASSERT_TRUE(evaluate_bodies(*site, {}));
  EXPECT_TRUE(site->services.at("good").daemon);
  ASSERT_TRUE(site->broken.contains("huge"));
  EXPECT_THAT(render_error(site->broken.at("huge")), HasSubstr("MiB of memory"));
}
#endif

TEST_F(SiteTest, MistakesOfSeveralServicesAreAllTold) {
  std::vector<Error> mistakes;
  const auto site = evaluate_static(write("site.json", R"({"name": "s", "polcy": {},
    "hostClasses": {"a": {"inventory": {"type": "hosts", "hosts": {"h1": {}}}}, "b": {"invntory": 1}},
    "services": {"w": {"on": "a", "needs": {"x": {"service": "x", "endpoint": "e"}}},
                 "x": {"on": "a", "neds": {}}, "y": {"on": "nowhere"}, "z": {"on": "b"}}})"),
                                    {}, &mistakes);
  ASSERT_FALSE(site);
  std::string all;
  for (const Error& mistake : mistakes) all += mistake.message() + "\n";
  EXPECT_EQ(all,
            "site: unknown field 'polcy'\n"
            "hostClasses.b: unknown field 'invntory'\n"
            "services.x: unknown field 'neds'\n"
            "services.y.on: there is no host class 'nowhere'\n");
  EXPECT_EQ(site.error().message(), mistakes.front().message());
  EXPECT_THAT(render_error(site.error()), HasSubstr("the first of 4 mistakes"));
}

// The site as one text, whichever way it was read.
std::string told(const Site& site) {
  Json out = Json::object({{"name", site.name}, {"policy", site.policy}});
  for (const auto& [name, host_class] : site.host_classes)
    out["classes"][name] =
        Json::object({{"inventory", host_class.inventory}, {"min", host_class.min}});
  for (const auto& [name, service] : site.services) {
    Json one = Json::object({{"on", service.on},
                             {"version", service.version},
                             {"dataVersion", service.data_version},
                             {"artifacts", service.artifacts},
                             {"resources", service.resources},
                             {"daemon", service.daemon.value_or(Json())},
                             {"hooks", service.hooks}});
    for (const auto& [edge, need] : service.needs)
      one["needs"][edge] = need.service + "/" + need.endpoint;
    for (const auto& [endpoint, value] : service.provides) one["provides"][endpoint] = value;
    out["services"][name] = one;
  }
  return out.dump();
}

TEST_F(SiteTest, PlainJsonIsReadAsJsonnetWouldReadIt) {
  const std::string text =
      R"({"name": "s", "policy": {"batches": [1, "30%"], "maxUnavailable": 2.0},
    "hostClasses": {"a": {"min": -0, "resources": {"d": {"type": "directory", "path": "/x"}},
                    "inventory": {"type": "hosts", "hosts": {"h1": {"labels": {"k": "a:b\"\\:"}}}}}},
    "services": {"p": {"on": "a", "version": "\u00e9\u0001\ud83d\ude00", "dataVersion": 3e0, "purpose": null,
                       "provides": {"e": {"port": 1e3}}, "hooks": {}, "artifacts": {}},
                 "x": {"on": "a", "needs": {"p": {"service": "p", "endpoint": "e"}},
                       "daemon": {"argv": ["a", "${needs.p.port}"], "limits": {"nofile": 1024.0}},
                       "resources": {"f": {"type": "file", "path": "/f", "content": "a\tb\u0000c\n"}}}}})";
  // given: the same text as a plain file, and imported by a Jsonnet one
  const auto plain = write("plain.json", text);
  const auto program = write("program.jsonnet", "import 'plain.json'");
  auto by_reader = evaluate_static(plain);
  auto by_jsonnet = evaluate_static(program);
  ASSERT_TRUE(by_reader) << render_error(by_reader.error());
  ASSERT_TRUE(by_jsonnet) << render_error(by_jsonnet.error());
  const EndpointTable endpoints = {{"p/e", {{"10.0.0.7"}, {"h1"}, 1000}}};
  ASSERT_TRUE(evaluate_bodies(*by_reader, endpoints));
  ASSERT_TRUE(evaluate_bodies(*by_jsonnet, endpoints));
  // then
  EXPECT_EQ(told(*by_reader), told(*by_jsonnet));
  EXPECT_TRUE(by_reader->broken.empty());
}

TEST_F(SiteTest, WhatPlainJsonWouldHideIsStillAnError) {
  // A name given twice, of which parsers of JSON keep the last.
  EXPECT_THAT(error_of(R"({"name": "s", "hostClasses": {}, "services": {}, "name": "t"})"),
              HasSubstr("uplicate field"));
  EXPECT_THAT(error_of(R"({"name": "s", "hostClasses": {}, "services": {},})"),
              HasSubstr("it evaluated"));
  EXPECT_THAT(error_of(R"({"name": "s", "hostClasses": [], "services": {}})"),
              HasSubstr("must be objects"));
}

TEST_F(SiteTest, ThousandsOfServicesAreEvaluatedWithinTheLimits) {
  // given: 2 000 services, as the library makes them and as JSON
  Json plain = Json::object({{"name", "s"}});
  plain["hostClasses"]["a"]["inventory"] =
      Json::object({{"type", "hosts"}, {"hosts", Json::object({{"h1", Json::object()}})}});
  for (int i = 0; i < 2000; ++i)
    plain["services"][fmt::format("s{}", i)] =
        Json::object({{"on", "a"}, {"daemon", Json::object({{"argv", Json::Array{"x"}}})}});
  const std::string program = R"(local c = import 'consort.libsonnet';
    c.site('s') { hostClasses: { a: { inventory: c.inventory.hosts({ h1: {} }) } },
      services: { ['s' + i]: c.service { on: 'a', daemon: c.daemon(['x']),
        resources: { f: c.file('/etc/s' + i, 'x') } } for i in std.range(0, 1999) } })";
  for (const std::string& text : {plain.dump(), program}) {
    auto site = evaluate(text);
    ASSERT_TRUE(site) << render_error(site.error());
    ASSERT_TRUE(evaluate_bodies(*site, {}));
    EXPECT_TRUE(site->broken.empty());
    EXPECT_EQ(site->services.size(), 2000U);
    EXPECT_TRUE(site->services.at("s1999").daemon);
  }
}

std::string db_with(const std::string& access, const std::string& provides = "sql: {port: 5432}") {
  return "{name: 's', hostClasses: {a: {inventory: {type: 'hosts', hosts: {h1: {}}}}}, services: "
         "{db: {on: 'a', provides: {" +
         provides + "}, " + access + "}}}";
}

TEST_F(SiteTest, AccessIsDeclaredOnTheSiteAServiceOrAnEndpoint) {
  const auto site = evaluate(
      R"({name: 's', access: {mode: 'audit'}, hostClasses: {a: {inventory: {type: 'hosts', hosts: {h1: {}}}}},
    services: {db: {on: 'a', access: {mode: 'enforce', also: ['10.0.0.0/8']},
                    provides: {sql: {port: 5432}, stats: {port: 9187, access: {mode: 'off'}}}}}})");
  ASSERT_TRUE(site) << render_error(site.error());
  EXPECT_EQ(site->access.string_or("mode"), "audit");
  EXPECT_EQ(site->services.at("db").access.string_or("mode"), "enforce");
}

TEST_F(SiteTest, AccessThatCannotBeMeantIsRefused) {
  EXPECT_THAT(error_of(db_with("access: {mode: 'enforced'}")),
              HasSubstr("services.db.access.mode"));
  EXPECT_THAT(error_of(db_with("access: {mode: 'enforce'}", "")),
              HasSubstr("services.db.access: the service provides nothing that could be reached"));
  EXPECT_THAT(error_of(db_with("access: {mode: 'enforce'}", "sql: {}")),
              HasSubstr("provides: { http"));
  EXPECT_THAT(error_of(db_with("access: {also: ['web1']}")),
              ::testing::AllOf(HasSubstr("services.db.access.also"), HasSubstr("'web1' is no IP")));
  EXPECT_THAT(error_of(db_with("access: {also: ['10.1.2.3/8']}")), HasSubstr("10.0.0.0/8"));
  EXPECT_THAT(
      error_of(db_with("version: '1'", "a: {port: 1, access: {mode: 'enforce'}}, b: {port: 1}")),
      HasSubstr("a and b share port 1"));
}

TEST_F(SiteTest, ASyntaxErrorHasItsLineAndACaret) {
  const std::string text = error_of("{\n  name: 's',\n  hostClasses {}\n}");
  EXPECT_THAT(text, HasSubstr("site.jsonnet:3:15"));
  EXPECT_THAT(text, HasSubstr("  hostClasses {}"));
  EXPECT_THAT(text, HasSubstr("^"));
}

TEST_F(SiteTest, ARuntimeErrorPointsIntoTheSite) {
  const std::string text =
      error_of("{ name: 's', hostClasses: {}, services: { x: { on: self.nowhere } } }");
  EXPECT_THAT(text, HasSubstr("ield does not exist: nowhere"));
  EXPECT_THAT(text, HasSubstr("site.jsonnet:1:"));
}

TEST_F(SiteTest, EndlessRecursionIsStopped) {
  EXPECT_THAT(error_of("local f(x) = f(x + 1); f(0)"), HasSubstr("error: "));
}

TEST_F(SiteTest, EndlessWorkIsStoppedWithinItsTime) {
  EvaluationLimits limits;
  limits.deadline = seconds(1);
  EXPECT_THAT(error_of("local n = std.range(1, 3000); { name: std.length([1 for a in n for b in n "
                       "for d in n]) }",
                       limits),
              HasSubstr("hint: look for an endless recursion"));
}

TEST_F(SiteTest, AHugeSourceIsRefused) {
  EvaluationLimits limits;
  limits.source_bytes = 1000;
  EXPECT_THAT(error_of("'" + std::string(2000, 'x') + "'", limits), HasSubstr("too large"));
}

TEST_F(SiteTest, AMissingImportNamesThePath) {
  EXPECT_THAT(error_of("import 'team/shop.libsonnet'"), HasSubstr("team/shop.libsonnet"));
  EXPECT_THAT(error_of("import 'consort.libsonet'"),
              HasSubstr("did you mean 'consort.libsonnet'?"));
}

TEST_F(SiteTest, AStaticFieldMayNotDependOnTheFleet) {
  EXPECT_THAT(error_of("local c = import 'consort.libsonnet'; { name: 's', hostClasses: {}, "
                       "services: { x: { on: c.endpoint('a', 'b').address } } }"),
              HasSubstr("is not known yet"));
}

TEST_F(SiteTest, S04_MistakesNameThePlaceAndTheLikelyFix) {
  const std::string classes =
      "hostClasses: { web: { inventory: { type: 'hosts', hosts: { h: {} } } } }";
  const auto site = [&](const std::string& services) {
    return "{ name: 's', " + classes + ", services: " + services + " }";
  };
  EXPECT_THAT(error_of(site("{ x: { on: 'wbe' } }")),
              ::testing::AllOf(HasSubstr("services.x.on: there is no host class 'wbe'"),
                               HasSubstr("did you mean 'web'?")));
  EXPECT_THAT(error_of(site("{ x: { on: 'web', neds: {} } }")),
              ::testing::AllOf(HasSubstr("services.x: unknown field 'neds'"),
                               HasSubstr("did you mean 'needs'?")));
  EXPECT_THAT(error_of(site("{ x: { on: 'web', needs: { y: { service: 'z', endpoint: 'e' } } } }")),
              HasSubstr("services.x.needs.y: there is no service 'z'"));
  EXPECT_THAT(error_of(site("{ x: { on: 'web', replicas: 'two' } }")),
              HasSubstr("services.x.replicas: expected an integer"));
  EXPECT_THAT(
      error_of("{ name: 's', hostClasses: { web: { inventory: { type: 'flie', path: 'x' } } } }"),
      ::testing::AllOf(HasSubstr("hostClasses.web.inventory.type"),
                       HasSubstr("did you mean 'file'?")));
  EXPECT_THAT(error_of("{ name: 's', " + classes + ", policy: { soak: 'soon' } }"),
              HasSubstr("'soon' is not a duration"));
  EXPECT_THAT(error_of("{ name: 's', " + classes + ", policy: { maxUnavailable: 0 } }"),
              HasSubstr("policy.maxUnavailable: expected a number of at least 1"));
  EXPECT_THAT(error_of("{ name: 's', " + classes + ", policy: { batches: [] } }"),
              HasSubstr("policy.batches: expected at least one"));
  EXPECT_THAT(error_of(site("{ x: { on: 'web', provides: { e: { port: 808080 } } } }")),
              HasSubstr("port: expected a port, 1 to 65535"));
}

TEST(Schema, VariablesOfTheEnvironmentHaveNamesOfVariables) {
  const auto said = [](const std::string& name, const Json& value) {
    const Json daemon = Json::object(
        {{"argv", Json::Array{"/bin/x"}}, {"environment", Json::object({{name, value}})}});
    const Status status =
        check(Json::object({{"on", "web"}, {"daemon", daemon}}), service_schema(), "services.x");
    return status ? "it is good" : render_error(status.error());
  };
  EXPECT_EQ(said("_A1", "b c\n"), "it is good");
  for (const std::string& bad : {std::string("A=B"), std::string("A\nB"), std::string("1A"),
                                 std::string(), std::string("A\0", 2)})
    EXPECT_THAT(said(bad, "x"), HasSubstr("daemon.environment: one has no good name")) << bad;
  EXPECT_THAT(said("A", std::string("b\0c", 3)), HasSubstr("environment.A: no variable can hold"));
  EXPECT_THAT(said("A", 1), HasSubstr("expected a string"));
}

TEST_F(SiteTest, ASoftCycleIsFineAndAHardOneIsNot) {
  const auto ring = [](const std::string& kind) {
    return "{ name: 's', hostClasses: { a: { inventory: { type: 'hosts', hosts: { h: {} } } } }, "
           "services: {"
           " x: { on: 'a', provides: { e: {} }, " +
           kind +
           ": { y: { service: 'y', endpoint: 'e' } } },"
           " y: { on: 'a', provides: { e: {} }, " +
           kind + ": { x: { service: 'x', endpoint: 'e' } } } } }";
  };
  EXPECT_TRUE(evaluate(ring("uses")));
  EXPECT_THAT(error_of(ring("needs")), HasSubstr("x → y → x"));
}

TEST(Placeholders, ExpandOnceAndOnlyKnownNamespaces) {
  const auto lookup = [](std::string_view name) -> Result<std::string> {
    if (name == "host.name") return std::string("web1 ${host.address}");
    return fail(ErrorCode::invalid_input, "no " + std::string(name));
  };
  EXPECT_EQ(*expand("${host.name}|${other.thing}|$${host.name}|${needs.x.port}",
                    PlaceholderStage::host, lookup),
            "web1 ${host.address}|${other.thing}|${host.name}|${needs.x.port}");
  EXPECT_EQ(*expand("$${needs.x.port}", PlaceholderStage::compile, lookup), "$${needs.x.port}")
      << "the escape is for the agent, who expands last";
  EXPECT_FALSE(expand("${host.nmae}", PlaceholderStage::host, lookup));
  EXPECT_EQ(*expand("${unfinished", PlaceholderStage::host, lookup), "${unfinished");
}

TEST(Placeholders, Encode) {
  const auto lookup = [](std::string_view) -> Result<std::string> { return std::string("a'b\"c"); };
  EXPECT_EQ(*expand("${json:host.name}", PlaceholderStage::host, lookup), "\"a'b\\\"c\"");
  EXPECT_EQ(*expand("${shell:host.name}", PlaceholderStage::host, lookup), "'a'\\''b\"c'");
}

TEST(Placeholders, SecretsStayReferencesAndNothingThatWasFilledInBecomesOne) {
  const auto lookup = [](std::string_view) -> Result<std::string> { return "${secret.other}"; };
  const auto pieces =
      expand_but_secrets("a=${json:secret.db};b=${host.name};$${secret.no}${secret.x}", lookup);
  ASSERT_TRUE(pieces);
  const std::vector<Piece> wanted = {{"a=", "", Encoder::plain},
                                     {"", "db", Encoder::json},
                                     {";b=${secret.other};${secret.no}", "", Encoder::plain},
                                     {"", "x", Encoder::plain}};
  EXPECT_EQ(*pieces, wanted);
}

TEST(Schema, IsPublishedAsJsonSchema) {
  const Json schema = json_schema();
  EXPECT_EQ(schema.string_or("$schema"), "https://json-schema.org/draft/2020-12/schema");
  EXPECT_NE(schema.find("properties")->find("services"), nullptr);
}

}  // namespace
}  // namespace consort::site
