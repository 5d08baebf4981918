// Values from programs and encrypted files.
#include "cli/secret_value.h"

#include <gmock/gmock.h>

#include "access/secrets.h"
#include "base/files.h"
#include "crypto/seal.h"

namespace consort::cli {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class SecretValueTest : public ::testing::Test {
 protected:
  SecretValueTest()
      : folder_(*TempFolder::create("consort-secret-")),
        mine_(crypto::PrivateKey::generate(crypto::KeyKind::x25519)) {}

  // Of a program in the folder of the site.
  Result<crypto::SecretBytes> printed_by(const std::string& script,
                                         site::SecretSource source = {}) {
    EXPECT_TRUE(write_file_atomic(folder_.path() / "vault", "#!/bin/sh\n" + script, 0755,
                                  Durability::cached));
    source.exec = {"./vault", "db"};
    return value_of_source("db", source, folder_.path(), mine_);
  }

  Result<crypto::SecretBytes> in_file(const std::string& sealed) {
    EXPECT_TRUE(
        write_file_atomic(folder_.path() / "db.sealed", sealed + "\n", 0644, Durability::cached));
    site::SecretSource source;
    source.file = "db.sealed";
    return value_of_source("db", source, folder_.path(), mine_);
  }

  TempFolder folder_;
  crypto::PrivateKey mine_;
};

TEST_F(SecretValueTest, AProgramOfTheSiteRunsInItsFolderAndGivesTheValueWithoutOneNewline) {
  ASSERT_TRUE(write_file_atomic(folder_.path() / "values", "hunter2\n\n", 0600));
  const auto value = printed_by("echo asked for $1 >&2; cat values; cat");
  ASSERT_TRUE(value) << render_error(value.error());
  EXPECT_EQ(value->reveal(), "hunter2\n");
  site::SecretSource exact;
  exact.exact = true;
  EXPECT_EQ(printed_by("cat values", exact)->reveal(), "hunter2\n\n");
}

TEST_F(SecretValueTest, WhatAFailingProgramSaysIsNotShown) {
  const auto failed = printed_by("echo hunter2; echo hunter2 >&2; exit 3");
  ASSERT_FALSE(failed);
  EXPECT_THAT(render_error(failed.error()),
              AllOf(HasSubstr("vault db failed with exit status 3"), Not(HasSubstr("hunter2"))));
  site::SecretSource hasty;
  hasty.timeout = Duration{50};
  const auto late = printed_by("echo hunter2; exec sleep 60", hasty);
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code(), ErrorCode::timeout);
  EXPECT_THAT(render_error(late.error()), Not(HasSubstr("hunter2")));
  EXPECT_THAT(printed_by("echo").error().message(), HasSubstr("prints nothing"));
}

TEST_F(SecretValueTest, TheLimitCountsWithoutTheNewline) {
  const auto fits = printed_by("head -c 65536 /dev/zero | tr '\\0' x; echo");
  ASSERT_TRUE(fits) << render_error(fits.error());
  EXPECT_EQ(fits->size(), access::kMaxSecretBytes);
  for (const std::string script :
       {"head -c 65537 /dev/zero | tr '\\0' x", "head -c 300000 /dev/zero | tr '\\0' x; echo"}) {
    const auto value = printed_by(script);
    ASSERT_FALSE(value) << script;
    EXPECT_EQ(value.error().code(), ErrorCode::too_large);
  }
}

TEST_F(SecretValueTest, AFileIsForItsRecipientsAndItsName) {
  const crypto::SecretBytes value("hunter2");
  const auto other = crypto::PrivateKey::generate(crypto::KeyKind::x25519);
  const auto opened =
      in_file(*crypto::seal(value, {other.public_key(), mine_.public_key()}, file_context("db")));
  ASSERT_TRUE(opened) << render_error(opened.error());
  EXPECT_EQ(opened->reveal(), "hunter2");

  const auto not_mine = in_file(*crypto::seal(value, {other.public_key()}, file_context("db")));
  ASSERT_FALSE(not_mine);
  EXPECT_EQ(not_mine.error().code(), ErrorCode::refused);
  EXPECT_THAT(not_mine.error().hint_text(), HasSubstr(mine_.public_key().to_text()));

  const auto renamed = in_file(*crypto::seal(value, {mine_.public_key()}, file_context("tls")));
  ASSERT_FALSE(renamed);
  EXPECT_THAT(render_error(renamed.error()), HasSubstr("under the name 'db'"));
}

}  // namespace
}  // namespace consort::cli
