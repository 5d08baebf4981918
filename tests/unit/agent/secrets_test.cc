// What an agent keeps of secrets on its disk: sealed texts, and where values have been written.
#include "agent/secrets.h"

#include <gmock/gmock.h>

#include "access/secrets.h"
#include "crypto/seal.h"

namespace consort::agent {
namespace {

using ::testing::HasSubstr;

constexpr Duration kGrace = std::chrono::hours(1);

struct HostSecrets : testing::Test {
  void SetUp() override { reopen(); }
  void reopen() {
    secrets.reset();
    auto opened = Secrets::open(at("secrets"), Upstream{}, "web1");
    ASSERT_TRUE(opened) << render_error(opened.error());
    secrets = std::move(*opened);
  }
  [[nodiscard]] fs::path at(const std::string& name) const { return folder.path() / name; }
  [[nodiscard]] fs::path stored(std::uint64_t version) const {
    return at("secrets") / ("db." + std::to_string(version) + ".json");
  }
  // As if it had been fetched at some time.
  void keep(std::uint64_t version, Duration ago) const {
    const auto sealed = crypto::seal(crypto::SecretBytes("value"), {secrets->public_key()},
                                     access::secret_context("p", "db", version));
    const Json json = Json::object({{"partition", "p"},
                                    {"services", Json::array_of(std::vector<std::string>{"shop"})},
                                    {"sealed", sealed.value()}});
    ASSERT_TRUE(write_file_atomic(stored(version), json.dump(), 0600));
    fs::last_write_time(stored(version), fs::file_time_type::clock::now() - ago);
  }

  TempFolder folder = TempFolder::create("consort-secrets-").value();
  std::unique_ptr<Secrets> secrets;
};

TEST_F(HostSecrets, WhatWasJustFetchedStaysThoughNothingInUseNeedsIt) {
  // Given secrets of old, one of which a step has just asked for.
  keep(1, 2 * kGrace);
  keep(2, 2 * kGrace);
  keep(3, 2 * kGrace);
  ASSERT_TRUE(secrets->fetch({"db", 2, "shop"}));
  // When a collection ends that has looked at what is in use before.
  secrets->keep_only({{"db", 3}}, kGrace);
  EXPECT_FALSE(fs::exists(stored(1)));
  EXPECT_TRUE(fs::exists(stored(2)));
  EXPECT_TRUE(fs::exists(stored(3)));
  // Later it goes like any other.
  keep(2, 2 * kGrace);
  secrets->keep_only({{"db", 3}}, kGrace);
  EXPECT_FALSE(fs::exists(stored(2)));
  EXPECT_TRUE(fs::exists(at("secrets/key.pem")));
}

TEST_F(HostSecrets, ADamagedListOfFilesIsPutAside) {
  ASSERT_TRUE(secrets->taint("/etc/app.conf"));
  reopen();
  EXPECT_TRUE(secrets->is_tainted("/etc/app.conf"));
  for (const bool large : {false, true}) {
    ASSERT_TRUE(write_file_atomic(at("secrets/tainted.json"), "{ \"paths\": [", 0600));
    if (large) fs::resize_file(at("secrets/tainted.json"), 17U << 20U);
    reopen();
    ASSERT_TRUE(secrets);
    EXPECT_FALSE(fs::exists(at("secrets/tainted.json")));
    EXPECT_TRUE(fs::exists(at("secrets/tainted.json.damaged")));
    ASSERT_TRUE(secrets->taint("/etc/app.conf"));
    reopen();
    EXPECT_TRUE(secrets->is_tainted("/etc/app.conf"));
  }
}

TEST_F(HostSecrets, TheListIsNeverLongerThanItCanBeRead) {
  ASSERT_TRUE(secrets->taint("/a" + std::string(9U << 20U, 'x')));
  const std::string one_more = "/b" + std::string(9U << 20U, 'x');
  const Status refused = secrets->taint(one_more);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), ErrorCode::too_large);
  EXPECT_THAT(refused.error().message(), HasSubstr("held a secret"));
  EXPECT_FALSE(secrets->is_tainted(one_more));
}

TEST_F(HostSecrets, PathsBelowTheFoldersOfVersionsThatAreGoneAreForgotten) {
  const fs::path versions = at("services/shop/versions");
  fs::create_directories(versions / "aaa");
  const std::vector<std::string> stay = {
      "/etc/app.conf", (versions / "aaa/app.conf").string(), (versions / "ccc").string(),
      at("services/shop/versions-of-mine/bbb/app.conf").string()};
  const std::string goes = (versions / "bbb/deep/app.conf").string();
  for (const std::string& path : stay) ASSERT_TRUE(secrets->taint(path));
  ASSERT_TRUE(secrets->taint(goes));
  secrets->forget_below_removed(versions);
  for (const bool restarted : {false, true}) {
    if (restarted) reopen();
    for (const std::string& path : stay) EXPECT_TRUE(secrets->is_tainted(path)) << path;
    EXPECT_FALSE(secrets->is_tainted(goes));
  }
}

}  // namespace
}  // namespace consort::agent
