// The last rules of the firewall as a file in the agent's data folder, for the time between a boot
// and the agent's start: whatever init starts earlier finds its ports guarded. Used by the
// firewall's strand.
#pragma once

#include <functional>
#include <string>

#include "agent/supervisors/supervisor.h"
#include "base/files.h"
#include "plan/admission.h"

namespace consort::agent {

class BootRules {
 public:
  // `tell` gets a trouble once, from the caller's thread; "" when it is over.
  BootRules(fs::path file, Supervisor& supervisor, std::function<void(const std::string&)> tell);

  // From the next boot on; call it before the rules themselves are written. `services` stand behind
  // the ports; true: none of their daemons may start where the rules cannot be loaded. Admissions
  // that are empty leave nothing behind.
  void keep(const plan::Admissions& admissions, const std::map<std::string, bool>& services,
            const fs::path& nft);
  void forget();

 private:
  [[nodiscard]] Status put(const plan::Admissions& admissions,
                           const std::map<std::string, bool>& services, const fs::path& nft);
  [[nodiscard]] Status remove();
  void take_note(const Status& status);

  fs::path file_;
  Supervisor& supervisor_;
  std::function<void(const std::string&)> tell_;
  std::string trouble_;
};

}  // namespace consort::agent
