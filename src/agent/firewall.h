// This host's firewall, as far as declared access needs it: one table of nftables, kept as the
// target says. The rules outlive the agent: they are the promise. Uses the program nft(8).
// Not thread-safe: one strand owns it.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "agent/access_rules.h"
#include "agent/boot_rules.h"
#include "base/files.h"
#include "base/time.h"

namespace consort::agent {

enum class FirewallChoice : std::uint8_t {
  automatic,  // nftables when the agent keeps a whole host ("/") and may
  nftables,   // also when it keeps a folder: it has a network namespace of its own
  none        // another program guards this host
};
// "auto", "nftables", "none". Error: invalid_input.
[[nodiscard]] Result<FirewallChoice> firewall_choice_from_name(std::string_view name);

class Firewall {
 public:
  // `boot`: what keeps the rules for the next boot; null: nothing does.
  Firewall(FirewallChoice choice, const fs::path& root, std::unique_ptr<BootRules> boot = nullptr);

  // What is to be kept from now on. Written at once and as a whole, or not at all. `services`: who
  // stands behind the ports, for the next boot (boot_rules.h).
  plan::AccessReport set(const plan::Admissions& admissions,
                         const std::map<std::string, bool>& services = {});

  struct Finding {
    plan::AccessReport report;
    std::string repaired;             // what somebody had changed, "" when all was well
    std::vector<Stranger> strangers;  // not told before within the hour
    bool forgetful = false;           // there are more than can be remembered; told once an hour
  };
  // Looks whether the rules are still there and who has tried; repairs. Nothing is touched before
  // the first set().
  Finding check(Instant now);

 private:
  [[nodiscard]] std::string why_unable() const;
  [[nodiscard]] Status write();
  void keep_for_boot();
  [[nodiscard]] Result<Json> list() const;
  [[nodiscard]] plan::AccessReport report(const Status& status) const;

  FirewallChoice choice_;
  bool whole_host_;
  std::unique_ptr<BootRules> boot_;
  std::optional<plan::Admissions> wanted_;  // nullopt: never told
  std::map<std::string, bool> services_;    // behind them
  bool in_force_ = false;
  std::vector<std::string> expected_;  // what a listing says when nobody has touched it
  std::map<std::pair<std::string, std::int64_t>, Instant> told_;
  std::optional<Instant> told_forgetful_;
};

}  // namespace consort::agent
