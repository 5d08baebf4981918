#include "http/server.h"

#include <fcntl.h>

#include <fmt/format.h>

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ip/v6_only.hpp>
#include <map>

#include "base/log.h"
#include "http/connection.h"
#include "http/crowd.h"
#include "http/event_loop_impl.h"
#include "http/log_limit.h"
#include "http/tcp_transport.h"
#include "http/tls_transport.h"
#include "http/unsent.h"
#include "http/url.h"

namespace consort::http {
namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

namespace {

// Asio makes sockets that programs started by this one would inherit, and so keep the port in use.
void keep_from_children(int fd) { ::fcntl(fd, F_SETFD, FD_CLOEXEC); }

}  // namespace

struct Server::Impl : std::enable_shared_from_this<Server::Impl> {
  explicit Impl(EventLoop& event_loop, ServerOptions server_options)
      : loop(event_loop),
        options(std::move(server_options)),
        unsent(options.limits.unsent_per_peer, options.limits.unsent_in_all) {}

  EventLoop& loop;
  ServerOptions options;
  Router router;
  std::vector<tcp::acceptor> acceptors;
  std::shared_ptr<const Connection::Host> host;
  std::map<std::uint64_t, std::shared_ptr<Connection>> connections;
  std::uint64_t last_number = 0;
  Crowd strangers;  // by address
  Crowd believed;   // by whom they are of
  Unsent unsent;
  std::function<void()> on_empty;
  Timer grace;
  bool stopping = false;

  Status listen(const std::string& address);
  void accept(tcp::acceptor& acceptor);
  void admit(tcp::socket socket);
  void make_room(const std::string& address);
  void on_believed(const Connection& connection);
  bool may_hold(const Connection& connection, std::size_t bytes);
  void drop(std::optional<std::uint64_t> number);
  void forget(Connection& connection);
  void stop_listening();
  void close_all();
  void when_empty();
};

namespace {

std::string text_of(const tcp::endpoint& endpoint) {
  const auto address = endpoint.address();
  return address.is_v6() ? fmt::format("[{}]:{}", address.to_string(), endpoint.port())
                         : fmt::format("{}:{}", address.to_string(), endpoint.port());
}

Result<tcp::endpoint> resolve(asio::io_context& io, const std::string& text) {
  const HostPort parts = TRY(parse_host_port(text));
  error_code ec;
  const auto address = asio::ip::make_address(parts.host, ec);
  if (!ec) return tcp::endpoint(address, parts.port);
  tcp::resolver resolver(io);
  const auto found = resolver.resolve(parts.host, std::to_string(parts.port), ec);
  if (ec || found.empty()) {
    return fail(ErrorCode::invalid_input,
                fmt::format("cannot listen on '{}': {} is no address and no known name", text,
                            parts.host))
        .hint("write it like 127.0.0.1:8440 or [::1]:8440");
  }
  return found.begin()->endpoint();
}

}  // namespace

Status Server::Impl::listen(const std::string& address) {
  const tcp::endpoint endpoint = TRY(resolve(loop.impl()->io, address));
  tcp::acceptor acceptor(loop.impl()->io);
  error_code ec;
  acceptor.open(endpoint.protocol(), ec);
  if (!ec) keep_from_children(acceptor.native_handle());
  if (!ec) acceptor.set_option(tcp::acceptor::reuse_address(true), ec);
  if (!ec && endpoint.address().is_v6()) acceptor.set_option(asio::ip::v6_only(true), ec);
  if (!ec) acceptor.bind(endpoint, ec);
  if (!ec) acceptor.listen(asio::socket_base::max_listen_connections, ec);
  if (ec) return fail_errno(ec.value(), fmt::format("cannot listen on {}", address));
  acceptors.push_back(std::move(acceptor));
  return {};
}

void Server::Impl::accept(tcp::acceptor& acceptor) {
  acceptor.async_accept([weak = weak_from_this(), &acceptor](error_code ec, tcp::socket socket) {
    const auto self = weak.lock();
    if (self == nullptr || self->stopping) return;
    if (!ec) self->admit(std::move(socket));
    if (ec == asio::error::operation_aborted) return;
    if (ec) {
      // Most likely out of file descriptors: trying again at once would only burn the processor.
      log_warn("cannot accept a connection: {}", ec.message());
      self->loop.after(Duration(100), [weak, &acceptor] {
        if (const auto alive = weak.lock(); alive != nullptr && !alive->stopping)
          alive->accept(acceptor);
      });
      return;
    }
    self->accept(acceptor);
  });
}

void Server::Impl::admit(tcp::socket socket) {
  keep_from_children(socket.native_handle());
  const bool sealed = options.tls != nullptr;
  const auto connection = std::make_shared<Connection>(
      host,
      sealed ? make_tls_transport(std::move(socket), options.tls->settings())
             : make_tcp_transport(std::move(socket)),
      ++last_number);
  make_room(connection->peer().address);
  connections.emplace(connection->number(), connection);
  strangers.enter(connection->peer().address, connection->number());
  if (connections.size() <= options.limits.max_connections) return connection->start();
  if (sealed) return connection->drop();
  connection->refuse(Response::error(
      Error(ErrorCode::unavailable, "this server has as many connections as it can take")));
}

// For one more of this address.
void Server::Impl::make_room(const std::string& address) {
  if (strangers.size_of(address) >= options.limits.max_strangers_per_address)
    drop(strangers.oldest_of(address));
  if (connections.size() >= options.limits.max_connections) drop(strangers.oldest_of_largest());
}

void Server::Impl::on_believed(const Connection& connection) {
  const std::string& who = connection.believed();
  strangers.leave(connection.peer().address, connection.number());
  if (believed.size_of(who) >= options.limits.max_connections_per_identity)
    drop(believed.oldest_of(who));
  believed.enter(who, connection.number());
}

bool Server::Impl::may_hold(const Connection& connection, std::size_t bytes) {
  const std::string peer =
      connection.believed().empty() ? connection.peer().address : connection.believed();
  const std::size_t now = unsent.of(peer, connection.number());
  if (bytes > now) {
    static LogLimit limit("answers that nobody reads");
    const std::size_t more = bytes - now;
    bool fits = unsent.fits_peer(peer, more);
    while (fits && !unsent.fits_all(more)) {
      // More than this one would have: not of the same peer.
      const auto heavier = unsent.heavier_than(peer, more);
      fits = heavier.has_value();
      if (!fits) break;
      limit.warn("a connection whose peer does not read its answers is cut");
      drop(heavier);
    }
    if (!fits) {
      limit.warn(fmt::format("{} does not get {} bytes: {} wait for it to be read", peer, more,
                             unsent.of(peer)));
      return false;
    }
  }
  unsent.hold(peer, connection.number(), bytes);
  return true;
}

void Server::Impl::drop(std::optional<std::uint64_t> number) {
  if (!number) return;
  if (const auto it = connections.find(*number); it != connections.end()) {
    const auto connection = it->second;  // closing takes it out
    connection->drop();
  }
}

void Server::Impl::forget(Connection& connection) {
  static_cast<void>(may_hold(connection, 0));
  if (connection.believed().empty()) {
    strangers.leave(connection.peer().address, connection.number());
  } else {
    believed.leave(connection.believed(), connection.number());
  }
  connections.erase(connection.number());
  if (connections.empty()) when_empty();
}

void Server::Impl::when_empty() {
  grace.cancel();
  if (const auto done = std::exchange(on_empty, nullptr)) loop.post(done);
}

void Server::Impl::stop_listening() {
  stopping = true;
  error_code ec;
  for (auto& acceptor : acceptors) acceptor.close(ec);
}

void Server::Impl::close_all() {
  // Closing takes each out of the set.
  const auto all = connections;
  for (const auto& [number, connection] : all) connection->drop();
}

Server::Server(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
Server::Server(Server&& other) noexcept = default;

Server::~Server() {
  if (impl_ == nullptr) return;
  impl_->stop_listening();
  impl_->close_all();
}

Result<Server> Server::create(EventLoop& loop, ServerOptions options) {
  auto impl = std::make_shared<Impl>(loop, std::move(options));
  // The acceptors are referred to by address from here on.
  impl->acceptors.reserve(impl->options.listen.size());
  for (const std::string& address : impl->options.listen) TRYV(impl->listen(address));
  if (impl->acceptors.empty())
    return fail(ErrorCode::invalid_input, "a server needs an address to listen on")
        .hint("--listen 127.0.0.1:8440");
  impl->host = std::make_shared<const Connection::Host>(
      Connection::Host{loop, impl->router, impl->options.limits,
                       [weak = std::weak_ptr<Impl>(impl)](Connection& connection) {
                         if (const auto alive = weak.lock()) alive->forget(connection);
                       },
                       [weak = std::weak_ptr<Impl>(impl)](Connection& connection) {
                         if (const auto alive = weak.lock()) alive->on_believed(connection);
                       },
                       [weak = std::weak_ptr<Impl>(impl)](Connection& connection, std::size_t n) {
                         const auto alive = weak.lock();
                         return alive != nullptr && alive->may_hold(connection, n);
                       }});
  return Server(std::move(impl));
}

void Server::route(std::string_view method, std::string_view pattern, Handler handler,
                   RouteOptions options) {
  impl_->router.add(method, pattern, std::move(handler), std::move(options));
}

void Server::start() {
  impl_->loop.dispatch([impl = impl_] {
    if (impl->stopping) return;
    for (auto& acceptor : impl->acceptors) impl->accept(acceptor);
  });
}

void Server::shutdown(Duration grace, std::function<void()> done) {
  impl_->stop_listening();
  impl_->on_empty = std::move(done);
  const auto all = impl_->connections;
  for (const auto& [number, connection] : all) connection->finish();
  if (impl_->connections.empty()) return impl_->when_empty();
  impl_->grace = impl_->loop.after(grace, [weak = std::weak_ptr<Impl>(impl_)] {
    if (const auto alive = weak.lock()) alive->close_all();
  });
}

std::vector<std::string> Server::addresses() const {
  std::vector<std::string> out;
  error_code ec;
  for (const auto& acceptor : impl_->acceptors) out.push_back(text_of(acceptor.local_endpoint(ec)));
  return out;
}

std::string Server::url() const {
  return (impl_->options.tls == nullptr ? "http://" : "https://") + addresses().front();
}

std::size_t Server::connections() const { return impl_->connections.size(); }

}  // namespace consort::http
