// Running a hook: a program of one version that acts between two. Blocking.
//
// Environment: CONSORT_HOOK, CONSORT_DIRECTION (up | down), CONSORT_HOST, CONSORT_ADDRESS,
// CONSORT_SERVICE, CONSORT_OLD and CONSORT_NEW (the versions' folders, "" for none; artifacts/NAME
// are links in them), CONSORT_DATA, CONSORT_RUN, CONSORT_SNAPSHOT, CONSORT_SCRATCH (empty, also the
// working folder), CONSORT_TOKEN, CONSORT_ROOT, CONSORT_ARTIFACT_<NAME> (of the version whose hook
// it is; upper case, '_' for other characters). Standard input: { old, new }, each null or what
// ServiceFiles::describe says. Exit status: transition::status_of_exit. A hook that runs out of
// time is killed with its process group.
#pragma once

#include <optional>
#include <string>

#include "agent/workshop.h"
#include "transition/transition.h"

namespace consort::agent {

struct HookRun {
  std::string name;  // of the hook
  std::string direction = "up";
  std::string token;
  const Version* owner = nullptr;
  const Version* old_version = nullptr;  // null: there is none
  const Version* new_version = nullptr;
  fs::path snapshot;              // "" for none
  std::optional<Duration> limit;  // shorter than the hook's own
  // Asked again and again: only what goes wrong is worth a place in the log.
  bool log_failures_only = false;
};

// A hook that the owner does not have is ok at once.
[[nodiscard]] transition::StepResult run_hook(Workshop& workshop, const std::string& service,
                                              const HookRun& run);

// Ends what a killed agent's hook left running: every process with this token in its environment.
void end_leftovers(const fs::path& data, const std::string& token);

}  // namespace consort::agent
