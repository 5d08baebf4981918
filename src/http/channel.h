// A blocking connection of a client, with deadlines, that another thread can wake. Private to this
// room.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/files.h"
#include "http/tls_session.h"
#include "http/url.h"

namespace consort::http {

using Deadline = std::chrono::steady_clock::time_point;

// Wakes whoever waits, until it is cleared. Thread-safe.
class WakeUp {
 public:
  [[nodiscard]] static Result<WakeUp> create();
  void set() const;
  void clear() const;
  [[nodiscard]] int fd() const { return fd_.get(); }

 private:
  explicit WakeUp(Fd fd) : fd_(std::move(fd)) {}
  Fd fd_;
};

// Plain TCP, or TLS on the same socket. All errors: unavailable (not reachable, cut), timeout,
// interrupted (woken); of TLS also unauthorized.
class Channel {
 public:
  // `tls`: for https.
  [[nodiscard]] static Result<Channel> connect(const Url& url, const ClientTls* tls,
                                               const WakeUp& wake, Deadline deadline);
  Channel(Channel&& other) noexcept;
  Channel& operator=(Channel&& other) noexcept;
  Channel(const Channel&) = delete;
  Channel& operator=(const Channel&) = delete;
  ~Channel();

  // "" when the peer has ended its side.
  [[nodiscard]] Result<std::string_view> read_some(Deadline deadline);
  [[nodiscard]] Status write_all(std::string_view bytes, Deadline deadline);
  // False when the peer has closed it meanwhile, or sent something that nobody asked for.
  [[nodiscard]] bool reusable() const;

 private:
  Channel(Fd fd, const WakeUp& wake);
  [[nodiscard]] Status begin_tls(const Url& url, const ClientTls& tls, Deadline deadline);
  [[nodiscard]] Status wait_for_tls(TlsSession::Wants wants, Deadline deadline) const;
  Fd fd_;
  std::unique_ptr<TlsSession> tls_;  // null: plain TCP. Ends before its socket does
  const WakeUp* wake_;
  std::unique_ptr<std::string> buffer_;
};

}  // namespace consort::http
