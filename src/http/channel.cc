#include "http/channel.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <system_error>

namespace consort::http {
namespace {

int millis_until(Deadline deadline) {
  const auto left =
      std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now())
          .count();
  return static_cast<int>(std::clamp<std::int64_t>(left, 0, 1'000'000'000));
}

// Until the socket is ready for `events`, the deadline, or the wake-up.
Status wait_for(int fd, short events, const WakeUp& wake, Deadline deadline) {
  std::array<pollfd, 2> polled{{{fd, events, 0}, {wake.fd(), POLLIN, 0}}};
  while (true) {
    const int n = ::poll(polled.data(), polled.size(), millis_until(deadline));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_errno(errno, "cannot wait for the network");
    if (polled[1].revents != 0) return fail(ErrorCode::interrupted, "the request was cancelled");
    if (n == 0) return fail(ErrorCode::timeout, "the server did not answer in time");
    return {};
  }
}

Failure cut(int error_number) {
  return fail(ErrorCode::unavailable, fmt::format("the connection to the server was cut: {}",
                                                  std::generic_category().message(error_number)));
}

using Addresses = std::unique_ptr<addrinfo, decltype(&freeaddrinfo)>;

Result<Addresses> look_up(const Url& url) {
  addrinfo wanted{};
  wanted.ai_socktype = SOCK_STREAM;
  wanted.ai_flags = AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const int status =
      ::getaddrinfo(url.at.host.c_str(), std::to_string(url.at.port).c_str(), &wanted, &found);
  if (status != 0) {
    return fail(ErrorCode::unavailable,
                fmt::format("cannot find the host {}: {}", url.at.host, ::gai_strerror(status)))
        .hint("check the name, or use an address");
  }
  return Addresses(found, &freeaddrinfo);
}

Result<Fd> connect_to(const addrinfo& address, const WakeUp& wake, Deadline deadline) {
  Fd fd(::socket(address.ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return fail_errno(errno, "cannot make a socket");
  const int yes = 1;
  ::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
  ::setsockopt(fd.get(), SOL_SOCKET, SO_KEEPALIVE, &yes, sizeof yes);
  if (::connect(fd.get(), address.ai_addr, address.ai_addrlen) != 0) {
    if (errno != EINPROGRESS)
      return fail(ErrorCode::unavailable, std::generic_category().message(errno));
    TRYV(wait_for(fd.get(), POLLOUT, wake, deadline));
    int error = 0;
    socklen_t size = sizeof error;
    ::getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &error, &size);
    if (error != 0) return fail(ErrorCode::unavailable, std::generic_category().message(error));
  }
  return fd;
}

}  // namespace

Result<WakeUp> WakeUp::create() {
  Fd fd(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
  if (!fd.valid()) return fail_errno(errno, "cannot make an eventfd");
  return WakeUp(std::move(fd));
}

void WakeUp::set() const { static_cast<void>(::eventfd_write(fd_.get(), 1)); }

void WakeUp::clear() const {
  eventfd_t value = 0;
  static_cast<void>(::eventfd_read(fd_.get(), &value));
}

Channel::Channel(Fd fd, const WakeUp& wake)
    : fd_(std::move(fd)), wake_(&wake), buffer_(std::make_unique<std::string>(65536, '\0')) {}
Channel::Channel(Channel&& other) noexcept = default;
Channel& Channel::operator=(Channel&& other) noexcept {
  // In this order: the TLS says goodbye on its socket.
  tls_ = std::move(other.tls_);
  fd_ = std::move(other.fd_);
  wake_ = other.wake_;
  buffer_ = std::move(other.buffer_);
  return *this;
}
Channel::~Channel() = default;

Status Channel::begin_tls(const Url& url, const ClientTls& tls, Deadline deadline) {
  tls_ = TRY(TlsSession::create(fd_.get(), url, tls.settings()));
  while (true) {
    const auto wants = TRY(tls_->shake_hands());
    if (wants == TlsSession::Wants::nothing) return {};
    TRYV(wait_for_tls(wants, deadline));
  }
}

Status Channel::wait_for_tls(TlsSession::Wants wants, Deadline deadline) const {
  return wait_for(fd_.get(), wants == TlsSession::Wants::read ? POLLIN : POLLOUT, *wake_, deadline);
}

Result<Channel> Channel::connect(const Url& url, const ClientTls* tls, const WakeUp& wake,
                                 Deadline deadline) {
  const Addresses addresses = TRY(look_up(url));
  Error last(ErrorCode::unavailable, "no address");
  for (const addrinfo* address = addresses.get(); address != nullptr; address = address->ai_next) {
    auto fd = connect_to(*address, wake, deadline);
    if (fd) {
      Channel channel(std::move(*fd), wake);
      if (tls != nullptr) TRYV(channel.begin_tls(url, *tls, deadline));
      return channel;
    }
    last = std::move(fd).error();
    if (last.code() == ErrorCode::interrupted) return tl::unexpected<Error>(std::move(last));
  }
  const std::string where = fmt::format("{}://{}", url.scheme, url.authority());
  return fail(last.code() == ErrorCode::timeout ? ErrorCode::timeout : ErrorCode::unavailable,
              fmt::format("cannot reach {}: {}", where, last.message()))
      .hint(
          fmt::format("is a controller running there? `consort controller --data DIR --listen {}` "
                      "starts one",
                      url.authority()));
}

Result<std::string_view> Channel::read_some(Deadline deadline) {
  while (tls_ != nullptr) {
    const auto read = TRY(tls_->read(*buffer_));
    if (read.wants == TlsSession::Wants::nothing)
      return std::string_view(*buffer_).substr(0, read.bytes);
    TRYV(wait_for_tls(read.wants, deadline));
  }
  while (true) {
    TRYV(wait_for(fd_.get(), POLLIN, *wake_, deadline));
    const ssize_t n = ::recv(fd_.get(), buffer_->data(), buffer_->size(), 0);
    if (n >= 0) return std::string_view(*buffer_).substr(0, static_cast<std::size_t>(n));
    if (errno != EAGAIN && errno != EINTR) return cut(errno);
  }
}

Status Channel::write_all(std::string_view bytes, Deadline deadline) {
  while (tls_ != nullptr && !bytes.empty()) {
    const auto wants = TRY(tls_->write(bytes));
    if (wants != TlsSession::Wants::nothing) TRYV(wait_for_tls(wants, deadline));
  }
  while (!bytes.empty()) {
    const ssize_t n = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n > 0) bytes.remove_prefix(static_cast<std::size_t>(n));
    if (n >= 0 || errno == EINTR) continue;
    if (errno != EAGAIN) return cut(errno);
    TRYV(wait_for(fd_.get(), POLLOUT, *wake_, deadline));
  }
  return {};
}

bool Channel::reusable() const {
  if (tls_ != nullptr && tls_->pending()) return false;
  pollfd polled{fd_.get(), POLLIN, 0};
  return ::poll(&polled, 1, 0) == 0;
}

}  // namespace consort::http
