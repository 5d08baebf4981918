// An authority, certificates of it (sound and odd ones), and a raw TLS connection that sends what
// no client would.
#pragma once

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <fmt/format.h>
#include <signal.h>

#include "crypto/authority.h"
#include "http/tls.h"
#include "server_fixture.h"

namespace consort::http {

template <auto Free>
struct FreedInTest {
  template <class T>
  void operator()(T* pointer) const {
    Free(pointer);
  }
};
using TestCertificate = std::unique_ptr<X509, FreedInTest<X509_free>>;

struct Wanted {
  std::string names;  // "URI:consort://main/host/web1,DNS:db,IP:127.0.0.1"
  std::string uses = "clientAuth";
  seconds begins = -minutes(5);  // from now
  seconds ends = hours(1);
};

class TestAuthority {
 public:
  TestAuthority() : authority_(make_authority()) {}

  [[nodiscard]] TlsIdentity host(const std::string& name = "web1") const {
    return issue({crypto::IdentityKind::host, "main", name});
  }
  [[nodiscard]] TlsIdentity controller(const std::string& name = "c1") const {
    return issue({crypto::IdentityKind::controller, "main", name},
                 {.dns = {}, .ips = {"127.0.0.1"}});
  }
  [[nodiscard]] TlsTrust trust() const { return {authority_.trust_anchor().to_pem()}; }
  [[nodiscard]] Digest fingerprint() const { return authority_.trust_anchor().fingerprint(); }

  // What an authority would refuse to make.
  [[nodiscard]] TlsIdentity odd(const Wanted& wanted) const {
    const auto key = crypto::PrivateKey::generate(crypto::KeyKind::ecdsa_p256);
    const TestCertificate certificate(X509_new());
    X509* const x = certificate.get();
    X509_set_version(x, X509_VERSION_3);
    ASN1_INTEGER_set_int64(X509_get_serialNumber(x), 4711);
    X509_gmtime_adj(X509_getm_notBefore(x), wanted.begins.count());
    X509_gmtime_adj(X509_getm_notAfter(x), wanted.ends.count());
    X509_set_pubkey(x, key.native());
    X509* const issuer = authority_.certificate().native();
    X509_set_issuer_name(x, X509_get_subject_name(issuer));
    X509V3_CTX context{};
    X509V3_set_ctx(&context, issuer, x, nullptr, nullptr, 0);
    const auto add = [&](int nid, const std::string& value) {
      X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str());
      ASSERT_NE(extension, nullptr) << value;
      X509_add_ext(x, extension, -1);
      X509_EXTENSION_free(extension);
    };
    add(NID_ext_key_usage, wanted.uses);
    add(NID_subject_alt_name, wanted.names);
    X509_sign(x, authority_.key().native(), EVP_sha256());
    const std::unique_ptr<BIO, FreedInTest<BIO_free>> out(BIO_new(BIO_s_mem()));
    PEM_write_bio_X509(out.get(), x);
    char* data = nullptr;
    const long size = BIO_get_mem_data(out.get(), &data);
    return {std::string(data, static_cast<std::size_t>(size)), key.to_pem()};
  }

 private:
  static crypto::Authority make_authority() {
    const Instant yesterday = SystemClock().now() - hours(24);
    return crypto::Authority::create("main",
                                     crypto::PrivateKey::generate(crypto::KeyKind::ecdsa_p256),
                                     hours(48), yesterday)
        .value();
  }
  [[nodiscard]] TlsIdentity issue(const crypto::Identity& identity,
                                  const crypto::ExtraNames& names = {}) const {
    const auto key = crypto::PrivateKey::generate(crypto::KeyKind::ecdsa_p256);
    const auto certificate = authority_
                                 .issue({.key = key.public_key(),
                                         .identity = identity,
                                         .names = names,
                                         .lifetime = hours(1)},
                                        SystemClock().now())
                                 .value();
    return {authority_.chain_pem_for(certificate), key.to_pem()};
  }
  const crypto::Authority authority_;
};

// One side of TLS on a blocking socket.
class RawTls {
 public:
  enum class Side : std::uint8_t { client, server };
  RawTls(int fd, Side side, const std::optional<TlsIdentity>& identity = std::nullopt,
         int version = TLS1_3_VERSION)
      : context_(SSL_CTX_new(TLS_method())) {
    // OpenSSL writes so that a peer that has gone is a signal. Not blocked for the server's thread.
    sigset_t broken_pipe{};
    sigaddset(&broken_pipe, SIGPIPE);
    ::pthread_sigmask(SIG_BLOCK, &broken_pipe, nullptr);
    SSL_CTX_set_min_proto_version(context_.get(), version);
    SSL_CTX_set_max_proto_version(context_.get(), version);
    if (identity) use(*identity);
    ssl_.reset(SSL_new(context_.get()));
    SSL_set_fd(ssl_.get(), fd);
    side == Side::client ? SSL_set_connect_state(ssl_.get()) : SSL_set_accept_state(ssl_.get());
  }
  bool shake_hands() { return SSL_do_handshake(ssl_.get()) == 1; }
  bool send(std::string_view text) {
    return SSL_write(ssl_.get(), text.data(), static_cast<int>(text.size())) > 0;
  }
  // Until it has `bytes`, or the end.
  std::string read(std::size_t bytes = SIZE_MAX) {
    std::string out;
    std::array<char, 16384> buffer{};
    while (out.size() < bytes) {
      const int n = SSL_read(ssl_.get(), buffer.data(), buffer.size());
      if (n <= 0) break;
      out.append(buffer.data(), static_cast<std::size_t>(n));
    }
    return out;
  }
  // The peer has said that it ended; not only was its connection cut.
  [[nodiscard]] bool ended() const {
    return (SSL_get_shutdown(ssl_.get()) & SSL_RECEIVED_SHUTDOWN) != 0;
  }
  void end() { SSL_shutdown(ssl_.get()); }
  SSL* native() { return ssl_.get(); }

 private:
  void use(const TlsIdentity& identity) {
    const std::unique_ptr<BIO, FreedInTest<BIO_free>> pem(
        BIO_new_mem_buf(identity.certificate_chain_pem.data(), -1));
    const TestCertificate certificate(PEM_read_bio_X509(pem.get(), nullptr, nullptr, nullptr));
    const auto key = crypto::PrivateKey::from_pem(identity.private_key_pem.reveal()).value();
    EXPECT_EQ(SSL_CTX_use_certificate(context_.get(), certificate.get()), 1);
    EXPECT_EQ(SSL_CTX_use_PrivateKey(context_.get(), key.native()), 1);
  }
  std::unique_ptr<SSL_CTX, FreedInTest<SSL_CTX_free>> context_;
  std::unique_ptr<SSL, FreedInTest<SSL_free>> ssl_;
};

class TlsTest : public ServerTest {
 protected:
  Server& create_tls(ClientCertificates clients = ClientCertificates::required,
                     ServerLimits limits = {}) {
    return create_tls(authority_.controller(), clients, limits);
  }
  Server& create_tls(const TlsIdentity& identity, ClientCertificates clients,
                     ServerLimits limits = {}) {
    tls_ = ServerTls::create(identity, authority_.trust(), clients).value();
    server_.emplace(Server::create(loop_, {{"127.0.0.1:0"}, limits, tls_}).value());
    server_->route("GET", "/peer", [this](const Request& request, const Responder& responder) {
      {
        const std::lock_guard lock(mutex_);
        peer_ = request.peer;
      }
      responder.send(Response::text(request.peer.identity));
    });
    return *server_;
  }
  ClientTlsOptions with(const std::optional<TlsIdentity>& identity) {
    return {.trust = authority_.trust(), .identity = identity};
  }
  Client tls_client(const ClientTlsOptions& options) {
    return client({.tls = ClientTls::create(options).value()});
  }
  Client good_client() { return tls_client(with(authority_.host())); }
  Peer peer() {
    const std::lock_guard lock(mutex_);
    return peer_;
  }
  // What the log has said once the loop has come to rest.
  std::string log_after(const std::function<void()>& work) {
    ::testing::internal::CaptureStderr();
    work();
    loop_.stop();
    return ::testing::internal::GetCapturedStderr();
  }

  TestAuthority authority_;
  TestAuthority stranger_;
  std::shared_ptr<ServerTls> tls_;
  std::mutex mutex_;
  Peer peer_;  // guarded: of the last request to /peer
};

}  // namespace consort::http
