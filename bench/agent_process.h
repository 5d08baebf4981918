// A whole agent in a process of its own, with a controller of a few lines: for what only the real
// thing can show (memory, drift repaired from outside).
#pragma once

#include <memory>
#include <string>

#include "base/files.h"
#include "plan/manifest.h"

namespace consort::bench {

// If the program was started as an agent, a shim or a daemon of this benchmark: its exit status.
[[nodiscard]] std::optional<int> run_as_part(int argc, char** argv);

class AgentProcess {
 public:
  // Below `folder`: data/, root/, controller/. Starts the agent and waits until it has applied the
  // manifests.
  [[nodiscard]] static std::unique_ptr<AgentProcess> start(
      const fs::path& folder, const std::vector<plan::Manifest>& manifests);
  // Ends it, and its daemons.
  ~AgentProcess();
  AgentProcess(const AgentProcess&) = delete;
  AgentProcess& operator=(const AgentProcess&) = delete;

  [[nodiscard]] pid_t pid() const;

 private:
  struct Impl;
  explicit AgentProcess(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// A daemon that tells `socket` its pid when it runs, and then waits: the argv for it.
[[nodiscard]] std::vector<std::string> telling_daemon(const fs::path& socket);

}  // namespace consort::bench
