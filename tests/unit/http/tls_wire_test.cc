// TLS on the wire: what it carries, and what hostile or broken peers send.
#include <random>
#include <thread>

#include "tls_fixture.h"

namespace consort::http {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

// A plain socket with a server of the test at its end.
class Listener {
 public:
  Listener() : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof at;
    EXPECT_EQ(::bind(fd_.get(), reinterpret_cast<sockaddr*>(&at), size), 0);
    EXPECT_EQ(::listen(fd_.get(), 4), 0);
    EXPECT_EQ(::getsockname(fd_.get(), reinterpret_cast<sockaddr*>(&at), &size), 0);
    port_ = ntohs(at.sin_port);
  }
  [[nodiscard]] Fd accept() const { return Fd(::accept(fd_.get(), nullptr, nullptr)); }
  [[nodiscard]] std::string url() const { return "https://127.0.0.1:" + std::to_string(port_); }

 private:
  Fd fd_;
  std::uint16_t port_ = 0;
};

// What a client sends first.
std::string client_hello() {
  std::array<int, 2> pair{};
  EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair.data()), 0);
  const Fd ours(pair[0]);
  const Fd theirs(pair[1]);
  RawTls client(ours.get(), RawTls::Side::client);
  EXPECT_FALSE(client.shake_hands());
  std::string out(4096, '\0');
  const ssize_t n = ::recv(theirs.get(), out.data(), out.size(), 0);
  out.resize(static_cast<std::size_t>(std::max<ssize_t>(n, 0)));
  return out;
}

// Everything is gone that came, and new clients are served.
void expect_well(EventLoop& loop, const Server& server, Client client) {
  const auto until = std::chrono::steady_clock::now() + kPatience;
  std::size_t left = 1;
  while (left != 0 && std::chrono::steady_clock::now() < until) {
    Promise<std::size_t> counted;
    loop.post([&] { counted.give(server.connections()); });
    left = counted.take().value_or(99);
  }
  EXPECT_EQ(left, 0U);
  EXPECT_EQ(client.get("/hello").value().body, "hello");
}

TEST_F(TlsTest, LargeBodiesPassBothWays) {
  create_tls().route("POST", "/large",
                     [](const Request& request, const Responder& responder) {
                       responder.send(Response::text(request.body));
                     },
                     {.body_limit = 11U << 20U});
  start();
  std::string body(10U << 20U, '\0');
  std::mt19937 random(3);
  for (char& c : body) c = static_cast<char>(random() & 0xFFU);
  Client client = good_client();
  for (int i = 0; i < 2; ++i) {
    const Response answer = client.request("POST", "/large", {}, body).value();
    EXPECT_TRUE(answer.body == body);
  }
}

TEST_F(TlsTest, EventsStreamAndEnd) {
  create_tls().route("GET", "/events", [](const Request&, const Responder& responder) {
    const EventStream stream = responder.open_stream();
    for (int i = 0; i < 1000; ++i) static_cast<void>(stream.send("tick", std::to_string(i), "{}"));
  });
  start();
  std::vector<std::string> ids;
  ASSERT_TRUE(good_client().stream_events("/events", "", [&](const Event& event) {
    ids.push_back(event.id);
    return Client::Next::more;
  }));
  ASSERT_EQ(ids.size(), 1000U);
  EXPECT_EQ(ids.back(), "999");
}

TEST_F(TlsTest, PipelinesAndPiecesAreTheSameAsOnPlainTcp) {
  create_tls();
  start();
  RawSocket socket = raw();
  RawTls tls(socket.fd(), RawTls::Side::client, authority_.host());
  ASSERT_TRUE(tls.shake_hands());
  constexpr std::string_view kRequest =
      "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n";
  // When many requests come at once, in records that end where requests do not
  std::string all;
  for (int i = 0; i < 2000; ++i) all += fmt::format("{}{:05}", kRequest, i);
  std::thread sending([&] {
    for (std::size_t at = 0; at < all.size(); at += 777) EXPECT_TRUE(tls.send(all.substr(at, 777)));
  });
  sending.join();
  std::string answers;
  while (answers.find("01999") == std::string::npos) {
    const std::string more = tls.read(1);
    if (more.empty()) break;
    answers += more;
  }
  std::size_t count = 0;
  for (std::size_t at = 0; (at = answers.find("HTTP/1.1 200", at)) != std::string::npos; ++at)
    ++count;
  EXPECT_EQ(count, 2000U);
}

TEST_F(TlsTest, KeysAreUpdatedInBetween) {
  create_tls();
  start();
  RawSocket socket = raw();
  RawTls tls(socket.fd(), RawTls::Side::client, authority_.host());
  ASSERT_TRUE(tls.shake_hands());
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(SSL_key_update(tls.native(), SSL_KEY_UPDATE_REQUESTED), 1);
    ASSERT_TRUE(tls.send("GET /hello HTTP/1.1\r\nHost: x\r\n\r\n"));
    EXPECT_THAT(tls.read(1), HasSubstr("hello"));
  }
}

TEST_F(TlsTest, TheServerSaysThatItHasEnded) {
  create_tls();
  start();
  RawSocket socket = raw();
  RawTls tls(socket.fd(), RawTls::Side::client, authority_.host());
  ASSERT_TRUE(tls.shake_hands());
  ASSERT_TRUE(tls.send("GET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"));
  EXPECT_THAT(tls.read(), HasSubstr("hello"));
  EXPECT_TRUE(tls.ended());
}

TEST_F(TlsTest, AClientThatSaysItIsDoneStillGetsItsAnswer) {
  Promise<Responder> waiting;
  create_tls().route("GET", "/later",
                     [&](const Request&, const Responder& responder) { waiting.give(responder); });
  start();
  RawSocket socket = raw();
  RawTls tls(socket.fd(), RawTls::Side::client, authority_.host());
  ASSERT_TRUE(tls.shake_hands());
  ASSERT_TRUE(tls.send("GET /later HTTP/1.1\r\nHost: x\r\n\r\n"));
  const auto responder = waiting.take();
  ASSERT_TRUE(responder);
  tls.end();
  responder->send(Response::text("late"));
  EXPECT_THAT(tls.read(), HasSubstr("late"));
}

TEST_F(TlsTest, PlainHttpIsToldToSpeakTls) {
  create_tls();
  start();
  RawSocket socket = raw();
  socket.send("GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
  const std::string answer = socket.read_to_end();
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 400"));
  EXPECT_THAT(answer, HasSubstr("this port speaks TLS: use https://"));
  EXPECT_THAT(answer, HasSubstr("Connection: close"));
  std::string url = server_->url();
  const auto plain = Client::create(url.replace(0, 5, "http")).value().get("/hello");
  EXPECT_EQ(plain.value().status, 400);
}

TEST_F(TlsTest, TlsToAPlainPortIsToldSo) {
  create();
  start();
  std::string url = server_->url();
  url.replace(0, 4, "https");
  const auto answer =
      Client::create(url, {.tls = ClientTls::create(with({})).value()}).value().get("/hello");
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code(), ErrorCode::unavailable);
  EXPECT_THAT(answer.error().message(), HasSubstr("speaks no TLS"));
}

TEST_F(TlsTest, GarbageAndHalvesNeverEndTheServer) {
  create_tls();
  start();
  const std::string hello = client_hello();
  ASSERT_GT(hello.size(), 100U);
  std::mt19937 random(11);
  for (int i = 0; i < 300; ++i) {
    std::string text = hello;
    for (int k = 0; k < 4; ++k) text[random() % text.size()] = static_cast<char>(random() & 0xFFU);
    if (i % 2 == 0) text[0] = 0x16;
    RawSocket socket = raw();
    socket.send(std::string_view(text).substr(0, 1 + random() % text.size()));
    socket.end_sending();
    socket.read_to_end();
  }
  // Some go away in the middle without a word
  for (int i = 0; i < 50; ++i) {
    RawSocket socket = raw();
    socket.send(hello);
    socket.close();
  }
  expect_well(loop_, *server_, good_client());
}

TEST_F(TlsTest, NoiseInsideAConnectionEndsOnlyThat) {
  create_tls();
  start();
  for (int i = 0; i < 20; ++i) {
    RawSocket socket = raw();
    {
      RawTls tls(socket.fd(), RawTls::Side::client, authority_.host());
      ASSERT_TRUE(tls.shake_hands());
      SSL_set_shutdown(tls.native(), SSL_SENT_SHUTDOWN);
    }
    socket.send(std::string("\x17\x03\x03\x00\x20", 5) + std::string(32, 'x'));
    socket.read_to_end();
  }
  expect_well(loop_, *server_, good_client());
}

TEST_F(TlsTest, WhoStaysSilentInTheHandshakeIsClosed) {
  ServerLimits limits;
  limits.handshake_timeout = Duration(50);
  create_tls(ClientCertificates::required, limits);
  start();
  const std::string hello = client_hello();
  RawSocket silent = raw();
  EXPECT_EQ(silent.read_to_end(), "");
  RawSocket half = raw();
  half.send(std::string_view(hello).substr(0, hello.size() / 2));
  EXPECT_EQ(half.read_to_end(), "");
  RawSocket greeted = raw();
  greeted.send(hello);
  EXPECT_NE(greeted.read_to_end(), "") << "the server has answered, and then waited";
}

TEST_F(TlsTest, TheHandshakeCountsTowardsTheHead) {
  ServerLimits limits;
  limits.header_timeout = Duration(50);
  create_tls(ClientCertificates::required, limits);
  start();
  RawSocket socket = raw();
  RawTls tls(socket.fd(), RawTls::Side::client, authority_.host());
  ASSERT_TRUE(tls.shake_hands());
  EXPECT_EQ(tls.read(), "") << "no request came";
}

TEST_F(TlsTest, ACertificateGetsInPastStrangers) {
  ServerLimits limits;
  limits.max_connections = 3;
  create_tls(ClientCertificates::optional, limits);
  start();
  Client agent = good_client();
  EXPECT_TRUE(agent.get("/peer"));
  const std::uint16_t port = peer().port;
  // Strangers of the same address who ask, and stay
  std::vector<Client> strangers;
  for (int i = 0; i < 5; ++i) {
    strangers.push_back(tls_client(with({})));
    EXPECT_TRUE(strangers.back().get("/hello"));
  }
  Client second = good_client();
  EXPECT_TRUE(second.get("/hello"));
  EXPECT_TRUE(agent.get("/peer"));
  EXPECT_EQ(peer().port, port) << "on the same connection";
}

TEST_F(TlsTest, ConnectionsStayLimited) {
  ServerLimits limits;
  limits.max_connections = 2;
  create_tls(ClientCertificates::required, limits);
  start();
  Client first = good_client();
  Client second = good_client();
  EXPECT_TRUE(first.get("/hello"));
  EXPECT_TRUE(second.get("/hello"));
  const auto third = good_client().get("/hello");
  ASSERT_FALSE(third);
  EXPECT_EQ(third.error().code(), ErrorCode::unavailable);
  EXPECT_TRUE(first.get("/hello"));
}

TEST_F(TlsTest, OlderVersionsAreNotSpoken) {
  create_tls(ClientCertificates::optional);
  start();
  RawSocket old = raw();
  RawTls tls12(old.fd(), RawTls::Side::client, std::nullopt, TLS1_2_VERSION);
  EXPECT_FALSE(tls12.shake_hands());
  EXPECT_EQ(ERR_GET_REASON(ERR_peek_last_error()), SSL_R_TLSV1_ALERT_PROTOCOL_VERSION);
  ERR_clear_error();
  // Nor by our client
  const Listener listener;
  std::thread server([&] {
    const Fd peer = listener.accept();
    RawTls tls(peer.get(), RawTls::Side::server, authority_.controller(), TLS1_2_VERSION);
    EXPECT_FALSE(tls.shake_hands());
  });
  const auto answer =
      Client::create(listener.url(), {.tls = ClientTls::create(with({})).value()}).value().get("/");
  server.join();
  ASSERT_FALSE(answer);
  EXPECT_THAT(answer.error().message(), HasSubstr("does not speak TLS 1.3"));
}

TEST_F(TlsTest, OpensslAgrees) {
  if (!fs::exists("/usr/bin/openssl")) GTEST_SKIP() << "there is no openssl program";
  create_tls(ClientCertificates::optional);
  start();
  const TempFolder folder = TempFolder::create("tls").value();
  const std::string roots = folder.path() / "roots.pem";
  ASSERT_TRUE(write_file_atomic(roots, authority_.trust().roots_pem));
  const auto speak = [&](const std::string& version) {
    const std::string out = folder.path() / "out";
    const std::string command = fmt::format(
        "printf 'GET /hello HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n' | "
        "/usr/bin/openssl s_client -connect {} -CAfile {} -verify_return_error -ign_eof {} "
        ">{} 2>&1",
        server_->addresses().front(), roots, version, out);
    const int status = std::system(command.c_str());
    return std::pair(status == 0, read_file(out).value());
  };
  const auto [new_ok, new_text] = speak("-tls1_3");
  EXPECT_TRUE(new_ok) << new_text;
  EXPECT_THAT(new_text, HasSubstr("hello"));
  EXPECT_THAT(new_text, HasSubstr("Verify return code: 0 (ok)"));
  const auto [old_ok, old_text] = speak("-tls1_2");
  EXPECT_FALSE(old_ok) << old_text;
  EXPECT_THAT(old_text, HasSubstr("protocol version"));
}

TEST_F(TlsTest, ABodyThatIsCutIsNotTakenForWhole) {
  for (const bool said : {true, false}) {
    const Listener listener;
    std::thread server([&] {
      const Fd peer = listener.accept();
      RawTls tls(peer.get(), RawTls::Side::server, authority_.controller());
      EXPECT_TRUE(tls.shake_hands());
      EXPECT_NE(tls.read(1), "");
      EXPECT_TRUE(tls.send("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nall that there is"));
      if (said) tls.end();
    });
    const auto answer = Client::create(listener.url(), {.tls = ClientTls::create(with({})).value()})
                            .value()
                            .get("/");
    server.join();
    EXPECT_EQ(answer.has_value(), said);
    if (said) {
      EXPECT_EQ(answer.value().body, "all that there is");
    } else {
      EXPECT_EQ(answer.error().code(), ErrorCode::unavailable);
    }
  }
}

TEST_F(TlsTest, AHandshakeThatHangsEndsWithTheDeadlineOrByCancelling) {
  const Listener listener;  // connections are made, and nobody answers
  Client client =
      Client::create(listener.url(), {.tls = ClientTls::create(with({})).value()}).value();
  EXPECT_EQ(client.get("/", Duration(30)).error().code(), ErrorCode::timeout);
  const Fd first = listener.accept();
  Fd second;  // stays open: it is the word that ends it, not the peer
  std::thread cancelling([&] {
    second = listener.accept();
    client.cancel();
  });
  EXPECT_EQ(client.get("/", seconds(60)).error().code(), ErrorCode::interrupted);
  cancelling.join();
}

}  // namespace
}  // namespace consort::http
