#include "cli/plan_view.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "cli/terminal.h"

namespace consort::cli {
namespace {

constexpr std::size_t kShownHosts = 6;

std::string coloured(plan::Action action) {
  const std::string name = fmt::format("{:<11}", plan::action_name(action));
  switch (action) {
    case plan::Action::install:
    case plan::Action::resume:
      return paint(Colour::green, name);
    case plan::Action::remove:
    case plan::Action::stop:
    case plan::Action::drain:
      return paint(Colour::red, name);
    case plan::Action::duty:
      return paint(Colour::cyan, fmt::format("{:<11}", "once"));
    default:
      return paint(Colour::yellow, name);
  }
}

// Steps of one wave that differ in their host only stand on one line.
std::string render_wave(const plan::Plan& plan, const plan::Wave& wave, std::size_t number) {
  struct Line {
    plan::Action action;
    std::string service;
    std::string reason;
    std::vector<std::string> hosts;
  };
  std::vector<Line> lines;
  for (const int id : wave.steps) {
    const plan::Step& step = plan.steps[static_cast<std::size_t>(id)];
    const auto same = std::find_if(lines.begin(), lines.end(), [&](const Line& l) {
      return l.action == step.action && l.service == step.service && l.reason == step.reason;
    });
    if (same == lines.end()) {
      lines.push_back({step.action, step.service, step.reason, {step.host}});
    } else {
      same->hosts.push_back(step.host);
    }
  }
  std::string out =
      paint(Colour::bold, fmt::format("wave {}", number)) +
      paint(Colour::dim,
            fmt::format("  {}{}", wave.name,
                        wave.soak.count() > 0 ? ", soaks " + human_duration(wave.soak) : "")) +
      "\n";
  for (const Line& line : lines) {
    std::string hosts =
        join(std::vector<std::string>(line.hosts.begin(),
                                      line.hosts.begin() + static_cast<std::ptrdiff_t>(std::min(
                                                               line.hosts.size(), kShownHosts))),
             " ");
    if (line.hosts.size() > kShownHosts)
      hosts += fmt::format(" and {} more", line.hosts.size() - kShownHosts);
    out += fmt::format("  {} {:<20} {:<24} {}\n", coloured(line.action), line.service, hosts,
                       paint(Colour::dim, line.reason));
  }
  return out;
}

std::string render_change(const plan::Change& change) {
  if (change.diff.find('\n') == std::string::npos)
    return fmt::format("    {}: {}\n", change.path, change.diff);
  std::string out = fmt::format("    {}:\n", change.path);
  for (const std::string& line : split(change.diff, '\n')) {
    if (line.empty()) continue;
    const Colour colour = line[0] == '+'   ? Colour::green
                          : line[0] == '-' ? Colour::red
                                           : Colour::dim;
    out += "      " + paint(colour, line) + "\n";
  }
  return out;
}

}  // namespace

std::string render_plan(const plan::Plan& plan, Detail detail) {
  std::string out;
  for (const plan::JointOutage& outage : plan.outages) {
    out += paint(Colour::yellow, "joint outage: ") +
           fmt::format("{} takes {} away meanwhile ({}){}\n", outage.provider,
                       join(outage.dependents, ", "), outage.reason,
                       outage.affected.empty()
                           ? ""
                           : fmt::format("; {} run{} on without", join(outage.affected, ", "),
                                         outage.affected.size() == 1 ? "s" : ""));
  }
  std::size_t number = 0;
  for (const plan::Wave& wave : plan.waves) out += render_wave(plan, wave, ++number);
  if (detail == Detail::normal && !plan.changes.empty()) {
    out += paint(Colour::bold, "what changes") + "\n";
    std::string service;
    for (const plan::Change& change : plan.changes) {
      if (change.service != service) out += "  " + change.service + "\n";
      service = change.service;
      out += render_change(change);
    }
  }
  for (const plan::AccessChange& change : plan.access)
    out += paint(Colour::cyan, "access ") + plan::access_change_text(change) + "\n";
  for (const std::string& text : plan.detached)
    out += paint(Colour::dim,
                 fmt::format("detached (in no inventory any more, left alone): {}", text)) +
           "\n";
  if (!plan.unreachable.empty())
    out +=
        paint(Colour::red, fmt::format("cannot be reached now: {}", join(plan.unreachable, ", "))) +
        "\n";
  return out + plan::plan_totals(plan) + "\n";
}

}  // namespace consort::cli
