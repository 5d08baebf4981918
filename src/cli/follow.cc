#include "cli/follow.h"

#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <thread>
#include <utility>

#include "base/text.h"
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
    const std::string clock =
        event.string_or("at").size() > 19 ? event.string_or("at").substr(11, 8) : "";
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

  // Host, instance, step, exit status, the last lines of output, the next command.
  static std::string failures(const rollout::Rollout& rollout) {
    std::string out;
    for (const rollout::Course* course : {&rollout.forward, &rollout.back}) {
      for (const plan::Step& step : course->steps) {
        const rollout::StepRun& run = course->runs[static_cast<std::size_t>(step.id)];
        if (run.phase == rollout::StepPhase::unreachable)
          out += paint(Colour::red,
                       fmt::format("✗ {}@{}: the host does not answer", step.service, step.host)) +
                 "\n";
        if (run.phase != rollout::StepPhase::failed) continue;
        out += paint(Colour::red, fmt::format("✗ {}@{}", step.service, step.host));
        if (run.outcome) {
          out += fmt::format(": {} at step {}{}\n", run.outcome->message, run.outcome->step,
                             run.outcome->exit_status != 0
                                 ? fmt::format(", exit status {}", run.outcome->exit_status)
                                 : "");
          for (const std::string& line : split(run.outcome->tail, '\n')) {
            if (!line.empty()) out += paint(Colour::dim, "  │ ") + line + "\n";
          }
        } else {
          out += fmt::format(": {}\n", run.waiting);
        }
        out += fmt::format("  next: consort explain {} {}\n", step.host, step.service);
      }
    }
    return out;
  }

  static Json step_list(const rollout::Course& course) {
    Json::Array out;
    for (const plan::Step& step : course.steps) {
      const rollout::StepRun& run = course.runs[static_cast<std::size_t>(step.id)];
      out.push_back(
          Json::object({{"service", step.service},
                        {"host", step.host},
                        {"action", plan::action_name(step.action)},
                        {"phase", rollout::step_phase_name(run.phase)},
                        {"outcome", run.outcome ? plan::outcome_to_json(*run.outcome) : Json()}}));
    }
    return out;
  }

  // An inconsistent end has changed no generation: the current one is still the word.
  static std::string back_to_current(const rollout::Rollout& rollout) {
    return rollout.generation == 0
               ? ""
               : fmt::format("go back with: consort rollback --to {}, or forward with: ",
                             rollout.generation);
  }

  Result<int> finish(const rollout::Rollout& rollout) {
    block_.clear();
    const int status = exit_status_of(rollout.result);
    if (arguments_.json()) {
      print(Json::object({{"rollout", rollout.id},
                          {"result", rollout::result_name(rollout.result)},
                          {"exit", status},
                          {"generation", rollout.generation},
                          {"summary", rollout.summary},
                          {"elapsed", format_duration(rollout.ended.value_or(rollout.started) -
                                                      rollout.started)},
                          {"steps", step_list(rollout.forward)},
                          {"back", step_list(rollout.back)}})
                .dump() +
            "\n");
      return status;
    }
    print(failures(rollout));
    const std::string took =
        human_duration(rollout.ended.value_or(rollout.started) - rollout.started);
    switch (rollout.result) {
      case rollout::Result::done:
        print(paint(Colour::green, fmt::format("done in {}", took)) +
              fmt::format(": generation {}\n", rollout.generation));
        break;
      case rollout::Result::partial:
        print(paint(Colour::yellow, fmt::format("partial after {}", took)) +
              fmt::format(": generation {}; {}\nhosts that were away catch up when they return, "
                          "what failed does "
                          "not; see: consort status; once more: consort deploy\n",
                          rollout.generation, rollout.summary));
        break;
      case rollout::Result::reverted:
        print(
            paint(Colour::yellow, fmt::format("reverted after {}", took)) +
            fmt::format(": {}; generation {} is unchanged\n", rollout.summary, rollout.generation));
        break;
      default:
        print(
            paint(Colour::red, fmt::format("inconsistent after {}", took)) +
            fmt::format(": {}\nsee where each instance is: consort status; then {}consort deploy\n",
                        rollout.summary, back_to_current(rollout)));
        break;
    }
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
  struct sigaction action {};
  action.sa_handler = [](int) {
    constexpr std::string_view text =
        "\nthe rollout goes on without this terminal; look with: consort status\n";
    [[maybe_unused]] const ssize_t n = ::write(STDERR_FILENO, text.data(), text.size());
    ::_exit(kInterrupted);
  };
  ::sigaction(SIGINT, &action, nullptr);
  return Follower(client, rollout, arguments).run();
}

}  // namespace consort::cli
