#include "http/server.h"

#include <thread>

#include "server_fixture.h"

namespace consort::http {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

TEST_F(ServerTest, RoutesByMethodAndPath) {
  create().route("GET", "/v1/hosts/{name}", [](const Request& request, const Responder& responder) {
    EXPECT_EQ(request.peer.address, "127.0.0.1");
    responder.send(Response::json(Json::object({{"name", request.param("name")},
                                                {"all", request.query_value("all").value_or("no")},
                                                {"token", request.bearer_token().value_or("")}})));
  });
  start();
  Client client = this->client({.token = "secret"});
  const Json json = client.get_json("/v1/hosts/web%201?all=yes").value();
  EXPECT_EQ(json.string_or("name"), "web 1");
  EXPECT_EQ(json.string_or("all"), "yes");
  EXPECT_EQ(json.string_or("token"), "secret");

  EXPECT_EQ(client.get("/nowhere").value().status, 404);
  EXPECT_EQ(client.get_json("/nowhere").error().code(), ErrorCode::not_found);
  const Response wrong = client.request("DELETE", "/v1/hosts/web").value();
  EXPECT_EQ(wrong.status, 405);
  EXPECT_EQ(wrong.headers.get("Allow"), "GET, HEAD");
}

TEST_F(ServerTest, AnswersHeadWithTheHeadersOfGetOnly) {
  create();
  start();
  Client client = this->client();
  const Response head = client.request("HEAD", "/hello").value();
  EXPECT_EQ(head.status, 200);
  EXPECT_EQ(head.headers.get("Content-Length"), "5");
  EXPECT_EQ(head.body, "");
  EXPECT_EQ(client.get("/hello").value().body, "hello") << "on the same connection";
}

TEST_F(ServerTest, KeepsConnectionsAliveAndTakesPipelinedRequestsInOrder) {
  create();
  start();
  RawSocket socket = raw();
  socket.send(
      "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\noneGET /hello HTTP/1.1\r\nHost: "
      "x\r\n\r\n"
      "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nConnection: close\r\n\r\nthree");
  const std::string all = socket.read_to_end();
  const auto one = all.find("one");
  const auto two = all.find("hello");
  const auto three = all.find("three");
  EXPECT_NE(three, std::string::npos);
  EXPECT_LT(one, two);
  EXPECT_LT(two, three);
  EXPECT_THAT(all.substr(two), HasSubstr("Connection: close"));
}

TEST_F(ServerTest, SpeaksToHttp10) {
  create();
  start();
  RawSocket socket = raw();
  socket.send("GET /hello HTTP/1.0\r\n\r\n");
  EXPECT_THAT(socket.read_to_end(), HasSubstr("hello"));
}

TEST_F(ServerTest, TakesChunkedBodiesByteByByte) {
  create();
  start();
  RawSocket socket = raw();
  for (const char c : std::string("POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: "
                                  "chunked\r\n\r\n4\r\nWiki\r\n5;x=y\r\npedia\r\n0\r\n\r\n")) {
    socket.send(std::string_view(&c, 1));
  }
  EXPECT_THAT(socket.read_until("Wikipedia"), HasSubstr("Content-Length: 9"));
}

TEST_F(ServerTest, SaysContinueBeforeALargeBody) {
  create();
  start();
  RawSocket socket = raw();
  socket.send(
      "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n");
  EXPECT_THAT(socket.read_until("\r\n\r\n"), StartsWith("HTTP/1.1 100 Continue"));
  socket.send("body");
  EXPECT_THAT(socket.read_until("\r\n\r\nbody"), HasSubstr("HTTP/1.1 200 OK"));
}

TEST_F(ServerTest, ALongPollIsAnsweredLaterFromAnotherThread) {
  Promise<Responder> waiting;
  create().route("GET", "/poll",
                 [&](const Request&, const Responder& responder) { waiting.give(responder); });
  start();
  std::thread answering([&] {
    const auto responder = waiting.take();
    ASSERT_TRUE(responder);
    EXPECT_TRUE(responder->send(Response::text("now")));
    EXPECT_FALSE(responder->send(Response::text("again"))) << "once only";
  });
  EXPECT_EQ(client().get("/poll").value().body, "now");
  answering.join();
}

TEST_F(ServerTest, ARequestThatNobodyAnswersGets500) {
  create().route("GET", "/dropped", [](const Request&, const Responder&) {});
  server_->route("GET", "/throws", [](const Request&, const Responder&) {
    throw std::runtime_error("thrown by the test");
  });
  start();
  Client client = this->client();
  EXPECT_EQ(client.get("/dropped").value().status, 500);
  EXPECT_EQ(client.get("/throws").value().status, 500);
  EXPECT_EQ(client.get("/hello").value().status, 200);
}

TEST_F(ServerTest, AWaitingHandlerLearnsThatThePeerHasGone) {
  Promise<Responder> waiting;
  Promise<bool> gone;
  create().route("GET", "/poll", [&](const Request&, const Responder& responder) {
    responder.on_close([&] { gone.give(true); });
    waiting.give(responder);
  });
  start();
  RawSocket socket = raw();
  socket.send("GET /poll HTTP/1.1\r\nHost: x\r\n\r\n");
  const auto responder = waiting.take();
  ASSERT_TRUE(responder);
  socket.close();
  EXPECT_TRUE(gone.take());
  Promise<bool> again;
  responder->on_close([&] { again.give(true); });
  EXPECT_TRUE(again.take()) << "also when asked too late";
  responder->send(Response::text("to nobody"));
  EXPECT_EQ(client().get("/hello").value().status, 200);
}

TEST_F(ServerTest, AHalfClosedPeerStillGetsItsAnswer) {
  create();
  start();
  RawSocket socket = raw();
  socket.send("GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
  socket.end_sending();
  EXPECT_THAT(socket.read_to_end(), HasSubstr("hello"));
}

TEST_F(ServerTest, ThreeHundredConnectionsAtOnce) {
  // The last handler may still be at work when all are answered and the test is over.
  const auto waiting = std::make_shared<std::vector<Responder>>();
  create().route("GET", "/together", [waiting](const Request&, const Responder& responder) {
    waiting->push_back(responder);
    // Nobody is answered before all are here.
    if (waiting->size() == 300) {
      for (const Responder& each : *waiting) each.send(Response::text("all here"));
    }
  });
  start();
  std::vector<RawSocket> sockets;
  for (int i = 0; i < 300; ++i) sockets.push_back(raw());
  for (RawSocket& socket : sockets) socket.send("GET /together HTTP/1.1\r\nHost: x\r\n\r\n");
  for (RawSocket& socket : sockets)
    EXPECT_THAT(socket.read_until("all here"), HasSubstr("all here"));
}

TEST_F(ServerTest, AnAddressInUseIsAClearError) {
  create();
  const auto second = Server::create(loop_, {server_->addresses(), {}});
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code(), ErrorCode::io);
  EXPECT_THAT(second.error().message(), HasSubstr(server_->addresses().front()));
  EXPECT_THAT(second.error().hint_text(), HasSubstr("--listen"));
  for (const char* bad : {"", "8440", "localhost", "127.0.0.1:x", "no.such.host.invalid:80"}) {
    EXPECT_FALSE(Server::create(loop_, {{bad}, {}})) << bad;
  }
}

TEST_F(ServerTest, ListensOnIpv6Too) {
  auto server = Server::create(loop_, {{"[::1]:0"}, {}});
  if (!server) GTEST_SKIP() << "no IPv6 on this machine";
  EXPECT_THAT(server->url(), StartsWith("http://[::1]:"));
  server_.emplace(std::move(*server));
  start();
  EXPECT_EQ(client().get("/hello").value().body, "hello");
}

TEST_F(ServerTest, ShutdownLetsRequestsUnderWayEnd) {
  Promise<Responder> waiting;
  Promise<bool> done;
  create().route("GET", "/slow",
                 [&](const Request&, const Responder& responder) { waiting.give(responder); });
  start();
  RawSocket idle = raw();
  idle.send("GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
  idle.read_until("hello");
  RawSocket busy = raw();
  busy.send("GET /slow HTTP/1.1\r\nHost: x\r\n\r\n");
  const auto responder = waiting.take();
  ASSERT_TRUE(responder);
  loop_.post([&] { server_->shutdown(seconds(60), [&] { done.give(true); }); });
  idle.read_to_end();
  responder->send(Response::text("the last word"));
  EXPECT_THAT(busy.read_to_end(), HasSubstr("the last word"));
  busy.close();
  EXPECT_TRUE(done.take());
  EXPECT_EQ(client().get("/hello").error().code(), ErrorCode::unavailable);
}

TEST_F(ServerTest, ShutdownEndsWhatTakesLongerThanItsGrace) {
  Promise<Responder> waiting;
  Promise<bool> done;
  create().route("GET", "/slow",
                 [&](const Request&, const Responder& responder) { waiting.give(responder); });
  start();
  RawSocket busy = raw();
  busy.send("GET /slow HTTP/1.1\r\nHost: x\r\n\r\n");
  const auto responder = waiting.take();
  loop_.post([&] { server_->shutdown(Duration(1), [&] { done.give(true); }); });
  EXPECT_EQ(busy.read_to_end(), "");
  EXPECT_TRUE(done.take());
}

}  // namespace
}  // namespace consort::http
