#include "cli/events.h"

#include <algorithm>

#include "base/text.h"
#include "cli/layout.h"
#include "cli/terminal.h"

namespace consort::cli {
namespace {

Colour colour_of(std::string_view kind) {
  if (kind == "step-failed" || kind == "unreachable" || kind == "failed" || kind == "flapping")
    return Colour::red;
  if (kind == "repaired" || kind == "reverting" || kind == "warning") return Colour::yellow;
  return kind == "step-done" || kind == "generation" ? Colour::green : Colour::plain;
}

Colour colour_of_diff(std::string_view line) {
  if (line.starts_with('+')) return Colour::green;
  return line.starts_with('-') ? Colour::red : Colour::dim;
}

}  // namespace

std::string EventPrinter::place(const Json& event) const {
  std::string host = event.string_or("host");
  std::string service = event.string_or("service");
  if (where_ == Where::service) return service;
  if (where_ == Where::host || service.empty()) return host;
  return host.empty() ? service : service + "@" + host;
}

void EventPrinter::measure(const Json& event) {
  kind_width_ = std::max(kind_width_, display_width(event.string_or("kind")));
  place_width_ = std::max(place_width_, display_width(place(event)));
}

std::string EventPrinter::render(const Json& event) {
  measure(event);
  const std::string at = event.string_or("at");
  const bool short_time = width_ > 0 && at.size() > 19;
  std::string out;
  if (short_time && at.substr(0, 10) != day_) {
    day_ = at.substr(0, 10);
    out = paint(Colour::bold, day_) + "\n";
  }
  const std::string time = short_time ? shown_time_of_day(at) : shown_time(at);
  const std::string kind = event.string_or("kind");
  std::vector<std::string> lines = split(event.string_or("text"), '\n');
  while (lines.size() > 1 && lines.back().empty()) lines.pop_back();
  out += lay_row({paint(Colour::dim, time), paint(colour_of(kind), kind), place(event), lines[0]},
                 {time.size(), kind_width_, place_width_, 0}, width_);
  const std::string margin = paint(Colour::dim, "    │ ");
  for (std::size_t i = 1; i < lines.size(); ++i)
    out += margin + wrap(paint(colour_of_diff(lines[i]), lines[i]), width_, 6, margin) + "\n";
  return out;
}

}  // namespace consort::cli
