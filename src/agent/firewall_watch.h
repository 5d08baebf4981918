// Tells when somebody changes a table of nftables: the kernel's notifications (netlink(7), group
// NFNLGRP_NFTABLES), as `nft monitor` sees them. Changes of other tables wake nobody.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "base/files.h"

namespace consort::agent {

class FirewallWatch {
 public:
  // `changed` is called on a thread of its own, soon after the first of a burst of changes, at most
  // once a second. What it missed (too many at once) counts as a change. Errors: io.
  [[nodiscard]] static Result<std::unique_ptr<FirewallWatch>> create(std::string table,
                                                                     std::function<void()> changed);
  ~FirewallWatch();
  FirewallWatch(const FirewallWatch&) = delete;
  FirewallWatch& operator=(const FirewallWatch&) = delete;

 private:
  FirewallWatch(std::string table, std::function<void()> changed, Fd socket, Fd end);
  void run();
  [[nodiscard]] bool drain() const;

  std::string table_;
  std::function<void()> changed_;
  Fd socket_;
  Fd end_;
  std::thread thread_;
};

}  // namespace consort::agent
