// Files with secrets: their values are in the file and nowhere else.
#include <gmock/gmock.h>

#include <set>

#include "agent/secret_source.h"
#include "host_folder.h"

namespace consort::agent {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class SomeSecrets final : public SecretSource {
 public:
  Result<crypto::SecretBytes> value(const SecretReference& reference) override {
    const auto it = values.find({reference.name, reference.version});
    if (it == values.end()) return fail(ErrorCode::refused, "not sealed for this host");
    return crypto::SecretBytes(it->second);
  }
  Status taint(const std::string& path) override {
    tainted.insert(path);
    return {};
  }
  bool is_tainted(const std::string& path) const override { return tainted.contains(path); }

  std::map<std::pair<std::string, std::uint64_t>, std::string> values = {
      {{"db", 1}, "POISON-one\"'"}, {{"db", 2}, "POISON-two"}};
  std::set<std::string> tainted;
};

Json secret_spec(std::uint64_t version, const std::string& encode = "plain") {
  return Json::object({{"type", "file"},
                       {"path", "/etc/app.conf"},
                       {"secretContent", Json::Array{Json::object({{"text", "password="}}),
                                                     Json::object({{"secret", "db"},
                                                                   {"version", version},
                                                                   {"service", "mine"},
                                                                   {"encode", encode}}),
                                                     Json::object({{"text", "\n"}})}}});
}

struct FileWithSecret : testing::Test {
  FileWithSecret() {
    host.secrets = &secrets;
    host.reopen();
  }
  // Everything that the agent wrote, the host's own files aside.
  [[nodiscard]] std::string kept() const {
    std::string out;
    for (const auto& item : fs::recursive_directory_iterator(host.outside())) {
      if (item.path().string().starts_with(host.root().string()) || !item.is_regular_file())
        continue;
      out += item.path().string() + "\n" + read_file(item.path()).value_or("");
    }
    return out;
  }
  SomeSecrets secrets;
  HostFolder host;
};

TEST_F(FileWithSecret, HoldsTheValuePrivatelyAndNobodyIsToldIt) {
  const auto report = host.twice({{"conf", secret_spec(1)}});
  EXPECT_EQ(host.get("/etc/app.conf"), "password=POISON-one\"'\n");
  EXPECT_EQ(host.mode("/etc/app.conf"), 0600U);
  EXPECT_THAT(render_report(report), Not(HasSubstr("POISON")));
  EXPECT_THAT(kept(), Not(HasSubstr("POISON")));
}

TEST_F(FileWithSecret, EncodesTheValueWhereItIsAskedTo) {
  host.twice({{"conf", secret_spec(1, "json")}});
  EXPECT_EQ(host.get("/etc/app.conf"), "password=\"POISON-one\\\"'\"\n");
  host.twice({{"conf", secret_spec(1, "shell")}});
  EXPECT_EQ(host.get("/etc/app.conf"), "password='POISON-one\"'\\'''\n");
}

TEST_F(FileWithSecret, DriftIsRepairedWithoutACopyOrADiff) {
  host.twice({{"conf", secret_spec(1)}});
  host.put("/etc/app.conf", "password=POISON-one and more\n");
  const auto report = host.twice({{"conf", secret_spec(1)}});
  ASSERT_EQ(report.repaired, 1U);
  const ResourceReport* conf = report.find("conf");
  EXPECT_EQ(conf->cause, Cause::corrective);
  EXPECT_FALSE(conf->backup);
  EXPECT_EQ(conf->changes.at(0).diff, "");
  EXPECT_EQ(conf->changes.at(0).before, "(sensitive)");
  EXPECT_THAT(kept(), Not(HasSubstr("POISON")));
}

TEST_F(FileWithSecret, ANewVersionIsAnIntendedChange) {
  host.twice({{"conf", secret_spec(1)}});
  const auto report = host.twice({{"conf", secret_spec(2)}});
  EXPECT_EQ(report.find("conf")->cause, Cause::intended);
  EXPECT_EQ(host.get("/etc/app.conf"), "password=POISON-two\n");
}

TEST_F(FileWithSecret, WhatWasThereBeforeAndWhatComesAfterIsNotCopiedEither) {
  host.put("/etc/app.conf", "password=POISON-by-hand\n");
  host.twice({{"conf", secret_spec(1)}});
  EXPECT_THAT(kept(), Not(HasSubstr("POISON")));
  // The next version of the service needs no password any more; the file has held one.
  const auto report = host.twice({{"conf", file_spec("/etc/app.conf", "trust\n")}});
  EXPECT_EQ(host.get("/etc/app.conf"), "trust\n");
  EXPECT_FALSE(report.find("conf")->backup);
  EXPECT_THAT(kept(), Not(HasSubstr("POISON")));
}

TEST_F(FileWithSecret, ASecretThatCannotBeOpenedLeavesTheFileAlone) {
  host.twice({{"conf", secret_spec(1)}});
  const auto report = host.pass({{"conf", secret_spec(7)}});
  EXPECT_EQ(report.failed, 1U);
  EXPECT_THAT(report.find("conf")->reason, HasSubstr("not sealed for this host"));
  EXPECT_EQ(host.get("/etc/app.conf"), "password=POISON-one\"'\n");
}

TEST_F(FileWithSecret, TheAuthorMayGiveItToAGroup) {
  Json spec = secret_spec(1);
  spec["mode"] = "0640";
  host.twice({{"conf", spec}});
  EXPECT_EQ(host.mode("/etc/app.conf"), 0640U);
}

TEST(FileWithoutSecrets, SaysSo) {
  HostFolder host;
  const auto report = host.pass({{"conf", secret_spec(1)}});
  EXPECT_EQ(report.failed, 1U);
  EXPECT_EQ(host.get("/etc/app.conf"), "(absent)");
}

}  // namespace
}  // namespace consort::agent
