#include "agent/watch.h"

#include <gmock/gmock.h>

#include <condition_variable>
#include <mutex>
#include <string>

#include "host_folder.h"

namespace consort::agent {
namespace {

class Mailbox {
 public:
  void put(const Drift& drift) {
    const std::lock_guard lock(mutex_);
    for (const auto& [service, names] : drift.resources) seen_.insert(names.begin(), names.end());
    changed_.notify_all();
  }
  bool wait_for(const std::string& name) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(10), [&] { return seen_.contains(name); });
  }
  void clear() {
    const std::lock_guard lock(mutex_);
    seen_.clear();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::set<std::string> seen_;
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
  watch->set("s", {{"deep", {host.at("/srv/a/b/file").string()}}});
  for (int round = 0; round < 2; ++round) {
    fs::create_directories(host.at("/srv"));
    ASSERT_TRUE(mail.wait_for("deep"));
    host.put("/srv/a/b/file", "x");
    mail.clear();
    // The folders may have been made faster than they could be watched: an edit is seen once all is
    // armed.
    watch->set("s", {{"deep", {host.at("/srv/a/b/file").string()}}});
    host.put("/srv/a/b/file", "y");
    ASSERT_TRUE(mail.wait_for("deep"));
    mail.clear();
    fs::remove_all(host.at("/srv"));
    ASSERT_TRUE(mail.wait_for("deep"));
    mail.clear();
    watch->set("s", {{"deep", {host.at("/srv/a/b/file").string()}}});
  }
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
  auto watch = Watch::create([&](const Drift& drift) {
                 std::unique_lock lock(mutex);
                 busy = true;
                 if (drift.everything) warning = drift.warning;
                 changed.notify_all();
                 changed.wait(lock, [&] { return go_on; });
               }).value();
  watch->set("s", {{"etc", {host.at("/etc").string() + "/"}}});
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
  go_on = true;
  changed.notify_all();
  // then it is said that everything may have drifted.
  ASSERT_TRUE(changed.wait_for(lock, patience, [&] { return !warning.empty(); }));
  EXPECT_THAT(warning, ::testing::HasSubstr("max_queued_events"));
  lock.unlock();
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
