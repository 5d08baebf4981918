#include "cli/plan_view.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "cli/layout.h"
#include "cli/terminal.h"

namespace consort::cli {
namespace {

constexpr std::size_t kShownHosts = 6;
constexpr std::size_t kShownSick = 6;

std::string coloured(plan::Action action) {
  const std::string name(plan::action_name(action));
  switch (action) {
    case plan::Action::install:
    case plan::Action::resume:
      return paint(Colour::green, name);
    case plan::Action::remove:
    case plan::Action::stop:
    case plan::Action::drain:
      return paint(Colour::red, name);
    case plan::Action::duty:
      return paint(Colour::cyan, "once");
    default:
      return paint(Colour::yellow, name);
  }
}

// Steps of one wave that differ in their host only stand on one line.
std::vector<Cells> rows_of(const plan::Plan& plan, const plan::Wave& wave) {
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
  std::vector<Cells> rows;
  for (Line& line : lines) {
    const std::size_t count = line.hosts.size();
    if (count > kShownHosts) line.hosts.resize(kShownHosts);
    std::string hosts = join(line.hosts, " ");
    if (count > kShownHosts) hosts += fmt::format(" and {} more", count - kShownHosts);
    rows.push_back({coloured(line.action), line.service, hosts, paint(Colour::dim, line.reason)});
  }
  return rows;
}

std::string render_waves(const plan::Plan& plan, std::size_t width) {
  std::vector<std::vector<Cells>> waves;
  std::vector<Cells> all;
  for (const plan::Wave& wave : plan.waves) {
    waves.push_back(rows_of(plan, wave));
    all.insert(all.end(), waves.back().begin(), waves.back().end());
  }
  const std::vector<std::size_t> widths = column_widths(all);
  std::string out;
  for (std::size_t w = 0; w < waves.size(); ++w) {
    const plan::Wave& wave = plan.waves[w];
    out += paint(Colour::bold, fmt::format("wave {}", w + 1)) +
           paint(Colour::dim,
                 fmt::format("  {}{}", wave.name,
                             wave.soak.count() > 0 ? ", soaks " + human_duration(wave.soak) : "")) +
           "\n";
    for (const Cells& row : waves[w]) out += lay_row(row, widths, width, 2);
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

std::string render_plan(const plan::Plan& plan, Detail detail, std::size_t width) {
  std::string out;
  const auto say = [&](Colour colour, std::string_view head, std::string_view text) {
    const std::string line = paint(colour, head) + std::string(text);
    out += wrap(line, width, 0, "  ") + "\n";
  };
  for (const plan::JointOutage& outage : plan.outages) {
    say(Colour::yellow, "joint outage: ",
        fmt::format("{} takes {} away meanwhile ({}){}", outage.provider,
                    join(outage.dependents, ", "), outage.reason,
                    outage.affected.empty()
                        ? ""
                        : fmt::format("; {} run{} on without", join(outage.affected, ", "),
                                      outage.affected.size() == 1 ? "s" : "")));
  }
  out += render_waves(plan, width);
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
    say(Colour::cyan, "access ", plan::access_change_text(change));
  if (!plan.leaving.empty())
    say(Colour::yellow,
        plan.leaving.size() == 1 ? "leaves the inventory: " : "leave the inventory: ",
        join(plan.leaving, ", "));
  for (const std::string& text : plan.detached)
    say(Colour::dim, "detached (in no inventory any more, left alone): ", text);
  if (!plan.unreachable.empty())
    say(Colour::red, "cannot be reached now: ", join(plan.unreachable, ", "));
  for (std::size_t i = 0; i < plan.sick.size() && i < kShownSick; ++i)
    say(Colour::red, "unhealthy now: ", plan.sick[i]);
  if (plan.sick.size() > kShownSick)
    say(Colour::red, "unhealthy now: ", fmt::format("{} more", plan.sick.size() - kShownSick));
  out += wrap(plan::plan_totals(plan), width, 0, "  ") + "\n";
  for (const plan::Need& need : plan.needs) {
    say(Colour::yellow,
        need.option.empty() ? "in the way: " : fmt::format("needs {}: ", need.option), need.reason);
    say(Colour::plain, "  ", need.hint);
  }
  return out;
}

std::vector<std::string> missing_options(const plan::Plan& plan) {
  std::vector<std::string> out;
  for (const plan::Need& need : plan.needs) {
    if (!need.option.empty() && std::find(out.begin(), out.end(), need.option) == out.end())
      out.push_back(need.option);
  }
  return out;
}

}  // namespace consort::cli
