// Whom a server keeps when it has no room for all, and what it keeps for those who do not read.
#include "server_fixture.h"

namespace consort::http {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

constexpr std::size_t kBig = 16U << 20U;  // more than the sockets take

class RoomTest : public ServerTest {
 protected:
  static void ask(RawSocket& socket, const std::string& path, const std::string& who = "",
                  const std::string& more = "") {
    socket.forget();
    socket.send("GET " + path + " HTTP/1.1\r\nHost: x\r\n" +
                (who.empty() ? "" : "Known: " + who + "\r\n") + more + "\r\n");
  }
  RawSocket stranger() {
    RawSocket out = raw();
    ask(out, "/hello");
    EXPECT_THAT(out.read_until("hello"), HasSubstr("hello"));
    return out;
  }
  RawSocket believed(const std::string& who) {
    RawSocket out = raw();
    ask(out, "/known", who);
    EXPECT_THAT(out.read_until("known"), HasSubstr("known"));
    return out;
  }
  static bool still_open(RawSocket& socket) {
    ask(socket, "/hello");
    return socket.read_until("hello").ends_with("hello");
  }
  static bool closed(RawSocket& socket) {
    socket.forget();
    return socket.read_to_end().empty();
  }

  void create_with_big(const ServerLimits& limits) {
    create(limits).route("GET", "/big", [](const Request& request, const Responder& responder) {
      responder.believe(std::string(request.headers.get("Known").value_or("")));
      responder.send(Response::text(std::string(kBig, 'x')));
    });
    start();
  }
  // Its answer has begun, and is not read.
  RawSocket unread(const std::string& who) {
    RawSocket out = raw();
    ask(out, "/big", who, "Connection: close\r\n");
    EXPECT_THAT(out.read_until("\r\n\r\n"), StartsWith("HTTP/1.1 200"));
    return out;
  }
};

TEST_F(RoomTest, StrangersMakeRoomForWhoeverComes) {
  ServerLimits limits;
  limits.max_connections = 3;
  create(limits);
  start();
  // Given somebody who is believed, and strangers who have asked something and stay
  RawSocket ann = believed("ann");
  RawSocket first = stranger();
  RawSocket second = stranger();
  // when somebody comes for whom there is no room, then the stranger goes who was there first,
  RawSocket bob = believed("bob");
  EXPECT_TRUE(closed(first));
  EXPECT_TRUE(still_open(second));
  // and nobody who is believed, whatever comes.
  for (int i = 0; i < 10; ++i) stranger();
  EXPECT_TRUE(still_open(ann));
  EXPECT_TRUE(still_open(bob));
}

TEST_F(RoomTest, StrangersOfOneAddressAreBounded) {
  ServerLimits limits;
  limits.max_strangers_per_address = 2;
  create(limits);
  start();
  RawSocket ann = believed("ann");
  RawSocket bob = believed("bob");
  RawSocket first = stranger();
  RawSocket second = stranger();
  RawSocket third = stranger();
  EXPECT_TRUE(closed(first));
  for (RawSocket* socket : {&ann, &bob, &second, &third}) EXPECT_TRUE(still_open(*socket));
}

TEST_F(RoomTest, OneIdentityDoesNotTakeThePlaceOfTheOthers) {
  ServerLimits limits;
  limits.max_connections_per_identity = 2;
  create(limits);
  start();
  RawSocket bob = believed("bob");
  RawSocket first = believed("ann");
  RawSocket second = believed("ann");
  RawSocket third = believed("ann");
  EXPECT_TRUE(closed(first));
  for (RawSocket* socket : {&bob, &second, &third}) EXPECT_TRUE(still_open(*socket));
}

TEST_F(RoomTest, WhereEverybodyIsBelievedOneMoreIsToldToComeBack) {
  ServerLimits limits;
  limits.max_connections = 2;
  create(limits);
  start();
  const RawSocket ann = believed("ann");
  const RawSocket bob = believed("bob");
  RawSocket third = raw();
  const std::string answer = third.read_to_end();
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 503"));
  EXPECT_THAT(answer, HasSubstr("Retry-After"));
}

TEST_F(RoomTest, IdleStrangersGoSoonAndOthersStay) {
  ServerLimits limits;
  limits.stranger_idle_timeout = Duration(500);
  create(limits);
  start();
  RawSocket ann = believed("ann");
  RawSocket scraper = stranger();
  EXPECT_TRUE(still_open(scraper)) << "one request after the other";
  EXPECT_TRUE(closed(scraper));
  EXPECT_TRUE(still_open(ann));
}

TEST_F(RoomTest, WhoDoesNotReadGetsNoMoreUntilItDoes) {
  ServerLimits limits;
  limits.unsent_per_peer = kBig + kBig / 2;
  create_with_big(limits);
  // Given a host that asks for much and does not read it, when it asks for more
  RawSocket first = unread("web1");
  RawSocket second = believed("web1");
  ask(second, "/big", "web1", "Connection: close\r\n");
  // then it is told to wait,
  const std::string refused = second.read_to_end();
  EXPECT_THAT(refused, StartsWith("HTTP/1.1 503"));
  EXPECT_THAT(refused, HasSubstr("Retry-After"));
  // while small answers, and others, still get through,
  RawSocket third = believed("web1");
  EXPECT_TRUE(still_open(third));
  RawSocket other = unread("web2");
  EXPECT_GT(other.read_to_end().size(), kBig);
  // until it has read.
  EXPECT_GT(first.read_to_end().size(), kBig);
  ask(third, "/big", "web1", "Connection: close\r\n");
  EXPECT_GT(third.read_to_end().size(), kBig);
}

TEST_F(RoomTest, WhoeverHoldsTheMostIsCutForTheOthers) {
  ServerLimits limits;
  limits.unsent_per_peer = 4 * kBig;
  limits.unsent_in_all = 2 * kBig + kBig / 2;
  create_with_big(limits);
  RawSocket first = unread("ann");
  RawSocket second = unread("ann");
  RawSocket bob = unread("bob");
  EXPECT_LT(first.read_to_end().size(), kBig) << "cut: ann had twice what bob wanted";
  // Of those who have as much as a third would have nobody goes.
  RawSocket carl = raw();
  ask(carl, "/big", "carl", "Connection: close\r\n");
  EXPECT_THAT(carl.read_to_end(), StartsWith("HTTP/1.1 503"));
  EXPECT_GT(second.read_to_end().size(), kBig);
  EXPECT_GT(bob.read_to_end().size(), kBig);
}

TEST_F(RoomTest, AStreamThatNobodyReadsIsCut) {
  ServerLimits limits;
  limits.unsent_per_peer = 1U << 20U;
  Promise<EventStream> opened;
  Promise<bool> gone;
  create(limits).route("GET", "/events", [&](const Request&, const Responder& responder) {
    EventStream stream = responder.open_stream({.queue_limit = 256U << 20U});
    stream.on_close([&] { gone.give(true); });
    opened.give(std::move(stream));
  });
  start();
  RawSocket socket = raw();
  ask(socket, "/events");
  socket.read_until("\r\n\r\n");
  const auto stream = opened.take();
  ASSERT_TRUE(stream);
  const std::string data(100'000, 'x');
  int sent = 0;
  while (stream->send("", "", data) && sent < 1000) {
    ++sent;
    // What was sent is with the connection before more is.
    Promise<bool> settled;
    loop_.post([&] { settled.give(true); });
    ASSERT_TRUE(settled.take());
  }
  EXPECT_LT(sent, 1000) << "its own bound is far away";
  EXPECT_TRUE(gone.take());
}

}  // namespace
}  // namespace consort::http
