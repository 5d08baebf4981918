// Labs: what they are asked for, and what they leave alone.
#include "platform/lab.h"

#include <gtest/gtest.h>

#include <sched.h>
#include <unistd.h>

#include <csignal>

#include "platform/keeper.h"
#include "platform/process_tree.h"

namespace consort::platform {
namespace {

TEST(LabClasses, AreReadInTheirOrder) {
  const auto classes = parse_classes("web=2,db=1");
  ASSERT_TRUE(classes);
  ASSERT_EQ(classes->size(), 2U);
  EXPECT_EQ(classes->at(0), std::pair(std::string("web"), 2));
  EXPECT_EQ(classes->at(1), std::pair(std::string("db"), 1));
}

TEST(LabClasses, RefuseWhatIsNoFleet) {
  for (const char* text : {"", "web", "web=", "web=0", "web=-1", "web=x", "web=1,web=2",
                           "controller=1", "web=201", "../x=1", "web=99999"}) {
    const auto classes = parse_classes(text);
    ASSERT_FALSE(classes) << text;
    EXPECT_FALSE(classes.error().hint_text().empty()) << text;
  }
}

TEST(LabDown, LeavesFilesOfAFolderThatIsNoLab) {
  // Given somebody's own folder that has the names a lab would use
  const auto folder = TempFolder::create("lab-test");
  ASSERT_TRUE(folder);
  ASSERT_TRUE(make_folders(folder->path() / "hosts"));
  ASSERT_TRUE(write_file_atomic(folder->path() / "hosts" / "mine", "precious"));
  // When a lab is taken down there, then nothing of theirs goes; and none is set up over it either
  const Status down = Lab::down(folder->path(), "/bin/true");
  ASSERT_FALSE(down) << "a folder whose name was mistyped must not seem removed";
  EXPECT_EQ(down.error().code(), ErrorCode::not_found);
  EXPECT_EQ(read_file(folder->path() / "hosts" / "mine").value_or(""), "precious");
  LabRequest request{folder->path(), "/bin/true", "process", {{"web", 1}}};
  const auto lab = Lab::up(request, [](std::string_view) {});
  ASSERT_FALSE(lab);
  EXPECT_EQ(lab.error().code(), ErrorCode::conflict);
  EXPECT_EQ(read_file(folder->path() / "hosts" / "mine").value_or(""), "precious");
}

TEST(LabDown, EndsAHalfRemovedLabAndKnowsThenThatThereIsNone) {
  // Given a lab that lost its hosts, and whose description is damaged
  const auto folder = TempFolder::create("lab-test");
  ASSERT_TRUE(folder);
  const fs::path lab = folder->path() / "lab";
  ASSERT_TRUE(make_folders(lab / "controller"));
  ASSERT_TRUE(write_file_atomic(lab / "lab.json", "{"));
  // When it is taken down, then nothing is left
  ASSERT_TRUE(Lab::down(lab, "/bin/true"));
  EXPECT_FALSE(fs::exists(lab));
  // And a second time there is nothing to take down
  const Status again = Lab::down(lab, "/bin/true");
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code(), ErrorCode::not_found);
}

TEST(LabOpen, NamesTheRemedyWhereThereIsNone) {
  const auto folder = TempFolder::create("lab-test");
  ASSERT_TRUE(folder);
  const auto lab = Lab::open(folder->path(), "/bin/true");
  ASSERT_FALSE(lab);
  EXPECT_EQ(lab.error().code(), ErrorCode::not_found);
  EXPECT_NE(lab.error().hint_text().find("consort lab up"), std::string::npos);
}

TEST(ProcessTree, FindsAProcessByItsMarkAndEndsItWithItsChildren) {
  const std::string id = "test-" + std::to_string(::getpid());
  ProcessSpec spec;
  spec.argv = {"sh", "-c", "sleep 60 & wait"};
  spec.environment = {{"CONSORT_TEST_MARK", id}};
  spec.on_start = [&](pid_t pid) {
    const auto found = [&] { return marked_with("CONSORT_TEST_MARK=" + id); };
    while (found().empty()) sched_yield();
    kill_trees(found());
    EXPECT_TRUE(wait_for_end(identify(pid), seconds(5)));
  };
  const auto outcome = run_process(spec);
  ASSERT_TRUE(outcome);
  EXPECT_EQ(outcome->signal, SIGKILL);
  EXPECT_TRUE(marked_with("CONSORT_TEST_MARK=" + id).empty());
}

TEST(ProcessTree, EndsATreeThatKeepsGrowing) {
  // Each shell starts the next one and ends: its children lose their parent all the time.
  const std::string id = "grow-" + std::to_string(::getpid());
  ProcessSpec spec;
  spec.argv = {"sh", "-c", "f() { sleep 60 & (f) & sleep 0.01; }; f; wait"};
  spec.environment = {{"CONSORT_TEST_MARK", id}};
  spec.on_start = [&](pid_t pid) {
    const ProcessId root = identify(pid);
    while (marked_with("CONSORT_TEST_MARK=" + id).size() < 6) sched_yield();
    kill_marked("CONSORT_TEST_MARK=" + id);
    EXPECT_TRUE(wait_for_end(root, seconds(5)));
  };
  ASSERT_TRUE(run_process(spec));
  EXPECT_TRUE(marked_with("CONSORT_TEST_MARK=" + id).empty());
}

TEST(ProcessTree, APidWithAnotherStartTimeIsAnotherProcess) {
  ProcessId self = identify(::getpid());
  EXPECT_TRUE(is_alive(self));
  ++self.started;
  EXPECT_FALSE(is_alive(self));
}

class LostKeeper : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(platform->prepare([](std::string_view) {}));
    ASSERT_TRUE(platform->create(host));
    ASSERT_TRUE(platform->start(host));
    while (members().size() < 3) sched_yield();  // keeper, program and its child
    before = keeper.program();
    ASSERT_TRUE(is_alive(before));
    ASSERT_TRUE(platform->kept(host));
    kill_the_keeper();
  }
  void TearDown() override { EXPECT_TRUE(platform->destroy()); }
  // As the kernel does it when memory is short.
  void kill_the_keeper() const {
    const ProcessId process = keeper.keeper();
    ::kill(process.pid, SIGKILL);
    ASSERT_TRUE(wait_for_end(process, seconds(5)));
  }
  [[nodiscard]] std::vector<pid_t> members() const {
    return marked_with(std::string(kMemberVariable) + "=" + lab.id);
  }

  TempFolder folder = TempFolder::create("lab-test").value();
  LabIdentity lab{"t" + std::to_string(::getpid()), folder.path(), CONSORT_KEEP, 1};
  std::unique_ptr<Platform> platform = make_process_platform(lab);
  HostSpec host{"web1", "127.77.1.11"};
  Keeper keeper{folder.path() / "hosts/web1/host", lab.id + "/web1"};
  ProcessId before;
};

TEST_F(LostKeeper, TheHostRunsOnAndIsNotCalledOff) {
  EXPECT_TRUE(is_alive(before));
  EXPECT_TRUE(platform->runs(host));
  EXPECT_FALSE(platform->kept(host));
  const Status cut = platform->cut(host);
  ASSERT_FALSE(cut);
  EXPECT_NE(cut.error().hint_text().find("consort lab start"), std::string::npos);
}

TEST_F(LostKeeper, AHostThatIsCutOffIsKnownAsSuchUntilItIsConnectedAgain) {
  ASSERT_TRUE(platform->start(host));
  EXPECT_FALSE(platform->is_cut(host));
  ASSERT_TRUE(platform->cut(host));
  EXPECT_TRUE(platform->is_cut(host));
  EXPECT_TRUE(make_process_platform(lab)->is_cut(host)) << "also to whoever looks later";
  ASSERT_TRUE(platform->heal(host));
  EXPECT_FALSE(platform->is_cut(host));
  ASSERT_TRUE(platform->cut(host));
  ASSERT_TRUE(platform->stop(host));
  EXPECT_FALSE(platform->is_cut(host)) << "it is off, and begins connected";
}

TEST_F(LostKeeper, StoppingEndsAllThatIsLeft) {
  ASSERT_TRUE(platform->stop(host));
  EXPECT_FALSE(is_alive(before));
  EXPECT_FALSE(platform->runs(host));
  EXPECT_TRUE(members().empty());
}

TEST_F(LostKeeper, WhatTheProgramLeftIsFoundWithoutIt) {
  ::kill(before.pid, SIGKILL);
  ASSERT_TRUE(wait_for_end(before, seconds(5)));
  EXPECT_TRUE(platform->runs(host)) << "its daemon does";
  ASSERT_TRUE(platform->kill(host));
  EXPECT_FALSE(platform->runs(host));
  EXPECT_TRUE(members().empty());
}

TEST(Keeper, StartsAgainAlsoInTheMomentAfterItsProgramHasEnded) {
  const auto folder = TempFolder::create("consort-keeper-").value();
  const Keeper keeper(folder.path() / "part", "keeper-test-" + std::to_string(::getpid()));
  Keep keep;
  keep.argv = {"sleep", "1000"};  // once; its keeper ends with it
  ProcessId before;
  for (int life = 0; life < 30; ++life) {
    ASSERT_TRUE(keeper.start(CONSORT_KEEP, keep));
    const ProcessId program = keeper.program();
    ASSERT_TRUE(is_alive(program)) << life;
    ASSERT_TRUE(program.pid != before.pid || program.started != before.started) << life;
    before = program;
    ::kill(program.pid, SIGKILL);
    ASSERT_TRUE(wait_for_end(program, seconds(5)));
  }
  keeper.stop();
}

TEST_F(LostKeeper, StartingLeavesOneOfIt) {
  ASSERT_TRUE(platform->start(host));
  EXPECT_TRUE(platform->kept(host));
  EXPECT_FALSE(is_alive(before));
  while (members().size() < 3) sched_yield();
  EXPECT_EQ(members().size(), 3U);
}

}  // namespace
}  // namespace consort::platform
