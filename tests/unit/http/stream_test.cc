#include <thread>

#include "http/event_reader.h"
#include "server_fixture.h"

namespace consort::http {
namespace {

using ::testing::HasSubstr;

TEST_F(ServerTest, EventsFlowFromAnyThreadToTheClientInOrder) {
  create().route("GET", "/events", [](const Request& request, const Responder& responder) {
    const EventStream stream = responder.open_stream();
    const int from = std::stoi(std::string(request.headers.get("Last-Event-ID").value_or("0")));
    std::thread([stream, from] {
      for (int i = from + 1; i <= 100; ++i)
        // The first reader may have gone already.
        EXPECT_TRUE(stream.send(i % 2 == 0 ? "even" : "", std::to_string(i),
                                "line one\nline " + std::to_string(i)) ||
                    stream.closed());
    }).detach();
  });
  start();
  Client client = this->client();
  int last = 0;
  // Given a reader that stops in the middle
  EXPECT_TRUE(client.stream_events("/events", "", [&](const Event& event) {
    EXPECT_EQ(event.id, std::to_string(++last));
    EXPECT_EQ(event.name, last % 2 == 0 ? "even" : "message");
    EXPECT_EQ(event.data, "line one\nline " + event.id);
    return last == 40 ? Client::Next::stop : Client::Next::more;
  }));
  // When it comes back with the last id, then it misses none and sees the end
  EXPECT_TRUE(client.stream_events("/events", std::to_string(last), [&](const Event& event) {
    EXPECT_EQ(event.id, std::to_string(++last));
    return Client::Next::more;
  }));
  EXPECT_EQ(last, 100);
}

TEST_F(ServerTest, SilenceIsFilledWithHeartbeats) {
  Promise<EventStream> opened;
  create().route("GET", "/events", [&](const Request&, const Responder& responder) {
    opened.give(responder.open_stream({.heartbeat = Duration(5)}));
  });
  start();
  RawSocket socket = raw();
  socket.send("GET /events HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_THAT(socket.read_until(":\n\n"), HasSubstr("text/event-stream"));
  const auto stream = opened.take();
  ASSERT_TRUE(stream);
  EXPECT_TRUE(stream->send("", "", "still here"));
  EXPECT_THAT(socket.read_until("data: still here\n\n"), HasSubstr("still here"));
  stream->end();
  EXPECT_FALSE(stream->send("", "", "after the end"));
  EXPECT_THAT(socket.read_until("\r\n0\r\n\r\n"), HasSubstr("0\r\n\r\n"));
}

TEST_F(ServerTest, AStreamLearnsThatItsReaderHasGone) {
  Promise<EventStream> opened;
  Promise<bool> gone;
  create().route("GET", "/events", [&](const Request&, const Responder& responder) {
    EventStream stream = responder.open_stream();
    stream.on_close([&] { gone.give(true); });
    opened.give(std::move(stream));
  });
  start();
  RawSocket socket = raw();
  socket.send("GET /events HTTP/1.1\r\nHost: x\r\n\r\n");
  socket.read_until("\r\n\r\n");
  const auto stream = opened.take();
  ASSERT_TRUE(stream);
  socket.close();
  EXPECT_TRUE(gone.take());
  EXPECT_TRUE(stream->closed());
  EXPECT_FALSE(stream->send("", "", "to nobody"));
}

TEST_F(ServerTest, ASlowReaderIsDropped) {
  Promise<EventStream> opened;
  Promise<bool> gone;
  create().route("GET", "/events", [&](const Request&, const Responder& responder) {
    EventStream stream = responder.open_stream({.queue_limit = 100'000});
    stream.on_close([&] { gone.give(true); });
    opened.give(std::move(stream));
  });
  start();
  RawSocket socket = raw();
  socket.send("GET /events HTTP/1.1\r\nHost: x\r\n\r\n");
  socket.read_until("\r\n\r\n");
  const auto stream = opened.take();
  ASSERT_TRUE(stream);
  const std::string data(10'000, 'x');
  int sent = 0;
  while (stream->send("", "", data) && sent < 1'000'000) ++sent;
  EXPECT_LT(sent, 1'000'000);
  EXPECT_TRUE(gone.take());
}

TEST_F(ServerTest, AStreamThatIsRefusedIsThatError) {
  create();
  start();
  const auto status =
      client().stream_events("/nowhere", "", [](const Event&) { return Client::Next::more; });
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code(), ErrorCode::not_found);
}

TEST(EventReader, TakesAnyPiecesAndIsBounded) {
  const std::string text =
      ": comment\nid: 1\nevent: a\r\ndata: x\ndata:y\nignored: z\n\n\n\ndata\n\nid: 2\n\n";
  EventReader whole(1000, "");
  const auto all = whole.feed(text).value();
  ASSERT_EQ(all.size(), 2U);
  EXPECT_EQ(all[0].name, "a");
  EXPECT_EQ(all[0].data, "x\ny");
  EXPECT_EQ(all[1].data, "");
  EXPECT_EQ(all[1].id, "1");
  EventReader pieces(1000, "");
  std::size_t count = 0;
  for (const char c : text) count += pieces.feed(std::string_view(&c, 1)).value().size();
  EXPECT_EQ(count, 2U);
  EventReader bounded(100, "");
  EXPECT_FALSE(bounded.feed("data: " + std::string(200, 'x')));
}

}  // namespace
}  // namespace consort::http
