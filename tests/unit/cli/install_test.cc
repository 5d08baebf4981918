// What `consort host install` says to ssh and to systemd: nothing that was typed means more there
// than itself.
#include "cli/install.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace consort::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(Install, AMachineIsNoOptionOfSshAndNoTextOfAShell) {
  for (const char* good : {"root@10.0.0.7", "web1", "root@[2001:db8::1]", "root@fe80::1%eth0"})
    EXPECT_TRUE(check_ssh_target(good)) << good;
  for (const char* bad : {"", "-oProxyCommand=id", "root@a b", "a;id", "a$(id)", "a`id`", "a\nb"}) {
    const Status status = check_ssh_target(bad);
    ASSERT_FALSE(status) << bad;
    EXPECT_EQ(status.error().code(), ErrorCode::usage);
    EXPECT_NE(status.error().hint_text(), "");
  }
}

TEST(Install, WordsOfSshAreSplitAtBlanksOnly) {
  EXPECT_THAT(ssh_words("ssh  -p 22 -o A=$(id)").value(),
              ElementsAre("ssh", "-p", "22", "-o", "A=$(id)"));
  EXPECT_FALSE(ssh_words("  "));
}

TEST(Install, TheDropInReplacesTheLineOfTheUnit) {
  const std::string text = join_drop_in("https://10.0.0.1:8440", "web1").value();
  EXPECT_THAT(text, HasSubstr("ExecStart=\nExecStart=/usr/local/bin/consort agent "));
  EXPECT_THAT(text, HasSubstr("--controller https://10.0.0.1:8440 --name web1\n"));
  EXPECT_THAT(text, ::testing::Not(HasSubstr("cj1.")));
  for (const char* url : {"http://10.0.0.1", "https://a b", "https://a%n", "https://a\n[Service]",
                          "https://a$HOME", "https://a\"b"})
    EXPECT_FALSE(join_drop_in(url, "web1")) << url;
  for (const char* name : {"", "a b", "a;b", "a%n", "-a b"})
    EXPECT_FALSE(join_drop_in("https://10.0.0.1", name)) << name;
}

TEST(Install, WhatAMachineSaysOfItselfIsReadLineByLine) {
  const MachineFacts facts = machine_facts(
      "Welcome!\nmachine=x86_64\nuser=0\nname=web1\nsystemd=yes\nprogram=abc  -\n"
      "joined={\"name\":\"web1\"}\n");
  EXPECT_EQ(facts.machine, "x86_64");
  EXPECT_EQ(facts.user, "0");
  EXPECT_EQ(facts.name, "web1");
  EXPECT_EQ(facts.program, "abc");
  EXPECT_EQ(facts.joined, "{\"name\":\"web1\"}");
  EXPECT_TRUE(facts.systemd);
  EXPECT_FALSE(machine_facts("").systemd);
}

TEST(Install, TheUnitIsInTheProgram) {
  EXPECT_THAT(std::string(agent_unit()), HasSubstr("[Install]\nWantedBy=multi-user.target"));
}

}  // namespace
}  // namespace consort::cli
