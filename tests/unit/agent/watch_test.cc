#include "agent/watch.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <condition_variable>
#include <mutex>
#include <random>
#include <string>

#include "host_folder.h"

namespace consort::agent {
namespace {

class Mailbox {
 public:
  void put(const Drift& drift) {
    const std::lock_guard lock(mutex_);
    everything_ += drift.everything ? 1 : 0;
    for (const auto& [service, names] : drift.resources) {
      seen_.insert(names.begin(), names.end());
      for (const std::string& name : names) seen_.insert(service + "/" + name);
    }
    changed_.notify_all();
  }
  // A name, or SERVICE/NAME.
  bool wait_for(const std::string& name) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(10), [&] { return seen_.contains(name); });
  }
  [[nodiscard]] bool has(const std::string& name) {
    const std::lock_guard lock(mutex_);
    return seen_.contains(name);
  }
  [[nodiscard]] int everything() {
    const std::lock_guard lock(mutex_);
    return everything_;
  }
  void clear() {
    const std::lock_guard lock(mutex_);
    seen_.clear();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::set<std::string> seen_;
  int everything_ = 0;
};

bool write_file_in_place(const char* path, std::string_view text) {
  const Fd fd(::open(path, O_WRONLY | O_CLOEXEC));
  return fd.valid() && write_all(fd.get(), text, path).has_value();
}

using Paths = std::map<std::string, std::vector<std::string>>;

// What was done before is told, and no more comes of it.
class Settled {
 public:
  Settled(HostFolder& host, Watch& watch, Mailbox& mail) : host_(host), mail_(mail) {
    watch.set("settled", {{"settled", {host.at("/settled/mark").string()}}});
  }
  void wait() {
    host_.put("/settled/mark", std::to_string(++count_));
    ASSERT_TRUE(mail_.wait_for("settled/settled"));
    mail_.clear();
  }

 private:
  HostFolder& host_;
  Mailbox& mail_;
  int count_ = 0;
};

TEST(Watch, TellsEditsReplacementsRemovalsAndModes) {
  HostFolder host;
  Mailbox mail;
  auto watch = Watch::create([&](const Drift& drift) { mail.put(drift); }).value();
  host.put("/etc/x", "1");
  watch->set("s",
             {{"x", {host.at("/etc/x").string()}}, {"other", {host.at("/etc/other").string()}}});
  const std::vector<std::function<void()>> deeds = {
      [&] {
        [[maybe_unused]] const int r = ::truncate(host.at("/etc/x").c_str(), 0);
        host.put("/etc/x", "2");
      },
      [&] { ::chmod(host.at("/etc/x").c_str(), 0777); },
      [&] { fs::remove(host.at("/etc/x")); },
      [&] { host.put("/etc/x", "3"); },
  };
  for (const auto& deed : deeds) {
    mail.clear();
    deed();
    EXPECT_TRUE(mail.wait_for("x"));
  }
}

TEST(Watch, FollowsAPathWhoseFoldersComeAndGo) {
  HostFolder host;
  Mailbox mail;
  auto watch = Watch::create([&](const Drift& drift) { mail.put(drift); }).value();
  Settled settled(host, *watch, mail);
  watch->set("s", {{"deep", {host.at("/srv/a/b/file").string()}}});
  for (int round = 0; round < 2; ++round) {
    fs::create_directories(host.at("/srv"));
    ASSERT_TRUE(mail.wait_for("deep"));
    host.put("/srv/a/b/file", "x");
    settled.wait();
    host.put("/srv/a/b/file", "y");
    ASSERT_TRUE(mail.wait_for("deep"));
    mail.clear();
    fs::remove_all(host.at("/srv"));
    ASSERT_TRUE(mail.wait_for("deep"));
    settled.wait();
  }
}

TEST(Watch, AFolderThatIsMovedAwayIsDriftOfAllBelowAndItsSuccessorIsWatched) {
  for (const bool all_declared : {false, true}) {
    HostFolder host;
    Mailbox mail;
    auto watch = Watch::create([&](const Drift& drift) { mail.put(drift); }).value();
    Settled settled(host, *watch, mail);
    host.put("/srv/a/b/file", "1");
    Paths paths = {{"file", {host.at("/srv/a/b/file").string()}}};
    if (all_declared) {
      paths["a"] = {host.at("/srv/a").string()};
      paths["b"] = {host.at("/srv/a/b").string()};
    }
    watch->set("s", paths);
    fs::rename(host.at("/srv/a"), host.at("/srv/a.old"));
    EXPECT_TRUE(mail.wait_for("file"));
    host.put("/srv/a/b/file", "2");
    settled.wait();
    host.put("/srv/a/b/file", "3");
    EXPECT_TRUE(mail.wait_for("file"));
    // What was moved away is nobody's business any more.
    settled.wait();
    host.put("/srv/a.old/b/file", "4");
    settled.wait();
    host.put("/srv/a.old/b/file", "5");
    host.put("/settled/mark", "last");
    ASSERT_TRUE(mail.wait_for("settled/settled"));
    EXPECT_FALSE(mail.has("file"));
  }
}

TEST(Watch, AFolderThatSomebodyStandsInIsWatchedWhenItIsMadeAnew) {
  HostFolder host;
  Mailbox mail;
  auto watch = Watch::create([&](const Drift& drift) { mail.put(drift); }).value();
  Settled settled(host, *watch, mail);
  host.put("/srv/app/conf", "1");
  watch->set("s", {{"conf", {host.at("/srv/app/conf").string()}},
                   {"app", {host.at("/srv/app").string()}}});
  // As the working folder of a daemon: the kernel does not tell that it has gone.
  const Fd held(::open(host.at("/srv/app").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  fs::remove_all(host.at("/srv/app"));
  host.put("/srv/app/conf", "2");
  settled.wait();
  host.put("/srv/app/conf", "3");
  EXPECT_TRUE(mail.wait_for("conf"));
}

TEST(Watch, FoldersThatComeAtOnceAreAllWatched) {
  HostFolder host;
  Mailbox mail;
  auto watch = Watch::create([&](const Drift& drift) { mail.put(drift); }).value();
  Settled settled(host, *watch, mail);
  fs::create_directories(host.at("/srv"));
  constexpr int kPaths = 200;
  Paths paths;
  for (int i = 0; i < kPaths; ++i)
    paths["f" + std::to_string(i)] = {host.at(fmt::format("/srv/{}/a/b/c/file", i)).string()};
  watch->set("s", paths);
  for (int i = 0; i < kPaths; ++i) fs::create_directories(host.at(fmt::format("/srv/{}/a/b/c", i)));
  settled.wait();
  for (int i = 0; i < kPaths; ++i) host.put(fmt::format("/srv/{}/a/b/c/file", i), "x");
  for (int i = 0; i < kPaths; ++i) EXPECT_TRUE(mail.wait_for("f" + std::to_string(i))) << i;
}

// How many watches of the kernel this process has.
int watches_in_use() {
  int out = 0;
  for (const auto& item : fs::directory_iterator("/proc/self/fdinfo")) {
    const std::string text = read_file(item.path()).value_or("");
    for (std::size_t at = text.find("inotify wd"); at != std::string::npos;
         at = text.find("inotify wd", at + 1))
      ++out;
  }
  return out;
}

TEST(Watch, ServicesAreToldApartAndWhatIsNotWantedAnyMoreIsGivenUp) {
  HostFolder host;
  Mailbox mail;
  auto watch = Watch::create([&](const Drift& drift) { mail.put(drift); }).value();
  const int before = watches_in_use();
  for (const char* path : {"/opt/one/x", "/opt/two/x", "/opt/three/x"}) host.put(path, "1");
  watch->set("s", {{"x", {host.at("/opt/one/x").string()}}});
  watch->set("t",
             {{"x", {host.at("/opt/one/x").string()}}, {"y", {host.at("/opt/two/x").string()}}});
  host.put("/opt/two/x", "2");
  ASSERT_TRUE(mail.wait_for("t/y"));
  EXPECT_FALSE(mail.has("s/x"));
  host.put("/opt/one/x", "2");
  EXPECT_TRUE(mail.wait_for("s/x"));
  EXPECT_TRUE(mail.wait_for("t/x"));
  // Given other paths, and then none,
  watch->set("s", {{"x", {host.at("/opt/three/x").string()}}});
  mail.clear();
  host.put("/opt/one/x", "3");
  ASSERT_TRUE(mail.wait_for("t/x"));
  EXPECT_FALSE(mail.has("s/x"));
  host.put("/opt/three/x", "3");
  EXPECT_TRUE(mail.wait_for("s/x"));
  watch->set("s", {});
  watch->set("t", {});
  EXPECT_EQ(watches_in_use(), before);
}

TEST(Watch, WhateverHappensToFoldersWhatIsDeclaredIsToldAndNothingElse) {
  HostFolder host;
  Mailbox mail;
  auto watch = Watch::create([&](const Drift& drift) { mail.put(drift); }).value();
  Settled settled(host, *watch, mail);
  std::mt19937 random(7);  // NOLINT(cert-msc51-cpp): the same story each time
  const auto below = [&](unsigned end) { return static_cast<int>(random() % end); };
  const auto folder = [](int i) {
    return fmt::format("/srv/{}/{}/{}", i % 3, i / 3 % 3, i / 9 % 3);
  };
  std::map<std::string, std::set<int>> declared;
  for (int round = 0; round < 25; ++round) {
    for (int step = 0; step < 40; ++step) {
      std::error_code ec;
      const std::string some = folder(below(27)).substr(0, std::size_t{6} + 2 * random() % 6);
      switch (below(5)) {
        case 0: {
          const std::string service = fmt::format("s{}", below(4));
          Paths paths;
          std::set<int>& now = declared[service];
          now.clear();
          for (int n = below(6); n > 0; --n) now.insert(below(27));
          for (const int i : now)
            paths[fmt::format("r{}", i)] = {host.at(folder(i) + "/file").string()};
          watch->set(service, paths);
          break;
        }
        case 1:
          fs::remove_all(host.at(some), ec);
          break;
        case 2:
          fs::rename(host.at(some), host.at(fmt::format("/srv/away{}-{}", round, step)), ec);
          break;
        default:
          fs::create_directories(host.at(folder(below(27))), ec);
      }
    }
    for (int i = 0; i < 27; ++i) fs::create_directories(host.at(folder(i)));
    settled.wait();
    for (int i = 0; i < 27; ++i) host.put(folder(i) + "/file", std::to_string(round));
    for (const auto& [service, wanted] : declared) {
      for (const int i : wanted)
        ASSERT_TRUE(mail.wait_for(fmt::format("{}/r{}", service, i))) << round << ' ' << folder(i);
    }
    host.put("/settled/mark", "round " + std::to_string(round));
    ASSERT_TRUE(mail.wait_for("settled/settled"));
    for (const auto& [service, wanted] : declared) {
      for (int i = 0; i < 27; ++i) {
        EXPECT_TRUE(wanted.contains(i) || !mail.has(fmt::format("{}/r{}", service, i)));
      }
    }
    mail.clear();
  }
}

// In a process of its own, which may have no more than 14 watches.
void move_on_with_few_watches() {
  if (::unshare(CLONE_NEWUSER) != 0 ||
      !write_file_in_place("/proc/sys/user/max_inotify_watches", "14"))
    ::_exit(77);
  HostFolder host;
  Mailbox mail;
  auto watch = Watch::create([&](const Drift& drift) { mail.put(drift); }).value();
  const auto paths = [&](const std::string& release) {
    Paths out;
    for (int i = 0; i < 6; ++i) {
      const std::string path = fmt::format("/opt/{}/{}/f", release, i);
      host.put(path, "1");
      out[release + std::to_string(i)] = {host.at(path).string()};
    }
    return out;
  };
  const auto all_told = [&](const std::string& release) {
    mail.clear();
    for (int i = 0; i < 6; ++i) host.put(fmt::format("/opt/{}/{}/f", release, i), "2");
    for (int i = 0; i < 6; ++i) {
      if (!mail.wait_for(release + std::to_string(i))) return false;
    }
    return true;
  };
  // There is room for one release, not for two at once.
  watch->set("s", paths("v1"));
  if (!all_told("v1")) ::_exit(1);
  watch->set("s", paths("v2"));
  if (!all_told("v2")) ::_exit(2);
  if (mail.everything() != 0) ::_exit(3);
  // What is too much is told once, whatever happens then,
  const Paths more = paths("v3");
  watch->set("t", more);
  for (int i = 0; i < 20; ++i) {
    ::chmod(host.at("/opt/v2/0").c_str(), i % 2 == 0 ? 0755 : 0700);
    host.put("/opt/v2/1/f", std::to_string(i));
  }
  if (!all_told("v2")) ::_exit(4);
  if (mail.everything() != 1) ::_exit(5);
  // and where there is room again, all is watched.
  watch->set("s", {});
  watch->set("t", more);
  if (!all_told("v3")) ::_exit(6);
  ::_exit(0);
}

TEST(WatchDeathTest, MovesOnWithFewWatchesAndTellsOfTooFewOnce) {
  ::testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_EXIT(
      move_on_with_few_watches(),
      [](int status) {
        const int how = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
        if (how == 77) std::printf("no user namespaces here\n");
        return how == 0 || how == 77;
      },
      "");
}

TEST(Watch, WhenTheKernelDropsEventsEverythingIsToLookAt) {
  HostFolder host;
  const auto limit =
      std::stol(read_file("/proc/sys/fs/inotify/max_queued_events").value_or("16384"));
  if (limit > 200'000) GTEST_SKIP() << "this kernel keeps " << limit << " events";
  std::mutex mutex;
  std::condition_variable changed;
  bool busy = false;
  bool go_on = false;
  std::string warning;
  Mailbox mail;
  auto watch = Watch::create([&](const Drift& drift) {
                 mail.put(drift);
                 std::unique_lock lock(mutex);
                 busy = true;
                 if (drift.everything) warning = drift.warning;
                 changed.notify_all();
                 changed.wait(lock, [&] { return go_on; });
               }).value();
  host.put("/srv/a/file", "0");
  watch->set("s", {{"etc", {host.at("/etc").string() + "/"}},
                   {"file", {host.at("/srv/a/file").string()}}});
  // Given a watcher that is busy with one event while more come than the kernel keeps,
  host.put("/etc/first", "x");
  const auto patience = std::chrono::seconds(20);
  std::unique_lock lock(mutex);
  ASSERT_TRUE(changed.wait_for(lock, patience, [&] { return busy; }));
  for (long i = 0; i < limit + 10; ++i) {
    // A name of its own each, since equal events in a row are one.
    const std::string path = host.at("/etc/first").string();
    const std::string other = host.at("/etc/second").string();
    fs::rename(i % 2 == 0 ? path : other, i % 2 == 0 ? other : path);
  }
  // and a folder that is made anew among what is dropped,
  fs::remove_all(host.at("/srv/a"));
  host.put("/srv/a/file", "1");
  go_on = true;
  changed.notify_all();
  // then it is said that everything may have drifted, and what comes after it is told.
  ASSERT_TRUE(changed.wait_for(lock, patience, [&] { return !warning.empty(); }));
  EXPECT_THAT(warning, ::testing::HasSubstr("max_queued_events"));
  lock.unlock();
  mail.clear();
  host.put("/srv/a/file", "2");
  EXPECT_TRUE(mail.wait_for("file"));
}

TEST(Watch, DriftIsRepairedAtOnce) {
  HostFolder host;
  std::mutex mutex;
  const std::map<std::string, Json> specs = {{"x", file_spec("/etc/x", "right")}};
  host.twice(specs);
  auto watch = Watch::create([&](const Drift& drift) {
                 const std::lock_guard lock(mutex);
                 PassOptions options;
                 options.only = drift.resources.at("s");
                 [[maybe_unused]] const PassReport report = host.converger->pass(options);
               }).value();
  watch->set("s", host.converger->watches());
  host.put("/etc/x", "wrong");
  const auto begun = std::chrono::steady_clock::now();
  while (host.get("/etc/x") != "right")
    ASSERT_LT(std::chrono::steady_clock::now() - begun, std::chrono::seconds(10));
  watch.reset();
}

}  // namespace
}  // namespace consort::agent
