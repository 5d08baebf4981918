#include <archive.h>
#include <archive_entry.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <memory>

#include "base/process.h"
#include "objects/tree.h"
#include "store_fixture.h"

namespace consort::objects {
namespace {

using ::testing::HasSubstr;

struct Item {
  std::string name;
  mode_t type = S_IFREG;
  std::string content;  // or the target of a link
  bool hard = false;
};

class ArchiveTest : public StoreTest {
 protected:
  fs::path pack(const std::vector<Item>& items, int format = ARCHIVE_FORMAT_TAR_GNUTAR,
                int filter = ARCHIVE_FILTER_GZIP) {
    const fs::path path = folder_.path() / fmt::format("{}.archive", count_++);
    const std::unique_ptr<archive, decltype(&archive_write_free)> out(archive_write_new(),
                                                                      &archive_write_free);
    EXPECT_EQ(archive_write_set_format(out.get(), format), ARCHIVE_OK);
    EXPECT_EQ(archive_write_add_filter(out.get(), filter), ARCHIVE_OK);
    EXPECT_EQ(archive_write_open_filename(out.get(), path.c_str()), ARCHIVE_OK);
    for (const Item& item : items) write(out.get(), item);
    EXPECT_EQ(archive_write_close(out.get()), ARCHIVE_OK);
    return path;
  }
  Result<Tree> stored(const std::vector<Item>& items) {
    return get_tree(store_, TRY(put_archive(store_, pack(items))));
  }

 private:
  static void write(archive* out, const Item& item) {
    const std::unique_ptr<archive_entry, decltype(&archive_entry_free)> entry(archive_entry_new(),
                                                                              &archive_entry_free);
    archive_entry_set_pathname(entry.get(), item.name.c_str());
    archive_entry_set_perm(entry.get(), item.type == S_IFDIR ? 0755 : 0644);
    archive_entry_set_filetype(entry.get(), item.type);
    archive_entry_set_size(entry.get(), 0);
    if (item.hard) {
      archive_entry_set_hardlink(entry.get(), item.content.c_str());
    } else if (item.type == S_IFLNK) {
      archive_entry_set_symlink(entry.get(), item.content.c_str());
    } else if (item.type == S_IFREG) {
      archive_entry_set_size(entry.get(), static_cast<la_int64_t>(item.content.size()));
    }
    EXPECT_GE(archive_write_header(out, entry.get()), ARCHIVE_WARN) << item.name;
    if (item.type == S_IFREG && !item.hard) {
      EXPECT_EQ(archive_write_data(out, item.content.data(), item.content.size()),
                static_cast<la_ssize_t>(item.content.size()));
    }
  }
  int count_ = 0;
};

TEST_F(ArchiveTest, EveryFormatGivesTheSameTree) {
  const std::vector<Item> items = {{"shop/", S_IFDIR, "", false},
                                   {"shop/bin/run", S_IFREG, "#!/bin/sh\n", false},
                                   {"shop/now", S_IFLNK, "bin/run", false}};
  const auto tar = put_archive(store_, pack(items)).value();
  EXPECT_EQ(
      put_archive(store_, pack(items, ARCHIVE_FORMAT_TAR_PAX_INTERCHANGE, ARCHIVE_FILTER_ZSTD))
          .value(),
      tar);
  EXPECT_EQ(
      put_archive(store_, pack(items, ARCHIVE_FORMAT_CPIO_SVR4_NOCRC, ARCHIVE_FILTER_XZ)).value(),
      tar);
  EXPECT_EQ(put_archive(store_, pack(items, ARCHIVE_FORMAT_ZIP, ARCHIVE_FILTER_NONE)).value(), tar);
  const Tree tree = get_tree(store_, tar).value();
  EXPECT_EQ(tree.at("shop/bin").kind, TreeEntry::Kind::directory)
      << "folders that the archive leaves out are made";
  EXPECT_EQ(store_.get(tree.at("shop/bin/run").digest).value(), "#!/bin/sh\n");
  ASSERT_TRUE(materialise_tree(store_, tar, folder_.path() / "out"));
  EXPECT_EQ(put_folder(store_, folder_.path() / "out").value(), tar)
      << "an archive and its unpacked folder are one object";
}

TEST_F(ArchiveTest, TidiesHarmlessSpellings) {
  const Tree tree =
      stored({{"./", S_IFDIR, "", false}, {"./a//b/./c", S_IFREG, "x", false}}).value();
  EXPECT_TRUE(tree.contains("a/b/c"));
  EXPECT_EQ(tree.size(), 3U);
}

TEST_F(ArchiveTest, KeepsNamesOfAllLanguages) {
  const fs::path root = folder_.path() / "in";
  ASSERT_TRUE(make_folders(root));
  ASSERT_TRUE(write_file_atomic(root / "größe-日本.txt", "x"));
  for (const char* format : {"pax", "gnu", "ustar"}) {
    const fs::path path = folder_.path() / fmt::format("{}.tar", format);
    ProcessSpec tar;
    tar.argv = {"tar",         "-C", root.string(), fmt::format("--format={}", format), "-cf",
                path.string(), "."};
    ASSERT_TRUE(run_process(tar).value().ok());
    EXPECT_TRUE(
        get_tree(store_, put_archive(store_, path).value()).value().contains("größe-日本.txt"))
        << format;
  }
}

TEST_F(ArchiveTest, HardLinksShareTheObject) {
  const Tree tree = stored({{"a", S_IFREG, "content", false}, {"b", S_IFREG, "a", true}}).value();
  EXPECT_EQ(tree.at("a").digest, tree.at("b").digest);
}

TEST_F(ArchiveTest, AttacksAreRefusedByName) {
  struct Attack {
    std::vector<Item> items;
    std::string named;
  };
  const std::vector<Attack> attacks = {
      {{{"../evil", S_IFREG, "x", false}}, "../evil"},
      {{{"a/../../evil", S_IFREG, "x", false}}, "a/../../evil"},
      {{{"/etc/evil", S_IFREG, "x", false}}, "/etc/evil"},
      {{{"//etc/evil", S_IFREG, "x", false}}, "/etc/evil"},
      {{{"link", S_IFLNK, "/etc", false}, {"link/evil", S_IFREG, "x", false}}, "link/evil"},
      {{{"link", S_IFLNK, "..", false}, {"link/deep/evil", S_IFREG, "x", false}}, "link/deep/evil"},
      {{{"file", S_IFREG, "x", false}, {"file/evil", S_IFREG, "x", false}}, "file/evil"},
      {{{"x", S_IFLNK, "/etc/passwd", false}, {"x", S_IFREG, "evil", false}}, "'x'"},
      {{{"hard", S_IFREG, "/etc/passwd", true}}, "/etc/passwd"},
      {{{"hard", S_IFREG, "../../secret", true}}, "../../secret"},
      {{{"pipe", S_IFIFO, "", false}}, "pipe"},
      {{{"disk", S_IFBLK, "", false}}, "disk"},
  };
  for (const Attack& attack : attacks) {
    const auto result = put_archive(store_, pack(attack.items));
    ASSERT_FALSE(result) << attack.named;
    EXPECT_EQ(result.error().code(), ErrorCode::invalid_input);
    EXPECT_THAT(result.error().message(), HasSubstr(attack.named));
    EXPECT_FALSE(result.error().contexts().empty());
  }
}

TEST_F(ArchiveTest, AnMtreeCannotReadFilesOfThisHost) {
  const fs::path path = folder_.path() / "evil.mtree";
  ASSERT_TRUE(write_file_atomic(path, "#mtree\n./stolen type=file contents=/etc/passwd\n"));
  EXPECT_EQ(code_of(put_archive(store_, path)), ErrorCode::invalid_input);
}

TEST_F(ArchiveTest, WhatIsNoArchiveIsRefused) {
  ASSERT_TRUE(write_file_atomic(folder_.path() / "noise", noise(10'000)));
  ASSERT_TRUE(write_file_atomic(folder_.path() / "empty", ""));
  EXPECT_EQ(code_of(put_archive(store_, folder_.path() / "noise")), ErrorCode::invalid_input);
  EXPECT_EQ(code_of(put_archive(store_, folder_.path() / "empty")), ErrorCode::invalid_input);
  EXPECT_EQ(code_of(put_archive(store_, folder_.path() / "absent")), ErrorCode::not_found);
  // A cut archive is no smaller archive.
  const fs::path whole = pack({{"big", S_IFREG, noise(100'000), false}});
  const std::string bytes = read_file(whole).value();
  ASSERT_TRUE(write_file_atomic(whole, bytes.substr(0, bytes.size() / 2)));
  EXPECT_EQ(code_of(put_archive(store_, whole)), ErrorCode::invalid_input);
}

}  // namespace
}  // namespace consort::objects
