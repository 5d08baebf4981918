#include "agent/firewall.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdlib>

#include "base/process.h"
#include "base/text.h"

namespace consort::agent {
namespace {

constexpr Duration kNftLimit = seconds(20);
constexpr int kWrites = 3;  // one after the other, before it is said that they do not stay
constexpr Duration kToldAgain = std::chrono::hours(1);
constexpr std::size_t kListingBytes = 256U << 20U;
constexpr unsigned kNetAdmin = 12;  // CAP_NET_ADMIN, capabilities(7)

// An agent's PATH may lack the folders of administrators.
fs::path nft_program() {
  for (const char* path : {"/usr/sbin/nft", "/sbin/nft", "/usr/bin/nft", "/usr/local/sbin/nft"}) {
    if (::access(path, X_OK) == 0) return path;
  }
  return {};
}

bool may_administer_network() {
  const std::string status = read_file("/proc/self/status").value_or("");
  constexpr std::string_view kLabel = "CapEff:";
  const std::size_t at = status.find(kLabel);
  if (at == std::string::npos) return ::geteuid() == 0;
  const std::uint64_t effective = std::strtoull(status.c_str() + at + kLabel.size(), nullptr, 16);
  return (effective >> kNetAdmin & 1U) != 0;
}

Result<ProcessOutcome> run_nft(std::vector<std::string> arguments, std::string input) {
  ProcessSpec spec;
  spec.argv = {nft_program().string()};
  if (spec.argv.front().empty())
    return fail(ErrorCode::not_found, "there is no program nft on it")
        .hint("install the package nftables");
  spec.argv.insert(spec.argv.end(), std::make_move_iterator(arguments.begin()),
                   std::make_move_iterator(arguments.end()));
  spec.input = std::move(input);
  spec.timeout = kNftLimit;
  spec.output_limit = kListingBytes;
  spec.environment = {{"LC_ALL", "C"}};
  return run_process(spec);
}

Failure nft_failed(const ProcessOutcome& outcome) {
  return fail(ErrorCode::io, outcome.timed_out
                                 ? std::string("nft does not end")
                                 : fmt::format("nft ended with status {}: {}", outcome.status,
                                               last_lines(trim(outcome.errors), 3)));
}

}  // namespace

Result<FirewallChoice> firewall_choice_from_name(std::string_view name) {
  if (name == "auto") return FirewallChoice::automatic;
  if (name == "nftables") return FirewallChoice::nftables;
  if (name == "none") return FirewallChoice::none;
  return fail(ErrorCode::invalid_input, fmt::format("there is no firewall '{}'", name))
      .hint("auto, nftables or none");
}

Firewall::Firewall(FirewallChoice choice, const fs::path& root, std::unique_ptr<BootRules> boot)
    : choice_(choice), whole_host_(root == "/"), boot_(std::move(boot)) {}

std::string Firewall::why_unable() const {
  if (choice_ == FirewallChoice::none)
    return "this agent was told to leave the firewall alone (--firewall none)";
  if (choice_ == FirewallChoice::automatic && !whole_host_)
    return "this agent keeps a folder (--root), not a whole host with a network of its own";
  if (!may_administer_network())
    return "this agent may not change the firewall (it needs CAP_NET_ADMIN)";
  if (nft_program().empty()) return "there is no program nft on it (package nftables)";
  return {};
}

plan::AccessReport Firewall::report(const Status& status) const {
  plan::AccessReport out;
  const std::string why = why_unable();
  out.able = why.empty();
  out.problem = !why.empty() ? why : status ? "" : status.error().message();
  if (wanted_ && in_force_) out.admitted = plan::admissions_digest(*wanted_);
  return out;
}

plan::AccessReport Firewall::set(const plan::Admissions& admissions,
                                 const std::map<std::string, bool>& services) {
  if (wanted_ != admissions) in_force_ = false;
  wanted_ = admissions;
  services_ = services;
  keep_for_boot();
  if (in_force_ || !why_unable().empty()) return report({});
  return report(write());
}

// A host that cannot guard its ports any more must not be made to wait for it at its next boot.
void Firewall::keep_for_boot() {
  if (!boot_) return;
  if (why_unable().empty()) {
    boot_->keep(*wanted_, services_, nft_program());
  } else {
    boot_->forget();
  }
}

// Believed is only what a listing shows: others may flush the ruleset at this very moment, as
// nftables.service does at boot.
Status Firewall::write() {
  in_force_ = false;
  std::string missing;
  for (int i = 0; i < kWrites; ++i) {
    const ProcessOutcome outcome = TRY(run_nft({"-f", "-"}, access_rules(*wanted_)));
    if (!outcome.ok()) return nft_failed(outcome);
    const Json listing = TRY(list());
    missing = missing_rules(listing, *wanted_);
    if (!missing.empty()) continue;
    expected_ = listed_rules(listing);
    in_force_ = true;
    return {};
  }
  return fail(ErrorCode::conflict,
              fmt::format("somebody takes the rules away as soon as they are written: {} is not "
                          "there",
                          missing))
      .hint("see who writes to the table inet consort: nft monitor");
}

// An empty listing when there is no such table.
Result<Json> Firewall::list() const {
  const ProcessOutcome outcome =
      TRY(run_nft({"-j", "-n", "list", "table", "inet", std::string(kAccessTable)}, ""));
  if (!outcome.ok()) {
    if (outcome.errors.find("No such file or directory") != std::string::npos)
      return Json::object();
    return nft_failed(outcome);
  }
  JsonLimits limits;
  limits.max_bytes = kListingBytes;
  return parse_json(outcome.output, "the listing of nft", limits);
}

Firewall::Finding Firewall::check(Instant now) {
  Finding out;
  if (wanted_) keep_for_boot();
  if (!wanted_ || !why_unable().empty()) {
    out.report = report({});
    return out;
  }
  auto listing = list();
  if (!listing) {
    out.report = report(tl::unexpected<Error>(listing.error()));
    return out;
  }
  std::erase_if(told_, [&](const auto& item) { return now - item.second > kToldAgain; });
  for (Stranger& stranger : listed_strangers(*listing)) {
    if (told_.try_emplace({stranger.address, stranger.port}, now).second)
      out.strangers.push_back(std::move(stranger));
  }
  const bool told = told_forgetful_ && now - *told_forgetful_ <= kToldAgain;
  if (!told && is_full_of_strangers(*listing)) {
    out.forgetful = true;
    told_forgetful_ = now;
  }
  Status status;
  const std::vector<std::string> now_listed = listed_rules(*listing);
  if (!in_force_ || now_listed != expected_) {
    if (in_force_) out.repaired = rules_difference(expected_, now_listed);
    status = write();
    if (!status) out.repaired.clear();
  }
  out.report = report(status);
  return out;
}

}  // namespace consort::agent
