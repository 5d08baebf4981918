#include "cli/rollout_view.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "base/text.h"
#include "cli/layout.h"
#include "cli/terminal.h"

namespace consort::cli {
namespace {

// As agents cut the line that they quote (agent/supervisors/supervisor.h).
constexpr std::size_t kMostLastWords = 300;

using rollout::Course;
using rollout::Rollout;
using rollout::StepPhase;
using rollout::StepRun;

const StepRun& run_of(const Course& course, const plan::Step& step) {
  return course.runs[static_cast<std::size_t>(step.id)];
}

bool ended(StepPhase phase) {
  return phase == StepPhase::done || phase == StepPhase::failed || phase == StepPhase::unreachable;
}

std::string phase_text(const StepRun& run, bool over) {
  const std::string name(rollout::step_phase_name(run.phase));
  switch (run.phase) {
    case StepPhase::done:
      return paint(Colour::green, name);
    case StepPhase::failed:
    case StepPhase::unreachable:
      return paint(Colour::red, name);
    case StepPhase::pending:
      if (over) return paint(Colour::dim, "not begun");
      return run.waiting.empty() ? paint(Colour::dim, name) : paint(Colour::yellow, "waiting");
    default:
      return paint(Colour::yellow, name);
  }
}

std::string time_of_day(Instant at) { return shown_time_of_day(format_instant(at)); }

std::string took(const StepRun& run, Instant now) {
  if (!run.began) return "";
  const Instant end = ended(run.phase) ? run.since : now;
  return human_duration(
      std::max(Duration{0}, std::chrono::duration_cast<Duration>(end - *run.began)));
}

// Why it waits or failed, in a few words; the whole of a failure stands below the table.
std::string note(const StepRun& run) {
  if (run.phase == StepPhase::unreachable) return "the host does not answer";
  if (run.phase == StepPhase::failed && run.outcome) {
    std::string out = run.outcome->step.empty() ? "" : "at step " + run.outcome->step;
    if (run.outcome->exit_status != 0)
      out += fmt::format("{}exit status {}", out.empty() ? "" : ", ", run.outcome->exit_status);
    return out.empty() ? run.outcome->message : out;
  }
  return run.waiting;
}

struct Story {
  bool undo = false;  // the way back
  bool over = false;  // nothing of it will happen any more
  Instant now{};
};

std::vector<Cells> step_rows(const Course& course, const Story& story) {
  std::vector<Cells> rows;
  for (const plan::Wave& wave : course.waves) {
    for (const int id : wave.steps) {
      const plan::Step& step = course.steps[static_cast<std::size_t>(id)];
      const StepRun& run = run_of(course, step);
      rows.push_back(
          {phase_text(run, story.over), fmt::format("{}@{}", step.service, step.host),
           fmt::format("{}{}", story.undo ? "undo " : "", plan::action_name(step.action)),
           run.began ? time_of_day(*run.began) : "", took(run, story.now), note(run)});
    }
  }
  return rows;
}

std::string render_course(const Course& course, const Story& story, std::size_t width) {
  const std::vector<Cells> rows = step_rows(course, story);
  std::vector<Cells> measured = rows;
  const Cells header = {"STATE", "INSTANCE", "ACTION", "BEGAN", "TOOK", "NOTE"};
  measured.push_back(header);
  const std::vector<std::size_t> widths = column_widths(measured);
  std::string out = paint(Colour::bold, lay_row(header, widths, 0, 2));
  std::size_t next = 0;
  for (std::size_t w = 0; w < course.waves.size(); ++w) {
    out += paint(Colour::bold, fmt::format("wave {} of {}", w + 1, course.waves.size())) +
           paint(Colour::dim, "  " + course.waves[w].name) + "\n";
    for (std::size_t i = 0; i < course.waves[w].steps.size(); ++i)
      out += lay_row(rows[next++], widths, width, 2);
  }
  return out;
}

// What was said again and again (a daemon that was started three times says all of it three times)
// stands there once.
std::vector<std::string> without_repeats(const std::vector<std::string>& lines) {
  const auto begin = [&](std::size_t at) {
    return lines.begin() + static_cast<std::ptrdiff_t>(at);
  };
  std::vector<std::string> out;
  for (std::size_t at = 0; at < lines.size();) {
    std::size_t length = 1;  // of the shortest block that follows itself
    while (at + 2 * length <= lines.size() &&
           !std::equal(begin(at), begin(at + length), begin(at + length)))
      ++length;
    if (at + 2 * length > lines.size()) {
      out.push_back(lines[at++]);
      continue;
    }
    std::size_t times = 1;
    while (at + (times + 1) * length <= lines.size() &&
           std::equal(begin(at), begin(at + length), begin(at + times * length)))
      ++times;
    out.insert(out.end(), begin(at), begin(at + length));
    out.push_back(fmt::format("({}, {} times in all)",
                              length == 1 ? "this line" : fmt::format("these {} lines", length),
                              times));
    at += times * length;
  }
  return out;
}

// How many bytes of `text` are a line of the tail, as last words quote it: the whole of a line or
// its beginning; 0 where it is none.
std::size_t quoted(std::string_view text, const std::vector<std::string>& tail) {
  std::size_t longest = 0;
  for (const std::string& line : tail) {
    const std::string_view words = std::string_view(trim(line)).substr(0, kMostLastWords);
    const std::string_view after = text.substr(std::min(text.size(), words.size()));
    if (text.starts_with(words) && (after.empty() || after.starts_with("; ")))
      longest = std::max(longest, words.size());
  }
  return longest;
}

// The tail says it better; what the message says behind them (a way back that failed, what was
// lost, a hint) stands nowhere else.
plan::Outcome without_last_words(plan::Outcome outcome) {
  constexpr std::string_view mark = "; its last words: ";
  const std::vector<std::string> tail = split(outcome.tail, '\n');
  std::string& message = outcome.message;
  for (std::size_t at = message.find(mark); at != std::string::npos; at = message.find(mark, at)) {
    const std::size_t words = quoted(std::string_view(message).substr(at + mark.size()), tail);
    if (words == 0) {
      at += mark.size();
    } else {
      message.erase(at, mark.size() + words);
    }
  }
  return outcome;
}

// Output → the first host and service that said it: hosts of a batch fail alike.
using Told = std::map<std::string, std::string>;

std::string render_tail(const std::string& tail, const std::string& where, std::size_t width,
                        Told& told) {
  std::vector<std::string> lines;
  for (std::string& line : split(tail, '\n')) {
    if (!line.empty()) lines.push_back(std::move(line));
  }
  if (lines.empty()) return "";
  const auto [first, is_new] = told.emplace(tail, where);
  const std::string margin = paint(Colour::dim, "  │ ");
  if (!is_new) return margin + "the same as " + first->second + "\n";
  std::string out;
  for (const std::string& line : without_repeats(lines))
    out += margin + wrap(line, width, 4, margin) + "\n";
  return out;
}

std::string render_failure(const plan::Step& step, const StepRun& run, std::size_t width,
                           Told& told) {
  std::string head = fmt::format("✗ {}@{}: ", step.service, step.host);
  std::string tail;
  if (run.phase == StepPhase::unreachable) {
    head += "the host does not answer";
  } else if (!run.outcome) {
    head += run.waiting;
  } else {
    head += rollout::outcome_text(without_last_words(*run.outcome));
    tail = run.outcome->tail;
  }
  std::string out = paint(Colour::red, wrap(head, width, 0, "  ")) + "\n";
  out += render_tail(tail, step.service + "@" + step.host, width, told);
  return out + fmt::format("  next: consort explain {} {}\n", step.host, step.service);
}

std::string next_command(const Rollout& rollout) {
  if (rollout.result == rollout::Result::open)
    return rollout.paused
               ? fmt::format("let it go on with: consort rollout resume {}\n", rollout.id)
               : fmt::format("watch it with: consort logs --rollout {} --follow\n", rollout.id);
  if (rollout.result == rollout::Result::partial) return "once more with: consort deploy\n";
  return "";
}

}  // namespace

std::string rollout_state(const Rollout& rollout) {
  if (rollout.result != rollout::Result::open)
    return std::string(rollout::result_name(rollout.result));
  return rollout.paused ? "paused" : rollout.reverting ? "going back" : "under way";
}

std::string render_failures(const Rollout& rollout, std::size_t width) {
  std::string out;
  Told told;
  for (const Course* course : {&rollout.forward, &rollout.back}) {
    for (const plan::Step& step : course->steps) {
      const StepRun& run = run_of(*course, step);
      if (run.phase == StepPhase::failed || run.phase == StepPhase::unreachable)
        out += render_failure(step, run, width, told);
    }
  }
  return out;
}

std::string render_rollout(const Rollout& rollout, Instant now, std::size_t width) {
  const Instant end = rollout.ended.value_or(now);
  std::string head =
      fmt::format("rollout {}: {}, started {} by {}, {} {}", rollout.id, rollout_state(rollout),
                  shown_time(format_instant(rollout.started)),
                  rollout.by.empty() ? "somebody" : rollout.by, rollout.ended ? "took" : "for",
                  human_duration(std::max(
                      Duration{0}, std::chrono::duration_cast<Duration>(end - rollout.started))));
  if (!rollout.message.empty()) head += fmt::format(" ({})", rollout.message);
  std::string out = wrap(head, width, 0, "  ") + "\n";
  out += render_course(rollout.forward, {false, rollout.reverting || rollout.ended, now}, width);
  if (!rollout.back.steps.empty()) {
    out += paint(Colour::yellow, "the way back") + "\n" +
           render_course(rollout.back, {true, rollout.ended.has_value(), now}, width);
  }
  out += render_failures(rollout, width);
  if (!rollout.summary.empty())
    out +=
        wrap(fmt::format("{}: {}", rollout_state(rollout), rollout.summary), width, 0, "  ") + "\n";
  return out + next_command(rollout);
}

Json steps_record(const Course& course) {
  Json::Array out;
  for (std::size_t w = 0; w < course.waves.size(); ++w) {
    for (const int id : course.waves[w].steps) {
      const plan::Step& step = course.steps[static_cast<std::size_t>(id)];
      const StepRun& run = run_of(course, step);
      out.push_back(Json::object(
          {{"service", step.service},
           {"host", step.host},
           {"action", plan::action_name(step.action)},
           {"wave", w + 1},
           {"phase", rollout::step_phase_name(run.phase)},
           {"began", run.began ? Json(format_instant(*run.began)) : Json()},
           {"since", run.phase == StepPhase::pending ? Json() : Json(format_instant(run.since))},
           {"waiting", run.waiting.empty() ? Json() : Json(run.waiting)},
           {"outcome", run.outcome ? plan::outcome_to_json(*run.outcome) : Json()}}));
    }
  }
  return out;
}

Json rollout_record(const Rollout& rollout) {
  const std::string reason = rollout::first_failure(rollout);
  return Json::object({{"rollout", rollout.id},
                       {"result", rollout::result_name(rollout.result)},
                       {"state", rollout_state(rollout)},
                       {"generation", rollout.generation},
                       {"by", rollout.by},
                       {"message", rollout.message},
                       {"started", format_instant(rollout.started)},
                       {"ended", rollout.ended ? Json(format_instant(*rollout.ended)) : Json()},
                       {"summary", rollout.summary},
                       {"reason", reason.empty() ? Json() : Json(reason)},
                       {"steps", steps_record(rollout.forward)},
                       {"back", steps_record(rollout.back)}});
}

}  // namespace consort::cli
