// A generation: the numbered, immutable record of a deployed site. As a candidate (number 0) it is
// what a client compiles and asks to be planned or deployed.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/digest.h"
#include "base/json.h"
#include "base/time.h"
#include "budget/budget.h"
#include "plan/target.h"

namespace consort::plan {

enum class OnFailure : std::uint8_t { halt, revert };

struct Policy {
  std::vector<budget::Amount> batches = {{100, true}};  // the last one repeats
  std::optional<budget::Amount> max_unavailable;        // default by class size, see budget.h
  budget::Amount max_failures{0, false};                // failed + unreachable
  Duration soak{0};
  Duration step_timeout = minutes(15);  // an instance that takes longer counts as failed
  OnFailure on_failure = OnFailure::revert;
  std::string one_at_a_time;  // a label; "" for none
  bool allow_outage = false;
  friend bool operator==(const Policy&, const Policy&) = default;
};
[[nodiscard]] Json policy_to_json(const Policy& policy);
// Strict: unknown fields are errors.
[[nodiscard]] Result<Policy> policy_from_json(const Json& json, const std::string& path);

struct Edge {
  enum class Kind : std::uint8_t { needs, uses, after };
  Kind kind = Kind::needs;
  std::string name;      // of the need; "" for after
  std::string service;   // the provider
  std::string endpoint;  // "" for after
  std::int64_t quorum =
      0;  // healthy instances that suffice; 0: not declared (all at first start, 1 later)
  friend bool operator==(const Edge&, const Edge&) = default;
};
[[nodiscard]] inline bool is_hard(const Edge& edge) { return edge.kind != Edge::Kind::uses; }

// A port that a service offers on each of its hosts, and how it is guarded.
struct EndpointRecord {
  std::int64_t port = 0;
  AccessMode access = AccessMode::off;
  std::vector<std::string> also{};  // addresses and networks that may, beside the dependents
  friend bool operator==(const EndpointRecord&, const EndpointRecord&) = default;
};

struct ServiceRecord {
  std::string host_class;
  Digest manifest;
  std::string version;
  std::vector<std::string> hosts;  // sorted: the placement
  std::vector<Edge> edges;
  std::string purpose;
  std::string owner;
  // Values of the host that the manifest uses, sorted: "address", "labels.rack".
  std::vector<std::string> host_values{};
  // Those that have a port. Not part of the manifest: who may reach a port changes nothing that
  // runs.
  std::map<std::string, EndpointRecord> endpoints{};
  friend bool operator==(const ServiceRecord&, const ServiceRecord&) = default;
};

struct HostRecord {
  std::string address;
  std::map<std::string, std::string> labels;
  std::vector<std::string> classes;  // sorted
  friend bool operator==(const HostRecord&, const HostRecord&) = default;
};

struct Generation {
  std::uint64_t number = 0;  // 0: a candidate
  std::uint64_t parent = 0;
  std::string site;
  std::string by;  // who deployed it, from where
  std::string message;
  Instant created{};
  Digest sources;                 // digest of all source files that were read
  std::uint64_t rollback_of = 0;  // the number that this generation brings back, or 0
  std::uint64_t statement = 0;    // the number of its signed statement, or 0
  std::map<std::string, HostRecord> hosts;
  std::map<std::string, std::vector<std::string>> classes;  // class → hosts, sorted
  std::map<std::string, ServiceRecord> services;
  std::map<std::string, std::string>
      broken;  // service → why it could not be evaluated (--keep-going)
  Policy policy;
};

// What this service shall be on this host, with the inventory's values that it uses. A value that
// the inventory does not have is the agent's to know (its own --label and --address).
[[nodiscard]] InstanceState wanted_state(const Generation& generation, const ServiceRecord& service,
                                         const std::string& host);

// The candidate, but services that were not asked for (not in a non-empty `only`, in `except`,
// broken) are as in `base`: there, or absent. `base` may be null. Hosts are the candidate's: one
// that has left the inventory is no place for anything any more.
[[nodiscard]] Generation confined(const Generation& candidate, const Generation* base,
                                  const std::set<std::string>& only,
                                  const std::set<std::string>& except);

// Whether what a client sends agrees with itself: lists sorted and without doubles, each host of
// the classes that have it, each service on hosts of its class. Slots are taken by the classes of a
// host, so nobody may say one thing here and another there. Error invalid_input, with the place.
[[nodiscard]] Status check_agreement(const Generation& candidate);
// The classes of each host, from the hosts of each class.
void derive_classes(Generation& generation);

// The record of a service; null when there is none, or no generation.
[[nodiscard]] const ServiceRecord* find_service(const Generation* generation,
                                                const std::string& name);
// Whether nobody has changed the service: hosts that have left `fleet` make no difference, that is
// nobody's word on it. Either may be null: it is not there.
[[nodiscard]] bool says_the_same(const ServiceRecord* one, const ServiceRecord* other,
                                 const std::map<std::string, HostRecord>& fleet);
// Of which services `candidate` says something else than `base` (null: nothing is there yet).
[[nodiscard]] std::set<std::string> services_that_differ(const Generation* base,
                                                         const Generation& candidate);

[[nodiscard]] Json generation_to_json(const Generation& generation);
[[nodiscard]] Result<Generation> generation_from_json(const Json& json);

// Services in dependency order: level 0 needs nobody. Class services (class:NAME) come before every
// other service of their hosts. Error invalid_input with the path of a hard cycle: "a → b → a".
[[nodiscard]] Result<std::map<std::string, int>> service_levels(
    const std::map<std::string, ServiceRecord>& services);

}  // namespace consort::plan
