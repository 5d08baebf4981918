// consort rollout list, show, pause, resume, abort.
#include <fmt/format.h>

#include "cli/context.h"
#include "cli/follow.h"
#include "cli/layout.h"
#include "cli/rollout_view.h"
#include "cli/rows.h"
#include "cli/terminal.h"

namespace consort::cli {
namespace {

Result<int> run_list(const Arguments& arguments) {
  http::Client client = TRY(controller_client(arguments));
  const Json answer = TRY(client.get_json("/v1/rollouts"));
  if (arguments.json()) {
    print(answer.dump() + "\n");
    return kOk;
  }
  const std::string text = rollout_table(answer);
  print(text.empty() ? "there was no rollout yet; begin with: consort deploy\n" : text);
  return kOk;
}

// The one that was named, or the newest that fits.
enum class Which : std::uint8_t { any, open };
Result<std::string> chosen(http::Client& client, const Arguments& arguments, Which which) {
  if (!arguments.word(0).empty()) return arguments.word(0);
  const Json answer = TRY(client.get_json("/v1/rollouts"));
  std::string newest;
  std::string started;
  std::size_t fitting = 0;
  for (const Json& rollout : answer.find("rollouts")->as_array()) {
    if (which == Which::open && rollout.string_or("result") != "open") continue;
    ++fitting;
    if (rollout.string_or("started") < started) continue;
    started = rollout.string_or("started");
    newest = rollout.string_or("id");
  }
  if (fitting == 0)
    return fail(ErrorCode::not_found,
                which == Which::open ? "no rollout is under way" : "there was no rollout yet")
        .hint("see them with: consort rollout list");
  if (which == Which::open && fitting > 1)
    return fail(ErrorCode::usage, fmt::format("{} rollouts are under way: which one?", fitting))
        .hint("see them with: consort rollout list");
  return newest;
}

Result<int> run_show(const Arguments& arguments) {
  http::Client client = TRY(controller_client(arguments));
  const std::string id = TRY(chosen(client, arguments, Which::any));
  const rollout::Rollout rollout =
      TRY(rollout::rollout_from_json(TRY(client.get_json("/v1/rollouts/" + url_encode(id)))));
  print(arguments.json() ? rollout_record(rollout).dump() + "\n"
                         : render_rollout(rollout, SystemClock().now(), output_width()));
  return kOk;
}

Result<int> control(const Arguments& arguments, std::string_view verb) {
  http::Client client = TRY(controller_client(arguments));
  const std::string id = TRY(chosen(client, arguments, Which::open));
  TRY(client.send_json("POST", fmt::format("/v1/rollouts/{}/{}", url_encode(id), verb),
                       Json::object()));
  if (verb == "abort") return follow(client, id, arguments);
  print(arguments.json() ? Json::object({{"rollout", id}, {"done", verb}}).dump() + "\n"
                         : fmt::format("rollout {}: {}d\n", id, verb));
  return kOk;
}

const std::vector<Positional>& open_rollout() {
  static const std::vector<Positional> words = {
      {"ROLLOUT", "Its id; may be left out while just one is under way.",
       Positional::Count::optional}};
  return words;
}

}  // namespace

std::string rollout_table(const Json& rollouts) {
  std::vector<std::vector<std::string>> rows = {
      {"ROLLOUT", "STARTED", "RESULT", "GENERATION", "SUMMARY"}};
  for (const Json& r : rollouts.find("rollouts")->as_array()) {
    const std::string result = r.string_or("result");
    const std::string state = result != "open"         ? result
                              : r.bool_or("paused")    ? "paused"
                              : r.bool_or("reverting") ? "going back"
                                                       : "under way";
    const bool made_one = result == "done" || result == "partial";
    std::string summary = r.string_or("reason");
    if (const std::string end = r.string_or("summary"); !end.empty())
      summary += (summary.empty() ? "" : "; ") + end;
    rows.push_back({r.string_or("id"), shown_time(r.string_or("started")),
                    paint(result == "done"   ? Colour::green
                          : result == "open" ? Colour::yellow
                                             : Colour::red,
                          state),
                    made_one ? std::to_string(r.int_or("generation")) : "-", summary});
  }
  return rows.size() > 1 ? table(rows) : "";
}

Command rollout_list_command() {
  return {"rollout list",
          "List the rollouts, with the reasons of those that failed.",
          "",
          {},
          {},
          run_list,
          false,
          false,
          "consort rollout list"};
}
Command rollout_show_command() {
  return {"rollout show",
          "Show a rollout step by step: when, how long, why it waits, why it failed.",
          "Without an id, the newest one.",
          {{"ROLLOUT", "Its id.", Positional::Count::optional}},
          {},
          run_show,
          false,
          false,
          "consort rollout show r000003"};
}
Command rollout_pause_command() {
  return {"rollout pause",
          "Hold a rollout at the next transition boundary.",
          "",
          open_rollout(),
          {},
          [](const Arguments& a) { return control(a, "pause"); }};
}
Command rollout_resume_command() {
  return {"rollout resume",
          "Let a paused rollout go on.",
          "",
          open_rollout(),
          {},
          [](const Arguments& a) { return control(a, "resume"); }};
}
Command rollout_abort_command() {
  return {"rollout abort",
          "Stop a rollout and go back to what was before.",
          "Follows it until it ends.",
          open_rollout(),
          {},
          [](const Arguments& a) { return control(a, "abort"); }};
}

}  // namespace consort::cli
