// A network of the test's own with real packets: this process moves into a network namespace, which
// is the host that is guarded; clients live in namespaces of their own, behind one bridge. Skipped,
// and said so, only where the kernel does not permit namespaces.
#pragma once

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include "fixture.h"

namespace consort::agent {

inline constexpr const char* kHost = "10.77.0.1";
inline constexpr const char* kHost6 = "fd77::1";

inline Status tool(const std::vector<std::string>& argv) {
  ProcessSpec spec;
  spec.argv = argv;
  const ProcessOutcome outcome = TRY(run_process(spec));
  if (outcome.ok()) return {};
  return fail(ErrorCode::io, quote_argv(argv) + ": " + outcome.errors);
}

// A namespace that lives as long as its process.
class Client {
 public:
  explicit Client(int number) : link_("c" + std::to_string(number)) {
    int ready[2];
    EXPECT_EQ(::pipe(ready), 0);
    pid_ = ::fork();
    if (pid_ == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      for (int fd = 3; fd < 1024; ++fd) {  // the controller's sockets are not the client's
        if (fd != ready[1]) ::close(fd);
      }
      const char word = ::unshare(CLONE_NEWNET) == 0 ? 'y' : 'n';
      static_cast<void>(::write(ready[1], &word, 1) == 1);
      while (true) ::pause();
    }
    char word = 'n';
    static_cast<void>(::read(ready[0], &word, 1) == 1);
    ::close(ready[0]);
    ::close(ready[1]);
    EXPECT_EQ(word, 'y');
    const std::string n = std::to_string(number);
    const std::string pid = std::to_string(pid_);
    const std::vector<std::string> inside = {"nsenter", "--net=/proc/" + pid + "/ns/net", "ip"};
    const auto in = [&](std::vector<std::string> words) {
      words.insert(words.begin(), inside.begin(), inside.end());
      return tool(words);
    };
    for (const Status& status : {tool({"ip", "link", "add", "c" + n, "type", "veth", "peer", "name",
                                       "eth0", "netns", pid}),
                                 tool({"ip", "link", "set", "c" + n, "master", "br0", "up"}),
                                 in({"addr", "add", "10.77.0." + n + "/24", "dev", "eth0"}),
                                 in({"addr", "add", "fd77::" + n + "/64", "dev", "eth0", "nodad"}),
                                 in({"link", "set", "eth0", "up"})})
      EXPECT_TRUE(status) << render_error(status.error());
  }
  ~Client() {
    // The kernel takes a namespace down some time after its last process.
    static_cast<void>(tool({"ip", "link", "delete", link_}));
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  // An open connection, or an invalid descriptor with errno. A refusal comes at once.
  Fd connect(int port, const std::string& address = kHost) const {
    Fd out;
    int problem = 0;
    std::thread([&] {
      const Fd space(::open(("/proc/" + std::to_string(pid_) + "/ns/net").c_str(), O_RDONLY));
      if (::setns(space.get(), CLONE_NEWNET) != 0) {
        problem = errno;
        return;
      }
      out = dial(port, address, problem);
    }).join();
    errno = problem;
    return out;
  }
  [[nodiscard]] bool reaches(int port, const std::string& address = kHost) const {
    return connect(port, address).valid();
  }

  static Fd dial(int port, const std::string& address, int& problem) {
    const bool v6 = address.find(':') != std::string::npos;
    sockaddr_storage to{};
    socklen_t size = 0;
    if (v6) {
      auto* in6 = reinterpret_cast<sockaddr_in6*>(&to);
      in6->sin6_family = AF_INET6;
      in6->sin6_port = htons(static_cast<std::uint16_t>(port));
      ::inet_pton(AF_INET6, address.c_str(), &in6->sin6_addr);
      size = sizeof *in6;
    } else {
      auto* in4 = reinterpret_cast<sockaddr_in*>(&to);
      in4->sin_family = AF_INET;
      in4->sin_port = htons(static_cast<std::uint16_t>(port));
      ::inet_pton(AF_INET, address.c_str(), &in4->sin_addr);
      size = sizeof *in4;
    }
    Fd fd(::socket(to.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const timeval limit{5, 0};
    ::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&to), size) == 0) return fd;
    problem = errno;
    return Fd();
  }

 private:
  std::string link_;
  pid_t pid_ = -1;
};

// Answers each byte with the same byte, on all addresses of the namespace.
class Echo {
 public:
  Echo() : fd_(::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in6 any{};
    any.sin6_family = AF_INET6;
    socklen_t size = sizeof any;
    EXPECT_EQ(::bind(fd_.get(), reinterpret_cast<sockaddr*>(&any), size), 0);
    EXPECT_EQ(::listen(fd_.get(), 16), 0);
    EXPECT_EQ(::getsockname(fd_.get(), reinterpret_cast<sockaddr*>(&any), &size), 0);
    port_ = ntohs(any.sin6_port);
    thread_ = std::jthread([this](const std::stop_token& stop) { serve(stop); });
  }
  [[nodiscard]] int port() const { return port_; }

 private:
  void serve(const std::stop_token& stop) {
    std::vector<Fd> open;
    while (!stop.stop_requested()) {
      std::vector<pollfd> fds = {{fd_.get(), POLLIN, 0}};
      for (const Fd& fd : open) fds.push_back({fd.get(), POLLIN, 0});
      if (::poll(fds.data(), fds.size(), 20) <= 0) continue;
      for (std::size_t i = 1; i < fds.size(); ++i) {
        char byte = 0;
        if ((fds[i].revents & POLLIN) != 0 && ::recv(fds[i].fd, &byte, 1, 0) == 1)
          static_cast<void>(::send(fds[i].fd, &byte, 1, MSG_NOSIGNAL) == 1);
      }
      if ((fds[0].revents & POLLIN) != 0) open.emplace_back(::accept(fd_.get(), nullptr, nullptr));
    }
  }
  Fd fd_;
  int port_ = 0;
  std::jthread thread_;
};

inline bool echoes(const Fd& fd) {
  const timeval limit{5, 0};
  ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  char byte = 'x';
  return ::send(fd.get(), &byte, 1, MSG_NOSIGNAL) == 1 && ::recv(fd.get(), &byte, 1, 0) == 1;
}

// True when this process is alone in a network now.
inline bool move_into_own_network() {
  static const bool moved = [] {
    if (::unshare(CLONE_NEWNET) != 0) return false;
    for (const std::vector<std::string>& argv : std::vector<std::vector<std::string>>{
             {"ip", "link", "set", "lo", "up"},
             {"ip", "link", "add", "br0", "type", "bridge"},
             {"ip", "addr", "add", std::string(kHost) + "/24", "dev", "br0"},
             {"ip", "addr", "add", std::string(kHost6) + "/64", "dev", "br0", "nodad"},
             {"ip", "link", "set", "br0", "up"}}) {
      const Status status = tool(argv);
      EXPECT_TRUE(status) << render_error(status.error());
    }
    return true;
  }();
  return moved;
}

inline bool has_table() { return tool({"nft", "list", "table", "inet", "consort"}).has_value(); }

// In the place of nft(8), seen only from here and by agents that are started from here: a script
// that does what `before` says, then what it was asked for. $NFT is the real one.
class StandInForNft {
 public:
  explicit StandInForNft(const std::string& before) {
    std::error_code ec;
    place_ = fs::canonical("/usr/sbin/nft", ec);
    if (ec) return;
    const fs::path script = folder_.path() / "script";
    fs::copy_file(place_, real(), ec);
    if (ec ||
        !write_file_atomic(script,
                           "#!/bin/sh\nNFT=" + real().string() + "\ncd " + folder_.path().string() +
                               "\n" + before + "\nexec $NFT \"$@\"\n",
                           0755))
      return;
    placed_ = ::unshare(CLONE_NEWNS) == 0 &&
              ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
              ::mount(script.c_str(), place_.c_str(), nullptr, MS_BIND, nullptr) == 0;
  }
  ~StandInForNft() {
    if (placed_) ::umount2(place_.c_str(), MNT_DETACH);
  }
  StandInForNft(const StandInForNft&) = delete;
  StandInForNft& operator=(const StandInForNft&) = delete;
  [[nodiscard]] bool placed() const { return placed_; }
  [[nodiscard]] fs::path real() const { return folder_.path() / "nft"; }
  // `before` runs in this folder.
  [[nodiscard]] fs::path folder() const { return folder_.path(); }

 private:
  TempFolder folder_ = TempFolder::create("consort-nft-").value();
  fs::path place_;
  bool placed_ = false;
};

#define NEEDS_A_NETWORK() \
  if (!move_into_own_network()) GTEST_SKIP() << "network namespaces are not permitted here"

}  // namespace consort::agent
