// An authority, certificates of it (sound and odd ones), and a raw TLS connection that sends what
// no client would.
#pragma once

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <fmt/format.h>
#include <signal.h>

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
using TestKey = std::unique_ptr<EVP_PKEY, FreedInTest<EVP_PKEY_free>>;
using TestCertificate = std::unique_ptr<X509, FreedInTest<X509_free>>;

inline std::string pem_of(const std::function<int(BIO*)>& write) {
  const std::unique_ptr<BIO, FreedInTest<BIO_free>> out(BIO_new(BIO_s_mem()));
  EXPECT_EQ(write(out.get()), 1);
  char* data = nullptr;
  const long size = BIO_get_mem_data(out.get(), &data);
  return {data, static_cast<std::size_t>(size)};
}

struct Wanted {
  std::string names;  // "URI:consort://main/host/web1,DNS:db,IP:127.0.0.1"
  std::string uses = "clientAuth";
  seconds begins = -minutes(5);  // from now
  seconds ends = hours(1);
};

class TestAuthority {
 public:
  TestAuthority() : key_(EVP_EC_gen("P-256")) {
    certificate_ = make(key_.get(), {.names = "", .uses = "", .begins = -hours(24)});
  }

  // Whatever is asked for, also what an authority would refuse.
  [[nodiscard]] TlsIdentity issue(const Wanted& wanted) const {
    const TestKey key(EVP_EC_gen("P-256"));
    const TestCertificate certificate = make(key.get(), wanted);
    return {pem_of([&](BIO* out) { return PEM_write_bio_X509(out, certificate.get()); }),
            pem_of([&](BIO* out) {
              return PEM_write_bio_PrivateKey(out, key.get(), nullptr, nullptr, 0, nullptr,
                                              nullptr);
            })};
  }
  [[nodiscard]] TlsIdentity host(const std::string& name = "web1") const {
    return issue({.names = "URI:consort://main/host/" + name});
  }
  [[nodiscard]] TlsIdentity controller(const std::string& name = "c1") const {
    return issue({.names = "URI:consort://main/controller/" + name + ",IP:127.0.0.1",
                  .uses = "serverAuth,clientAuth"});
  }
  [[nodiscard]] TlsTrust trust() const {
    return {pem_of([&](BIO* out) { return PEM_write_bio_X509(out, certificate_.get()); })};
  }
  [[nodiscard]] Digest fingerprint() const {
    std::array<std::uint8_t, 32> bytes{};
    unsigned size = 0;
    X509_digest(certificate_.get(), EVP_sha256(), bytes.data(), &size);
    return Digest(bytes);
  }

 private:
  // Without uses: the authority itself.
  [[nodiscard]] TestCertificate make(EVP_PKEY* key, const Wanted& wanted) const {
    TestCertificate out(X509_new());
    X509* const x = out.get();
    X509_set_version(x, X509_VERSION_3);
    static std::int64_t serial = 4711;
    ASN1_INTEGER_set_int64(X509_get_serialNumber(x), ++serial);
    X509_gmtime_adj(X509_getm_notBefore(x), wanted.begins.count());
    X509_gmtime_adj(X509_getm_notAfter(x), wanted.ends.count());
    X509_set_pubkey(x, key);
    const bool root = wanted.uses.empty();
    X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_UTF8,
                               reinterpret_cast<const unsigned char*>(root ? "authority" : "end"),
                               -1, -1, 0);
    X509_set_issuer_name(x, X509_get_subject_name(root ? x : certificate_.get()));
    X509V3_CTX context{};
    X509V3_set_ctx(&context, root ? x : certificate_.get(), x, nullptr, nullptr, 0);
    const auto add = [&](int nid, const std::string& value) {
      X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str());
      ASSERT_NE(extension, nullptr) << value;
      X509_add_ext(x, extension, -1);
      X509_EXTENSION_free(extension);
    };
    add(NID_basic_constraints, root ? "critical,CA:TRUE" : "critical,CA:FALSE");
    if (root) add(NID_key_usage, "critical,keyCertSign,cRLSign");
    if (!root) add(NID_ext_key_usage, wanted.uses);
    if (!wanted.names.empty()) add(NID_subject_alt_name, wanted.names);
    X509_sign(x, key_.get(), EVP_sha256());
    return out;
  }

  TestKey key_;
  TestCertificate certificate_;
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
    const std::unique_ptr<BIO, FreedInTest<BIO_free>> certificate(
        BIO_new_mem_buf(identity.certificate_chain_pem.data(), -1));
    const std::unique_ptr<BIO, FreedInTest<BIO_free>> key(
        BIO_new_mem_buf(identity.private_key_pem.data(), -1));
    const TestCertificate x(PEM_read_bio_X509(certificate.get(), nullptr, nullptr, nullptr));
    const TestKey k(PEM_read_bio_PrivateKey(key.get(), nullptr, nullptr, nullptr));
    EXPECT_EQ(SSL_CTX_use_certificate(context_.get(), x.get()), 1);
    EXPECT_EQ(SSL_CTX_use_PrivateKey(context_.get(), k.get()), 1);
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
