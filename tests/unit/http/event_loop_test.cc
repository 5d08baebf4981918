#include "http/event_loop.h"

#include <unistd.h>

#include <csignal>
#include <stdexcept>
#include <vector>

#include "server_fixture.h"

namespace consort::http {
namespace {

using ::testing::ElementsAre;

TEST(EventLoop, RunsWhatIsPostedInOrderOnOneThread) {
  EventLoop loop;
  std::vector<int> seen;
  loop.post([&] {
    loop.post([&] {
      seen.push_back(3);
      loop.stop();
    });
    loop.dispatch([&] { seen.push_back(1); });
    seen.push_back(2);
  });
  loop.run();
  EXPECT_THAT(seen, ElementsAre(1, 2, 3));
}

TEST(EventLoop, TimersRunInTheOrderOfTheirTimesAndCanBeCancelled) {
  EventLoop loop;
  std::vector<int> seen;
  loop.after(Duration(20), [&] {
    seen.push_back(2);
    loop.stop();
  });
  loop.after(Duration(1), [&] { seen.push_back(1); });
  Timer cancelled = loop.after(Duration(5), [&] { seen.push_back(99); });
  loop.post([&] { cancelled.cancel(); });
  loop.run();
  EXPECT_THAT(seen, ElementsAre(1, 2));
  cancelled.cancel();
}

TEST(EventLoop, GoesOnAfterAnException) {
  EventLoop loop;
  bool reached = false;
  loop.post([] { throw std::runtime_error("thrown by the test"); });
  loop.post([&] {
    reached = true;
    loop.stop();
  });
  loop.run();
  EXPECT_TRUE(reached);
}

TEST(EventLoop, TellsOfSignals) {
  EventLoop loop;
  int number = 0;
  loop.on_signal([&](int signal) {
    number = signal;
    loop.stop();
  });
  loop.post([] { ::raise(SIGTERM); });
  loop.run();
  EXPECT_EQ(number, SIGTERM);
}

TEST(EventLoop, MayGoBeforeItsTimersAndPosts) {
  Timer timer;
  {
    EventLoop loop;
    timer = loop.after(seconds(3600), [] { FAIL(); });
    loop.post([] { FAIL(); });
  }
  timer.cancel();
}

}  // namespace
}  // namespace consort::http
