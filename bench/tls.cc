// handshakes and requests per second of the server's processor time, and memory of an idle
// connection, over TLS
#include <arpa/inet.h>
#include <fmt/format.h>
#include <malloc.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "base/files.h"
#include "base/process.h"
#include "bench/measure.h"
#include "crypto/authority.h"
#include "http/server.h"

// Both sides show certificates (ECDSA P-256). The clients are a process of their own, this program
// run again, so that only the server counts.
namespace {

using namespace consort;
using namespace consort::bench;

constexpr int kHandshakes = 4000;
constexpr int kRequests = 100'000;
constexpr int kConnections = 8;
constexpr int kIdle = 4000;
constexpr std::string_view kRequest =
    "GET /v1/hosts/web1?all=1 HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer secret\r\n\r\n";

// ---- the clients' process -------------------------------------------------------------------

SSL_SESSION* last_session = nullptr;

int remember(SSL*, SSL_SESSION* session) {
  if (last_session != nullptr) return 0;
  last_session = session;
  return 1;
}

SSL_CTX* client_context(const fs::path& folder) {
  SSL_CTX* context = SSL_CTX_new(TLS_client_method());
  SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
  if (SSL_CTX_use_certificate_chain_file(context, (folder / "client.pem").c_str()) != 1 ||
      SSL_CTX_use_PrivateKey_file(context, (folder / "client.key").c_str(), SSL_FILETYPE_PEM) != 1)
    give_up("the clients have no certificate");
  SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
  SSL_CTX_sess_set_new_cb(context, remember);
  return context;
}

class Connection {
 public:
  Connection(SSL_CTX* context, std::uint16_t port, SSL_SESSION* session = nullptr)
      : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)), ssl_(SSL_new(context)) {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (::connect(fd_.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0)
      give_up("cannot connect to our own server");
    const int yes = 1;
    ::setsockopt(fd_.get(), IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    SSL_set_fd(ssl_, fd_.get());
    // A copy: OpenSSL resumes each once.
    if (session != nullptr) {
      SSL_SESSION* copy = SSL_SESSION_dup(session);
      SSL_set_session(ssl_, copy);
      SSL_SESSION_free(copy);
    }
    if (SSL_connect(ssl_) != 1) give_up("a handshake failed");
    if ((SSL_session_reused(ssl_) == 1) != (session != nullptr))
      give_up("a session was not resumed, or was");
  }
  Connection(Connection&& other) noexcept
      : fd_(std::move(other.fd_)), ssl_(std::exchange(other.ssl_, nullptr)) {}
  Connection& operator=(Connection&&) = delete;
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection() {
    if (ssl_ != nullptr) SSL_set_shutdown(ssl_, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(ssl_);
  }
  void send() const {
    if (SSL_write(ssl_, kRequest.data(), kRequest.size()) <= 0) give_up("a client was cut off");
  }
  void receive() const {
    std::array<char, 4096> buffer{};
    std::string answer;
    while (!answer.ends_with("}\n")) {
      const int n = SSL_read(ssl_, buffer.data(), buffer.size());
      if (n <= 0) give_up("a client was cut off");
      answer.append(buffer.data(), static_cast<std::size_t>(n));
    }
  }

 private:
  Fd fd_;
  SSL* ssl_;
};

int run_clients(const std::string& what, std::uint16_t port, const fs::path& folder) {
  allow_many_files();
  ::signal(SIGPIPE, SIG_IGN);
  SSL_CTX* context = client_context(folder);
  std::vector<Connection> open;
  // Several at a time, as after a restart of a server.
  const auto shake_hands = [&](SSL_SESSION* session) {
    std::vector<std::jthread> threads;
    for (int t = 0; t < kConnections; ++t) {
      threads.emplace_back([&, session] {
        for (int i = 0; i < kHandshakes / kConnections; ++i)
          const Connection once(context, port, session);
      });
    }
  };
  if (what == "full") {
    shake_hands(nullptr);
  } else if (what == "resumed") {
    {
      // Its ticket comes before its first answer.
      const Connection first(context, port);
      first.send();
      first.receive();
    }
    shake_hands(last_session);
  } else if (what == "requests") {
    for (int i = 0; i < kConnections; ++i) open.emplace_back(context, port);
    for (int round = 0; round < kRequests / kConnections; ++round) {
      for (const Connection& one : open) one.send();
      for (const Connection& one : open) one.receive();
    }
  } else {
    for (int i = 0; i < kIdle; ++i) {
      open.emplace_back(context, port);
      open.back().send();
      open.back().receive();
    }
    if (::write(STDOUT_FILENO, "x", 1) != 1) return 1;
    ::pause();
  }
  ::_exit(0);
}

// ---- the server's process -------------------------------------------------------------------

struct Clients {
  pid_t pid = -1;
  Fd out;
};

Clients start_clients(const std::string& what, std::uint16_t port, const fs::path& folder) {
  std::array<int, 2> out{};
  if (::pipe(out.data()) != 0) give_up("no pipe");
  Clients clients{-1, Fd(out[0])};
  const Fd theirs(out[1]);
  std::vector<std::string> words{"bench_tls", "--clients", what, std::to_string(port), folder};
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO);
  posix_spawn_file_actions_addclose(&actions, out[0]);
  if (::posix_spawn(&clients.pid, "/proc/self/exe", &actions, nullptr, argv.data(), environ) != 0)
    give_up("cannot start the clients");
  posix_spawn_file_actions_destroy(&actions);
  return clients;
}

// Seconds of the server's processor time while the clients do `what`.
double cpu_of(const std::string& what, std::uint16_t port, const fs::path& folder) {
  int status = 0;
  const Cost cost = cost_of([&] {
    const Clients clients = start_clients(what, port, folder);
    ::waitpid(clients.pid, &status, 0);
  });
  if (status != 0) give_up("the clients failed");
  return cost.cpu;
}

double median_rate(int count, const std::string& what, std::uint16_t port, const fs::path& folder) {
  say(fmt::format("{} × {}", count, what));
  std::vector<double> rates;
  for (int run = 0; run < 3; ++run) rates.push_back(count / cpu_of(what, port, folder));
  return median(rates);
}

double idle_memory(std::uint16_t port, const fs::path& folder) {
  say(fmt::format("{} idle connections, each after one request", kIdle));
  ::malloc_trim(0);
  const std::int64_t before = anonymous_memory();
  const Clients clients = start_clients("idle", port, folder);
  char byte = 0;
  if (::read(clients.out.get(), &byte, 1) != 1) give_up("the clients could not connect");
  const double each = static_cast<double>(anonymous_memory() - before) / kIdle;
  ::kill(clients.pid, SIGKILL);
  ::waitpid(clients.pid, nullptr, 0);
  return each / 1e3;
}

// What a full handshake cannot do without: two signatures verified (the client's certificate and
// its proof), one made, a key made and agreed on. OpenSSL alone, on warm caches.
class Cryptography {
 public:
  Cryptography()
      : signer_(EVP_EC_gen("P-256")), peer_(EVP_PKEY_Q_keygen(nullptr, nullptr, "X25519")) {
    signature_ = sign();
  }
  ~Cryptography() {
    EVP_PKEY_free(signer_);
    EVP_PKEY_free(peer_);
  }
  Cryptography(const Cryptography&) = delete;
  Cryptography& operator=(const Cryptography&) = delete;
  void one_handshake() const {
    if (sign().empty() || !verify() || !verify() || !agree()) give_up("OpenSSL fails");
  }

 private:
  [[nodiscard]] std::vector<unsigned char> sign() const {
    std::vector<unsigned char> out(128);
    std::size_t size = out.size();
    EVP_MD_CTX* context = EVP_MD_CTX_new();
    const bool done = EVP_DigestSignInit(context, nullptr, EVP_sha256(), nullptr, signer_) == 1 &&
                      EVP_DigestSign(context, out.data(), &size, kText.data(), kText.size()) == 1;
    EVP_MD_CTX_free(context);
    out.resize(done ? size : 0);
    return out;
  }
  [[nodiscard]] bool verify() const {
    EVP_MD_CTX* context = EVP_MD_CTX_new();
    const bool valid =
        EVP_DigestVerifyInit(context, nullptr, EVP_sha256(), nullptr, signer_) == 1 &&
        EVP_DigestVerify(context, signature_.data(), signature_.size(), kText.data(),
                         kText.size()) == 1;
    EVP_MD_CTX_free(context);
    return valid;
  }
  [[nodiscard]] bool agree() const {
    EVP_PKEY* const own = EVP_PKEY_Q_keygen(nullptr, nullptr, "X25519");
    EVP_PKEY_CTX* const context = EVP_PKEY_CTX_new(own, nullptr);
    std::array<unsigned char, 32> secret{};
    std::size_t size = secret.size();
    const bool done = EVP_PKEY_derive_init(context) == 1 &&
                      EVP_PKEY_derive_set_peer(context, peer_) == 1 &&
                      EVP_PKEY_derive(context, secret.data(), &size) == 1;
    EVP_PKEY_CTX_free(context);
    EVP_PKEY_free(own);
    return done;
  }

  static constexpr std::array<unsigned char, 130> kText{};  // as long as what TLS 1.3 signs
  EVP_PKEY* const signer_;
  EVP_PKEY* const peer_;
  std::vector<unsigned char> signature_;
};

double cryptography_rate() {
  say(fmt::format("{} × the cryptography of a full handshake alone", kHandshakes));
  const Cryptography cryptography;
  std::vector<double> rates;
  for (int run = 0; run < 3; ++run) {
    const Cost cost = cost_of([&] {
      for (int i = 0; i < kHandshakes; ++i) cryptography.one_handshake();
    });
    rates.push_back(kHandshakes / cost.cpu);
  }
  return median(rates);
}

// What everybody who takes OpenSSL as it comes would have: its own settings, a blocking socket, one
// client after the other, nothing but handshakes.
class PlainServer {
 public:
  PlainServer(const fs::path& folder, const http::TlsTrust& trust)
      : context_(SSL_CTX_new(TLS_server_method())),
        listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    must(write_file_atomic(folder / "roots.pem", trust.roots_pem));
    SSL_CTX_set_min_proto_version(context_, TLS1_3_VERSION);
    SSL_CTX_set_verify(context_, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
    constexpr std::string_view kName = "bench";
    SSL_CTX_set_session_id_context(context_, reinterpret_cast<const unsigned char*>(kName.data()),
                                   kName.size());
    sockaddr_in here{};
    here.sin_family = AF_INET;
    here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof here;
    if (SSL_CTX_load_verify_locations(context_, (folder / "roots.pem").c_str(), nullptr) != 1 ||
        SSL_CTX_use_certificate_chain_file(context_, (folder / "server.pem").c_str()) != 1 ||
        SSL_CTX_use_PrivateKey_file(context_, (folder / "server.key").c_str(), SSL_FILETYPE_PEM) !=
            1 ||
        ::bind(listener_.get(), reinterpret_cast<sockaddr*>(&here), size) != 0 ||
        ::listen(listener_.get(), 512) != 0 ||
        ::getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&here), &size) != 0)
      give_up("the plain server cannot be made");
    port_ = ntohs(here.sin_port);
  }
  ~PlainServer() { SSL_CTX_free(context_); }
  PlainServer(const PlainServer&) = delete;
  PlainServer& operator=(const PlainServer&) = delete;
  [[nodiscard]] std::uint16_t port() const { return port_; }
  void serve(int count) const {
    for (int i = 0; i < count; ++i) {
      const Fd fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      SSL* const ssl = SSL_new(context_);
      SSL_set_fd(ssl, fd.get());
      // The client may have gone before the tickets are written: it has what it came for.
      if (SSL_accept(ssl) != 1 && SSL_get_verify_result(ssl) != X509_V_OK)
        give_up("a handshake of the plain server failed");
      ERR_clear_error();
      SSL_free(ssl);
    }
  }

 private:
  SSL_CTX* const context_;
  const Fd listener_;
  std::uint16_t port_ = 0;
};

struct Identities {
  http::TlsIdentity server;
  http::TlsTrust trust;
};

Identities make_identities(const fs::path& folder) {
  const Instant now = SystemClock().now();
  const auto root_key = crypto::PrivateKey::generate(crypto::KeyKind::ecdsa_p256);
  const auto authority = must(crypto::Authority::create("main", root_key, hours(48), now));
  const auto issue = [&](crypto::IdentityKind kind, const std::string& name) {
    const auto key = crypto::PrivateKey::generate(crypto::KeyKind::ecdsa_p256);
    const auto certificate = must(authority.issue(
        {.key = key.public_key(), .identity = {kind, "main", name}, .lifetime = hours(24)}, now));
    return http::TlsIdentity{authority.chain_pem_for(certificate), key.to_pem()};
  };
  const auto client = issue(crypto::IdentityKind::host, "web1");
  must(write_file_atomic(folder / "client.pem", client.certificate_chain_pem));
  must(write_file_atomic(folder / "client.key", client.private_key_pem.reveal(), 0600));
  return {issue(crypto::IdentityKind::controller, "c1"), {authority.trust_anchor().to_pem()}};
}

double plain_rate(const fs::path& folder, const Identities& identities) {
  must(write_file_atomic(folder / "server.pem", identities.server.certificate_chain_pem));
  must(write_file_atomic(folder / "server.key", identities.server.private_key_pem.reveal(), 0600));
  const PlainServer server(folder, identities.trust);
  say(fmt::format("{} × full, by OpenSSL alone", kHandshakes));
  ::signal(SIGPIPE, SIG_IGN);
  std::vector<double> rates;
  for (int run = 0; run < 3; ++run) {
    const Clients clients = start_clients("full", server.port(), folder);
    rates.push_back(kHandshakes / cost_of([&] { server.serve(kHandshakes); }).cpu);
    int status = 0;
    ::waitpid(clients.pid, &status, 0);
    if (status != 0) give_up("the clients failed");
  }
  return median(rates);
}

std::uint16_t port_of(const std::string& address) {
  return static_cast<std::uint16_t>(std::stoi(address.substr(address.rfind(':') + 1)));
}

void measure() {
  allow_many_files();
  const TempFolder folder = must(TempFolder::create("bench-tls"));
  const Identities identities = make_identities(folder.path());
  http::EventLoop loop;
  const auto tls = must(http::ServerTls::create(identities.server, identities.trust,
                                                http::ClientCertificates::required));
  http::ServerLimits limits;
  limits.max_connections_per_identity = limits.max_connections;  // all show the same one
  auto server = must(http::Server::create(loop, {{"127.0.0.1:0"}, limits, tls}));
  server.route("GET", "/v1/hosts/{name}",
               [](const http::Request& request, const http::Responder& responder) {
                 responder.send(http::Response::json(Json::object(
                     {{"name", request.param("name")}, {"address", "10.0.0.1"}, {"up", true}})));
               });
  server.start();
  const std::uint16_t port = port_of(server.addresses().front());
  loop.start();
  Record record("tls");
  using Better = Figure::Better;
  record.add_key({"idle_kb_per_connection", idle_memory(port, folder.path()), "kB", {}, "", 25});
  record.add_key({"handshakes_per_cpu_s",
                  median_rate(kHandshakes, "full", port, folder.path()),
                  "1/s",
                  {},
                  "",
                  2000,
                  Better::more});
  record.add_key(
      {"handshake_cryptography_per_cpu_s", cryptography_rate(), "1/s", {}, "", {}, Better::more});
  record.add_key({"plain_handshakes_per_cpu_s",
                  plain_rate(folder.path(), identities),
                  "1/s",
                  {},
                  "",
                  {},
                  Better::more});
  record.add_key({"resumed_handshakes_per_cpu_s",
                  median_rate(kHandshakes, "resumed", port, folder.path()),
                  "1/s",
                  {},
                  "",
                  {},
                  Better::more});
  record.add_key({"requests_per_cpu_s",
                  median_rate(kRequests, "requests", port, folder.path()),
                  "1/s",
                  {},
                  "",
                  40'000,
                  Better::more});
  record.print();
  loop.stop();
}

}  // namespace

int main(int count, char** words) {
  if (count == 5 && std::string_view(words[1]) == "--clients")
    return run_clients(words[2], static_cast<std::uint16_t>(std::atoi(words[3])), words[4]);
  measure();
  return 0;
}
