#include "agent/readiness.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <thread>

#include "base/process.h"
#include "base/text.h"

namespace consort::agent {
namespace {

using Steady = std::chrono::steady_clock;

int left_of(Steady::time_point end) {
  const auto left = std::chrono::duration_cast<Duration>(end - Steady::now()).count();
  return static_cast<int>(std::clamp<std::int64_t>(left, 0, 60'000));
}

// A connected socket, or an invalid one.
Fd connect_to(const std::string& address, int port, Steady::time_point end) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV;
  addrinfo* found = nullptr;
  if (::getaddrinfo(address.c_str(), std::to_string(port).c_str(), &hints, &found) != 0)
    return Fd();
  Fd out;
  for (const addrinfo* item = found; item != nullptr && !out.valid(); item = item->ai_next) {
    Fd fd(::socket(item->ai_family, item->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC,
                   item->ai_protocol));
    if (!fd.valid()) continue;
    int error_number = ::connect(fd.get(), item->ai_addr, item->ai_addrlen) == 0 ? 0 : errno;
    if (error_number == EINPROGRESS) {
      pollfd wait{fd.get(), POLLOUT, 0};
      socklen_t size = sizeof error_number;
      if (::poll(&wait, 1, left_of(end)) != 1 ||
          ::getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &error_number, &size) != 0)
        continue;
    }
    if (error_number == 0) out = std::move(fd);
  }
  ::freeaddrinfo(found);
  return out;
}

// The status line is all that matters: "HTTP/1.1 200 OK".
bool http_answers(const ReadinessSpec& spec, Steady::time_point end) {
  const Fd fd = connect_to(spec.address, spec.port, end);
  if (!fd.valid()) return false;
  const std::string request = fmt::format(
      "GET {} HTTP/1.1\r\nHost: {}:{}\r\nConnection: close\r\nUser-Agent: consort\r\n\r\n",
      spec.path, spec.address, spec.port);
  if (::send(fd.get(), request.data(), request.size(), MSG_NOSIGNAL) !=
      static_cast<ssize_t>(request.size()))
    return false;
  std::string answer;
  while (answer.find("\r\n") == std::string::npos && answer.size() < 4096) {
    pollfd wait{fd.get(), POLLIN, 0};
    if (::poll(&wait, 1, left_of(end)) != 1) return false;
    std::array<char, 1024> buffer{};
    const ssize_t n = ::recv(fd.get(), buffer.data(), buffer.size(), 0);
    if (n <= 0) return false;
    answer.append(buffer.data(), static_cast<std::size_t>(n));
  }
  return answer.size() > 12 && answer.starts_with("HTTP/1.") &&
         (answer[9] == '2' || answer[9] == '3');
}

}  // namespace

bool probe(const ReadinessSpec& spec, Duration limit) {
  const auto end = Steady::now() + limit;
  switch (spec.type) {
    case ReadinessSpec::Type::none:
    case ReadinessSpec::Type::notify:
      return true;
    case ReadinessSpec::Type::tcp:
      return connect_to(spec.address, spec.port, end).valid();
    case ReadinessSpec::Type::http:
      return http_answers(spec, end);
    case ReadinessSpec::Type::command: {
      ProcessSpec command;
      command.argv = spec.argv;
      command.timeout = limit;
      const auto outcome = run_process(command);
      return outcome && outcome->ok();
    }
  }
  return false;
}

Status check_port(Supervisor& supervisor, const DaemonSpec& spec) {
  const ReadinessSpec& ready = spec.readiness;
  if (ready.type != ReadinessSpec::Type::tcp && ready.type != ReadinessSpec::Type::http) return {};
  if (!connect_to(ready.address, ready.port, Steady::now() + Duration(200)).valid()) return {};
  // Its supervisor may just have started it again.
  if (TRY(supervisor.status(spec.name)).running) return {};
  return fail(ErrorCode::conflict,
              fmt::format("{}:{} answers before {} is started: another process has its port",
                          ready.address, ready.port, spec.name))
      .hint(fmt::format("find it with: ss -tlnp 'sport = {}'", ready.port));
}

Status wait_until_ready(Supervisor& supervisor, const DaemonSpec& spec) {
  const auto end = Steady::now() + spec.readiness.timeout;
  Duration pause(2);
  while (true) {
    const DaemonStatus status = TRY(supervisor.status(spec.name));
    if (status.running && status.ready &&
        probe(spec.readiness, std::max(Duration(left_of(end)), Duration(1))))
      return {};
    if (has_done_its_work(spec, status) && spec.readiness.type == ReadinessSpec::Type::none)
      return {};
    // What ends again and again will not get ready by waiting; with a check of its own it may wait
    // for others and gets more tries.
    const std::int64_t tries = spec.readiness.type == ReadinessSpec::Type::none ? 3 : 8;
    // Just being started once more, how it ended last is not known for a moment.
    const bool over =
        !status.running && (!status.supervised || (status.restarts >= tries && status.exit_status));
    if (over || Steady::now() >= end) {
      const std::string text = last_words(supervisor.log_tail(spec.name, 10));
      if (over)
        return fail(
            ErrorCode::unavailable,
            fmt::format("{} ended {}{}", spec.name,
                        status.exit_status ? fmt::format("with status {}", *status.exit_status)
                                           : "together with what watched over it",
                        text));
      return fail(ErrorCode::timeout, fmt::format("{} was not ready within {}{}", spec.name,
                                                  human_duration(spec.readiness.timeout), text))
          .hint(fmt::format("what it printed: journalctl -u consort-{}, or daemons/{}/log in the "
                            "agent's folder",
                            spec.name, spec.name));
    }
    // There is no event for "a port is open": short pauses at first, a quarter of a second later.
    std::this_thread::sleep_for(std::min(pause, Duration(left_of(end) + 1)));
    pause = std::min(pause * 2, Duration(250));
  }
}

}  // namespace consort::agent
