// requests per second of processor time, and memory of a parked connection
#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "base/files.h"
#include "base/process.h"
#include "bench/measure.h"
#include "http/server.h"

namespace {

using namespace consort;
using namespace consort::bench;

constexpr int kRequests = 100'000;
constexpr int kConnections = 8;
constexpr std::string_view kRequest =
    "GET /v1/hosts/web1?all=1 HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer secret\r\n\r\n";

Fd connect_to(std::uint16_t port) {
  Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(port);
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0)
    give_up("cannot connect to our own server");
  const int yes = 1;
  ::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
  return fd;
}

std::uint16_t port_of(const std::string& address) {
  return static_cast<std::uint16_t>(std::stoi(address.substr(address.rfind(':') + 1)));
}

// One request at a time on each connection; returns the seconds of processor time that the server's
// process used meanwhile. The clients are a process of their own, so that only the server counts.
double serve(std::uint16_t port, std::size_t answer_bytes) {
  const pid_t clients = ::fork();
  if (clients == 0) {
    std::vector<Fd> fds;
    for (int i = 0; i < kConnections; ++i) fds.push_back(connect_to(port));
    std::string buffer(65536, '\0');
    for (int round = 0; round < kRequests / kConnections; ++round) {
      for (const Fd& fd : fds) {
        if (::send(fd.get(), kRequest.data(), kRequest.size(), MSG_NOSIGNAL) < 0) ::_exit(1);
      }
      for (const Fd& fd : fds) {
        std::size_t have = 0;
        while (have < answer_bytes) {
          const ssize_t n = ::recv(fd.get(), buffer.data(), buffer.size(), 0);
          if (n <= 0) ::_exit(1);
          have += static_cast<std::size_t>(n);
        }
      }
    }
    ::_exit(0);
  }
  int status = 0;
  const Cost cost = cost_of([&] { ::waitpid(clients, &status, 0); });
  if (status != 0) give_up("a client was cut off");
  return cost.cpu;
}

std::size_t answer_size(std::uint16_t port) {
  const Fd fd = connect_to(port);
  if (::send(fd.get(), kRequest.data(), kRequest.size(), MSG_NOSIGNAL) < 0) give_up("cannot send");
  std::string answer(65536, '\0');
  const ssize_t n = ::recv(fd.get(), answer.data(), answer.size(), 0);
  if (n <= 0) give_up("no answer");
  return static_cast<std::size_t>(n);
}

// Reads a request and writes the same bytes as the server, with plain blocking sockets: the price
// of the kernel's part.
double floor_cpu(std::size_t answer_bytes) {
  const Fd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof at;
  if (::bind(listener.get(), reinterpret_cast<const sockaddr*>(&at), size) != 0 ||
      ::listen(listener.get(), 64) != 0 ||
      ::getsockname(listener.get(), reinterpret_cast<sockaddr*>(&at), &size) != 0)
    give_up("cannot listen");
  std::jthread server([&] {
    std::vector<std::jthread> threads;
    for (int i = 0; i < kConnections; ++i) {
      const int fd = ::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC);
      threads.emplace_back([fd, answer_bytes] {
        const Fd peer(fd);
        const std::string answer(answer_bytes, 'x');
        std::string buffer(4096, '\0');
        while (::recv(peer.get(), buffer.data(), buffer.size(), 0) > 0)
          static_cast<void>(::send(peer.get(), answer.data(), answer.size(), MSG_NOSIGNAL));
      });
    }
  });
  return serve(ntohs(at.sin_port), answer_bytes);
}

struct Park {
  std::atomic<int> count{0};
  std::vector<http::Responder> parked;  // the loop's only
};

void memory(Record& record, std::uint16_t port, Park& park) {
  constexpr int kParked = 5000;
  say(fmt::format("{} parked long polls", kParked));
  constexpr std::string_view kPoll =
      "GET /v1/agents/web1/target?epoch=1&seq=2 HTTP/1.1\r\nHost: bench\r\n\r\n";
  // The client's ends are another process's memory.
  int ready[2] = {};
  if (::pipe(ready) != 0) give_up("no pipe");
  const std::int64_t before = anonymous_memory();
  const pid_t clients = ::fork();
  if (clients == 0) {
    std::vector<Fd> fds;
    for (int i = 0; i < kParked; ++i) {
      fds.push_back(connect_to(port));
      if (::send(fds.back().get(), kPoll.data(), kPoll.size(), MSG_NOSIGNAL) < 0) ::_exit(1);
    }
    static_cast<void>(::write(ready[1], "x", 1) + 0);
    ::pause();
    ::_exit(0);
  }
  ::close(ready[1]);
  char byte = 0;
  if (::read(ready[0], &byte, 1) != 1) give_up("the clients could not connect");
  ::close(ready[0]);
  while (park.count < kParked) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  const double each = static_cast<double>(anonymous_memory() - before) / kParked;
  record.add({"memory of a parked long poll", each / 1e3, "kB", {}, "", {}});
  ::kill(clients, SIGKILL);
  ::waitpid(clients, nullptr, 0);
}

}  // namespace

int main() {
  allow_many_files();
  Record record("http");
  Park park;
  http::EventLoop loop;
  http::ServerLimits limits;
  limits.max_strangers_per_address = limits.max_connections;  // all are of one address
  auto server = must(http::Server::create(loop, {{"127.0.0.1:0"}, limits}));
  server.route("GET", "/v1/hosts/{name}",
               [](const http::Request& request, const http::Responder& responder) {
                 responder.send(http::Response::json(Json::object(
                     {{"name", request.param("name")}, {"address", "10.0.0.1"}, {"up", true}})));
               });
  server.route("GET", "/v1/agents/{name}/target",
               [&park](const http::Request&, const http::Responder& responder) {
                 park.parked.push_back(responder);
                 ++park.count;
               });
  server.start();
  const std::uint16_t port = port_of(server.addresses().front());
  loop.start();
  say(fmt::format("{} small requests on {} connections", kRequests, kConnections));
  const std::size_t bytes = answer_size(port);
  std::vector<double> ours;
  std::vector<double> floors;
  for (int run = 0; run < 3; ++run) {
    ours.push_back(kRequests / serve(port, bytes));
    floors.push_back(kRequests / floor_cpu(bytes));
  }
  record.add({"requests per second of the server's processor time",
              median(ours),
              "1/s",
              median(floors),
              "recv and send of the same bytes, a thread per connection",
              {},
              Figure::Better::more});
  memory(record, port, park);
  record.print();
  loop.stop();
  return 0;
}
