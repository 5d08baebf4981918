// A controller is initialised once, whatever ends the first try, and never over what is there.
#include "controller/init.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <string_view>
#include <utility>
#include <vector>

#include "state/sqlite_store.h"

namespace consort::controller {
namespace {

using ::testing::HasSubstr;

class Initialising : public ::testing::Test {
 protected:
  Initialising() {
    options.controller = "c1";
    options.names.ips = {"127.0.0.1"};
  }
  [[nodiscard]] fs::path data() const { return home.path() / "data"; }
  [[nodiscard]] fs::path file(const char* name) const { return data() / "authority" / name; }
  Result<Initialised> init() const {
    return initialise_controller(data(), options, "admin", clock);
  }
  [[nodiscard]] std::string text(const char* name) const { return read_file(file(name)).value(); }
  void lose(const fs::path& path) const { ASSERT_TRUE(remove_tree(path)); }
  // As after a kill before the first admin was made.
  void make_authority_only() const {
    ASSERT_TRUE(make_folders(data(), 0700));
    ASSERT_TRUE(AuthorityFolder::create(data(), options, clock.now()));
  }
  TempFolder home = TempFolder::create("controller-init-").value();
  SystemClock clock;
  AuthorityOptions options;
};

TEST_F(Initialising, AFolderThatWasThereIsClosedToOthers) {
  ASSERT_TRUE(make_folders(data()));
  ASSERT_EQ(::chmod(data().c_str(), 0755), 0);
  ASSERT_TRUE(init());
  EXPECT_EQ(fs::status(data()).permissions(), fs::perms::owner_all);
  EXPECT_EQ(fs::status(data() / "state.sqlite").permissions(),
            fs::perms::owner_read | fs::perms::owner_write);
}

TEST_F(Initialising, AFolderThatOthersUseIsNeitherClosedToThemNorTaken) {
  ASSERT_TRUE(make_folders(data()));
  ASSERT_EQ(::chmod(data().c_str(), 0755), 0);
  ASSERT_TRUE(write_file_atomic(data() / "something", "of others"));
  const auto refused = init();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), ErrorCode::refused);
  EXPECT_THAT(refused.error().hint_text(), HasSubstr("chmod 700"));
  EXPECT_FALSE(fs::exists(data() / "authority"));
  // Whoever closes it himself may have it there.
  ASSERT_EQ(::chmod(data().c_str(), 0700), 0);
  EXPECT_TRUE(init());
}

TEST_F(Initialising, LostNamesCostNeitherKeyNorCertificate) {
  // Given a controller whose names.json is deleted,
  const Initialised first = init().value();
  const std::string key = text("key.pem");
  lose(file("names.json"));
  // then it says which file is missing, and what brings it back;
  const auto opened = AuthorityFolder::open(data(), {});
  ASSERT_FALSE(opened);
  EXPECT_THAT(opened.error().message(), HasSubstr("names.json is missing"));
  EXPECT_THAT(opened.error().hint_text(), HasSubstr("Key and certificate stay"));
  // and who follows that has the authority of before.
  options.names.ips = {"127.0.0.1", "127.0.0.2"};
  const auto again = init();
  ASSERT_TRUE(again) << render_error(again.error());
  EXPECT_EQ(again->fingerprint, first.fingerprint);
  EXPECT_EQ(text("key.pem"), key);
  EXPECT_TRUE(AuthorityFolder::open(data(), {}));
}

TEST_F(Initialising, AnotherPartitionIsNotMadeOfTheSameAuthority) {
  ASSERT_TRUE(init());
  lose(file("names.json"));
  options.partition = "other";
  const auto again = init();
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code(), ErrorCode::conflict);
  EXPECT_THAT(again.error().hint_text(), HasSubstr("--partition"));
}

TEST_F(Initialising, ALostKeyOrCertificateIsNotMadeAnew) {
  ASSERT_TRUE(init());
  const std::string kept = text("key.pem");
  for (const char* lost : {"certificate.pem", "key.pem"}) {
    SCOPED_TRACE(lost);
    const std::string before = text(lost);
    lose(file(lost));
    const auto again = init();
    ASSERT_FALSE(again);
    EXPECT_EQ(again.error().code(), ErrorCode::not_found);
    EXPECT_THAT(again.error().message(), HasSubstr(lost));
    EXPECT_THAT(again.error().hint_text(), HasSubstr("backup"));
    // Nor when the names are gone, too.
    const std::string names = text("names.json");
    lose(file("names.json"));
    EXPECT_FALSE(init());
    ASSERT_TRUE(write_file_atomic(file("names.json"), names));
    ASSERT_TRUE(write_file_atomic(file(lost), before, 0600));
  }
  EXPECT_EQ(text("key.pem"), kept);
}

TEST_F(Initialising, AStoreThatOutlivedItsAuthorityGetsAnotherOnlyWhenThatIsSaid) {
  ASSERT_TRUE(init());
  lose(data() / "authority");
  const auto again = init();
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code(), ErrorCode::conflict);
  EXPECT_THAT(again.error().hint_text(), HasSubstr("--new-authority"));
  EXPECT_FALSE(fs::exists(file("key.pem")));
  options.succession = Succession::replaces_lost;
  EXPECT_TRUE(init());
  // Nor is one that is there replaced in this way.
  EXPECT_FALSE(init());
}

// After each of the steps: the passphrase, the key, the certificate, the names.
TEST_F(Initialising, WhatWasEndedHalfwayGoesOn) {
  for (const std::vector<const char*>& left :
       {std::vector<const char*>{"unlock"},
        {"unlock", "key.pem"},
        {"unlock", "key.pem", "certificate.pem"},
        {"unlock", "key.pem", "certificate.pem", "names.json"}}) {
    SCOPED_TRACE(left.size());
    lose(data());
    // Given a store in which nobody is known, and so much of an authority,
    ASSERT_TRUE(make_folders(data(), 0700));
    { ASSERT_TRUE(state::open_sqlite_store(data() / "state.sqlite", clock)); }
    make_authority_only();
    const std::string key = text("key.pem");
    for (const char* name : {"unlock", "key.pem", "certificate.pem", "names.json"}) {
      if (std::find(left.begin(), left.end(), std::string_view(name)) == left.end())
        lose(file(name));
    }
    // then the same words make the rest of it, and the admin.
    const auto made = init();
    ASSERT_TRUE(made) << render_error(made.error());
    EXPECT_TRUE(AuthorityFolder::open(data(), {}));
    if (left.size() > 1) {
      EXPECT_EQ(text("key.pem"), key);
    }
  }
}

TEST_F(Initialising, APassphraseThatIsKeptElsewhereIsAskedForAgain) {
  options.unlock = home.path() / "passphrase";
  ASSERT_TRUE(write_file_atomic(options.unlock, "correct horse\n", 0600));
  ASSERT_TRUE(init());
  lose(file("names.json"));
  const fs::path elsewhere = std::exchange(options.unlock, {});
  const auto locked = init();
  ASSERT_FALSE(locked);
  EXPECT_THAT(locked.error().hint_text(), HasSubstr("--unlock"));
  EXPECT_FALSE(fs::exists(file("unlock"))) << "none is made up for a key that has one";
  options.unlock = elsewhere;
  EXPECT_TRUE(init());
}

TEST_F(Initialising, OnceTheAdminIsMadeItNamesTheCommandForAnother) {
  ASSERT_TRUE(init());
  const auto again = init();
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code(), ErrorCode::conflict);
  EXPECT_THAT(again.error().hint_text(), HasSubstr("consort controller admin"));
}

}  // namespace
}  // namespace consort::controller
