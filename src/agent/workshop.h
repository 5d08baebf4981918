// What the agent's workers work with: stores, supervisor, the way to the controller, the host's
// identity. Made once at the start; everything in it is thread-safe.
#pragma once

#include <sys/types.h>

#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <string>

#include "agent/claims.h"
#include "agent/fetch.h"
#include "agent/firewall.h"
#include "agent/kept.h"
#include "agent/secrets.h"
#include "agent/service_files.h"
#include "agent/supervisors/supervisor.h"
#include "base/json.h"
#include "base/time.h"
#include "objects/store.h"

namespace consort::agent {

// The process groups of hooks that run, so that an agent that ends leaves none behind.
class RunningHooks {
 public:
  void add(pid_t group);
  void remove(pid_t group);
  // SIGKILL to all of them and to those that come later.
  void end_all();
  [[nodiscard]] bool ended() const;

 private:
  mutable std::mutex mutex_;
  std::set<pid_t> groups_;
  bool ended_ = false;
};

struct Workshop {
  HostIdentity host;
  Duration confirm_time = seconds(30);
  Duration fetch_patience = minutes(2);
  objects::ObjectStore store;    // manifests, artifacts, snapshots
  objects::ObjectStore backups;  // what resources replaced
  std::unique_ptr<Supervisor> supervisor;
  std::unique_ptr<Fetcher> fetcher;
  std::unique_ptr<Secrets> secrets;  // null (in tests): files with secrets fail
  KeptFiles kept;
  std::function<void(Json)> note;    // an event, for the history and the controller
  std::function<void(Json)> record;  // for the history alone
  std::unique_ptr<RunningHooks> hooks = std::make_unique<RunningHooks>();
  std::unique_ptr<Claims> claims = std::make_unique<Claims>();
  FirewallChoice firewall = FirewallChoice::automatic;
};

}  // namespace consort::agent
