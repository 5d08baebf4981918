#include "agent/firewall_watch.h"

#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <string_view>

namespace consort::agent {
namespace {

constexpr int kBurst = 20;               // ms: changes come in bursts
constexpr int kPause = 1000;             // ms between two calls
constexpr std::uint16_t kTableName = 1;  // NFTA_TABLE_NAME, NFTA_RULE_TABLE, …: all are 1

constexpr std::size_t aligned(std::size_t size) { return (size + 3U) & ~std::size_t{3}; }

// The table that one message is about; "" when it says none.
std::string_view table_of(std::string_view payload) {
  if (payload.size() < sizeof(nfgenmsg)) return {};
  payload.remove_prefix(aligned(sizeof(nfgenmsg)));
  while (payload.size() >= sizeof(nlattr)) {
    nlattr attribute{};
    std::memcpy(&attribute, payload.data(), sizeof attribute);
    if (attribute.nla_len < sizeof attribute || attribute.nla_len > payload.size()) return {};
    if ((attribute.nla_type & NLA_TYPE_MASK) == kTableName) {
      std::string_view name =
          payload.substr(sizeof attribute, attribute.nla_len - sizeof attribute);
      return name.substr(0, name.find('\0'));
    }
    payload.remove_prefix(std::min(aligned(attribute.nla_len), payload.size()));
  }
  return {};
}

bool mentions(std::string_view datagram, std::string_view table) {
  while (datagram.size() >= sizeof(nlmsghdr)) {
    nlmsghdr header{};
    std::memcpy(&header, datagram.data(), sizeof header);
    if (header.nlmsg_len < sizeof header || header.nlmsg_len > datagram.size()) return false;
    if (table_of(datagram.substr(sizeof header, header.nlmsg_len - sizeof header)) == table)
      return true;
    datagram.remove_prefix(std::min(aligned(header.nlmsg_len), datagram.size()));
  }
  return false;
}

}  // namespace

Result<std::unique_ptr<FirewallWatch>> FirewallWatch::create(std::string table,
                                                             std::function<void()> changed) {
  Fd socket(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_NETFILTER));
  sockaddr_nl address{};
  address.nl_family = AF_NETLINK;
  address.nl_groups = 1U << (NFNLGRP_NFTABLES - 1U);
  if (!socket.valid() ||
      ::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return fail_errno(errno, "the firewall cannot be watched");
  Fd end(::eventfd(0, EFD_CLOEXEC));
  if (!end.valid()) return fail_errno(errno, "the firewall cannot be watched");
  return std::unique_ptr<FirewallWatch>(
      new FirewallWatch(std::move(table), std::move(changed), std::move(socket), std::move(end)));
}

FirewallWatch::FirewallWatch(std::string table, std::function<void()> changed, Fd socket, Fd end)
    : table_(std::move(table)),
      changed_(std::move(changed)),
      socket_(std::move(socket)),
      end_(std::move(end)),
      thread_([this] { run(); }) {}

FirewallWatch::~FirewallWatch() {
  const std::uint64_t one = 1;
  static_cast<void>(::write(end_.get(), &one, sizeof one) == 0);
  thread_.join();
}

// Reads all that is there; whether any of it is about the table.
bool FirewallWatch::drain() const {
  std::array<char, 16384> buffer{};
  bool found = false;
  while (true) {
    const ssize_t size = ::recv(socket_.get(), buffer.data(), buffer.size(), MSG_TRUNC);
    if (size < 0 && errno == EINTR) continue;
    if (size < 0 && errno == ENOBUFS) {
      found = true;
      continue;
    }
    if (size <= 0) return found;
    const auto length = static_cast<std::size_t>(size);
    found = found || length > buffer.size() ||
            mentions(std::string_view(buffer.data(), length), table_);
  }
}

void FirewallWatch::run() {
  const auto ended = [this](int milliseconds) {
    pollfd end{end_.get(), POLLIN, 0};
    return ::poll(&end, 1, milliseconds) > 0;
  };
  while (true) {
    std::array<pollfd, 2> fds{{{socket_.get(), POLLIN, 0}, {end_.get(), POLLIN, 0}}};
    if (::poll(fds.data(), fds.size(), -1) < 0 && errno != EINTR) return;
    if (fds[1].revents != 0) return;
    if (fds[0].revents == 0 || !drain()) continue;
    if (ended(kBurst)) return;
    static_cast<void>(drain());
    changed_();
    if (ended(kPause)) return;
  }
}

}  // namespace consort::agent
