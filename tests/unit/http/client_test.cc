#include "http/client.h"

#include <thread>

#include "server_fixture.h"

namespace consort::http {
namespace {

using ::testing::HasSubstr;

TEST_F(ServerTest, TheClientUsesItsConnectionAgain) {
  create();
  std::vector<std::uint16_t> ports;
  server_->route("GET", "/port", [&](const Request& request, const Responder& responder) {
    ports.push_back(request.peer.port);
    responder.send(Response::empty());
  });
  start();
  Client client = this->client();
  for (int i = 0; i < 5; ++i) EXPECT_EQ(client.get("/port").value().status, 204);
  EXPECT_EQ(client.request("POST", "/echo", {}, "x").value().body, "x");
  loop_.stop();
  ASSERT_EQ(ports.size(), 5U);
  EXPECT_EQ(ports.front(), ports.back());
}

TEST_F(ServerTest, TheClientConnectsAnewWhenTheServerHasClosed) {
  ServerLimits limits;
  limits.idle_timeout = Duration(1);
  create(limits);
  start();
  Client client = this->client();
  for (int i = 0; i < 50; ++i) EXPECT_EQ(client.get("/hello").value().body, "hello");
}

TEST_F(ServerTest, OtherHeadersPassThrough) {
  create().route("GET", "/part", [](const Request& request, const Responder& responder) {
    responder.send(Response{206,
                            {{"Content-Range", "bytes 2-3/9"}},
                            std::string(request.headers.get("Range").value_or(""))});
  });
  start();
  const Response part = client().request("GET", "/part", {{"Range", "bytes=2-3"}}).value();
  EXPECT_EQ(part.status, 206);
  EXPECT_EQ(part.body, "bytes=2-3");
  EXPECT_EQ(part.headers.get("content-range"), "bytes 2-3/9");
}

TEST_F(ServerTest, OurErrorsComeBackAsThemselves) {
  create().route("POST", "/v1/deploy", [](const Request& request, const Responder& responder) {
    EXPECT_TRUE(request.json());
    responder.send(
        fail(ErrorCode::stale, "generation 8 was deployed meanwhile").hint("consort plan"));
  });
  start();
  const auto result = client().send_json("POST", "/v1/deploy", Json::object({{"generation", 7}}));
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code(), ErrorCode::stale);
  EXPECT_EQ(result.error().hint_text(), "consort plan");
}

TEST_F(ServerTest, ARequestIsCancelledFromAnotherThread) {
  Promise<Responder> waiting;
  create().route("GET", "/poll",
                 [&](const Request&, const Responder& responder) { waiting.give(responder); });
  start();
  Client client = this->client();
  std::optional<Responder> responder;
  std::thread cancelling([&] {
    responder = waiting.take();
    client.cancel();
  });
  EXPECT_EQ(client.get("/poll", seconds(60)).error().code(), ErrorCode::interrupted);
  cancelling.join();
  EXPECT_EQ(client.get("/hello").error().code(), ErrorCode::interrupted) << "until it is resumed";
  client.resume();
  EXPECT_EQ(client.get("/hello").value().body, "hello");
}

TEST_F(ServerTest, ASilentServerIsATimeout) {
  Promise<Responder> waiting;
  create().route("GET", "/poll",
                 [&](const Request&, const Responder& responder) { waiting.give(responder); });
  start();
  Client client = this->client();
  EXPECT_EQ(client.get("/poll", Duration(30)).error().code(), ErrorCode::timeout);
  EXPECT_EQ(client.get("/hello").value().body, "hello")
      << "the late answer is not taken for this one's";
}

TEST_F(ServerTest, AnswersAreBounded) {
  create().route("GET", "/big", [](const Request&, const Responder& responder) {
    responder.send(Response::text(std::string(5000, 'x')));
  });
  start();
  EXPECT_EQ(client({.max_response_bytes = 4999}).get("/big").error().code(), ErrorCode::too_large);
  EXPECT_EQ(client({.max_response_bytes = 5000}).get("/big").value().body.size(), 5000U);
}

TEST(Client, NoServerIsUnavailableAndSaysWhatToDo) {
  // Given an address where nobody listens any more
  EventLoop loop;
  std::string url;
  { url = Server::create(loop, {{"127.0.0.1:0"}, {}}).value().url(); }
  const auto result = Client::create(url).value().get("/v1/status");
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code(), ErrorCode::unavailable);
  EXPECT_THAT(result.error().message(), HasSubstr(url));
  EXPECT_THAT(result.error().hint_text(), HasSubstr("consort controller"));
}

TEST(Client, AServerThatSpeaksNoHttpOrCutsItsAnswerIsUnavailable) {
  for (const std::string_view answer :
       {"SSH-2.0-OpenSSH\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\ncut", ""}) {
    Fd listener(::socket(AF_INET, SOCK_STREAM, 0));
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof at;
    ASSERT_EQ(::bind(listener.get(), reinterpret_cast<sockaddr*>(&at), size), 0);
    ASSERT_EQ(::listen(listener.get(), 1), 0);
    ASSERT_EQ(::getsockname(listener.get(), reinterpret_cast<sockaddr*>(&at), &size), 0);
    std::thread server([&] {
      const Fd peer(::accept(listener.get(), nullptr, nullptr));
      std::string request(4096, '\0');
      EXPECT_GT(::recv(peer.get(), request.data(), request.size(), 0), 0);
      ::send(peer.get(), answer.data(), answer.size(), MSG_NOSIGNAL);
    });
    const auto result =
        Client::create("http://127.0.0.1:" + std::to_string(ntohs(at.sin_port))).value().get("/");
    server.join();
    ASSERT_FALSE(result) << answer;
    EXPECT_EQ(result.error().code(), ErrorCode::unavailable) << answer;
  }
}

}  // namespace
}  // namespace consort::http
