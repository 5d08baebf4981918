// Files: old or new, never half; bounds; folders that clean up behind themselves.
#include "base/files.h"

#include <gmock/gmock.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

namespace consort {
namespace {

using ::testing::HasSubstr;

class Files : public ::testing::Test {
 protected:
  [[nodiscard]] fs::path at(const std::string& name) const { return folder.path() / name; }
  [[nodiscard]] std::size_t entries(const fs::path& path) const {
    return static_cast<std::size_t>(
        std::distance(fs::directory_iterator(path), fs::directory_iterator()));
  }

  TempFolder folder = *TempFolder::create("files-test-");
};

TEST_F(Files, AnAtomicWriteReplacesContentAndModeAndLeavesNothingElse) {
  ASSERT_TRUE(write_file_atomic(at("a"), "one", 0600));
  ASSERT_TRUE(write_file_atomic(at("a"), "two", 0640));
  EXPECT_EQ(*read_file(at("a")), "two");
  EXPECT_EQ(fs::status(at("a")).permissions(), static_cast<fs::perms>(0640));
  EXPECT_EQ(entries(folder.path()), 1U);
}

TEST_F(Files, AFolderThatCannotBeReadIsNotTakenForAnEmptyOne) {
  EXPECT_TRUE(list_folder(at("nowhere")).value().empty());
  ASSERT_TRUE(make_folders(at("some")));
  for (const char* name : {"some/b", "some/a"}) ASSERT_TRUE(write_new_file(at(name), ""));
  EXPECT_EQ(list_folder(at("some")).value(), (std::vector<fs::path>{at("some/a"), at("some/b")}));
  const auto no_folder = list_folder(at("some/a"));
  ASSERT_FALSE(no_folder);
  EXPECT_THAT(no_folder.error().message(), HasSubstr("cannot list"));
}

TEST_F(Files, ANewFileIsNeverWrittenInPlaceOfAnother) {
  ASSERT_TRUE(write_new_file(at("a"), "one", 0600));
  const Status second = write_new_file(at("a"), "two", 0600);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code(), ErrorCode::conflict);
  EXPECT_EQ(*read_file(at("a")), "one");
  EXPECT_EQ(entries(folder.path()), 1U);
  // A dangling link is something, too.
  fs::create_symlink(at("nowhere"), at("link"));
  EXPECT_FALSE(write_new_file(at("link"), "x"));
  EXPECT_FALSE(fs::exists(at("nowhere")));
}

TEST_F(Files, LeftoversOfAFileGoAndThoseOfOthersStay) {
  const auto long_ago = fs::file_time_type::clock::now() - hours(1);
  for (const char* name : {".a.json.12.3.tmp", ".b.json.12.3.tmp", ".a.json.notes.tmp", "a.json"}) {
    ASSERT_TRUE(write_file_atomic(at(name), "x"));
    fs::last_write_time(at(name), long_ago);
  }
  ASSERT_TRUE(write_file_atomic(at(".a.json.13.0.tmp"), "just being written"));
  remove_leftovers_of(at("a.json"), minutes(10));
  EXPECT_FALSE(fs::exists(at(".a.json.12.3.tmp")));
  EXPECT_EQ(entries(folder.path()), 4U);
  remove_leftovers_of(at("a.json"), Duration(0));
  EXPECT_EQ(entries(folder.path()), 3U);
}

TEST_F(Files, TheModeIsExactWhateverTheUmask) {
  const mode_t before = ::umask(0077);
  const Status written = write_file_atomic(at("a"), "x", 0666);
  ::umask(before);
  ASSERT_TRUE(written);
  EXPECT_EQ(fs::status(at("a")).permissions(), static_cast<fs::perms>(0666));
}

TEST_F(Files, AFullDiskKeepsTheOldFile) {
  if (::geteuid() != 0) GTEST_SKIP() << "a small file system needs root";
  ASSERT_TRUE(make_folders(at("small")));
  if (::mount("tmpfs", at("small").c_str(), "tmpfs", 0, "size=64k") != 0)
    GTEST_SKIP() << "mounts are not permitted here";
  ASSERT_TRUE(write_file_atomic(at("small/a"), "old"));
  const Status full = write_file_atomic(at("small/a"), std::string(1U << 20U, 'x'));
  const auto content = read_file(at("small/a"));
  const std::size_t left = entries(at("small"));
  ASSERT_EQ(::umount2(at("small").c_str(), MNT_DETACH), 0);
  ASSERT_FALSE(full);
  EXPECT_THAT(full.error().message(), HasSubstr("No space left"));
  EXPECT_FALSE(full.error().hint_text().empty());
  EXPECT_EQ(*content, "old");
  EXPECT_EQ(left, 1U) << "the half-written file is taken away";
}

TEST_F(Files, AWriteReplacesASymlinkInsteadOfItsTarget) {
  ASSERT_TRUE(write_file_atomic(at("precious"), "keep"));
  fs::create_symlink(at("precious"), at("link"));
  ASSERT_TRUE(write_file_atomic(at("link"), "new"));
  EXPECT_EQ(*read_file(at("precious")), "keep");
  EXPECT_FALSE(fs::is_symlink(at("link")));
}

TEST_F(Files, AParentThatIsASymlinkIsFollowedAndAFileInTheWayIsSaid) {
  ASSERT_TRUE(make_folders(at("real/deep")));
  fs::create_directory_symlink(at("real"), at("alias"));
  ASSERT_TRUE(make_folders(at("alias/deep/er")));
  EXPECT_TRUE(fs::is_directory(at("real/deep/er")));
  ASSERT_TRUE(write_file_atomic(at("file"), ""));
  const Status blocked = make_folders(at("file/below"));
  ASSERT_FALSE(blocked);
  EXPECT_THAT(blocked.error().message(), HasSubstr("it is not a directory"));
}

TEST_F(Files, RemovingATreeNeverFollowsItsSymlinks) {
  ASSERT_TRUE(make_folders(at("outside")));
  ASSERT_TRUE(write_file_atomic(at("outside/precious"), "keep"));
  ASSERT_TRUE(make_folders(at("tree")));
  fs::create_directory_symlink(at("outside"), at("tree/link"));
  ASSERT_TRUE(remove_tree(at("tree")));
  EXPECT_EQ(*read_file(at("outside/precious")), "keep");
  EXPECT_TRUE(remove_tree(at("never there")));
}

TEST_F(Files, ReadingIsBoundedAndNamesWhatIsMissing) {
  ASSERT_TRUE(write_file_atomic(at("a"), std::string(100, 'x')));
  EXPECT_EQ(read_file(at("a"), 100)->size(), 100U);
  EXPECT_EQ(read_file(at("a"), 99).error().code(), ErrorCode::too_large);
  const auto missing = read_file(at("nowhere"));
  EXPECT_EQ(missing.error().code(), ErrorCode::not_found);
  EXPECT_THAT(missing.error().message(), HasSubstr("nowhere"));
  // Its size says nothing: the bytes are counted.
  EXPECT_EQ(read_file("/proc/self/status", 10).error().code(), ErrorCode::too_large);
}

TEST_F(Files, OnlyAFileIsReadAsAFile) {
  ASSERT_EQ(::mkfifo(at("fifo").c_str(), 0600), 0);
  EXPECT_THAT(read_file(at("fifo")).error().message(), HasSubstr("is a FIFO, not a file"));
  EXPECT_THAT(read_file(at("")).error().message(), HasSubstr("is a directory, not a file"));
  EXPECT_EQ(read_file("/dev/zero").error().code(), ErrorCode::invalid_input);
}

TEST_F(Files, OwnLinksAreFollowedWhereNobodyElseWrites) {
  fs::create_directories(at("real/deep"));
  ASSERT_TRUE(write_file_atomic(at("real/deep/a"), "text"));
  fs::create_symlink("real", at("relative"));
  fs::create_symlink(at("relative"), at("absolute"));
  fs::create_symlink("../relative/deep/a", at("real/file"));
  for (const char* path :
       {"real/deep/a", "absolute/deep/a", "relative/deep/../deep/a", "real/file"})
    EXPECT_EQ(read_file_no_foreign_links(at(path)).value_or("(refused)"), "text") << path;
  EXPECT_EQ(read_file_no_foreign_links(at("real/deep")).error().code(), ErrorCode::invalid_input);
  EXPECT_EQ(read_file_no_foreign_links(at("nowhere")).error().code(), ErrorCode::not_found);
  EXPECT_EQ(read_file_no_foreign_links(at("real/deep/a/b")).error().code(), ErrorCode::io);
  EXPECT_EQ(read_file_no_foreign_links(at("real/deep/a"), 3).error().code(), ErrorCode::too_large);
  fs::create_symlink("round", at("round"));
  EXPECT_EQ(read_file_no_foreign_links(at("round")).error().code(), ErrorCode::io);
  ASSERT_EQ(::mkfifo(at("fifo").c_str(), 0600), 0);
  EXPECT_THAT(read_file_no_foreign_links(at("fifo")).error().message(), HasSubstr("is a FIFO"));
}

TEST_F(Files, WhoWritesInAFolderCannotLeadTheReaderOutOfIt) {
  ASSERT_TRUE(write_file_atomic(at("key"), "of root"));
  fs::create_directories(at("data/below"));
  ASSERT_TRUE(write_file_atomic(at("data/below/own"), "of the service"));
  fs::create_symlink(at("key"), at("data/link"));
  fs::create_symlink(folder.path(), at("data/folder"));
  fs::create_symlink("own", at("data/below/near"));
  fs::create_hard_link(at("key"), at("data/name"));
  EXPECT_EQ(read_file_no_foreign_links(at("data/link")).value_or("(refused)"), "of root");
  // Now another user may have put all of these there.
  ASSERT_EQ(::chmod(at("data").c_str(), 0777), 0);
  EXPECT_EQ(read_file_no_foreign_links(at("data/below/own")).value_or("(refused)"),
            "of the service");
  for (const char* path :
       {"data/link", "data/folder/key", "data/below/near", "data/name", "data/below/../../key"}) {
    const auto read = read_file_no_foreign_links(at(path));
    ASSERT_FALSE(read) << path;
    EXPECT_EQ(read.error().code(), ErrorCode::refused) << path;
  }
}

TEST_F(Files, ALinkOrAFolderOfAnotherUserIsNotFollowed) {
  if (::geteuid() != 0) GTEST_SKIP() << "giving files away needs root";
  ASSERT_TRUE(write_file_atomic(at("key"), "of root"));
  fs::create_symlink("key", at("theirs"));
  ASSERT_EQ(::lchown(at("theirs").c_str(), 65534, 65534), 0);
  EXPECT_EQ(read_file_no_foreign_links(at("theirs")).error().code(), ErrorCode::refused);
  fs::create_directories(at("data"));
  fs::create_symlink(at("key"), at("data/link"));
  ASSERT_TRUE(write_file_atomic(at("data/own"), "of the service"));
  ASSERT_EQ(::lchown(at("data").c_str(), 65534, 65534), 0);
  EXPECT_EQ(read_file_no_foreign_links(at("data/link")).error().code(), ErrorCode::refused);
  EXPECT_EQ(read_file_no_foreign_links(at("data/own")).value_or("(refused)"), "of the service");
}

TEST_F(Files, AFileWithASecretIsForItsOwnerAlone) {
  ASSERT_TRUE(write_file_atomic(at("key"), "k", 0600));
  EXPECT_TRUE(check_private(at("key")));
  EXPECT_TRUE(check_private(at("absent"))) << "who reads it says so";
  for (const mode_t mode : {0640, 0604, 0610}) {
    ASSERT_TRUE(write_file_atomic(at("key"), "k", mode));
    const auto bare = check_private(at("key"));
    ASSERT_FALSE(bare) << mode;
    EXPECT_EQ(bare.error().code(), ErrorCode::refused);
    EXPECT_EQ(bare.error().hint_text(), "chmod 600 " + at("key").string());
    EXPECT_THAT(check_private(at("key"), "make another").error().hint_text(),
                HasSubstr("; and make another"));
  }
}

TEST_F(Files, AStampChangesWithTheContentAndSaysWhatIsAbsent) {
  EXPECT_EQ(file_stamp(at("a")), "absent");
  ASSERT_TRUE(write_file_atomic(at("a"), "one"));
  const std::string one = file_stamp(at("a"));
  EXPECT_EQ(file_stamp(at("a")), one);
  ASSERT_TRUE(write_file_atomic(at("a"), "two"));
  EXPECT_NE(file_stamp(at("a")), one);
}

TEST_F(Files, ALockIsHeldOnce) {
  auto first = FileLock::acquire(at("lock"), "the data folder");
  ASSERT_TRUE(first);
  const auto second = FileLock::acquire(at("lock"), "the data folder");
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code(), ErrorCode::locked);
  EXPECT_THAT(second.error().message(), HasSubstr("the data folder is in use"));
}

TEST_F(Files, ATempFolderGoesWithItsContent) {
  fs::path gone;
  {
    const auto temp = TempFolder::create("inner-", folder.path());
    ASSERT_TRUE(temp);
    gone = temp->path();
    EXPECT_EQ(fs::status(gone).permissions(), static_cast<fs::perms>(0700));
    ASSERT_TRUE(write_file_atomic(gone / "a", "x"));
  }
  EXPECT_FALSE(fs::exists(gone));
}

}  // namespace
}  // namespace consort
