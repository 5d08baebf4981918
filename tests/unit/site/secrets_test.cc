// Where a site says that values of secrets come from.
#include <fmt/format.h>
#include <gmock/gmock.h>

#include "base/files.h"
#include "site/site.h"

namespace consort::site {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

class SiteSecretsTest : public ::testing::Test {
 protected:
  SiteSecretsTest() : folder_(*TempFolder::create("consort-site-")) {
    write("shop/secrets/tls.sealed", "sealed.v1.AAAA-_\n");
  }

  fs::path write(const std::string& name, const std::string& text) {
    const fs::path path = folder_.path() / name;
    EXPECT_TRUE(make_folders(path.parent_path()));
    EXPECT_TRUE(write_file_atomic(path, text, 0644, Durability::cached));
    return path;
  }

  // A site in the folder `shop` with these sources.
  Result<Site> evaluate(const std::string& secrets, const std::string& file = "site.jsonnet") {
    return evaluate_static(
        write("shop/" + file, fmt::format(R"({{"name": "s", "hostClasses": {{"a": {{"inventory":
                {{"type": "hosts", "hosts": {{"h1": {{}}}}}}}}}}, "secrets": {}}})",
                                          secrets)));
  }

  std::string error_of(const std::string& secrets) {
    const auto site = evaluate(secrets);
    return site ? "it evaluated" : render_error(site.error());
  }

  TempFolder folder_;
};

TEST_F(SiteSecretsTest, AProgramOrAFileWhicheverWayTheSiteIsRead) {
  const std::string secrets = R"({
    "db": {"exec": ["./vault", "db"], "timeout": "5s", "exact": true, "purpose": "of the shop"},
    "plain": {"exec": ["pass", "show"]},
    "tls": {"file": "secrets/tls.sealed"}})";
  // given: the same text as plain JSON, and as Jsonnet (the comma at its end is none of JSON's)
  const auto plain = evaluate(secrets, "site.json");
  const auto program = evaluate(secrets + ",");
  for (const auto* site : {&plain, &program}) {
    ASSERT_TRUE(*site) << render_error(site->error());
    // then
    ASSERT_EQ((*site)->secrets.size(), 3U);
    const SecretSource& db = (*site)->secrets.at("db");
    EXPECT_THAT(db.exec, ElementsAre("./vault", "db"));
    EXPECT_EQ(db.timeout, seconds(5));
    EXPECT_TRUE(db.exact);
    EXPECT_EQ(db.purpose, "of the shop");
    EXPECT_EQ((*site)->secrets.at("plain").timeout, seconds(30));
    EXPECT_FALSE((*site)->secrets.at("plain").exact);
    EXPECT_EQ((*site)->secrets.at("tls").file, "secrets/tls.sealed");
  }
}

TEST_F(SiteSecretsTest, WhatCannotBeMeantIsRefused) {
  EXPECT_THAT(error_of(R"({"db": {"exce": ["x"]}})"),
              AllOf(HasSubstr("secrets.db: unknown field 'exce'"), HasSubstr("'exec'")));
  EXPECT_THAT(error_of(R"({"db": {"exec": ["x"], "file": "secrets/tls.sealed"}})"),
              HasSubstr("secrets.db: give exactly one of exec, file"));
  EXPECT_THAT(error_of(R"({"db": {}})"), HasSubstr("secrets.db: give exactly one of exec, file"));
  EXPECT_THAT(error_of(R"({"db": {"exec": null}})"), HasSubstr("secrets.db: give one of"));
  EXPECT_THAT(error_of(R"({"db": {"exec": []}})"), HasSubstr("secrets.db.exec"));
  EXPECT_THAT(error_of(R"({"db": {"exec": "pass show"}})"), HasSubstr("a list of strings"));
  EXPECT_THAT(error_of(R"({"a/b": {"exec": ["x"]}})"), HasSubstr("'a/b' is not a good name"));
  EXPECT_THAT(error_of(R"({"db": {"exec": ["x"], "timeout": "soon"}})"),
              HasSubstr("'soon' is not a duration"));
  EXPECT_THAT(error_of(R"({"db": {"file": "secrets/tls.sealed", "timeout": "5s"}})"),
              HasSubstr("secrets.db.timeout"));
  EXPECT_THAT(error_of(R"({"db": "value"})"), HasSubstr("secrets.db: expected an object"));
}

TEST_F(SiteSecretsTest, AFileIsASealedTextInTheFolderOfTheSite) {
  write("outside.sealed", "sealed.v1.AAAA");
  fs::create_symlink("../outside.sealed", folder_.path() / "shop/link.sealed");
  write("shop/plain.txt", "hunter2");
  write("shop/mixed.sealed", "sealed.v1.AAAA\nhunter2");
  const auto said = [&](const std::string& file) {
    return error_of(fmt::format(R"({{"db": {{"file": "{}"}}}})", file));
  };
  EXPECT_THAT(said("secrets/none.sealed"), AllOf(HasSubstr("secrets.db.file: there is no file"),
                                                 HasSubstr("consort secret encrypt db")));
  EXPECT_THAT(said("secrets"), HasSubstr("there is no file"));
  for (const std::string& file : {std::string("../outside.sealed"), std::string("link.sealed"),
                                  (folder_.path() / "shop/secrets/tls.sealed").string()})
    EXPECT_THAT(said(file), HasSubstr("is outside of the site's folder")) << file;
  for (const std::string file : {"plain.txt", "mixed.sealed"})
    EXPECT_THAT(said(file), AllOf(HasSubstr("is no sealed text"), Not(HasSubstr("hunter2"))));
}

}  // namespace
}  // namespace consort::site
