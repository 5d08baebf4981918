// Declared access: who may reach which port follows from `provides`, `needs` and `uses`, from where
// services are placed and from the addresses of hosts. Pure functions of generations; nothing here
// is part of a manifest, so a host that joins changes no instance of what it may now reach.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "plan/generation.h"

namespace consort::plan {

// An instance that runs although no generation in force places it so: a straggler, or what a
// broken-off rollout left. Until it is gone it counts with all that it offers and depends on.
struct StillRunning {
  std::string host;
  std::string service;
  const ServiceRecord* record = nullptr;  // of the generation that deployed it
};

struct AccessInput {
  // In force: the current one, and what open rollouts bring. Nobody is cut off before the rollout
  // that ends his need has ended, so what one of them allows is allowed.
  std::vector<const Generation*> generations;
  std::vector<StillRunning> still;
  // host → the address that its agent tells: for those whose inventory knows only a name. One
  // address; a network is nobody's.
  std::map<std::string, std::string> told;
};

// The admissions of every host that has some.
[[nodiscard]] std::map<std::string, Admissions> admissions(const AccessInput& input);

// Does any endpoint of it ask for more than `off`?
[[nodiscard]] bool guards_access(const Generation& generation);

// From where a port is reached: a host, or an address or network that the operator allows beside.
struct AccessSource {
  std::string host;     // "" for what belongs to no host
  std::string address;  // "" for a host that is known by its name alone
  friend auto operator<=>(const AccessSource&, const AccessSource&) = default;
};
// "web1 (10.0.0.7)", "web2", "10.8.0.0/16"
[[nodiscard]] std::string access_source_text(const AccessSource& source);

// One endpoint and who may reach it, for people.
struct Reach {
  std::string service;
  std::string endpoint;
  std::int64_t port = 0;
  AccessMode mode = AccessMode::off;
  std::vector<std::string> hosts;       // that offer it
  std::vector<std::string> dependents;  // services that declare it in needs or uses
  std::vector<AccessSource> who;        // sorted
};
[[nodiscard]] std::vector<Reach> reach_of(const Generation& generation, const std::string& service);

// What a deploy changes for those who reach a port, whatever it changes beside that.
struct AccessChange {
  std::string service;
  std::string endpoint;
  std::int64_t port = 0;
  AccessMode before = AccessMode::off;
  AccessMode after = AccessMode::off;
  std::vector<AccessSource> gained;  // sorted
  std::vector<AccessSource> lost;
  std::vector<std::string> places;  // hosts on which it is guarded from now on
  friend bool operator==(const AccessChange&, const AccessChange&) = default;
};
// `base` may be null. Sorted by service and endpoint. An endpoint that is there no more, or has
// another port now, leaves its old port open: a change to `off`.
[[nodiscard]] std::vector<AccessChange> access_changes(const Generation* base,
                                                       const Generation& after);
// "db/sql (port 5432), enforced: now also web3 (10.0.0.8); no longer web1 (10.0.0.6)"
[[nodiscard]] std::string access_change_text(const AccessChange& change);

[[nodiscard]] Json access_change_to_json(const AccessChange& change);
[[nodiscard]] Result<AccessChange> access_change_from_json(const Json& json,
                                                           const std::string& path);

}  // namespace consort::plan
