#include "cli/follow.h"

#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <thread>
#include <utility>

#include "base/text.h"
#include "cli/layout.h"
#include "cli/rollout_view.h"
#include "cli/terminal.h"

namespace consort::cli {
namespace {

constexpr Duration kGiveUpAfter = minutes(10);

class Follower {
 public:
  Follower(http::Client& client, std::string id, const Arguments& arguments)
      : client_(client), id_(std::move(id)), arguments_(arguments) {}

  Result<int> run() {
    const SystemClock clock;
    Instant last_answer = clock.now();
    while (true) {
      const auto rollout = load();
      if (rollout) {
        last_answer = clock.now();
        complained_ = false;
        if (rollout->result != rollout::Result::open) {
          show_the_rest();
          return finish(*rollout);
        }
        show(*rollout);
        listen();
        continue;
      }
      if (rollout.error().code() == ErrorCode::not_found) return fail(rollout.error());
      if (clock.now() - last_answer > kGiveUpAfter) {
        return fail(
            Error(rollout.error())
                .context(fmt::format("while following rollout {}; it goes on without us", id_))
                .hint("look later with: consort status"));
      }
      const std::string line =
          paint_for_stderr(Colour::yellow, "the controller does not answer; trying again …");
      if (block_.live()) {
        block_.draw({line});
      } else if (!std::exchange(complained_, true)) {
        print_to_stderr(line + "\n");
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(500));
    }
  }

 private:
  Result<rollout::Rollout> load() {
    return rollout::rollout_from_json(TRY(client_.get_json("/v1/rollouts/" + id_)));
  }

  // Until something has happened that may change the picture.
  void listen() {
    const auto status = client_.stream_events(
        "/v1/events?after=" + std::to_string(last_event_),
        last_event_ == 0 ? "" : std::to_string(last_event_), [this](const http::Event& event) {
          const auto json = parse_json(event.data);
          if (!json) return http::Client::Next::more;
          last_event_ = std::max(last_event_, static_cast<std::uint64_t>(json->int_or("number")));
          if (json->string_or("rollout") != id_) return http::Client::Next::more;
          show_event(*json);
          const std::string kind = json->string_or("kind");
          // The live block shows what runs; it is drawn anew when something began or ended.
          return block_.live() || kind == "ended" ? http::Client::Next::stop
                                                  : http::Client::Next::more;
        });
    if (!status) std::this_thread::sleep_for(std::chrono::milliseconds(300));
  }

  // What was told before the end and not seen yet.
  void show_the_rest() {
    const auto answer = client_.get_json("/v1/log?rollout=" + id_);
    const Json* events = answer ? answer->find("events") : nullptr;
    if (events == nullptr || !events->is_array()) return;
    for (const Json& event : events->as_array()) {
      if (static_cast<std::uint64_t>(event.int_or("number")) > last_event_) show_event(event);
    }
  }

  void show_event(const Json& event) {
    if (arguments_.json()) return print_to_stderr(event.dump() + "\n");
    const std::string kind = event.string_or("kind");
    const std::string service = event.string_or("service");
    const std::string where =
        service.empty() ? "" : fmt::format("{}@{}", service, event.string_or("host"));
    const std::string text = event.string_or("text");
    Colour colour = Colour::plain;
    std::string mark = "·";
    if (kind == "step-done") {
      colour = Colour::green;
      mark = "✓";
    } else if (kind == "step-failed" || kind == "unreachable") {
      colour = Colour::red;
      mark = "✗";
    } else if (kind == "reverting") {
      colour = Colour::yellow;
      mark = "↩";
    } else if (kind == "wave") {
      colour = Colour::bold;
      mark = "→";
    } else if (kind == "ended" || kind == "generation" || kind == "rollout" ||
               kind == "step-soaking") {
      if (kind != "rollout") return;
    }
    const std::string clock = shown_time_of_day(event.string_or("at"));
    block_.line(paint_for_stderr(Colour::dim, clock) + " " +
                paint_for_stderr(colour, fmt::format("{} {}{}{}", mark, where,
                                                     where.empty() ? "" : "  ", text)));
  }

  void show(const rollout::Rollout& rollout) {
    if (!block_.live()) return;
    const rollout::Course& course = rollout.reverting ? rollout.back : rollout.forward;
    std::vector<std::string> lines;
    std::size_t done = 0;
    for (const plan::Step& step : course.steps) {
      const rollout::StepRun& run = course.runs[static_cast<std::size_t>(step.id)];
      if (run.phase == rollout::StepPhase::done) ++done;
      const bool waits = run.phase == rollout::StepPhase::pending && !run.waiting.empty();
      if (run.phase != rollout::StepPhase::active && run.phase != rollout::StepPhase::soaking &&
          !waits)
        continue;
      if (lines.size() < 10) {
        lines.push_back(fmt::format("  {} {:<11} {}@{}{}", waits ? "…" : "▸",
                                    run.phase == rollout::StepPhase::soaking
                                        ? "soaking"
                                        : fmt::format("{}{}", rollout.reverting ? "undo " : "",
                                                      plan::action_name(step.action)),
                                    step.service, step.host,
                                    run.waiting.empty() ? "" : "  " + run.waiting));
      }
    }
    lines.push_back(fmt::format("{} {}: {} of {} steps, wave {} of {}", rollout.id,
                                rollout.paused      ? "paused"
                                : rollout.reverting ? "going back"
                                                    : "under way",
                                done, course.steps.size(),
                                std::min(course.wave + 1, course.waves.size()),
                                course.waves.size()));
    block_.draw(lines);
  }

  // An inconsistent end has changed no generation: the current one is still the word.
  static std::string back_to_current(const rollout::Rollout& rollout) {
    return rollout.generation == 0
               ? ""
               : fmt::format("go back with: consort rollback --to {}, or forward with: ",
                             rollout.generation);
  }

  static Json record(const rollout::Rollout& rollout, int status) {
    const std::string reason = rollout::first_failure(rollout);
    return Json::object(
        {{"rollout", rollout.id},
         {"result", rollout::result_name(rollout.result)},
         {"exit", status},
         {"generation", rollout.generation},
         {"summary", rollout.summary},
         {"reason", reason.empty() ? Json() : Json(reason)},
         {"elapsed", format_duration(rollout.ended.value_or(rollout.started) - rollout.started)},
         {"steps", steps_record(rollout.forward)},
         {"back", steps_record(rollout.back)}});
  }

  // The colour, what it is, and what to know about it.
  static std::string last_words(const rollout::Rollout& rollout) {
    const std::string took =
        human_duration(rollout.ended.value_or(rollout.started) - rollout.started);
    switch (rollout.result) {
      case rollout::Result::done:
        return paint(Colour::green, fmt::format("done in {}", took)) +
               fmt::format(": generation {}", rollout.generation);
      case rollout::Result::partial:
        return paint(Colour::yellow, fmt::format("partial after {}", took)) +
               fmt::format(
                   ": generation {}; {}\nhosts that were away catch up when they return, what "
                   "failed does not; see: consort status; once more: consort deploy",
                   rollout.generation, rollout.summary);
      case rollout::Result::reverted:
        return paint(Colour::yellow, fmt::format("reverted after {}", took)) +
               (rollout.generation == 0
                    ? fmt::format(": {}; nothing is deployed, as before", rollout.summary)
                    : fmt::format(": {}; generation {} is unchanged", rollout.summary,
                                  rollout.generation));
      default:
        return paint(Colour::red, fmt::format("inconsistent after {}", took)) +
               fmt::format(
                   ": {}\nsee where each instance is: consort status; then {}consort deploy",
                   rollout.summary, back_to_current(rollout));
    }
  }

  Result<int> finish(const rollout::Rollout& rollout) {
    block_.clear();
    const int status = exit_status_of(rollout.result);
    if (arguments_.json()) {
      print(record(rollout, status).dump() + "\n");
      return status;
    }
    print(render_failures(rollout, output_width()));
    for (const std::string& line : split(last_words(rollout), '\n'))
      print(wrap(line, output_width(), 0, "  ") + "\n");
    return status;
  }

  http::Client& client_;
  std::string id_;
  const Arguments& arguments_;
  LiveBlock block_;
  std::uint64_t last_event_ = 1;
  bool complained_ = false;  // told once where no live block shows it
};

}  // namespace

int exit_status_of(rollout::Result result) {
  switch (result) {
    case rollout::Result::done:
      return kOk;
    case rollout::Result::partial:
      return kPartial;
    case rollout::Result::reverted:
      return kReverted;
    default:
      return kInconsistent;
  }
}

Result<int> follow(http::Client& client, const std::string& rollout, const Arguments& arguments) {
  static std::string text;  // read by the handler, which may not make one
  text = fmt::format(
      "\nthe rollout goes on without this terminal; watch it with: consort logs --rollout {0} "
      "--follow; stop it with: consort rollout abort {0}\n",
      rollout);
  struct sigaction action {};
  action.sa_handler = [](int) {
    [[maybe_unused]] const ssize_t n = ::write(STDERR_FILENO, text.data(), text.size());
    ::_exit(kInterrupted);
  };
  ::sigaction(SIGINT, &action, nullptr);
  return Follower(client, rollout, arguments).run();
}

}  // namespace consort::cli
