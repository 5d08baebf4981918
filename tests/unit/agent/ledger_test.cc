#include "agent/ledger.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <sys/resource.h>

#include <algorithm>
#include <csignal>

#include "host_folder.h"

namespace consort::agent {
namespace {

using ::testing::HasSubstr;

// No file of this process may grow beyond so many bytes: a write is cut off where it would, as on a
// full disk.
class FullDisk {
 public:
  explicit FullDisk(std::uintmax_t bytes) {
    ::signal(SIGXFSZ, SIG_IGN);
    ::getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit tight{bytes, before_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &tight);
  }
  ~FullDisk() { ::setrlimit(RLIMIT_FSIZE, &before_); }
  FullDisk(const FullDisk&) = delete;
  FullDisk& operator=(const FullDisk&) = delete;

 private:
  rlimit before_{};
};

class LedgerTest : public ::testing::Test {
 protected:
  std::unique_ptr<Resource> file(const std::string& name) const {
    Json spec = file_spec("/etc/" + name, "content of " + name);
    spec["onRemoval"] = "revert";
    return parse_resource(name, spec, "/").value();
  }
  static Json before(const std::string& text) { return Json::object({{"text", text}}); }

  TempFolder folder = TempFolder::create("consort-ledger-").value();
  fs::path path = folder.path() / "ledger.jsonl";
  std::unique_ptr<Ledger> ledger = Ledger::open(path).value();
};

TEST_F(LedgerTest, AfterAFullDiskEveryEntryIsFoundWhereItIs) {
  ASSERT_TRUE(ledger->intend(*file("a"), "/etc/a", before("first")));
  {
    const FullDisk full(fs::file_size(path) + 20);
    EXPECT_FALSE(ledger->intend(*file("b"), "/etc/b", before("second")));
    EXPECT_FALSE(ledger->done(*file("c"), "/etc/c")) << "it is told, not swallowed";
    EXPECT_FALSE(ledger->has("b"));
    EXPECT_FALSE(ledger->has("c"));
  }
  // When there is room again,
  ASSERT_TRUE(ledger->intend(*file("b"), "/etc/b", before("second")));
  ASSERT_TRUE(ledger->done(*file("c"), "/etc/c"));
  ASSERT_TRUE(ledger->flush());
  for (int life = 0; life < 2; ++life) {
    EXPECT_EQ(ledger->get("a").value().before.string_or("text"), "first");
    EXPECT_EQ(ledger->get("b").value().before.string_or("text"), "second");
    EXPECT_EQ(ledger->get("c").value().claim, "/etc/c");
    ledger = Ledger::open(path).value();
  }
}

TEST_F(LedgerTest, WhatWaitsToBeWrittenSurvivesAFullDisk) {
  ASSERT_TRUE(ledger->intend(*file("a"), "/etc/a", before("first")));
  ASSERT_TRUE(ledger->done(*file("a"), "/etc/a"));
  {
    const FullDisk full(fs::file_size(path) + 5);
    EXPECT_FALSE(ledger->flush());
  }
  ASSERT_TRUE(ledger->flush());
  ledger = Ledger::open(path).value();
  EXPECT_TRUE(ledger->applied(*file("a")));
}

TEST_F(LedgerTest, WhatIsForgottenIsGoneAndItsNameIsFree) {
  ASSERT_TRUE(ledger->intend(*file("a"), "/etc/a", before("first")));
  ASSERT_TRUE(ledger->intend(*file("b"), "/etc/b", before("of b")));
  ASSERT_TRUE(ledger->done(*file("a"), "/etc/a"));
  ASSERT_TRUE(ledger->flush());
  ASSERT_TRUE(ledger->forget("a"));
  EXPECT_FALSE(ledger->has("a"));
  EXPECT_EQ(ledger->names(), std::vector<std::string>{"b"});
  // Again by the same name, before and after what is forgotten is tidied away.
  ASSERT_TRUE(ledger->intend(*file("a"), "/etc/a", before("second")));
  EXPECT_FALSE(ledger->applied(*file("a"))) << "the wish of then counts for nothing";
  for (int life = 0; life < 2; ++life) {
    EXPECT_EQ(ledger->get("a").value().before.string_or("text"), "second");
    EXPECT_EQ(ledger->names(), (std::vector<std::string>{"a", "b"}));
    ASSERT_TRUE(ledger->flush());
    ledger = Ledger::open(path).value();
  }
}

TEST_F(LedgerTest, NamesComeInAnyOrderAndMoreThanAreMergedAtOnce) {
  const auto plain = [](const std::string& name) {
    return parse_resource(name, file_spec("/etc/" + name, "x"), "/").value();
  };
  std::vector<std::string> names;
  for (int i = 0; i < 1500; ++i) {
    names.push_back(fmt::format("conf-{:04}", 1499 - i));
    names.push_back(fmt::format("dir-{:04}", i));
  }
  for (const std::string& name : names)
    ASSERT_TRUE(ledger->intend(*plain(name), "/etc/" + name, before("of " + name)));
  ASSERT_TRUE(ledger->forget("dir-0700"));
  std::erase(names, "dir-0700");
  std::sort(names.begin(), names.end());
  for (int life = 0; life < 3; ++life) {
    EXPECT_EQ(ledger->names(), names);
    for (const std::string& name : names)
      ASSERT_EQ(ledger->get(name).value().before.string_or("text"), "of " + name);
    if (life == 0) {
      ASSERT_TRUE(ledger->flush());
    }
    if (life == 1) ledger = Ledger::open(path).value();
  }
}

TEST_F(LedgerTest, ALongLifeDoesNotMakeALongFile) {
  ASSERT_TRUE(ledger->intend(*file("kept"), "/etc/kept", before("as it was")));
  ASSERT_TRUE(ledger->intend(*file("gone"), "/etc/gone", before("as it was")));
  ASSERT_TRUE(ledger->forget("gone"));
  const auto wish = [](int n) {
    return parse_resource("a", file_spec("/etc/a", std::to_string(n)), "/").value();
  };
  constexpr int kTimes = 5000;
  for (int n = 0; n < kTimes; ++n) {
    ASSERT_TRUE(ledger->done(*wish(n), "/etc/a"));
    if (n % 500 == 499) {
      ASSERT_TRUE(ledger->flush());
    }
  }
  const std::string text = read_file(path).value();
  EXPECT_LT(std::count(text.begin(), text.end(), '\n'), 1500);
  for (int life = 0; life < 2; ++life) {
    EXPECT_EQ(ledger->names(), (std::vector<std::string>{"a", "kept"}));
    EXPECT_TRUE(ledger->applied(*wish(kTimes - 1)));
    EXPECT_EQ(ledger->get("kept").value().before.string_or("text"), "as it was");
    EXPECT_EQ(ledger->get("kept").value().on_removal, OnRemoval::revert);
    ledger = Ledger::open(path).value();
  }
}

TEST_F(LedgerTest, NamesTheBackupsThatItNeeds) {
  const auto backed_up = [](const std::string& text) {
    return Json::object({{"kind", "file"}, {"backup", Digest::of(text).str()}});
  };
  EXPECT_TRUE(Ledger::backups_of(folder.path() / "nowhere").value().empty());
  for (const char* name : {"a", "b"})
    ASSERT_TRUE(ledger->intend(*file(name), std::string("/etc/") + name, backed_up(name)));
  ASSERT_TRUE(ledger->done(*file("a"), "/etc/a"));
  ASSERT_TRUE(ledger->flush());
  EXPECT_EQ(Ledger::backups_of(path).value(), (std::set<Digest>{Digest::of("a"), Digest::of("b")}));
  ASSERT_TRUE(ledger->forget("b"));
  ASSERT_TRUE(write_file_atomic(path, read_file(path).value() + "{\"name\":\"torn", 0600));
  EXPECT_EQ(Ledger::backups_of(path).value(), std::set<Digest>{Digest::of("a")});
}

TEST(FullDisk, LeavesTheOldContentOfAFileAndSaysSo) {
  HostFolder host;
  host.twice({{"x", file_spec("/etc/x", "old\n")}});
  const std::string big(200'000, 'n');
  {
    const FullDisk full(100'000);
    const PassReport report = host.pass({{"x", file_spec("/etc/x", big)}});
    EXPECT_EQ(report.exit_status(), 4);
    EXPECT_THAT(report.find("x")->reason, HasSubstr("/etc/x"));
    EXPECT_EQ(host.get("/etc/x"), "old\n");
    for (const auto& item : fs::directory_iterator(host.at("/etc")))
      EXPECT_FALSE(item.path().string().ends_with(".consort-new")) << "nothing is left lying about";
  }
  host.twice({{"x", file_spec("/etc/x", big)}});
  EXPECT_EQ(host.get("/etc/x"), big);
}

}  // namespace
}  // namespace consort::agent
