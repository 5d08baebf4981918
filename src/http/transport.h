// The bytes of one accepted connection, whatever carries them: plain TCP (tcp_transport.cc) or TLS
// on the same descriptor (tls_transport.cc). Private to this room; used on the
// loop's thread only. At most one read and one write are pending at a time. A callback is never
// called from inside the call that started it; after close() it is called with an error or not at
// all.
#pragma once

#include <cstddef>
#include <functional>
#include <string_view>
#include <system_error>

#include "http/message.h"

namespace consort::http {

class Transport {
 public:
  Transport() = default;
  Transport(const Transport&) = delete;
  Transport& operator=(const Transport&) = delete;
  virtual ~Transport() = default;

  // plain_text: the peer seems to speak HTTP where TLS is spoken; what is written now reaches it as
  // it is. failed: nothing can be written; the peer may still be reading why.
  enum class Handshake : std::uint8_t { done, plain_text, failed };
  // Whatever must be agreed before the first byte of HTTP. Fills in what peer() has of a
  // certificate.
  virtual void async_handshake(std::function<void(Handshake)> done) = 0;
  // The bytes are valid during the callback only: no buffer is held while a connection idles. No
  // bytes and no error: the peer has ended its side.
  virtual void async_read_some(std::function<void(std::error_code, std::string_view)> done) = 0;
  // `bytes` must stay valid until the callback.
  virtual void async_write_some(std::string_view bytes,
                                std::function<void(std::error_code, std::size_t)> done) = 0;
  // Tells the peer that nothing more will be sent.
  virtual void shutdown() = 0;
  virtual void close() = 0;
  [[nodiscard]] virtual const Peer& peer() const = 0;
};

}  // namespace consort::http
