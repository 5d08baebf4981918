#include "http/tls_transport.h"

#include <openssl/err.h>

#include <array>
#include <boost/asio/buffer.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/post.hpp>

#include "base/log.h"
#include "http/log_limit.h"
#include "http/tls_library.h"
#include "http/tls_socket.h"

namespace consort::http {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;

constexpr char kHandshakeRecord = 0x16;
constexpr std::size_t kRecordBytes = (16U << 10U) + 2048;
constexpr std::size_t kReadBytes = 64U << 10U;
// How much is encrypted before other connections get their turn.
constexpr std::size_t kWriteBytes = 256U << 10U;

// Not in one buffer of each connection: these are filled and used up within one callback. A record
// that began in an earlier read may add its bytes to the clear text.
struct Buffers {
  std::array<char, kReadBytes> sealed;
  std::array<char, kReadBytes + kRecordBytes> clear;
};
Buffers& buffers() {
  static thread_local const std::unique_ptr<Buffers> all = std::make_unique<Buffers>();
  return *all;
}

std::error_code cut() { return std::make_error_code(std::errc::connection_reset); }

class TlsTransport final : public Transport, public std::enable_shared_from_this<TlsTransport> {
 public:
  TlsTransport(asio::ip::tcp::socket socket, std::shared_ptr<const TlsServerSettings> settings)
      : settings_(std::move(settings)), socket_(std::move(socket)) {
    error_code ec;
    const auto endpoint = socket_.remote_endpoint(ec);
    if (!ec) peer_ = {.address = endpoint.address().to_string(), .port = endpoint.port()};
    socket_.non_blocking(true, ec);
    socket_.set_option(asio::ip::tcp::no_delay(true), ec);
    wire_.fd = socket_.native_handle();
  }

  void async_handshake(std::function<void(Handshake)> done) override {
    notes_ = std::make_unique<TlsNotes>();
    wait(asio::socket_base::wait_read, [this, done = std::move(done)](error_code ec) mutable {
      if (ec) return done(Handshake::failed);
      char first = 0;
      const ssize_t n = ::recv(wire_.fd, &first, 1, MSG_PEEK);
      if (n < 0 && (errno == EAGAIN || errno == EINTR)) return async_handshake(std::move(done));
      if (n <= 0) return done(Handshake::failed);
      if (first != kHandshakeRecord) {
        mode_ = Mode::raw;
        // All methods of HTTP begin like this.
        return done(first >= 'A' && first <= 'Z' ? Handshake::plain_text : Handshake::failed);
      }
      if (!begin()) return done(Handshake::failed);
      shake_hands(std::move(done));
    });
  }

  void async_read_some(std::function<void(std::error_code, std::string_view)> done) override {
    if (failed_ || ended_) {
      return asio::post(socket_.get_executor(), [done = std::move(done), failed = failed_] {
        done(failed ? cut() : std::error_code(), {});
      });
    }
    wait(asio::socket_base::wait_read, [this, done = std::move(done)](error_code ec) mutable {
      if (ec) return done(ec, {});
      auto& sealed = buffers().sealed;
      const ssize_t n = ::recv(wire_.fd, sealed.data(), sealed.size(), 0);
      if (n < 0 && (errno == EAGAIN || errno == EINTR)) return async_read_some(std::move(done));
      if (n < 0) return done({errno, std::generic_category()}, {});
      const std::string_view arrived(sealed.data(), static_cast<std::size_t>(n));
      if (mode_ != Mode::open) return done({}, arrived);
      const std::string_view clear = open(arrived);
      if (!clear.empty()) return done({}, clear);
      if (failed_ || ended_) return done(failed_ ? cut() : std::error_code(), {});
      async_read_some(std::move(done));
    });
  }

  void async_write_some(std::string_view bytes,
                        std::function<void(std::error_code, std::size_t)> done) override {
    std::error_code error;
    bool full = false;
    std::size_t sent = 0;
    while (speaks() && sent < std::min(bytes.size(), kWriteBytes)) {
      const ssize_t n =
          mode_ == Mode::raw ? write_raw(bytes.substr(sent)) : write_sealed(bytes.substr(sent));
      if (n == 0) {
        full = true;
        break;
      }
      if (n < 0) {
        error = cut();
        break;
      }
      sent += static_cast<std::size_t>(n);
    }
    if (!speaks()) error = cut();
    if (full && sent == 0) {
      return wait(asio::socket_base::wait_write,
                  [this, bytes, done = std::move(done)](error_code ec) mutable {
                    if (ec) return done(ec, 0);
                    async_write_some(bytes, std::move(done));
                  });
    }
    asio::post(socket_.get_executor(), [done = std::move(done), error, sent] {
      done(sent > 0 ? std::error_code() : error, sent);
    });
  }

  void shutdown() override {
    if (mode_ == Mode::open && !failed_) {
      ERR_clear_error();
      SSL_shutdown(ssl_.get());  // close_notify; what the peer still sends is not waited for
      ERR_clear_error();
    }
    ended_ = false;
    mode_ = Mode::over;
    error_code ec;
    socket_.shutdown(asio::ip::tcp::socket::shutdown_send, ec);
  }

  void close() override {
    mode_ = Mode::closed;
    error_code ec;
    socket_.close(ec);
  }

  [[nodiscard]] const Peer& peer() const override { return peer_; }

 private:
  // raw: the peer speaks no TLS, and is told so. over: nothing is sent any more, and what still
  // comes is thrown away as it is.
  enum class Mode : unsigned char { shaking, open, raw, over, closed };

  // The callback runs unless this was closed meanwhile.
  template <class Function>
  void wait(asio::socket_base::wait_type what, Function function) {
    socket_.async_wait(
        what, [self = shared_from_this(), function = std::move(function)](error_code ec) mutable {
          if (self->mode_ == Mode::closed) return;
          function(ec);
        });
  }

  bool begin() {
    ssl_.reset(SSL_new(settings_->context.get()));
    if (ssl_ == nullptr) return false;
    BIO* bio = make_socket_bio(wire_);
    if (bio == nullptr) return false;
    SSL_set_bio(ssl_.get(), bio, bio);
    SSL_set_app_data(ssl_.get(), notes_.get());
    SSL_set_accept_state(ssl_.get());
    return true;
  }

  void shake_hands(std::function<void(Handshake)> done) {
    ERR_clear_error();
    const int result = [this] {
      const WithoutKeysInCopies cheap;
      return SSL_do_handshake(ssl_.get());
    }();
    if (result == 1) {
      on_open();
      return done(Handshake::done);
    }
    const int error = SSL_get_error(ssl_.get(), result);
    if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE) {
      on_refused();
      return done(Handshake::failed);
    }
    wait(
        error == SSL_ERROR_WANT_READ ? asio::socket_base::wait_read : asio::socket_base::wait_write,
        [this, done = std::move(done)](error_code ec) mutable {
          if (ec) return done(Handshake::failed);
          shake_hands(std::move(done));
        });
  }

  void on_open() {
    mode_ = Mode::open;
    X509* const shown = SSL_get0_peer_certificate(ssl_.get());
    if (notes_->peer) {
      tell(*notes_->peer, peer_);
    } else if (shown != nullptr) {
      // A session that was resumed: its certificate was checked when it began.
      if (const auto read = crypto::Certificate::from_native(shown)) tell(*read, peer_);
    }
    peer_.resumed = SSL_session_reused(ssl_.get()) == 1;
    SSL_set_app_data(ssl_.get(), nullptr);
    notes_.reset();
    wire_.source = TlsSocket::Source::window;
  }

  // OpenSSL has sent its alert; the peer shall be able to read it before the connection ends.
  void on_refused() {
    mode_ = Mode::over;
    static LogLimit limit("TLS connections");
    if (!notes_->objection.empty()) {
      limit.warn(fmt::format("refused a TLS connection from {}:{}: the certificate of {} {}",
                             peer_.address, peer_.port, notes_->whose, notes_->objection.why));
    } else if (ERR_GET_REASON(ERR_peek_last_error()) == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE) {
      limit.warn(fmt::format("refused a TLS connection from {}:{}: it shows no certificate",
                             peer_.address, peer_.port));
    } else {
      log_debug("a TLS handshake with {}:{} failed: {}", peer_.address, peer_.port,
                openssl_errors());
    }
    ERR_clear_error();
    notes_.reset();
    ssl_.reset();
  }

  [[nodiscard]] bool speaks() const { return mode_ == Mode::open || mode_ == Mode::raw; }

  // What the arrived bytes say; may leave failed_ or ended_ behind.
  std::string_view open(std::string_view arrived) {
    auto& clear = buffers().clear;
    wire_.window = arrived;
    wire_.ended = arrived.empty();
    std::size_t have = 0;
    while (have < clear.size()) {
      ERR_clear_error();
      std::size_t n = 0;
      if (SSL_read_ex(ssl_.get(), clear.data() + have, clear.size() - have, &n) == 1) {
        have += n;
        continue;
      }
      const int error = SSL_get_error(ssl_.get(), 0);
      ended_ = error == SSL_ERROR_ZERO_RETURN;
      failed_ = !ended_ && error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE;
      break;
    }
    ERR_clear_error();
    return {clear.data(), have};
  }

  // 0: the socket is full. Below 0: an error.
  [[nodiscard]] ssize_t write_raw(std::string_view bytes) const {
    const ssize_t n = ::send(wire_.fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    return n < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : n;
  }
  [[nodiscard]] ssize_t write_sealed(std::string_view bytes) {
    if (failed_) return -1;
    ERR_clear_error();
    std::size_t n = 0;
    if (SSL_write_ex(ssl_.get(), bytes.data(), bytes.size(), &n) == 1)
      return static_cast<ssize_t>(n);
    const int error = SSL_get_error(ssl_.get(), 0);
    ERR_clear_error();
    if (error == SSL_ERROR_WANT_WRITE || error == SSL_ERROR_WANT_READ) return 0;
    failed_ = true;
    return -1;
  }

  const std::shared_ptr<const TlsServerSettings> settings_;
  asio::ip::tcp::socket socket_;
  TlsSocket wire_;
  std::unique_ptr<TlsNotes> notes_;  // during the handshake
  Ssl ssl_;
  Peer peer_;
  Mode mode_ = Mode::shaking;
  bool ended_ = false;   // close_notify has come
  bool failed_ = false;  // nothing that comes can be believed any more
};

}  // namespace

std::shared_ptr<Transport> make_tls_transport(asio::ip::tcp::socket socket,
                                              std::shared_ptr<const TlsServerSettings> settings) {
  return std::make_shared<TlsTransport>(std::move(socket), std::move(settings));
}

}  // namespace consort::http
