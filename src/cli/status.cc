// consort status, history, host …: what is there, and how it came to be.
#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "cli/context.h"
#include "cli/host_view.h"
#include "cli/keys.h"
#include "cli/layout.h"
#include "cli/rows.h"
#include "cli/terminal.h"

namespace consort::cli {
namespace {

std::string age_of(const Json& json, std::string_view key) {
  return shown_age(json.string_or(key), SystemClock().now());
}

std::string health_text(const Json& row) {
  if (!row.bool_or("reachable")) return paint(Colour::red, "unreachable");
  const std::string mode = row.string_or("mode");
  if (mode != "running") return paint(Colour::yellow, mode);
  const std::string health = row.string_or("health");
  return paint(health == "healthy"     ? Colour::green
               : health == "unhealthy" ? Colour::red
                                       : Colour::yellow,
               health);
}

void print_instances(const Json& status) {
  const std::string_view other = status.find("rollouts")->as_array().empty()
                                     ? "not the current manifest"
                                     : "of the rollout that is under way";
  std::vector<std::vector<std::string>> rows = {
      {"SERVICE", "VERSION", "HOST", "STATE", "MANIFEST", "NOTE"}};
  bool notes = false;
  for (const auto& [name, service] : status.find("services")->as_object()) {
    for (const Json& instance : service.find("instances")->as_array()) {
      std::string note = instance.string_or("reason");
      if (!instance.string_or("step").empty()) note = "at step " + instance.string_or("step");
      if (note.empty() && instance.string_or("mode") == "running" &&
          instance.string_or("health") == "unknown" && instance.bool_or("reachable"))
        note = "its agent has just started, and looks at it";
      if (!instance.bool_or("current") && note.empty()) note = other;
      // Also what only its host says.
      if (!instance.bool_or("placed", true))
        note = "nothing places it here" + (note.empty() ? "" : "; " + note);
      notes = notes || !note.empty();
      rows.push_back({name, instance.string_or("version", "-"), instance.string_or("host"),
                      health_text(instance), shown_digest(instance.string_or("manifest", "-")),
                      note});
    }
  }
  if (!notes) rows.front().back().clear();
  if (rows.size() > 1) print(table(rows));
}

void say(const std::string& text) { print(wrap(text, output_width(), 0, "  ") + "\n"); }

void print_rollouts(const Json& status) {
  for (const Json& rollout : status.find("rollouts")->as_array()) {
    say(fmt::format(
        "{} {} by {}, {}: wave {} of {}{}; see: consort rollout show {}",
        paint(Colour::yellow, "rollout"), rollout.string_or("id"), rollout.string_or("by"),
        rollout.bool_or("reverting") ? "going back" : "under way",
        std::min(rollout.int_or("wave") + 1, rollout.int_or("waves")), rollout.int_or("waves"),
        rollout.bool_or("paused") ? ", paused" : "", rollout.string_or("id")));
  }
  const Json* failure = status.find("lastFailure");
  if (failure == nullptr || !failure->is_object()) return;
  say(fmt::format(
      "{} {} {}, {}: {}; see: consort rollout show {}", paint(Colour::red, "last rollout"),
      failure->string_or("id"), failure->string_or("result"), age_of(*failure, "ended"),
      failure->string_or("reason", failure->string_or("summary")), failure->string_or("id")));
}

Result<int> run_status(const Arguments& arguments) {
  http::Client client = TRY(controller_client(arguments));
  const Json status = TRY(client.get_json("/v1/status"));
  if (arguments.json()) {
    print(status.dump() + "\n");
    return kOk;
  }
  if (status.find("generation")->is_null()) {
    print("nothing has been deployed yet; begin with: consort deploy\n");
  } else {
    say(fmt::format("{} {}, generation {}, deployed {} by {}", paint(Colour::bold, "site"),
                    status.string_or("site"), status.int_or("generation"),
                    age_of(status, "deployed"), status.string_or("by")));
  }
  print_instances(status);
  print_rollouts(status);
  std::vector<std::string> silent;
  for (const Json& host : status.find("hosts")->as_array()) {
    if (!host.bool_or("reachable")) silent.push_back(host.string_or("name"));
  }
  for (const Json& host : status.find("hosts")->as_array()) {
    if (const std::string why = host.string_or("untrusted"); !why.empty())
      say(paint(Colour::red,
                fmt::format("{} refuses what it is told: {}", host.string_or("name"), why)));
  }
  if (!silent.empty())
    say(paint(Colour::red, fmt::format("hosts that do not answer: {}", join(silent, ", "))));
  return kOk;
}

// "ann, ed25519:3f9c…": own keys by their names.
std::string signers_of(const Json& generation, const std::vector<KeyName>& own) {
  std::vector<std::string> out;
  const Json* keys = generation.find("signedBy");
  if (keys == nullptr || !keys->is_array()) return "";
  for (const Json& key : keys->as_array()) {
    const std::string text = key.is_string() ? key.as_string() : "";
    const auto it = std::find_if(own.begin(), own.end(),
                                 [&](const KeyName& name) { return name.key.to_text() == text; });
    out.push_back(it != own.end() ? it->name : text.size() > 20 ? text.substr(0, 20) + "…" : text);
  }
  return join(out, ", ");
}

std::string generation_table(const Json& generations, const std::vector<KeyName>& own) {
  std::vector<std::vector<std::string>> rows = {
      {"GENERATION", "WHEN", "BY", "SIGNED BY", "MESSAGE"}};
  bool any_signed = false;
  for (const Json& g : generations.find("generations")->as_array()) {
    std::string number = std::to_string(g.int_or("number"));
    if (g.bool_or("current")) number = paint(Colour::green, number + " *");
    std::string message = g.string_or("message");
    if (g.int_or("rollbackOf") != 0)
      message = fmt::format("back to {}{}{}", g.int_or("rollbackOf"), message.empty() ? "" : ": ",
                            message);
    const std::string signers = signers_of(g, own);
    any_signed = any_signed || !signers.empty();
    rows.push_back({number, shown_time(g.string_or("created")), g.string_or("by"),
                    signers.empty() ? "nobody" : signers, message});
  }
  // Where nobody signs, nobody asks who has.
  if (!any_signed) {
    for (auto& row : rows) row.erase(row.begin() + 3);
  }
  return rows.size() > 1 ? table(rows) : "";
}

Result<int> run_history(const Arguments& arguments) {
  http::Client client = TRY(controller_client(arguments));
  const Json generations = TRY(client.get_json("/v1/generations"));
  const Json rollouts = TRY(client.get_json("/v1/rollouts"));
  if (arguments.json()) {
    print(Json::object({{"generations", *generations.find("generations")},
                        {"rollouts", *rollouts.find("rollouts")}})
              .dump() +
          "\n");
    return kOk;
  }
  // Names are a convenience: the texts of keys do as well.
  const auto own = own_keys().value_or(std::vector<KeyName>());
  const std::string shown = generation_table(generations, own);
  print(shown.empty() ? "nothing has been deployed yet\n" : shown);
  const std::string runs = rollout_table(rollouts);
  if (!runs.empty()) print("\n" + runs);
  return kOk;
}

Result<int> run_host_list(const Arguments& arguments) {
  http::Client client = TRY(controller_client(arguments));
  const Json hosts = TRY(client.get_json("/v1/hosts"));
  if (arguments.json()) {
    print(hosts.dump() + "\n");
    return kOk;
  }
  std::vector<std::vector<std::string>> rows = {
      {"HOST", "STATE", "ADDRESS", "CLASSES", "INSTANCES", "SYSTEM"}};
  for (const Json& host : hosts.find("hosts")->as_array()) {
    const Json* inventory = host.find("inventory");
    const Json* report = host.find("report");
    std::string classes = "-";
    std::string address = "-";
    if (inventory->is_object()) {
      std::vector<std::string> names;
      for (const Json& name : inventory->find("classes")->as_array())
        names.push_back(name.as_string());
      classes = join(names, ",");
      address = inventory->string_or("address");
    } else if (report->find("facts")->find("address") != nullptr) {
      address = report->find("facts")->string_or("address");
    }
    rows.push_back({host.string_or("name"), host_state(host), address, classes,
                    std::to_string(report->find("instances")->as_object().size()),
                    report->find("facts")->string_or("os.id") + " " +
                        report->find("facts")->string_or("os.version")});
  }
  print(rows.size() > 1 ? table(rows)
                        : "no host has joined yet; let one in with: consort token create\n");
  return kOk;
}

Result<int> run_host_show(const Arguments& arguments) {
  http::Client client = TRY(controller_client(arguments));
  const Json host = TRY(client.get_json("/v1/hosts/" + url_encode(arguments.word(0))));
  print(arguments.json() ? host.dump() + "\n"
                         : render_host(host, SystemClock().now(), output_width()));
  return kOk;
}

Result<int> run_host_approve(const Arguments& arguments) {
  http::Client client = TRY(controller_client(arguments));
  Json body = Json::object();
  if (arguments.has("--key")) body["key"] = arguments.value("--key");
  const std::string host = arguments.word(0);
  const Json answer =
      TRY(client.send_json("POST", fmt::format("/v1/hosts/{}/approve", url_encode(host)), body));
  print(arguments.json() ? answer.dump() + "\n" : fmt::format("{} is let in\n", host));
  return kOk;
}

Result<int> run_host_revoke(const Arguments& arguments) {
  http::Client client = TRY(controller_client(arguments));
  const std::string host = arguments.word(0);
  const Json answer = TRY(client.send_json(
      "POST", fmt::format("/v1/hosts/{}/revoke", url_encode(host)), Json::object()));
  print(arguments.json() ? answer.dump() + "\n"
                         : fmt::format("{} is let in no more; what it runs goes on\n", host));
  return kOk;
}

Result<int> run_host_remove(const Arguments& arguments) {
  http::Client client = TRY(controller_client(arguments));
  const http::Response response =
      TRY(client.request("DELETE", "/v1/hosts/" + url_encode(arguments.word(0))));
  TRY(http::json_of(response));
  print(arguments.json() ? Json::object({{"removed", arguments.word(0)}}).dump() + "\n"
                         : fmt::format("{} is forgotten\n", arguments.word(0)));
  return kOk;
}

}  // namespace

Command status_command() {
  return {"status",
          "Show each service, where it landed and how it is.",
          "",
          {},
          {},
          run_status,
          false,
          false,
          "consort status --json"};
}
Command history_command() {
  return {"history",  "Show the generations and the rollouts that made them.", "", {}, {},
          run_history};
}
Command host_list_command() {
  return {"host list", "List the hosts that have joined.", "", {}, {}, run_host_list};
}
Command host_show_command() {
  return {"host show",
          "Show what is known of a host.",
          "With --json: all that it said last, too.",
          {{"HOST", "Its name.", Positional::Count::one}},
          {},
          run_host_show};
}
Command host_approve_command() {
  return {
      "host approve",
      "Let a host in that waits, or one of several that claim a name.",
      "Hosts that joined with a token that approves by itself need none. When two machines claim "
      "one name, --key says which; the other one's certificates are worth nothing then.",
      {{"HOST", "Its name.", Positional::Count::one}},
      {{"--key", "DIGEST", "The key of the machine, as `consort host show` tells it."}},
      run_host_approve};
}
Command host_revoke_command() {
  return {"host revoke",
          "Let a host in no more.",
          "Within one long-poll its agent learns nothing new and its reports are refused. What it "
          "runs it keeps. Its name stays taken; `consort host remove` frees it.",
          {{"HOST", "Its name.", Positional::Count::one}},
          {},
          run_host_revoke};
}
Command host_remove_command() {
  return {"host remove",
          "Forget a host that is gone for good.",
          "",
          {{"HOST", "Its name.", Positional::Count::one}},
          {},
          run_host_remove};
}

}  // namespace consort::cli
