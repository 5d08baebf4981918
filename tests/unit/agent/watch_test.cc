#include "agent/watch.h"

#include <gmock/gmock.h>
#include <sys/wait.h>
#include <unistd.h>

#include <condition_variable>
#include <csignal>
#include <mutex>

#include "host_folder.h"

namespace consort::agent {
namespace {

class Mailbox {
 public:
  void put(const Drift& drift) {
    const std::lock_guard lock(mutex_);
    seen_.insert(drift.resources.begin(), drift.resources.end());
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
  watch->set({{"x", {host.at("/etc/x").string()}}, {"other", {host.at("/etc/other").string()}}});
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
  watch->set({{"deep", {host.at("/srv/a/b/file").string()}}});
  for (int round = 0; round < 2; ++round) {
    fs::create_directories(host.at("/srv"));
    ASSERT_TRUE(mail.wait_for("deep"));
    host.put("/srv/a/b/file", "x");
    mail.clear();
    // The folders may have been made faster than they could be watched: an edit is seen once all is
    // armed.
    watch->set({{"deep", {host.at("/srv/a/b/file").string()}}});
    host.put("/srv/a/b/file", "y");
    ASSERT_TRUE(mail.wait_for("deep"));
    mail.clear();
    fs::remove_all(host.at("/srv"));
    ASSERT_TRUE(mail.wait_for("deep"));
    mail.clear();
    watch->set({{"deep", {host.at("/srv/a/b/file").string()}}});
  }
}

TEST(Watch, TellsTheEndOfAProcess) {
  Mailbox mail;
  auto watch = Watch::create([&](const Drift& drift) { mail.put(drift); }).value();
  const pid_t child = ::fork();
  if (child == 0) {
    ::pause();
    ::_exit(0);
  }
  ASSERT_TRUE(watch->add_process("web", child));
  ::kill(child, SIGKILL);
  EXPECT_TRUE(mail.wait_for("web"));
  ::waitpid(child, nullptr, 0);
}

TEST(Watch, DriftIsRepairedAtOnce) {
  HostFolder host;
  std::mutex mutex;
  const std::map<std::string, Json> specs = {{"x", file_spec("/etc/x", "right")}};
  host.twice(specs);
  auto watch = Watch::create([&](const Drift& drift) {
                 const std::lock_guard lock(mutex);
                 PassOptions options;
                 options.only = drift.resources;
                 [[maybe_unused]] const PassReport report = host.converger->pass(options);
               }).value();
  watch->set(host.converger->watches());
  host.put("/etc/x", "wrong");
  const auto begun = std::chrono::steady_clock::now();
  while (host.get("/etc/x") != "right")
    ASSERT_LT(std::chrono::steady_clock::now() - begun, std::chrono::seconds(10));
  watch.reset();
}

}  // namespace
}  // namespace consort::agent
