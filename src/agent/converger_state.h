// What a Converger is made of; for converge.cc and pass.cc alone.
#pragma once

#include <algorithm>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

#include "agent/converge.h"
#include "agent/flapping.h"
#include "agent/graph.h"
#include "agent/overlay_files.h"
#include "agent/real_files.h"
#include "agent/remembering_files.h"

namespace consort::agent {

// What a resource was seen as when it was right; empty: unknown. Most are one path, which they know
// themselves.
struct Seen {
  std::optional<Stamp> own;                             // of its place()
  std::unique_ptr<const std::vector<Evidence>> listed;  // of all others
};

struct ConvergerState {
  explicit ConvergerState(ConvergerOptions o) : options(std::move(o)) {}

  ConvergerOptions options;
  std::unique_ptr<RealFiles> files;
  std::unique_ptr<Accounts> accounts;
  std::unique_ptr<Ledger> ledger;
  SystemProcessRunner system_runner;
  SystemClock system_clock;

  std::vector<std::unique_ptr<Resource>> resources;
  Graph graph;
  std::vector<char> guarded_off;  // `when` is false
  std::vector<Seen> seen;         // per resource
  std::vector<char> recorded;     // the ledger knows that it is as wished
  std::map<std::string, Flapping> flapping;
  std::size_t flapping_swept = 0;  // how many were left when the calm ones were last dropped
  std::mutex flapping_mutex;
  std::pair<Stamp, Stamp> account_stamps;
  Originals* originals = nullptr;
  std::unique_ptr<RememberingFiles> remembering;  // while there are originals to remember

  [[nodiscard]] Instant now() const {
    return options.clock != nullptr ? options.clock->now() : system_clock.now();
  }
  [[nodiscard]] HostFiles& changed_files() {
    return remembering ? static_cast<HostFiles&>(*remembering) : *files;
  }
  [[nodiscard]] Context context(OverlayFiles* overlay, Accounts* imagined) {
    return Context{overlay != nullptr ? static_cast<HostFiles&>(*overlay) : changed_files(),
                   imagined != nullptr ? *imagined : *accounts,
                   options.runner != nullptr ? *options.runner : system_runner,
                   options.root,
                   options.state_folder,
                   options.supervisor,
                   options.backups,
                   overlay,
                   graph.claimed.get(),
                   options.claims,
                   originals,
                   options.secrets,
                   options.artifacts,
                   graph.owned.get()};
  }

  [[nodiscard]] Enforcement enforcement_of(const Resource& resource) const {
    return std::max(resource.common().enforcement, options.enforcement);
  }
  [[nodiscard]] bool enforces(const Resource& resource) const {
    return enforcement_of(resource) == Enforcement::enforce;
  }
  [[nodiscard]] bool known_good(std::uint32_t i) const {
    const auto& [own, listed] = seen[i];
    if (own) return files->stamp(resources[i]->place()) == *own;
    return listed != nullptr && std::ranges::all_of(*listed, [&](const Evidence& item) {
             return files->stamp(item.path) == item.stamp;
           });
  }
  void remember(std::uint32_t i, std::vector<Evidence> evidence) {
    seen[i] = {};
    const bool solid = std::ranges::all_of(
        evidence, [](const Evidence& item) { return HostFiles::trustworthy(item.stamp); });
    if (!solid || evidence.empty()) return;
    if (evidence.size() == 1 && evidence.front().path == resources[i]->place()) {
      seen[i].own = evidence.front().stamp;
    } else {
      evidence.shrink_to_fit();
      seen[i].listed = std::make_unique<const std::vector<Evidence>>(std::move(evidence));
    }
  }
  // A user that got another uid makes files wrong that nobody touched.
  void forget_if_accounts_changed() {
    accounts->refresh();
    const std::pair stamps(files->stamp("/etc/passwd"), files->stamp("/etc/group"));
    if (stamps != account_stamps) {
      for (Seen& item : seen) item = {};
    }
    account_stamps = stamps;
  }
};

// What the ledger names it by.
[[nodiscard]] std::string claim_of(const Resource& resource);

// One pass over the graph; with an overlay nothing is changed but the overlay. See
// Converger::pass().
[[nodiscard]] PassReport run_pass(ConvergerState& state, const PassOptions& options,
                                  OverlayFiles* overlay, Accounts* imagined);

}  // namespace consort::agent
