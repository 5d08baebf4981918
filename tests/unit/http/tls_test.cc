// Who may talk to whom over TLS.
#include "tls_fixture.h"

namespace consort::http {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

TEST_F(TlsTest, AHandlerKnowsWhoAsks) {
  create_tls();
  start();
  EXPECT_THAT(server_->url(), StartsWith("https://127.0.0.1:"));
  Client client = good_client();
  EXPECT_EQ(client.get("/peer").value().body, "consort://main/host/web1");
  const Peer peer = this->peer();
  EXPECT_EQ(peer.address, "127.0.0.1");
  EXPECT_THAT(peer.serial, ::testing::MatchesRegex("[0-9a-f]+"));
  EXPECT_THAT(peer.fingerprint, StartsWith("sha256:"));
  const auto left = peer.not_after - SystemClock().now();
  EXPECT_GT(left, minutes(59));
  EXPECT_LE(left, minutes(60));
  EXPECT_FALSE(peer.resumed);
}

TEST_F(TlsTest, ACertificateWithoutAnIdentityNamesNobody) {
  create_tls();
  start();
  EXPECT_EQ(tls_client(with(authority_.odd({.names = "DNS:web1"}))).get("/peer").value().body, "");
  EXPECT_EQ(peer().serial, "1267");
}

TEST_F(TlsTest, WhereItIsOptionalNoCertificateIsNobody) {
  create_tls(ClientCertificates::optional);
  start();
  EXPECT_EQ(tls_client(with(std::nullopt)).get("/peer").value().body, "");
  EXPECT_EQ(peer().fingerprint, "");
  EXPECT_EQ(good_client().get("/peer").value().body, "consort://main/host/web1");
  EXPECT_FALSE(tls_client(with(stranger_.host())).get("/peer"))
      << "but what is shown must be sound";
}

struct Refused {
  std::optional<TlsIdentity> identity;
  std::string client_reads;
  std::string log_reads;
};

TEST_F(TlsTest, UnsoundClientsAreToldAndLogged) {
  create_tls();
  start();
  const std::vector<Refused> all = {
      {std::nullopt, "wants a certificate", "shows no certificate"},
      {authority_.odd(
           {.names = "URI:consort://main/host/old", .begins = -hours(2), .ends = -hours(1)}),
       "expired", "consort://main/host/old (serial "},
      {authority_.odd(
           {.names = "URI:consort://main/host/early", .begins = hours(1), .ends = hours(2)}),
       "does not accept this side's certificate", "is valid only from "},
      {stranger_.host("foreign"), "another authority", "is signed by another authority"},
      {authority_.odd({.names = "URI:consort://main/host/web1", .uses = "serverAuth"}),
       "made for something else", "is not made for clients"},
  };
  const std::string log = log_after([&] {
    for (const Refused& one : all) {
      const auto answer = tls_client(with(one.identity)).get("/peer");
      ASSERT_FALSE(answer) << one.log_reads;
      EXPECT_EQ(answer.error().code(), ErrorCode::unauthenticated) << render_error(answer.error());
      EXPECT_THAT(answer.error().message(), HasSubstr(one.client_reads));
      EXPECT_NE(answer.error().hint_text(), "");
    }
    EXPECT_EQ(good_client().get("/peer").value().status, 200) << "nobody else minds";
  });
  for (const Refused& one : all) EXPECT_THAT(log, HasSubstr(one.log_reads));
  EXPECT_THAT(log, HasSubstr("refused a TLS connection from 127.0.0.1:"));
}

TEST_F(TlsTest, ACertificateWithSeveralNamesIsRefused) {
  create_tls();
  start();
  const std::string log = log_after([&] {
    RawSocket socket = raw();
    RawTls tls(
        socket.fd(), RawTls::Side::client,
        authority_.odd({.names = "URI:consort://main/host/web1,URI:consort://main/operator/root"}));
    EXPECT_TRUE(tls.shake_hands()) << "the server looks at it after the client is done";
    EXPECT_EQ(tls.read(), "");
  });
  EXPECT_THAT(log, HasSubstr("several URI names"));
}

TEST_F(TlsTest, ClientsRefuseServersThatAreNotWhatTheyShouldBe) {
  struct Case {
    TlsIdentity server;
    std::string reads;
  };
  const std::vector<Case> all = {
      {authority_.odd({.names = "URI:consort://main/controller/c1",
                       .uses = "serverAuth",
                       .begins = -hours(2),
                       .ends = -hours(1)}),
       "expired on 20"},
      {stranger_.controller(), "is signed by another authority"},
      {authority_.host(), "is not made for servers"},
      {authority_.odd({.names = "URI:consort://main/host/web1", .uses = "serverAuth"}),
       "is not a controller's"},
      {authority_.odd({.names = "DNS:localhost", .uses = "serverAuth"}), "is not a controller's"},
  };
  for (const Case& one : all) {
    SCOPED_TRACE(one.reads);
    EventLoop loop;
    const auto tls =
        ServerTls::create(one.server, authority_.trust(), ClientCertificates::optional).value();
    Server server = Server::create(loop, {{"127.0.0.1:0"}, {}, tls}).value();
    server.start();
    loop.start();
    const auto client_tls = ClientTls::create(with(authority_.host())).value();
    const auto answer = Client::create(server.url(), {.tls = client_tls}).value().get("/");
    ASSERT_FALSE(answer);
    EXPECT_EQ(answer.error().code(), ErrorCode::unauthenticated) << render_error(answer.error());
    EXPECT_THAT(answer.error().message(), HasSubstr(one.reads));
    loop.stop();
  }
}

TEST_F(TlsTest, AClientMayWantACertainController) {
  create_tls();
  start();
  const auto asking_for = [&](const std::string& partition, const std::string& name) {
    ClientTlsOptions options = with(authority_.host());
    options.partition = partition;
    options.controller = name;
    return tls_client(options).get("/peer");
  };
  EXPECT_TRUE(asking_for("main", "c1"));
  EXPECT_TRUE(asking_for("main", ""));
  EXPECT_THAT(asking_for("other", "").error().message(), HasSubstr("consort://other/controller/*"));
  EXPECT_EQ(asking_for("main", "c2").error().code(), ErrorCode::unauthenticated);
}

TEST_F(TlsTest, AClientMayWantTheHostOfTheUrl) {
  create_tls();
  start();
  ClientTlsOptions options = with(authority_.host());
  options.expect = ServerCheck::host_name;
  EXPECT_TRUE(tls_client(options).get("/peer")) << "the certificate has this address";
  ASSERT_TRUE(tls_->replace(authority_.odd({.names = "URI:consort://main/controller/c1,IP:10.0.0.1",
                                            .uses = "serverAuth"}),
                            authority_.trust()));
  EXPECT_THAT(tls_client(options).get("/peer").error().message(),
              HasSubstr("is not made out to 127.0.0.1"));
}

TEST_F(TlsTest, WhoJoinsKnowsOnlyAFingerprint) {
  create_tls(ClientCertificates::optional);
  start();
  EXPECT_TRUE(tls_client({.pinned_root = authority_.fingerprint()}).get("/peer"));
  const auto other = tls_client({.pinned_root = stranger_.fingerprint()}).get("/peer");
  ASSERT_FALSE(other);
  EXPECT_EQ(other.error().code(), ErrorCode::unauthenticated);
  EXPECT_THAT(other.error().message(), HasSubstr(stranger_.fingerprint().str()));
}

TEST_F(TlsTest, AServerThatShowsAPinnedRootNeedsACertificateOfIt) {
  // Given a server that shows somebody else's root after its own certificate
  TlsIdentity liar = stranger_.controller();
  liar.certificate_chain_pem += authority_.trust().roots_pem;
  create_tls(liar, ClientCertificates::optional);
  start();
  const auto answer = tls_client({.pinned_root = authority_.fingerprint()}).get("/peer");
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code(), ErrorCode::unauthenticated);
}

TEST_F(TlsTest, WithoutSettingsTheMachinesAuthoritiesCount) {
  create_tls(ClientCertificates::optional);
  start();
  const auto answer = client().get("/peer");
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code(), ErrorCode::unauthenticated);
  EXPECT_THAT(answer.error().message(), HasSubstr("another authority"));
}

TEST_F(TlsTest, WhoComesAgainResumesAndIsStillKnown) {
  create_tls();
  start();
  const auto tls = ClientTls::create(with(authority_.host())).value();
  for (const bool resumed : {false, true, true}) {
    Client client = this->client({.tls = tls});
    EXPECT_EQ(client.get("/peer").value().body, "consort://main/host/web1");
    EXPECT_EQ(peer().resumed, resumed);
    EXPECT_THAT(peer().fingerprint, StartsWith("sha256:"));
  }
  // When the client gets another identity, the old session is not used for it
  ASSERT_TRUE(tls->replace(with(authority_.host("web2"))));
  EXPECT_EQ(client({.tls = tls}).get("/peer").value().body, "consort://main/host/web2");
  EXPECT_FALSE(peer().resumed);
}

TEST_F(TlsTest, WhoIsGoodNoLongerDoesNotResume) {
  create_tls();
  start();
  // Given a client that comes again and again with a certificate that soon ends
  const auto tls =
      ClientTls::create(
          with(authority_.odd({.names = "URI:consort://main/host/brief", .ends = seconds(2)})))
          .value();
  const auto until = std::chrono::steady_clock::now() + kPatience;
  Result<Response> answer = client({.tls = tls}).get("/peer");
  bool resumed = false;
  while (answer && std::chrono::steady_clock::now() < until) {
    answer = client({.tls = tls}).get("/peer");
    resumed = resumed || peer().resumed;
  }
  // Then the ticket that it has helps it no longer than the certificate would
  EXPECT_TRUE(resumed);
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code(), ErrorCode::unauthenticated) << render_error(answer.error());
  EXPECT_THAT(answer.error().message(), HasSubstr("expired"));
}

TEST_F(TlsTest, AServersIdentityAndTrustAreReplacedWhileItRuns) {
  create_tls();
  start();
  const auto tls = ClientTls::create(with(authority_.host())).value();
  Client open = client({.tls = tls});
  EXPECT_TRUE(open.get("/peer"));
  // When its identity is replaced
  ASSERT_TRUE(tls_->replace(authority_.controller("c2"), authority_.trust()));
  EXPECT_TRUE(client({.tls = tls}).get("/peer"));
  EXPECT_FALSE(peer().resumed) << "tickets of before are worth nothing";
  // When its trust is replaced
  ASSERT_TRUE(tls_->replace(authority_.controller("c2"), stranger_.trust()));
  EXPECT_FALSE(client({.tls = tls}).get("/peer"));
  EXPECT_TRUE(open.get("/peer")) << "open connections stay";
  // When nothing sound is given, nothing changes
  EXPECT_FALSE(tls_->replace(authority_.controller("c2"), {"junk"}));
  EXPECT_TRUE(tls_client(with(stranger_.host())).get("/peer"));
}

TEST_F(TlsTest, MaterialThatDoesNotFitIsRefusedWithItsReason) {
  const TlsIdentity one = authority_.controller();
  const TlsIdentity two = authority_.controller();
  const auto reason = [&](const TlsIdentity& identity, const TlsTrust& trust) {
    const auto made = ServerTls::create(identity, trust, ClientCertificates::required);
    EXPECT_FALSE(made);
    if (made) return std::string();
    EXPECT_EQ(made.error().code(), ErrorCode::invalid_input);
    return render_error(made.error());
  };
  const TlsTrust trust = authority_.trust();
  EXPECT_THAT(reason({one.certificate_chain_pem, two.private_key_pem}, trust),
              HasSubstr("not that of the certificate"));
  EXPECT_THAT(reason({"", one.private_key_pem}, trust), HasSubstr("the certificate for TLS"));
  EXPECT_THAT(reason({one.certificate_chain_pem, crypto::SecretText("junk")}, trust),
              HasSubstr("the private key for TLS"));
  EXPECT_THAT(reason(one, {""}), HasSubstr("trusted authorities"));
  EXPECT_FALSE(ClientTls::create({})) << "neither roots nor a pinned one";
}

}  // namespace
}  // namespace consort::http
