// What an agent is told (its sole input) and what it answers. Wire and store format.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/digest.h"
#include "base/json.h"
#include "base/time.h"
#include "plan/admission.h"
#include "plan/statement.h"

namespace consort::plan {

enum class Mode : std::uint8_t { running, drained, stopped };
[[nodiscard]] std::string_view mode_name(Mode mode);
[[nodiscard]] Result<Mode> mode_from_name(std::string_view name);

// What an instance is or shall be. Absent instances have no InstanceState.
struct InstanceState {
  Digest manifest;
  Mode mode = Mode::running;
  // What the inventory says of the host and this manifest uses: "address", "labels.rack". The
  // manifest is the class's; these are the host's part of what the instance is.
  std::map<std::string, std::string> host{};
  friend bool operator==(const InstanceState&, const InstanceState&) = default;
};

// Does the same thing run, whatever the mode?
[[nodiscard]] inline bool same_version(const InstanceState& a, const InstanceState& b) {
  return a.manifest == b.manifest && a.host == b.host;
}

// A hook with scope 'service', to be performed once on this host, before the instance's own change.
struct Duty {
  std::string token;      // unique per (rollout, hook, direction); what makes "once" true
  std::string hook;       // migrate | contract
  std::string direction;  // up | down
  Digest owner;           // the manifest whose hook it is
  Digest from;            // none: there is no such version
  Digest to;
  friend bool operator==(const Duty&, const Duty&) = default;
};

struct TargetEntry {
  std::optional<InstanceState> wanted;  // nullopt: shall be absent
  std::string attempt;                  // tried once per value; a new value tries again
  std::optional<Duty> duty;
  friend bool operator==(const TargetEntry&, const TargetEntry&) = default;
};

// Agents refuse a target whose (epoch, seq) is older than the one they have.
struct Target {
  std::uint64_t epoch = 0;
  std::uint64_t seq = 0;
  std::map<std::string, TargetEntry> instances;  // by service
  // Who may reach the host's ports. nullopt: the controller does not know (it has never heard of
  // any, or its store is older than the host), and what is in force stays.
  std::optional<Admissions> admissions{};
  // Who signed what is wanted here; hosts with a trust list look at it. nullopt: nobody.
  std::optional<Attestation> attestation{};
  friend bool operator==(const Target&, const Target&) = default;
};

enum class Health : std::uint8_t { unknown, healthy, unhealthy };
[[nodiscard]] std::string_view health_name(Health health);

// How an attempt (or a duty) ended.
struct Outcome {
  enum class Result : std::uint8_t { done, reverted, failed, inconsistent, waiting };
  std::string attempt;
  Result result = Result::done;
  std::string step;     // where it failed: "validate", …
  int exit_status = 0;  // of the hook, when a hook failed
  std::string message;  // one sentence
  std::string tail;     // the last lines of the hook's output
  bool unconfirmed = false;
  std::string lost{};  // after a way back: what could not be brought back, as a sentence; or ""
  friend bool operator==(const Outcome&, const Outcome&) = default;
};
[[nodiscard]] std::string_view outcome_name(Outcome::Result result);

struct InstanceReport {
  std::optional<InstanceState> applied;  // nullopt: nothing is there
  Health health = Health::unknown;
  std::string health_reason;
  bool serves = false;  // unhealthy, but its daemon is at work and its validate hook content
  std::string step;     // the transition's step that runs now, or ""
  std::optional<Outcome> outcome;         // of the last attempt
  std::map<std::string, Outcome> duties;  // token → how it ended (kept for the last 32)
  friend bool operator==(const InstanceReport&, const InstanceReport&) = default;
};

// The agent's whole present state; sent whenever it changes. Events ride along until acknowledged.
struct HostReport {
  std::string host;
  std::string boot_id;
  std::uint64_t epoch = 0;  // of the target that it holds
  std::uint64_t seq = 0;
  std::uint64_t number = 0;  // grows with each report of this agent
  std::map<std::string, std::string> facts;
  std::map<std::string, InstanceReport> instances;
  std::optional<AccessReport> access;  // nullopt: an agent that does not know of access
  Json::Array events;                  // { at, kind, service, resource, text, diff, … }
  std::string untrusted{};      // why it refuses its target as not signed; "" when it does not
  std::uint64_t statement = 0;  // the newest signed statement that it has accepted; 0: none
};

// An agent sends a few hundred at most; the rest waits for its next report.
inline constexpr std::size_t kMostEventsPerReport = 1000;

[[nodiscard]] Json instance_state_to_json(const InstanceState& state);
[[nodiscard]] Result<InstanceState> instance_state_from_json(const Json& json,
                                                             const std::string& path);
[[nodiscard]] Json duty_to_json(const Duty& duty);
[[nodiscard]] Result<Duty> duty_from_json(const Json& json, const std::string& path);
[[nodiscard]] Json target_entry_to_json(const TargetEntry& entry);
[[nodiscard]] Result<TargetEntry> target_entry_from_json(const Json& json, const std::string& path);
[[nodiscard]] Json target_to_json(const Target& target);
[[nodiscard]] Result<Target> target_from_json(const Json& json);
[[nodiscard]] Json outcome_to_json(const Outcome& outcome);
[[nodiscard]] Result<Outcome> outcome_from_json(const Json& json, const std::string& path);
[[nodiscard]] Json instance_report_to_json(const InstanceReport& report);
[[nodiscard]] Result<InstanceReport> instance_report_from_json(const Json& json,
                                                               const std::string& path);
[[nodiscard]] Json host_report_to_json(const HostReport& report);
[[nodiscard]] Result<HostReport> host_report_from_json(const Json& json);

}  // namespace consort::plan
