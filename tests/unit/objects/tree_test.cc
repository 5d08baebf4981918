#include "objects/tree.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store_fixture.h"

namespace consort::objects {
namespace {

using ::testing::HasSubstr;

class TreeTest : public StoreTest {
 protected:
  fs::path make_shop(const std::string& name) {
    const fs::path root = folder_.path() / name;
    EXPECT_TRUE(make_folders(root / "bin"));
    EXPECT_TRUE(make_folders(root / "empty"));
    EXPECT_TRUE(write_file_atomic(root / "bin" / "shop", "#!/bin/sh\n", 0755));
    EXPECT_TRUE(write_file_atomic(root / "read me", "hello", 0640));
    EXPECT_TRUE(write_file_atomic(root / "größe.txt", "hello", 0600));
    EXPECT_EQ(::symlink("bin/shop", (root / "current").c_str()), 0);
    return root;
  }
  Result<Tree> parse(const std::string& text) {
    return tree_from_json(parse_json(text).value(), "test");
  }
};

mode_t mode_of(const fs::path& path) {
  struct stat info {};
  EXPECT_EQ(::lstat(path.c_str(), &info), 0) << path;
  return info.st_mode & 07777U;
}

TEST_F(TreeTest, EqualContentHasAnEqualDigestEverywhere) {
  const auto first = put_folder(store_, make_shop("one")).value();
  const fs::path other = make_shop("two");
  const timespec long_ago[2] = {{1'000'000, 0}, {1'000'000, 0}};
  ASSERT_EQ(::utimensat(AT_FDCWD, (other / "read me").c_str(), long_ago, 0), 0);
  EXPECT_EQ(put_folder(store_, other).value(), first);
  EXPECT_EQ(put_folder(store_, other.string() + "/").value(), first);
  ASSERT_EQ(::chmod((other / "read me").c_str(), 0644), 0);
  EXPECT_NE(put_folder(store_, other).value(), first);
}

TEST_F(TreeTest, ATreeComesBackAsItWas) {
  const auto digest = put_folder(store_, make_shop("shop")).value();
  const Tree tree = get_tree(store_, digest).value();
  EXPECT_EQ(tree.size(), 6U);
  EXPECT_EQ(tree.at("bin/shop").size, 10U);
  EXPECT_EQ(tree_references(tree).size(), 2U);

  const fs::path out = folder_.path() / "out";
  ASSERT_TRUE(materialise_tree(store_, digest, out));
  EXPECT_EQ(read_file(out / "bin" / "shop").value(), "#!/bin/sh\n");
  EXPECT_EQ(mode_of(out / "bin" / "shop"), 0755U);
  EXPECT_EQ(mode_of(out / "read me"), 0640U);
  EXPECT_EQ(mode_of(out), 0755U);
  EXPECT_TRUE(fs::is_directory(out / "empty"));
  EXPECT_EQ(fs::read_symlink(out / "current"), "bin/shop");
  EXPECT_EQ(put_folder(store_, out).value(), digest);
}

TEST_F(TreeTest, ReadOnlyFoldersAreNoObstacle) {
  const fs::path root = make_shop("shop");
  ASSERT_EQ(::chmod((root / "bin").c_str(), 0555), 0);
  const auto digest = put_folder(store_, root).value();
  ASSERT_TRUE(materialise_tree(store_, digest, folder_.path() / "out"));
  EXPECT_EQ(mode_of(folder_.path() / "out" / "bin"), 0555U);
}

TEST_F(TreeTest, MaterialiseIsAllOrNothing) {
  const auto digest = put_folder(store_, make_shop("shop")).value();
  ASSERT_TRUE(store_.discard(Digest::of("hello")));
  const fs::path place = folder_.path() / "place";
  ASSERT_TRUE(make_folders(place));
  EXPECT_EQ(code_of(materialise_tree(store_, digest, place / "out")), ErrorCode::not_found);
  EXPECT_TRUE(fs::is_empty(place));
  ASSERT_TRUE(store_.put("hello"));
  ASSERT_TRUE(materialise_tree(store_, digest, place / "out"));
  EXPECT_EQ(code_of(materialise_tree(store_, digest, place / "out")), ErrorCode::conflict);
}

TEST_F(TreeTest, SpecialFilesAreRefusedByName) {
  const fs::path root = make_shop("shop");
  ASSERT_EQ(::mkfifo((root / "bin" / "pipe").c_str(), 0600), 0);
  const auto result = put_folder(store_, root);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code(), ErrorCode::invalid_input);
  EXPECT_THAT(result.error().message(), HasSubstr("bin/pipe is a FIFO"));
  EXPECT_EQ(code_of(put_folder(store_, folder_.path() / "nowhere")), ErrorCode::not_found);
}

TEST_F(TreeTest, JsonRoundTrip) {
  const Tree tree = get_tree(store_, put_folder(store_, make_shop("shop")).value()).value();
  const Json json = tree_to_json(tree);
  EXPECT_EQ(tree_to_json(tree_from_json(json, "test").value()), json);
}

TEST_F(TreeTest, UnsafeOrUnknownContentIsRefused) {
  const std::string file =
      R"({"kind":"file","mode":"0644","digest":")" + Digest::of("").str() + R"(","size":0})";
  const auto with = [&](const std::string& entries) {
    return R"({"consort":"tree","entries":{)" + entries + "}}";
  };
  EXPECT_TRUE(parse(with(R"("a":)" + file)));
  for (const char* path :
       {"/a", "..", "../a", "a/../b", "./a", "a/", "a//b", "", "a/.", "a\\u0000b"}) {
    EXPECT_EQ(code_of(parse(with("\"" + std::string(path) + "\":" + file))),
              ErrorCode::invalid_input)
        << path;
  }
  const std::string folder = R"({"kind":"directory","mode":"0755"})";
  EXPECT_TRUE(parse(with(R"("a":)" + folder + R"(,"a/b":)" + file)));
  for (const std::string& entries :
       {R"("a":{"kind":"symlink","target":"/etc"},"a/passwd":)" + file,
        R"("a":)" + file + R"(,"a/b":)" + file, R"("a/b":)" + file,
        std::string(R"("a":{"kind":"device","mode":"0644"})"),
        std::string(R"("a":{"kind":"directory","mode":"755"})"),
        std::string(R"("a":{"kind":"directory","mode":"0999"})"),
        std::string(R"("a":{"kind":"directory","mode":"0755","owner":"root"})"),
        std::string(R"("a":{"kind":"symlink","target":""})"),
        std::string(R"("a":{"kind":"file","mode":"0644","digest":"sha256:00","size":0})"),
        std::string(R"("a":{"kind":"file","mode":"0644","digest":")") + Digest::of("").str() +
            R"(","size":-1})",
        std::string(R"("a":7)")}) {
    EXPECT_EQ(code_of(parse(with(entries))), ErrorCode::invalid_input) << entries;
  }
  for (const char* text : {"[]", "{}", R"({"consort":"manifest","entries":{}})",
                           R"({"consort":"tree","entries":[]})", "7"}) {
    EXPECT_EQ(code_of(parse(text)), ErrorCode::invalid_input) << text;
  }
}

TEST_F(TreeTest, WhatSomebodyHasChangedIsFoundAndPutBack) {
  const auto digest = put_folder(store_, make_shop("shop")).value();
  const Tree tree = get_tree(store_, digest).value();
  const fs::path out = folder_.path() / "out";
  ASSERT_TRUE(materialise_tree(store_, digest, out));
  EXPECT_THAT(tree_differences(tree, out).value(), ::testing::IsEmpty());
  // Given a folder that became a link to a place of others, and more,
  const fs::path others = folder_.path() / "others";
  ASSERT_TRUE(make_folders(others));
  ASSERT_TRUE(write_file_atomic(others / "shop", "of others"));
  fs::remove_all(out / "bin");
  fs::create_symlink(others, out / "bin");
  fs::remove(out / "current");
  ASSERT_TRUE(make_folders(out / "current/in the way"));
  ASSERT_TRUE(write_file_atomic(out / "read me", "HELLO", 0640));
  ASSERT_EQ(::chmod((out / "größe.txt").c_str(), 0666), 0);
  fs::remove(out / "empty");
  ASSERT_TRUE(write_file_atomic(out / "cache", "of the program"));
  const TreeDifferences differences = tree_differences(tree, out).value();
  EXPECT_EQ(differences, (TreeDifferences{{"bin", "a symlink"},
                                          {"bin/shop", "absent"},
                                          {"current", "a directory"},
                                          {"empty", "absent"},
                                          {"größe.txt", "mode 0666"},
                                          {"read me", "changed"}}));
  EXPECT_EQ(tree_differences(tree, out, [](const std::string& path) { return path != "empty"; })
                .value()
                .size(),
            1U);
  // then it is as it was, but for what is there besides; and what is of others is untouched. What
  // was in the way is somewhere else.
  const auto set_aside = [&](const std::string& path) -> Status {
    const std::string place = path.empty() ? out.string() : (out / path).string();
    fs::rename(place, place + ".aside");
    return {};
  };
  ASSERT_TRUE(mend_tree(store_, tree, out, differences, set_aside));
  EXPECT_TRUE(fs::is_directory(out / "current.aside/in the way"));
  EXPECT_THAT(tree_differences(tree, out).value(), ::testing::IsEmpty());
  EXPECT_EQ(mode_of(out / "bin/shop"), 0755U);
  EXPECT_EQ(read_file(out / "cache").value(), "of the program");
  EXPECT_EQ(read_file(others / "shop").value(), "of others");
  // Below what others have made a link nothing is looked at.
  fs::remove_all(out / "bin");
  fs::create_symlink(others, out / "bin");
  const auto is_free = [](const std::string& path) { return path == "bin"; };
  EXPECT_THAT(tree_differences(tree, out, is_free).value(), ::testing::IsEmpty());
  // The same where all of it is gone, or is a link itself,
  fs::remove_all(out);
  for (const bool is_link : {false, true}) {
    if (is_link) fs::create_symlink(others, out);
    const TreeDifferences all = tree_differences(tree, out).value();
    EXPECT_EQ(all.size(), tree.size());
    ASSERT_TRUE(mend_tree(store_, tree, out, all, set_aside));
    EXPECT_THAT(tree_differences(tree, out).value(), ::testing::IsEmpty());
    EXPECT_FALSE(fs::is_symlink(out));
    fs::remove_all(out);
  }
  EXPECT_EQ(read_file(others / "shop").value(), "of others");
}

}  // namespace
}  // namespace consort::objects
