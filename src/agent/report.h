// What a pass found and did. JSON for programs, lines for people; exit status as in `consort
// apply`.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "agent/resource.h"

namespace consort::agent {

enum class Outcome : std::uint8_t { kept, repaired, failed, skipped };
[[nodiscard]] std::string_view outcome_name(Outcome outcome);

// Whether a change was asked for (a new wish) or undoes what somebody else did.
enum class Cause : std::uint8_t { none, intended, corrective };

struct ResourceReport {
  std::string name;
  std::string_view type;
  Outcome outcome = Outcome::kept;
  Cause cause = Cause::none;
  std::string reason;
  std::string hint;
  std::vector<Change> changes;
  std::vector<std::string> notes;
  std::vector<std::string> commands;
  std::optional<Digest> backup;
  Duration elapsed{};
  bool flapping = false;
  bool blocks = false;  // dependents cannot go on: failed, waiting, or skipped because of that
};

struct PassReport {
  bool dry_run = false;
  bool full_audit = false;
  std::size_t kept = 0;
  std::size_t repaired = 0;
  std::size_t failed = 0;
  std::size_t skipped = 0;
  std::vector<ResourceReport> resources;  // in order; those kept only when asked for
  std::vector<std::string> warnings;
  Duration elapsed{};

  // 0 all kept, 2 some repaired, 4 some failed, 6 both.
  [[nodiscard]] int exit_status() const;
  [[nodiscard]] const ResourceReport* find(std::string_view name) const;
};

[[nodiscard]] Json report_to_json(const PassReport& report);
// One line per resource that is not kept, its diff indented, and one line of totals.
[[nodiscard]] std::string render_report(const PassReport& report);

}  // namespace consort::agent
