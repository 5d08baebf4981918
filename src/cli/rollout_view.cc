#include "cli/rollout_view.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "cli/layout.h"
#include "cli/terminal.h"

namespace consort::cli {
namespace {

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

std::string time_of_day(Instant at) {
  const std::string text = format_instant(at);
  return text.size() > 19 ? text.substr(11, 8) : text;
}

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

std::string render_failure(const plan::Step& step, const StepRun& run, std::size_t width) {
  std::string head = fmt::format("✗ {}@{}: ", step.service, step.host);
  std::string tail;
  if (run.phase == StepPhase::unreachable) {
    head += "the host does not answer";
  } else if (!run.outcome) {
    head += run.waiting;
  } else {
    head += rollout::outcome_text(*run.outcome);
    tail = run.outcome->tail;
  }
  std::string out = paint(Colour::red, wrap(head, width, 0, "  ")) + "\n";
  const std::string margin = paint(Colour::dim, "  │ ");
  for (const std::string& line : split(tail, '\n')) {
    if (!line.empty()) out += margin + wrap(line, width, 4, margin) + "\n";
  }
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
  for (const Course* course : {&rollout.forward, &rollout.back}) {
    for (const plan::Step& step : course->steps) {
      const StepRun& run = run_of(*course, step);
      if (run.phase == StepPhase::failed || run.phase == StepPhase::unreachable)
        out += render_failure(step, run, width);
    }
  }
  return out;
}

std::string render_rollout(const Rollout& rollout, Instant now, std::size_t width) {
  const Instant end = rollout.ended.value_or(now);
  std::string head =
      fmt::format("rollout {}: {}, started {} by {}, {} {}", rollout.id, rollout_state(rollout),
                  format_instant(rollout.started).substr(0, 19),
                  rollout.by.empty() ? "somebody" : rollout.by, rollout.ended ? "took" : "since",
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
