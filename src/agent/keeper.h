// Keeps one service's resources and its daemon as its manifest says. Used by one thread at a time.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "agent/converge.h"
#include "agent/originals.h"
#include "agent/supervisors/supervisor.h"
#include "agent/workshop.h"

namespace consort::agent {

enum class DaemonPart : std::uint8_t { with, without };

class Keeper {
 public:
  // Errors: io.
  [[nodiscard]] static Result<std::unique_ptr<Keeper>> create(Workshop& workshop,
                                                              const std::string& service);

  // What a set of resources would be, checked whole: the first of mistakes_of().
  [[nodiscard]] Status check(const Version& version) const;
  // What the resources of this version decide on, and what of it with all that is below.
  struct Interests {
    PathSet claimed;
    PathSet owned;
  };
  [[nodiscard]] Result<Interests> interests_of(const Version& version) const;
  // Claims what these versions keep, until set() or clear(): no other service may purge it.
  [[nodiscard]] Status announce(const std::vector<Version>& versions) const;
  // Sets what is to be kept from now on; changes nothing by itself. Errors: as check().
  [[nodiscard]] Status set(const Version& version, DaemonPart daemon);
  [[nodiscard]] Status clear();
  [[nodiscard]] PassReport pass(const PassOptions& options = {});
  // Gives up what is owned and no longer in the set, the daemon aside. What cannot be undone now is
  // told, and tried again by the next call.
  [[nodiscard]] Status release_leftovers();

  // The way back of a transition, which its step that switches over (or removes) names by its
  // token. Begun, and not closed, what is changed is remembered. begin may be said again; open goes
  // on where an earlier life was, and does nothing for another step than the one that was begun.
  // Errors: io.
  [[nodiscard]] Status begin_way_back(const std::string& step);
  [[nodiscard]] Status open_way_back(const std::string& step);
  void close_way_back();
  // Puts back what was changed, and the ledger; what could not be put back. Does nothing for
  // another step. The old version is to be set, and looked after, next.
  using Lost = std::vector<Originals::Lost>;
  [[nodiscard]] Result<Lost> go_back(const std::string& step);
  // Of these, what is still not as it was, with the old version in place: "/a (why)".
  [[nodiscard]] Result<std::vector<std::string>> still_lost(const Lost& lost);
  [[nodiscard]] Status forget_way_back();
  // The folders of the service's data get the owner that the version's daemon runs as.
  [[nodiscard]] Status hand_over(const Version& version);
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
        originals_(workshop.host.data / "state/originals" / service_, files_.folder()) {}
  [[nodiscard]] Result<std::map<std::string, Json>> specs_of(const Version& version,
                                                             DaemonPart daemon) const;
  [[nodiscard]] Json artifact_spec(const plan::Artifact& artifact) const;
  [[nodiscard]] Result<Json> daemon_spec(const Version& version) const;
  void note_release(const ReleaseReport& report);

  Workshop& workshop_;
  std::string service_;
  ServiceFiles files_;
  Originals originals_;
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
