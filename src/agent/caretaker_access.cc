// The caretaker's part in declared access: guards ports before what stands behind them starts,
// looks after the rules, and tells of strangers.
#include <fmt/format.h>

#include <algorithm>

#include "agent/caretaker.h"
#include "agent/history.h"
#include "base/log.h"

namespace consort::agent {
namespace {

constexpr Duration kAccessRetry = seconds(10);
constexpr const char* kStrand = "(access)";
constexpr int kMostToldStrangers = 20;  // a minute, each with an event of its own
// So long a rollout may take from its word of a port to the instance behind it.
constexpr Duration kHeldPatience = minutes(10);

std::string access_text(const plan::Admissions& admissions) {
  if (admissions.empty()) return "no port is guarded any more";
  std::string out;
  for (const plan::Admission& admission : admissions) {
    out += fmt::format("{}port {} ({}) {} {} address{}", out.empty() ? "" : "; ", admission.port,
                       admission.service,
                       admission.mode == plan::AccessMode::enforce ? "admits" : "expects",
                       admission.sources.size(), admission.sources.size() == 1 ? "" : "es");
  }
  return presentable(out, 2048);
}

}  // namespace

// An agent that keeps a folder leaves the host's units alone.
std::unique_ptr<BootRules> Caretaker::boot_rules() {
  if (shop_.host.root != "/" || !shop_.supervisor) return nullptr;
  return std::make_unique<BootRules>(
      shop_.host.data / "access.nft", *shop_.supervisor, [this](const std::string& trouble) {
        shop_.note(make_event(
            SystemClock().now(), trouble.empty() ? "repaired" : "failed", "", "access",
            trouble.empty()
                ? "from the next boot on ports are guarded before the agent is there"
                : presentable("after a boot ports are open until the agent is there: " + trouble,
                              2048)));
      });
}

// What is not here yet is learned when it is loaded.
void Caretaker::learn_offers() {
  std::map<Digest, plan::Manifest> known;
  for (const Digest& digest : core_.manifests_in_use()) {
    if (auto manifest = plan::get_manifest(shop_.store, digest))
      known.emplace(digest, std::move(*manifest));
  }
  core_.learn(known);
}

// On the loop's thread, before anything else is begun: after a boot the rules are there before the
// services are.
void Caretaker::guard_at_start() {
  // A host that was never told of access is left alone.
  if (core_.target().admissions) {
    const GuardPorts guarded = core_.guarded();
    accept_access(firewall_.set(guarded.admissions, guarded.services));
  } else {
    accept_access(firewall_.check(SystemClock().now()).report);
  }
}

// `rest`, and whatever comes meanwhile, begins when the ports are guarded, or when it is known that
// they cannot be.
void Caretaker::guard(const GuardPorts& work, Output rest) {
  guarding_ = true;
  work_.submit(kStrand, [this, work = work, rest = std::move(rest)]() mutable {
    if (closing_) return;
    const plan::AccessReport report = firewall_.set(work.admissions, work.services);
    loop_.post([this, work = std::move(work), report, rest = std::move(rest)]() mutable {
      if (closing_) return;
      if (report.problem.empty())
        shop_.note(make_event(SystemClock().now(), "access", "", "", access_text(work.admissions)));
      accept_access(report);
      guarded(std::move(rest));
    });
  });
}

void Caretaker::guarded(Output rest) {
  guarding_ = false;
  carry_out(std::move(rest));
  while (!guarding_ && !behind_guard_.empty()) {
    Output next = std::move(behind_guard_.front());
    behind_guard_.pop_front();
    carry_out(std::move(next));
  }
}

void Caretaker::accept_access(const plan::AccessReport& report) {
  // Where nothing is guarded it concerns nobody that it could not be.
  const bool guards = !core_.admissions().empty();
  plan::AccessReport told = report;
  if (guards && !told.problem.empty() && told.problem != access_problem_)
    shop_.note(make_event(SystemClock().now(), "failed", "", "access",
                          "ports are not guarded as declared: " + told.problem));
  if (guards && told.problem.empty() && !access_problem_.empty())
    shop_.note(make_event(SystemClock().now(), "repaired", "", "access",
                          "ports are guarded as declared again"));
  access_problem_ = guards ? told.problem : std::string();
  if (guards && told.able) watch_firewall();
  take(core_.on_access(told));
  if (access_problem_.empty() || !told.able) return;
  access_timer_.cancel();
  access_timer_ = loop_.after(kAccessRetry, [this] { check_access(); });
}

// What somebody does to the rules is seen at once; the audits are for what is not.
void Caretaker::watch_firewall() {
  const std::lock_guard lock(watch_mutex_);
  if (firewall_watch_ || closing_) return;
  auto made = FirewallWatch::create(std::string(kAccessTable),
                                    [this] { loop_.post([this] { check_access(); }); });
  if (!made) return log_warn("{}; its rules are looked at once a minute", made.error().message());
  firewall_watch_ = std::move(*made);
}

void Caretaker::check_access() {
  if (closing_ || !core_.target().admissions) return;
  tell_held(SystemClock().now());
  work_.submit(kStrand, [this] {
    if (closing_) return;
    const Firewall::Finding finding = firewall_.check(SystemClock().now());
    loop_.post([this, finding] { checked_access(finding); });
  });
}

void Caretaker::checked_access(const Firewall::Finding& finding) {
  if (closing_) return;
  if (!finding.repaired.empty()) {
    Json event = make_event(SystemClock().now(), "repaired", "", "access",
                            presentable("the rules of the firewall: " + finding.repaired, 2048));
    event["cause"] = "corrective";
    shop_.note(std::move(event));
  }
  tell_strangers(finding);
  accept_access(finding.report);
}

// Addresses may be spoofed, as many as somebody likes: no flood of events comes of it.
void Caretaker::tell_strangers(const Firewall::Finding& finding) {
  const Instant now = SystemClock().now();
  if (now < stranger_minute_ || now - stranger_minute_ >= minutes(1)) {
    stranger_minute_ = now;
    strangers_told_ = 0;
  }
  const plan::Admissions admissions = core_.admissions();
  std::map<std::int64_t, std::size_t> untold;  // by port
  for (const Stranger& stranger : finding.strangers) {
    const auto admission =
        std::find_if(admissions.begin(), admissions.end(),
                     [&](const plan::Admission& a) { return a.port == stranger.port; });
    if (admission == admissions.end()) continue;
    if (strangers_told_ >= kMostToldStrangers) {
      ++untold[stranger.port];
      continue;
    }
    ++strangers_told_;
    shop_.note(make_event(
        now, "stranger", admission->service, "access",
        fmt::format("{} {} port {} ({}), which nothing declares ({} tr{})", stranger.address,
                    admission->mode == plan::AccessMode::enforce ? "was refused at" : "reached",
                    stranger.port, presentable(admission->endpoint, 100), stranger.packets,
                    stranger.packets == 1 ? "y" : "ies")));
  }
  for (const auto& [port, count] : untold) {
    shop_.note(make_event(now, "stranger", "", "access",
                          fmt::format("{} more address{} tried port {}, which nothing declares",
                                      count, count == 1 ? "" : "es", port)));
  }
  if (!finding.forgetful) return;
  shop_.note(make_event(now, "stranger", "", "access",
                        "there are more strangers than this host remembers: those who come now are "
                        "treated like them, but are not told of within the next hour"));
}

// Once a minute. What nobody brings is a mistake, or the word of somebody who is not trusted here.
void Caretaker::tell_held(Instant now) {
  std::map<std::int64_t, Instant> held;
  for (const plan::Admission& admission : core_.held_admissions()) {
    const auto known = held_ports_.find(admission.port);
    const Instant since = known == held_ports_.end() ? now : known->second;
    held.emplace(admission.port, since);
    if (now - since < kHeldPatience || !told_held_.insert(admission.port).second) continue;
    shop_.note(make_event(
        now, "failed", "", "access",
        presentable(fmt::format("port {} is not guarded, as the controller says it shall be for "
                                "{}: no version of a service that is or shall be here provides it",
                                admission.port, admission.service),
                    2048)));
  }
  held_ports_ = std::move(held);
  std::erase_if(told_held_, [this](std::int64_t port) { return !held_ports_.contains(port); });
}

}  // namespace consort::agent
