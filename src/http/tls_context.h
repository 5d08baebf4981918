// The settings that connections share: OpenSSL's SSL_CTX and what belongs to it. Private to this
// room. Immutable but for the client's sessions, so thread-safe.
#pragma once

#include <map>
#include <mutex>

#include "http/tls.h"
#include "http/tls_certificate.h"

namespace consort::http {

struct TlsServerSettings {
  SslContext context;
};

struct TlsClientSettings {
  SslContext context;
  std::optional<Digest> pinned_root;
  ServerCheck expect = ServerCheck::controller;
  std::string partition;
  std::string controller;

  struct Kept {
    SslSession session;
    Instant good_until;  // no later than any certificate that it rests on
  };
  // A copy, so that several connections may resume it at once; none: a full handshake.
  [[nodiscard]] Kept resume(const std::string& server);
  void keep(const std::string& server, const SSL_SESSION* session, Instant good_until);
  void forget(const std::string& server);

  std::mutex mutex;
  std::map<std::string, Kept> sessions;  // guarded
};

// What the callbacks of one connection need and find out; SSL_set_app_data() of it.
struct TlsNotes {
  Objection objection;                        // to the peer's certificate
  std::string whose;                          // that certificate: describe()
  std::optional<crypto::Certificate> peer{};  // server: of a full handshake
  Instant good_until = {};                    // client: of the session that is resumed
  TlsClientSettings* client = nullptr;
  std::string server;  // client: the key of its session
};

}  // namespace consort::http
