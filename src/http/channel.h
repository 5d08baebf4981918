// A blocking connection of a client, with deadlines, that another thread can wake. Private to this
// room.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/files.h"
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

// Plain TCP today; TLS takes the same places: connect() (then the handshake), read_some() and
// write_all(). All errors: unavailable (not reachable, cut), timeout, interrupted (woken).
class Channel {
 public:
  [[nodiscard]] static Result<Channel> connect(const Url& url, const WakeUp& wake,
                                               Deadline deadline);

  // "" when the peer has ended its side.
  [[nodiscard]] Result<std::string_view> read_some(Deadline deadline);
  [[nodiscard]] Status write_all(std::string_view bytes, Deadline deadline);
  // False when the peer has closed it meanwhile, or sent something that nobody asked for.
  [[nodiscard]] bool reusable() const;

 private:
  Channel(Fd fd, const WakeUp& wake)
      : fd_(std::move(fd)), wake_(&wake), buffer_(std::make_unique<std::string>(65536, '\0')) {}
  Fd fd_;
  const WakeUp* wake_;
  std::unique_ptr<std::string> buffer_;
};

}  // namespace consort::http
