// What a daemon is given of its shim, and what its shim hears of it.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <thread>

#include "fixtures/eventually.h"
#include "native_supervisor_fixture.h"

namespace consort::agent {
namespace {

using ::testing::HasSubstr;
using tests::eventually;

class ShimTest : public NativeSupervisorTest {};

TEST_F(ShimTest, NobodyKeepsTheAgentsGroups) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  DaemonSpec spec = shell("web", "id -u; id -g; id -G; exec sleep 1000");
  spec.uid = 65534;
  const auto refused = supervisor->ensure(spec);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message(), HasSubstr("user 65534 of web has no group"));
  spec.gid = 65534;
  spec.groups = {7, 9};
  ASSERT_TRUE(supervisor->ensure(spec));
  EXPECT_TRUE(eventually([&] {
    return supervisor->log_tail("web", 3) == "65534\n65534\n65534 7 9";
  })) << supervisor->log_tail("web", 3);
}

TEST_F(ShimTest, ADaemonThatWritesWithoutEndIsStoppedByItsSignal) {
  // Given one that writes faster than the disk takes it: a millisecond for each kilobyte,
  const fs::path mark = folder.path() / "mark";
  const fs::path log = folder.path() / "daemons/web/log";
  fs::create_directories(log.parent_path());
  ASSERT_EQ(::mkfifo(log.c_str(), 0600), 0);
  const Fd disk(::open(log.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  std::atomic<std::size_t> written = 0;
  const std::jthread slowly([&](const std::stop_token& end) {
    std::array<char, 1024> piece{};
    while (!end.stop_requested()) {
      if (const ssize_t n = ::read(disk.get(), piece.data(), piece.size()); n > 0)
        written += static_cast<std::size_t>(n);
      ::poll(nullptr, 0, 1);
    }
  });
  ASSERT_TRUE(supervisor->ensure(
      shell("web", "trap 'echo told > " + mark.string() + "; exit 0' TERM; yes & wait")));
  ASSERT_TRUE(eventually([&] { return written > 100'000; }));
  // then its shim hears that it is to stop, and so does the daemon: nobody had to be killed.
  ASSERT_TRUE(supervisor->stop("web", seconds(5)));
  EXPECT_EQ(read_file(mark).value_or(""), "told\n");
  EXPECT_FALSE(status().running);
}

}  // namespace
}  // namespace consort::agent
