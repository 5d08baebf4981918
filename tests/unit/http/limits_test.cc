// What hostile or broken peers send.
#include <random>

#include "server_fixture.h"

namespace consort::http {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

TEST_F(ServerTest, BodiesOverTheLimitGet413) {
  ServerLimits limits;
  limits.body_bytes = 1000;
  create(limits).route("POST", "/big",
                       [](const Request& request, const Responder& responder) {
                         responder.send(Response::text(std::to_string(request.body.size())));
                       },
                       {.body_limit = 100'000});
  start();
  Client client = this->client();
  EXPECT_EQ(client.request("POST", "/echo", {}, std::string(1000, 'x')).value().status, 200);
  EXPECT_EQ(client.request("POST", "/echo", {}, std::string(1001, 'x')).value().status, 413);
  EXPECT_EQ(client.request("POST", "/big", {}, std::string(100'000, 'x')).value().body, "100000");
  EXPECT_EQ(client.request("POST", "/big", {}, std::string(100'001, 'x')).value().status, 413);

  RawSocket chunked = raw();
  chunked.send("POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFF\r\nxxx");
  EXPECT_THAT(chunked.read_to_end(), StartsWith("HTTP/1.1 413"));
  RawSocket huge = raw();
  huge.send("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 9223372036854775807\r\n\r\n");
  EXPECT_THAT(huge.read_to_end(), StartsWith("HTTP/1.1 413"));
}

TEST_F(ServerTest, OnlyWhoIsWelcomeMaySendAsMuchAsARouteTakes) {
  RouteOptions options;
  options.body_limit = 256U << 10U;
  options.welcome = [](const Request& head) {
    return !head.peer.address.empty() && head.headers.has("Known");
  };
  create({}).route(
      "POST", "/big",
      [](const Request& request, const Responder& responder) {
        responder.send(Response::text(std::to_string(request.body.size())));
      },
      options);
  start();
  Client client = this->client();
  Headers known;
  known.set("Known", "yes");
  const std::string small(kStrangerBodyBytes, 'x');
  const std::string large(kStrangerBodyBytes + 1, 'x');
  EXPECT_EQ(client.request("POST", "/big", {}, small).value().status, 200);
  EXPECT_EQ(client.request("POST", "/big", {}, large).value().status, 413);
  EXPECT_EQ(client.request("POST", "/big", known, large).value().body,
            std::to_string(large.size()));
  EXPECT_EQ(
      client.request("POST", "/big", known, std::string((256U << 10U) + 1, 'x')).value().status,
      413)
      << "the limit of the route is everybody's";
  RawSocket announced = raw();
  announced.send("POST /big HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n");
  EXPECT_THAT(announced.read_to_end(), StartsWith("HTTP/1.1 413")) << "before the body is there";
}

TEST_F(ServerTest, HeadsOverTheLimitGet431) {
  create();
  start();
  RawSocket one = raw();
  one.send("GET /hello HTTP/1.1\r\nHost: x\r\nLong: " + std::string(20'000, 'x') + "\r\n\r\n");
  EXPECT_THAT(one.read_to_end(), StartsWith("HTTP/1.1 431"));
  RawSocket many = raw();
  many.send("GET /hello HTTP/1.1\r\nHost: x\r\n");
  for (int i = 0; i < 2000; ++i) many.send("A: 123456789\r\n");
  EXPECT_THAT(many.read_to_end(), StartsWith("HTTP/1.1 431"));
  RawSocket target = raw();
  target.send("GET /" + std::string(40'000, 'x'));
  EXPECT_THAT(target.read_to_end(), StartsWith("HTTP/1.1 431"));
}

TEST_F(ServerTest, SlowSendersGet408AndSilentOnesAreClosed) {
  ServerLimits limits;
  limits.header_timeout = Duration(50);
  limits.body_timeout = Duration(50);
  limits.idle_timeout = Duration(50);
  create(limits);
  start();
  RawSocket loris = raw();
  loris.send("GET /hello HTTP/1.1\r\nHost: x\r\nX-Slow: ");
  EXPECT_THAT(loris.read_to_end(), StartsWith("HTTP/1.1 408"));
  RawSocket body = raw();
  body.send("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc");
  EXPECT_THAT(body.read_to_end(), StartsWith("HTTP/1.1 408"));
  RawSocket silent = raw();
  EXPECT_EQ(silent.read_to_end(), "");
  RawSocket idle = raw();
  idle.send("GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_THAT(idle.read_to_end(), HasSubstr("hello"));
}

TEST_F(ServerTest, MalformedRequestsAreRefused) {
  create();
  start();
  for (const char* text :
       {"\r\n\r\n\r\n", "GET\r\n\r\n", "GET /hello\r\n\r\n", "GET /hello HTTP/2.0\r\n\r\n",
        "GET hello HTTP/1.1\r\nHost: x\r\n\r\n", "GET /hello HTTP/1.1\r\n\r\n",
        "GET /hello HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
        "GET /hello HTTP/1.1\r\nHost x\r\n\r\n", "GET /?a=%zz HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /\x01 HTTP/1.1\r\nHost: x\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"}) {
    RawSocket socket = raw();
    socket.send(text);
    EXPECT_THAT(socket.read_to_end(),
                ::testing::AnyOf(StartsWith("HTTP/1.1 400"), StartsWith("HTTP/1.1 50")))
        << text;
  }
}

TEST_F(ServerTest, NoiseNeverEndsTheServer) {
  create();
  start();
  std::mt19937 random(7);
  const std::string sound =
      "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nX: "
      "y\r\n\r\n4\r\nabcd\r\n0\r\n\r\n";
  for (int i = 0; i < 300; ++i) {
    std::string text = sound;
    for (int k = 0; k < 3; ++k) text[random() % text.size()] = static_cast<char>(random() & 0xFFU);
    RawSocket socket = raw();
    socket.send(std::string_view(text).substr(0, random() % text.size()));
    socket.end_sending();
    socket.read_to_end();
  }
  EXPECT_EQ(client().get("/hello").value().body, "hello");
}

}  // namespace
}  // namespace consort::http
