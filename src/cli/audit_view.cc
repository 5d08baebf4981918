#include "cli/audit_view.h"

#include <fmt/format.h>

#include "base/text.h"
#include "cli/layout.h"
#include "cli/terminal.h"

namespace consort::cli {
namespace {

std::string deed_of(const access::AuditNote& note) {
  return note.outcome == access::AuditNote::Outcome::done
             ? note.action
             : fmt::format("{} {}", note.action, access::outcome_name(note.outcome));
}

std::string narrow(const std::vector<access::AuditEntry>& entries, std::size_t width) {
  std::string out;
  const std::string margin(4, ' ');
  for (const access::AuditEntry& entry : entries) {
    const access::AuditNote& note = entry.note;
    const std::string head =
        fmt::format("{}  {}  {}{}{}", entry.number, shown_time(format_instant(note.at)),
                    paint(Colour::bold, printable(deed_of(note), Lines::one)),
                    note.subject.empty() ? "" : "  ", printable(note.subject, Lines::one));
    std::string below = "by " + note.who;
    if (!note.from.empty()) below += " from " + note.from;
    if (!note.after.empty()) below += ": " + note.after;
    if (!note.reason.empty()) below += fmt::format(" ({})", note.reason);
    below = printable(std::move(below), Lines::one);
    out += wrap(head, width, 0, margin) + "\n" + margin + wrap(below, width, 4, margin) + "\n";
  }
  return out;
}

}  // namespace

std::string render_audit(const std::vector<access::AuditEntry>& entries, std::size_t width) {
  std::vector<Cells> rows = {{"#", "WHEN", "WHO", "FROM", "DID", "TO", "AFTER", "WHY"}};
  for (const access::AuditEntry& entry : entries) {
    const access::AuditNote& note = entry.note;
    rows.push_back({std::to_string(entry.number), shown_time(format_instant(note.at)), note.who,
                    note.from, deed_of(note), note.subject, note.after, note.reason});
  }
  std::size_t needed = 0;
  for (const std::size_t column : column_widths(rows)) needed += column + 2;
  return width == 0 || needed <= width + 2 ? table(rows, Header::yes, width)
                                           : narrow(entries, width);
}

}  // namespace consort::cli
