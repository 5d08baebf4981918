// What the embedded store promises beyond the conformance suite: durability, and truth about
// failures.
#include "state/sqlite_store.h"

#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <thread>

#include "conformance.h"

namespace consort::state {
namespace {

using ::testing::HasSubstr;

class SqliteStoreTest : public ::testing::Test {
 protected:
  Result<std::unique_ptr<StateStore>> open() { return open_sqlite_store(file_, clock_); }
  TempFolder folder_ = TempFolder::create("sqlite-test-").value();
  fs::path file_ = folder_.path() / "state.db";
  HandClock clock_;
};

TEST_F(SqliteStoreTest, NobodyElseReadsItsFiles) {
  const auto mode = [&](const std::string& suffix) {
    return static_cast<unsigned>(fs::status(file_.string() + suffix).permissions());
  };
  {
    const auto store = open().value();
    ASSERT_TRUE(store->commit({{}, {Write::put("a", "1")}}));
    for (const std::string suffix : {"", "-wal", "-shm"}) EXPECT_EQ(mode(suffix), 0600U) << suffix;
  }
  // One of an older version is closed.
  ASSERT_EQ(::chmod(file_.c_str(), 0644), 0);
  const auto store = open().value();
  EXPECT_EQ(mode(""), 0600U);
  EXPECT_EQ(store->get("a").value()->value, "1");
}

TEST_F(SqliteStoreTest, EverythingLastsOverARestart) {
  Revision revision{};
  LeaseId lease{};
  {
    const auto store = open().value();
    lease = store->grant(seconds(10)).value();
    revision =
        store->commit({{}, {Write::put("a", "1"), Write::put("b", "2", lease)}}).value().revision;
  }
  clock_.advance(hours(1));
  const auto store = open().value();
  EXPECT_EQ(store->revision().value(), revision);
  EXPECT_EQ(store->get("a").value(), (Entry{"a", "1", revision, {}}));
  EXPECT_EQ(store->watch("", Revision{0}, [](const Events&) {}).error().code(), ErrorCode::stale);
  // A lease begins anew: its holder could not keep it alive while the store was down.
  ASSERT_TRUE(store->expire_leases());
  EXPECT_TRUE(store->get("b").value());
  clock_.advance(seconds(10));
  ASSERT_TRUE(store->expire_leases());
  EXPECT_FALSE(store->get("b").value());
  EXPECT_NE(store->grant(seconds(1)).value(), lease) << "ids are never used again";
}

TEST_F(SqliteStoreTest, ASecondOpenerIsToldWhoHasIt) {
  const auto store = open().value();
  const auto second = open();
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code(), ErrorCode::locked);
  EXPECT_THAT(second.error().hint_text(), HasSubstr("fuser"));
}

TEST_F(SqliteStoreTest, DamageAndForeignFilesAreRefusedAtTheDoor) {
  ASSERT_TRUE(write_file_atomic(file_, std::string(10'000, 'x')));
  EXPECT_EQ(open().error().code(), ErrorCode::corrupt);
  ASSERT_TRUE(remove_tree(file_));
  {
    const auto store = open().value();
    for (int i = 0; i < 200; ++i)
      ASSERT_TRUE(
          store->commit({{}, {Write::put("key" + std::to_string(i), std::string(500, 'v'))}}));
  }
  std::string bytes = read_file(file_).value();
  for (std::size_t page = 2; page * 4096 < bytes.size(); ++page)
    bytes.replace(page * 4096, 200, 200, '\x55');
  ASSERT_TRUE(write_file_atomic(file_, bytes));
  const auto damaged = open();
  ASSERT_FALSE(damaged);
  EXPECT_EQ(damaged.error().code(), ErrorCode::corrupt);
  EXPECT_THAT(damaged.error().hint_text(), HasSubstr("backup"));
  EXPECT_EQ(open_sqlite_store(folder_.path() / "no" / "folder", clock_).error().code(),
            ErrorCode::not_found);
}

TEST_F(SqliteStoreTest, ManyThreadsShareFewSyncs) {
  const auto store = open().value();
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 25; ++i)
        EXPECT_TRUE(
            store
                ->commit({{}, {Write::put("t" + std::to_string(t) + "/" + std::to_string(i), "x")}})
                .value()
                .committed);
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(store->range("t", 1000, "").value().size(), 200U);
  EXPECT_EQ(number(store->revision().value()), 200);
}

TEST_F(SqliteStoreTest, AcknowledgedCommitsSurviveAKill) {
  for (int round = 0; round < 3; ++round) {
    // Given a process that says which commits were acknowledged, one byte each
    int channel[2];
    ASSERT_EQ(::pipe(channel), 0);
    const pid_t child = ::fork();
    if (child == 0) {
      ::close(channel[0]);
      auto store = open();
      if (!store) ::_exit(1);
      for (int i = 0;; ++i) {
        const std::string key = "round" + std::to_string(round) + "/" + std::to_string(i);
        if (!(*store)->commit({{}, {Write::put(key, std::string(100, 'v'))}})) ::_exit(2);
        if (::write(channel[1], "x", 1) != 1) ::_exit(3);
      }
    }
    ::close(channel[1]);
    // When it is killed after some of them
    std::size_t acknowledged = 0;
    char byte = 0;
    while (acknowledged < 40 && ::read(channel[0], &byte, 1) == 1) ++acknowledged;
    ::kill(child, SIGKILL);
    while (::read(channel[0], &byte, 1) == 1) ++acknowledged;
    ::close(channel[0]);
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status));
    // Then each is there
    const auto store = open().value();
    EXPECT_GE(acknowledged, 40U);
    EXPECT_GE(store->range("round" + std::to_string(round) + "/", 100'000, "").value().size(),
              acknowledged);
  }
}

TEST_F(SqliteStoreTest, AFullDiskLosesNothingAndHeals) {
  const fs::path disk = folder_.path() / "disk";
  ASSERT_TRUE(make_folders(disk));
  if (::mount("tmpfs", disk.c_str(), "tmpfs", 0, "size=2m") != 0)
    GTEST_SKIP() << "mounting a tmpfs needs root";
  {
    const auto store = open_sqlite_store(disk / "state.db", clock_).value();
    const auto first = store->commit({{}, {Write::put("first", "kept")}}).value();
    int stored = 0;
    std::optional<Error> error;
    while (!error && stored < 100) {
      auto result = store->commit(
          {{}, {Write::put("big/" + std::to_string(stored), std::string(200'000, 'x'))}});
      if (result) {
        ++stored;
      } else {
        error = result.error();
      }
    }
    ASSERT_TRUE(error);
    EXPECT_EQ(error->code(), ErrorCode::io);
    EXPECT_THAT(error->hint_text(), HasSubstr("space"));
    EXPECT_EQ(store->get("first").value()->modified, first.revision);
    EXPECT_EQ(store->range("big/", 100, "").value().size(), static_cast<std::size_t>(stored));
    // When there is room again
    ASSERT_EQ(::mount("tmpfs", disk.c_str(), "tmpfs", MS_REMOUNT, "size=16m"), 0);
    const auto later = store->commit({{}, {Write::put("later", "works")}});
    ASSERT_TRUE(later) << render_error(later.error());
    EXPECT_EQ(number(later->revision), stored + 2);
  }
  EXPECT_EQ(open_sqlite_store(disk / "state.db", clock_).value()->get("later").value()->value,
            "works");
  ::umount2(disk.c_str(), MNT_DETACH);
}

}  // namespace
}  // namespace consort::state
