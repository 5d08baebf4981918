#include "http/tcp_transport.h"

#include <array>
#include <boost/asio/buffer.hpp>
#include <boost/asio/error.hpp>
#include <memory>

namespace consort::http {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;

class TcpTransport final : public Transport, public std::enable_shared_from_this<TcpTransport> {
 public:
  explicit TcpTransport(asio::ip::tcp::socket socket) : socket_(std::move(socket)) {
    error_code ec;
    const auto endpoint = socket_.remote_endpoint(ec);
    if (!ec) peer_ = {.address = endpoint.address().to_string(), .port = endpoint.port()};
    socket_.non_blocking(true, ec);
    socket_.set_option(asio::ip::tcp::no_delay(true), ec);
  }

  void async_handshake(std::function<void(Handshake)> done) override {
    // Not asio::post, whose copies of executors clang-tidy believes to be null.
    socket_.async_wait(asio::socket_base::wait_write,
                       [done = std::move(done)](error_code) { done(Handshake::done); });
  }

  void async_read_some(std::function<void(std::error_code, std::string_view)> done) override {
    socket_.async_wait(asio::socket_base::wait_read,
                       [self = shared_from_this(), done = std::move(done)](error_code ec) mutable {
                         // One buffer for the thread: it is filled and used up within this
                         // callback. Made by the first: most threads read from no socket.
                         thread_local const auto buffer =
                             std::make_unique<std::array<char, 65536>>();
                         std::size_t n = 0;
                         if (!ec) n = self->socket_.read_some(asio::buffer(*buffer), ec);
                         if (ec == asio::error::would_block || ec == asio::error::try_again)
                           return self->async_read_some(std::move(done));
                         if (ec == asio::error::eof) return done({}, {});
                         done(ec, std::string_view(buffer->data(), n));
                       });
  }

  void async_write_some(std::string_view bytes,
                        std::function<void(std::error_code, std::size_t)> done) override {
    socket_.async_write_some(asio::buffer(bytes.data(), bytes.size()),
                             [self = shared_from_this(), done = std::move(done)](
                                 error_code ec, std::size_t n) { done(ec, n); });
  }

  void shutdown() override {
    error_code ec;
    socket_.shutdown(asio::ip::tcp::socket::shutdown_send, ec);
  }
  void close() override {
    error_code ec;
    socket_.close(ec);
  }
  [[nodiscard]] const Peer& peer() const override { return peer_; }

 private:
  asio::ip::tcp::socket socket_;
  Peer peer_;
};

}  // namespace

std::shared_ptr<Transport> make_tcp_transport(asio::ip::tcp::socket socket) {
  return std::make_shared<TcpTransport>(std::move(socket));
}

}  // namespace consort::http
