// An operator's keys are made once, whatever ends their making and whoever else makes them, too.
#include "cli/keys.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/inotify.h>

#include <array>
#include <climits>
#include <latch>
#include <set>
#include <thread>

#include "cli/credentials.h"
#include "cli/secret_sealing.h"
#include "fixtures/own_config.h"

namespace consort::cli {
namespace {

using ::testing::ElementsAre;

class OwnKeys : public ::testing::Test {
 protected:
  [[nodiscard]] fs::path home() const { return config_.home(); }

 private:
  tests::OwnConfig config_;
};

// What is sealed to a key that another command has written over is lost.
TEST_F(OwnKeys, CommandsAtTheSameTimeGetTheSameRecoveryKey) {
  constexpr std::ptrdiff_t kCommands = 8;
  for (int round = 0; round < 20; ++round) {
    ASSERT_TRUE(remove_tree(home()));
    std::latch begin(kCommands);
    std::array<std::string, kCommands> got;
    {
      std::vector<std::jthread> commands;
      for (std::string& key : got)
        commands.emplace_back([&begin, &key] {
          begin.arrive_and_wait();
          const auto made = recovery_key();
          key = made ? made->public_key().to_text() : made.error().message();
        });
    }
    EXPECT_THAT(std::set<std::string>(got.begin(), got.end()),
                ElementsAre(recovery_key().value().public_key().to_text()));
  }
}

TEST_F(OwnKeys, TheNameOfAKeyIsTakenLast) {
  // Given somebody who watches the folder of keys,
  ASSERT_TRUE(make_folders(home() / "keys"));
  const Fd events(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  ASSERT_GE(::inotify_add_watch(events.get(), (home() / "keys").c_str(), IN_MOVED_TO | IN_CREATE),
            0);
  // when a key is made,
  ASSERT_TRUE(create_key("ann", nullptr));
  // then its public half is there before the file that makes `create` say that there is one.
  std::vector<std::string> seen;
  alignas(inotify_event) std::array<char, 64 * (sizeof(inotify_event) + NAME_MAX + 1)> buffer{};
  const ssize_t n = ::read(events.get(), buffer.data(), buffer.size());
  for (ssize_t at = 0; at < n;) {
    const auto* event = reinterpret_cast<const inotify_event*>(buffer.data() + at);
    at += static_cast<ssize_t>(sizeof(inotify_event) + event->len);
    const std::string name = event->name;
    if (name.starts_with("ann")) seen.push_back(name);
  }
  EXPECT_THAT(seen, ElementsAre("ann.pub", "ann.pem"));
}

TEST_F(OwnKeys, WhatWasEndedHalfwayIsSaidAgain) {
  const KeyName first = create_key("ann", nullptr).value();
  ASSERT_TRUE(remove_tree(home() / "keys/ann.pem"));
  const KeyName second = create_key("ann", nullptr).value();
  EXPECT_EQ(load_key("ann").value().public_key(), second.key);
  EXPECT_EQ(public_key_of("ann").value(), second.key);
  // A public key that is lost is in the private one.
  ASSERT_TRUE(remove_tree(home() / "keys/ann.pub"));
  EXPECT_EQ(public_key_of("ann").value(), second.key);
  EXPECT_FALSE(create_key("ann", nullptr));
}

TEST_F(OwnKeys, ACredentialThatWasHalfWrittenDoesNotStay) {
  // Given what a command that was killed has left long ago,
  const fs::path left = home() / "contexts/.main.json.77.0.tmp";
  ASSERT_TRUE(make_folders(left.parent_path(), 0700));
  ASSERT_TRUE(write_file_atomic(left, "a credential", 0600));
  fs::last_write_time(left, fs::file_time_type::clock::now() - hours(1));
  // when the next one writes that context, it is gone.
  const Context context{"main", "https://127.0.0.1:1", "", "", "", ""};
  ASSERT_TRUE(save_context(context));
  EXPECT_FALSE(fs::exists(left));
  // Who removes a context removes all of it.
  ASSERT_TRUE(write_file_atomic(left, "a credential", 0600));
  ASSERT_TRUE(remove_context("main"));
  EXPECT_FALSE(fs::exists(left));
}

}  // namespace
}  // namespace consort::cli
