#include "agent/report.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"

namespace consort::agent {
namespace {

Json cause_json(Cause cause) {
  if (cause == Cause::none) return Json();
  return cause == Cause::intended ? "intended" : "corrective";
}

Json text_or_null(const std::string& text) { return text.empty() ? Json() : Json(text); }

Json resource_json(const ResourceReport& item) {
  Json changes = Json::array();
  for (const Change& change : item.changes) {
    changes.push_back(Json::object({{"what", change.what},
                                    {"before", change.before},
                                    {"after", change.after},
                                    {"diff", text_or_null(change.diff)}}));
  }
  return Json::object({
      {"name", item.name},
      {"type", item.type},
      {"outcome", outcome_name(item.outcome)},
      {"cause", cause_json(item.cause)},
      {"reason", text_or_null(item.reason)},
      {"hint", text_or_null(item.hint)},
      {"changes", changes},
      {"notes", Json::array_of(item.notes)},
      {"commands", Json::array_of(item.commands)},
      {"backup", item.backup ? Json(item.backup->str()) : Json()},
      {"elapsed", format_duration(item.elapsed)},
      {"flapping", item.flapping},
  });
}

std::string change_line(const Change& change) {
  if (change.before.empty()) return fmt::format("    {}: {}\n", change.what, change.after);
  return fmt::format("    {}: {} -> {}\n", change.what, change.before, change.after);
}

}  // namespace

std::string_view outcome_name(Outcome outcome) {
  switch (outcome) {
    case Outcome::kept:
      return "kept";
    case Outcome::repaired:
      return "repaired";
    case Outcome::failed:
      return "failed";
    case Outcome::skipped:
      return "skipped";
  }
  return "?";
}

int PassReport::exit_status() const { return (repaired > 0 ? 2 : 0) + (failed > 0 ? 4 : 0); }

const ResourceReport* PassReport::find(std::string_view name) const {
  const auto it = std::find_if(resources.begin(), resources.end(),
                               [&](const ResourceReport& item) { return item.name == name; });
  return it == resources.end() ? nullptr : &*it;
}

Json report_to_json(const PassReport& report) {
  Json resources = Json::array();
  for (const ResourceReport& item : report.resources) resources.push_back(resource_json(item));
  return Json::object({
      {"dryRun", report.dry_run},
      {"fullAudit", report.full_audit},
      {"kept", report.kept},
      {"repaired", report.repaired},
      {"failed", report.failed},
      {"skipped", report.skipped},
      {"resources", resources},
      {"warnings", Json::array_of(report.warnings)},
      {"elapsed", format_duration(report.elapsed)},
      {"exitStatus", report.exit_status()},
  });
}

std::string render_report(const PassReport& report) {
  std::string out;
  for (const ResourceReport& item : report.resources) {
    if (item.outcome == Outcome::kept) continue;
    const std::string_view word = report.dry_run && item.outcome == Outcome::repaired
                                      ? "would repair"
                                      : outcome_name(item.outcome);
    out += fmt::format("{} {} {}", word, item.type, item.name);
    if (item.cause == Cause::corrective) out += " (drift)";
    if (!item.reason.empty()) out += ": " + item.reason;
    out += '\n';
    for (const Change& change : item.changes) {
      out += change_line(change);
      for (const std::string& line : split(change.diff, '\n')) {
        if (!line.empty()) out += "      " + line + "\n";
      }
    }
    for (const std::string& command : item.commands)
      out += fmt::format("    {}: {}\n", report.dry_run ? "would run" : "ran", command);
    for (const std::string& note : item.notes) out += fmt::format("    note: {}\n", note);
    if (!item.hint.empty()) out += fmt::format("    hint: {}\n", item.hint);
  }
  for (const std::string& warning : report.warnings) out += fmt::format("warning: {}\n", warning);
  out += fmt::format("{} kept, {} {}, {} failed, {} skipped\n", report.kept, report.repaired,
                     report.dry_run ? "to repair" : "repaired", report.failed, report.skipped);
  return out;
}

}  // namespace consort::agent
