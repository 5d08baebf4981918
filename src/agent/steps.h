// Performs the steps of a transition on this host. Blocking; one step of a service at a time, on
// the thread that uses its Keeper. Every step may be performed again after a crash.
#pragma once

#include <string>

#include "agent/core.h"
#include "agent/hooks.h"
#include "agent/keeper.h"

namespace consort::agent {

class Steps {
 public:
  Steps(Workshop& workshop, std::string service, Keeper& keeper);

  [[nodiscard]] transition::StepResult perform(const PerformStep& work);

  // Starts a service that its hook starts, once per boot; daemons are the supervisor's.
  [[nodiscard]] Status start_after_boot(const Version& version);

 private:
  using StepResult = transition::StepResult;
  [[nodiscard]] Result<StepResult> dispatch(const PerformStep& work);
  [[nodiscard]] Result<StepResult> hook(const PerformStep& work, const fs::path& snapshot = {});
  [[nodiscard]] Status load_versions(const PerformStep& work);
  [[nodiscard]] const Version* owner_of(const PerformStep& work) const;
  [[nodiscard]] std::string direction_of(const PerformStep& work) const;

  [[nodiscard]] Status fetch(const transition::Transition& transition);
  [[nodiscard]] Status fetch_secrets(const Version& version);
  [[nodiscard]] Status mend_artifacts(const transition::Transition& t, const Version& version);
  [[nodiscard]] Status preflight(const transition::Transition& transition);
  [[nodiscard]] Status check_data(const transition::Transition& transition);
  // Errors: io, when fewer than `needed` bytes are free.
  [[nodiscard]] Status check_free(std::uint64_t needed) const;
  [[nodiscard]] Status check_space(const transition::Transition& transition);
  [[nodiscard]] Result<StepResult> stop(const PerformStep& work);
  [[nodiscard]] Result<StepResult> backup(const PerformStep& work);
  [[nodiscard]] Result<StepResult> restore(const PerformStep& work);
  [[nodiscard]] Result<StepResult> setup(const PerformStep& work);
  [[nodiscard]] Result<StepResult> start(const PerformStep& work);
  [[nodiscard]] Result<StepResult> validate(const PerformStep& work);
  [[nodiscard]] Status switch_to(const Version* version, const Version* from);
  [[nodiscard]] Status remember_reachable();
  [[nodiscard]] StepResult confirm();
  [[nodiscard]] Status commit(const transition::Transition& transition);
  [[nodiscard]] Result<StepResult> switch_back(const PerformStep& work);
  [[nodiscard]] Status remove();
  // Waits a moment and tells why the daemon does not run, or runs again and again.
  [[nodiscard]] Status watch_daemon();

  Workshop& shop_;
  std::string service_;
  Keeper& keeper_;
  ServiceFiles files_;
  std::optional<Version> old_;
  std::optional<Version> new_;
  std::optional<Version> duty_owner_;
};

}  // namespace consort::agent
