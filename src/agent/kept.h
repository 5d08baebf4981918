// What the agent remembers about a service beside the core's journal: the snapshots it keeps, the
// version before this one, whose data it holds. One file per service,
// DATA/state/kept/<service>.json, replaced atomically. Each service is written by one thread at a
// time.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/digest.h"
#include "base/files.h"
#include "base/json.h"

namespace consort::agent {

struct Kept {
  static constexpr std::size_t kMostSnapshots = 3;
  struct Snapshot {
    Digest tree;
    Digest manifest;  // whose backup hook made it
    std::string at;   // RFC 3339
  };
  std::vector<Snapshot> snapshots;           // the newest last
  std::optional<Digest> previous;            // the manifest that ran before the present one
  std::optional<std::int64_t> data_version;  // of the data folder; nullopt: nothing was set up
  std::string started_in_boot;               // the boot in which the start hook ran last
  bool reachable = false;                    // the controller, just before the change under way

  // Adds it as the newest; forgets the oldest beyond the limit.
  void add(Snapshot snapshot);
};

class KeptFiles {
 public:
  explicit KeptFiles(fs::path folder) : folder_(std::move(folder)) {}
  // Empty when there is none. A damaged one is the error corrupt, with the remedy.
  [[nodiscard]] Result<Kept> load(const std::string& service) const;
  [[nodiscard]] Status save(const std::string& service, const Kept& kept) const;
  // Whether its data folder has been set up. Not of a damaged one.
  [[nodiscard]] bool holds_data(const std::string& service) const;
  // Snapshots and previous manifests of all services: what the collector must not take.
  [[nodiscard]] Result<std::vector<Digest>> roots() const;

 private:
  fs::path folder_;
};

}  // namespace consort::agent
