// Keeps one service's resources and its daemon as its manifest says. Used by one thread at a time.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "agent/converge.h"
#include "agent/removals.h"
#include "agent/supervisors/supervisor.h"
#include "agent/workshop.h"

namespace consort::agent {

enum class DaemonPart : std::uint8_t { with, without };
// Whether a way back may still ask for what is removed now.
enum class WayBack : std::uint8_t { open, closed };

class Keeper {
 public:
  // Errors: io.
  [[nodiscard]] static Result<std::unique_ptr<Keeper>> create(Workshop& workshop,
                                                              const std::string& service);

  // What a set of resources would be, checked whole: the first of mistakes_of().
  [[nodiscard]] Status check(const Version& version) const;
  // Claims what these versions keep, until set() or clear(): no other service may purge it.
  [[nodiscard]] Status announce(const std::vector<Version>& versions) const;
  // Sets what is to be kept from now on; changes nothing by itself. Errors: as check().
  [[nodiscard]] Status set(const Version& version, DaemonPart daemon);
  [[nodiscard]] Status clear();
  [[nodiscard]] PassReport pass(const PassOptions& options = {});
  // Gives up what is owned and no longer in the set, the daemon aside. What cannot be undone now is
  // told, and tried again by the next call.
  [[nodiscard]] Status release_leftovers();
  // While it is open, what purges remove is kept for bring_back_removed(). Closed at first.
  void set_way_back(WayBack way_back);
  // What purges have removed since forget_removed(), and could not be brought back: "/a (why)".
  [[nodiscard]] Result<std::vector<std::string>> bring_back_removed();
  [[nodiscard]] Status forget_removed();
  [[nodiscard]] std::map<std::string, std::vector<std::string>> watches() const {
    return converger_->watches();
  }

  // The daemon of the version that is set, as far as readiness is concerned; nullopt when it has
  // none.
  [[nodiscard]] const std::optional<DaemonSpec>& daemon() const { return daemon_; }
  // "daemon", or the name in the manifest.
  [[nodiscard]] std::string resource_of(const std::string& name) const;
  [[nodiscard]] std::string name_of(const std::string& resource) const {
    return name_on_host(service_, resource);
  }

 private:
  Keeper(Workshop& workshop, std::string service)
      : workshop_(workshop),
        service_(std::move(service)),
        files_(workshop.host, service_),
        removals_(workshop.host.data / "state/removed" / (service_ + ".jsonl")) {}
  [[nodiscard]] Result<std::map<std::string, Json>> specs_of(const Version& version,
                                                             DaemonPart daemon) const;
  [[nodiscard]] Result<Json> daemon_spec(const Version& version) const;
  void note_release(const ReleaseReport& report);

  Workshop& workshop_;
  std::string service_;
  ServiceFiles files_;
  Removals removals_;
  std::unique_ptr<Converger> converger_;
  std::set<std::string> warned_;  // what could not be given up, the last time
  std::optional<DaemonSpec> daemon_;
};

// The first resource that is not as it should be, as a sentence; "" when all are.
[[nodiscard]] std::string first_trouble(const Keeper& keeper, const PassReport& report);
// Tells what a pass repaired and what failed.
[[nodiscard]] std::vector<Json> events_of(const Keeper& keeper, const std::string& service,
                                          const PassReport& report, Instant now);

}  // namespace consort::agent
