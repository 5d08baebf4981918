// The agent's core: which transitions are due, how far they are, what is reported. Pure, like the
// controller's core: the shell makes the writes durable, then performs the work and reports
// results. What restore() is given is all that survives a crash. Not thread-safe: one thread owns
// it.
//
// Keys: target, instances/SERVICE.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "plan/manifest.h"
#include "plan/target.h"
#include "transition/transition.h"

namespace consort::agent {

using Store = std::map<std::string, std::string>;
using Writes = std::map<std::string, std::optional<std::string>>;  // nullopt: erase

// Get these manifests into the local object store and answer with on_manifests().
struct LoadManifests {
  std::string service;
  std::set<Digest> digests;
};

// Perform one step of a transition and answer with on_step(). The journal is durable already.
struct PerformStep {
  std::string service;
  transition::StepOrder order;
  transition::Transition transition;
};

// Let these in and no others, then answer with on_access(). What stands behind it in the same
// Output, and the work of every later one, begins only then: nothing of a target starts before its
// ports are guarded, whichever target brought the rules.
struct GuardPorts {
  plan::Admissions admissions;
  // Who offers a guarded port; true: one at which strangers are refused.
  std::map<std::string, bool> services;
  friend bool operator==(const GuardPorts&, const GuardPorts&) = default;
};

using Work = std::variant<GuardPorts, LoadManifests, PerformStep>;

struct Output {
  Writes writes;
  std::vector<Work> work;
  bool report = false;  // what report() says has changed
};

struct Instance {
  std::optional<plan::InstanceState> applied;
  std::vector<Digest> history;  // manifests in the order in which they were first deployed here
  bool has_data = false;        // its data folder has been set up
  bool keeps_data = false;      // a version of it has a dataVersion: its history outlives it
  plan::Health health = plan::Health::unknown;  // not stored
  std::string health_reason;                    // not stored
  bool serves = false;                          // unhealthy, but at work; not stored
  std::optional<plan::Outcome> outcome;
  std::map<std::string, plan::Outcome> duties;
  std::vector<std::string> duty_order;  // their tokens as they were concluded, the oldest first
  std::optional<transition::Transition> transition;
  // A way back that broke off: whatever comes next, this is done first, and nothing is started
  // before it.
  std::optional<transition::Transition> owed;
  bool loading = false;  // not stored: LoadManifests is under way
};

class Core {
 public:
  // A service whose record cannot be read is damaged(): nothing of it is changed, the others go on.
  // Errors: corrupt (the target), with the key.
  [[nodiscard]] static Result<Core> restore(const Store& store);

  // What of the manifests_in_use() is on this host. Call it before start(): only ports that these
  // offer are guarded.
  void learn(const std::map<Digest, plan::Manifest>& manifests);
  // After a start of the agent: transitions that were under way go on, or walk back.
  Output start();
  // Error refused for an older (epoch, seq) than the one it has. The same one is ignored.
  [[nodiscard]] Result<Output> on_target(const plan::Target& target);
  // The manifests that LoadManifests asked for, or why they could not be had (then it is asked
  // again by retry()).
  Output on_manifests(const std::string& service,
                      const std::map<Digest, plan::Manifest>& manifests);
  Output on_manifests_failed(const std::string& service, const std::string& why);
  Output on_step(const std::string& service, const std::string& token,
                 const transition::StepResult& result);
  // The same for an agent that ends: what was done is recorded, and nothing new begins.
  Output on_last_step(const std::string& service, const std::string& token,
                      const transition::StepResult& result);
  Output on_health(const std::string& service, plan::Health health, const std::string& reason,
                   bool serves = false);
  // The operator has taken a damaged record away: the service comes to this host anew. `has_data`:
  // its data folder was set up by an earlier installation.
  Output on_record_removed(const std::string& service, bool has_data);
  // How it stands with the ports: after GuardPorts, and whenever that has changed.
  Output on_access(const plan::AccessReport& access);
  // Asks again for what could not be loaded. Call when the controller answers, or after a while.
  Output retry();

  // Whom the target lets in at the ports that `provides` of a version names which is here, or on
  // its way here; empty when nothing is guarded. Versions may be signed, admissions never are.
  [[nodiscard]] plan::Admissions admissions() const;
  // The same, and who stands behind them.
  [[nodiscard]] GuardPorts guarded() const;
  // The others. A rollout tells of a port before it brings what listens there.
  [[nodiscard]] plan::Admissions held_admissions() const;
  [[nodiscard]] const plan::Target& target() const { return target_; }
  [[nodiscard]] const std::map<std::string, Instance>& instances() const { return instances_; }
  // Services whose record cannot be read, and what to do about it.
  [[nodiscard]] const std::map<std::string, std::string>& damaged() const { return damaged_; }
  // Instances, epoch and seq; host, boot id, facts, number and events are the shell's to fill in.
  [[nodiscard]] plan::HostReport report() const;
  // Every manifest that a target, a transition or an applied instance refers to.
  [[nodiscard]] std::set<Digest> manifests_in_use() const;
  // No transition is under way or due for this service: the converge loop may repair it.
  [[nodiscard]] bool is_settled(const std::string& service) const;

 private:
  Core() = default;
  void consider(const std::string& service, Output& out);
  Output begin_due(const std::string& service, const std::map<Digest, plan::Manifest>& manifests);
  [[nodiscard]] bool is_due(const Instance& instance, const plan::TargetEntry& entry) const;
  void go_on(const std::string& service, Output& out);
  bool record(const std::string& service, const std::string& token,
              const transition::StepResult& result);
  void conclude(const std::string& service, const transition::Ended& end, Output& out);
  void conclude_duty(const std::string& service, const plan::Outcome& outcome);
  void save(const std::string& service, Output& out) const;
  void forget_what_left_no_trace(Output& out);
  [[nodiscard]] plan::InstanceReport report_damaged(const std::string& service) const;

  [[nodiscard]] std::set<Digest> manifests_of(const std::string& service) const;
  [[nodiscard]] std::map<std::int64_t, std::set<std::string>> offered_ports() const;
  [[nodiscard]] bool is_unread(const std::string& service) const;
  [[nodiscard]] std::pair<plan::Admissions, plan::Admissions> taken_and_held() const;
  void order_guard(Output& out);
  [[nodiscard]] bool is_unguarded(const std::string& service) const;

  plan::Target target_;
  std::map<std::string, Instance> instances_;
  std::map<std::string, std::string> damaged_;       // none of these is in instances_
  std::optional<plan::AccessReport> access_;         // not stored: nullopt until the shell has told
  std::map<Digest, std::set<std::int64_t>> offers_;  // ports of manifests in use; not stored
  GuardPorts ordered_;                               // the last one; not stored
};

[[nodiscard]] Json instance_to_json(const Instance& instance);
[[nodiscard]] Result<Instance> instance_from_json(const Json& json);

}  // namespace consort::agent
