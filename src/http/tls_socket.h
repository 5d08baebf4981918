// OpenSSL on a socket. Its own socket BIO writes with write(2), where a peer that has gone is a
// SIGPIPE; and it reads each record in two calls. Private to this room; not thread-safe.
#pragma once

#include <openssl/bio.h>

#include <string_view>

namespace consort::http {

struct TlsSocket {
  int fd = -1;         // non-blocking
  bool ended = false;  // the peer has closed its side
  // Where reading finds its bytes: at the socket, or in what the owner has read from it.
  enum class Source : unsigned char { socket, window };
  Source source = Source::socket;
  std::string_view window;
};

// Reads and writes through `socket`, which must outlive it. Null without memory.
[[nodiscard]] BIO* make_socket_bio(TlsSocket& socket);

}  // namespace consort::http
