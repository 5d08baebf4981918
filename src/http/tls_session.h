// The TLS of a client's connection, without waiting: the Channel does that. Private to this room;
// not thread-safe.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "http/tls_context.h"
#include "http/tls_socket.h"
#include "http/url.h"

namespace consort::http {

class TlsSession {
 public:
  // On a connected, non-blocking socket, which must outlive it.
  [[nodiscard]] static Result<std::unique_ptr<TlsSession>> create(
      int fd, const Url& url, std::shared_ptr<TlsClientSettings> settings);
  // Tells the server that nothing more will be sent.
  ~TlsSession();
  TlsSession(const TlsSession&) = delete;
  TlsSession& operator=(const TlsSession&) = delete;

  // What the socket must be ready for before the same call is made again.
  enum class Wants : std::uint8_t { nothing, read, write };
  // Errors: unauthorized (one side does not accept the other's certificate), unavailable (cut, or
  // no TLS 1.3 there).
  [[nodiscard]] Result<Wants> shake_hands();
  // "" and `nothing`: the server has said that it is done. Errors also: unavailable when the
  // connection ends without that, for then something may be missing.
  struct Read {
    Wants wants = Wants::nothing;
    std::size_t bytes = 0;
  };
  [[nodiscard]] Result<Read> read(std::string& into);
  // Takes off what was sent.
  [[nodiscard]] Result<Wants> write(std::string_view& bytes);
  // Something has arrived and is not read yet.
  [[nodiscard]] bool pending() const;

 private:
  TlsSession(int fd, const Url& url, std::shared_ptr<TlsClientSettings> settings);
  [[nodiscard]] Status check_name() const;
  [[nodiscard]] Error error_of_failure(int ssl_error, int error_number);
  [[nodiscard]] Result<Wants> wants_after(int result);

  const std::shared_ptr<TlsClientSettings> settings_;
  const std::string where_;  // "https://127.0.0.1:8440"
  const std::string host_;
  TlsNotes notes_;
  TlsSocket wire_;
  Ssl ssl_;
  bool open_ = false;
  bool failed_ = false;
};

}  // namespace consort::http
