// The unit that guards ports at a boot, long before the agent is there, and what makes daemons wait
// for it. Pure.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "base/files.h"

namespace consort::agent {

// No daemon's unit can have this name: theirs begin with "consort-".
inline constexpr std::string_view kBootUnit = "consort.access.service";
inline constexpr std::string_view kBootTarget = "sysinit.target";  // that wants it
// In the folder UNIT.d of a daemon's unit. The unit itself stays as it is: a change of access
// restarts nothing.
inline constexpr std::string_view kBootDropIn = "consort-access.conf";

struct BootGuard {
  fs::path rules;    // a file for the program nft
  fs::path program;  // nft
  // Services that stand behind a guarded port; true: none of their daemons may start while the
  // rules are not there.
  std::map<std::string, bool> services;
};

// Error invalid_input: a path that a unit cannot hold.
[[nodiscard]] Result<std::string> render_boot_unit(const BootGuard& guard);
[[nodiscard]] std::string render_boot_drop_in(bool must);

}  // namespace consort::agent
