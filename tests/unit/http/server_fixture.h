// A server on a loop of its own thread, and a raw socket to say to it what no client would.
#pragma once

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <condition_variable>
#include <cstring>
#include <mutex>
#include <optional>

#include "base/files.h"
#include "http/client.h"
#include "http/server.h"

namespace consort::http {

inline constexpr Duration kPatience = seconds(20);

// A value that one thread gives and another waits for.
template <class T>
class Promise {
 public:
  void give(T value) {
    const std::lock_guard lock(mutex_);
    value_ = std::move(value);
    changed_.notify_all();
  }
  std::optional<T> take() {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, kPatience, [&] { return value_.has_value(); });
    return std::exchange(value_, std::nullopt);
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<T> value_;
};

class RawSocket {
 public:
  explicit RawSocket(const std::string& address) {
    const auto port = static_cast<std::uint16_t>(std::stoi(address.substr(address.rfind(':') + 1)));
    fd_ = Fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::connect(fd_.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to), 0)
        << std::strerror(errno);
  }
  void send(std::string_view text) const {
    ::send(fd_.get(), text.data(), text.size(), MSG_NOSIGNAL);
  }
  void end_sending() const { ::shutdown(fd_.get(), SHUT_WR); }
  // What comes until `text` has come, or the peer closes, or patience ends.
  std::string read_until(std::string_view text) {
    while (seen_.find(text) == std::string::npos && read_more()) {
    }
    return seen_;
  }
  std::string read_to_end() {
    while (read_more()) {
    }
    return seen_;
  }
  void forget() { seen_.clear(); }
  void close() { fd_.reset(); }
  [[nodiscard]] int fd() const { return fd_.get(); }

 private:
  bool read_more() {
    pollfd polled{fd_.get(), POLLIN, 0};
    if (::poll(&polled, 1, static_cast<int>(kPatience.count())) != 1) {
      ADD_FAILURE() << "nothing came; so far: " << seen_;
      return false;
    }
    std::string buffer(4096, '\0');
    const ssize_t n = ::recv(fd_.get(), buffer.data(), buffer.size(), 0);
    if (n <= 0) return false;
    seen_.append(buffer, 0, static_cast<std::size_t>(n));
    return true;
  }
  Fd fd_;
  std::string seen_;
};

class ServerTest : public ::testing::Test {
 protected:
  ~ServerTest() override { loop_.stop(); }

  // Routes are added in between.
  Server& create(ServerLimits limits = {}) {
    auto server = Server::create(loop_, {{"127.0.0.1:0"}, limits});
    EXPECT_TRUE(server) << (server ? "" : render_error(server.error()));
    return server_.emplace(std::move(*server));
  }
  void start() {
    server_->route("POST", "/echo", [](const Request& request, const Responder& responder) {
      responder.send(Response::text(request.body));
    });
    server_->route("GET", "/hello", [](const Request&, const Responder& responder) {
      responder.send(Response::text("hello"));
    });
    // The application believes whoever says who they are.
    server_->route("GET", "/known", [](const Request& request, const Responder& responder) {
      responder.believe(std::string(request.headers.get("Known").value_or("")));
      responder.send(Response::text("known"));
    });
    server_->start();
    loop_.start();
  }
  Client client(ClientOptions options = {}) {
    return Client::create(server_->url(), options).value();
  }
  RawSocket raw() { return RawSocket(server_->addresses().front()); }

  EventLoop loop_;
  std::optional<Server> server_;
};

}  // namespace consort::http
