// consort token: what machines join with.
#include <fmt/format.h>

#include "base/text.h"
#include "base/time.h"
#include "cli/context.h"
#include "cli/credentials.h"
#include "cli/layout.h"
#include "cli/rows.h"
#include "cli/terminal.h"

namespace consort::cli {
namespace {

std::string labels_text(const Json& token) {
  std::vector<std::string> parts;
  if (const Json* labels = token.find("labels"); labels != nullptr && labels->is_object()) {
    for (const auto& [key, value] : labels->as_object())
      parts.push_back(fmt::format("{}={}", key, value.is_string() ? value.as_string() : ""));
  }
  return parts.empty() ? "-" : join(parts, ",");
}

Result<int> run_create(const Arguments& arguments) {
  const auto context = TRY(chosen_context(arguments));
  http::Client client = TRY(controller_client(arguments));
  const Duration ttl = TRY(parse_duration(arguments.value("--ttl", "1h")));
  const std::string uses = arguments.value("--uses", "1");
  if (uses.empty() || uses.size() > 6 || uses.find_first_not_of("0123456789") != std::string::npos)
    return fail(ErrorCode::usage,
                fmt::format("--uses {}: how many machines may join with it?", uses))
        .hint("a number from 1 to 100000");
  Json labels = Json::object();
  for (const std::string& text : arguments.values("--label")) {
    const std::size_t equals = text.find('=');
    if (equals == 0 || equals == std::string::npos)
      return fail(ErrorCode::usage, fmt::format("--label {}: a label is key=value", text));
    labels[text.substr(0, equals)] = text.substr(equals + 1);
  }
  const Json answer =
      TRY(client.send_json("POST", "/v1/tokens",
                           Json::object({{"names", arguments.value("--names", "*")},
                                         {"hostClass", arguments.value("--host-class")},
                                         {"labels", labels},
                                         {"ttl", format_duration(ttl)},
                                         {"uses", static_cast<std::int64_t>(std::stoll(uses))},
                                         {"approve", !arguments.has("--by-hand")}})));
  if (arguments.json()) {
    print(answer.dump() + "\n");
    return kOk;
  }
  // The token alone on stdout, so that it can be piped; what to do with it is for people.
  print(answer.string_or("token") + "\n");
  if (stdout_is_terminal() || stderr_is_terminal())
    print_to_stderr(
        fmt::format("valid for {} and {} machine{}; it is shown this once. On the machine:\n"
                    "  consort agent --join-file FILE --controller {}\n",
                    human_duration(ttl), uses, uses == "1" ? "" : "s",
                    context ? context->controller : client.url()));
  return kOk;
}

Result<int> run_list(const Arguments& arguments) {
  http::Client client = TRY(controller_client(arguments));
  const Json answer = TRY(client.get_json("/v1/tokens"));
  if (arguments.json()) {
    print(answer.dump() + "\n");
    return kOk;
  }
  std::vector<std::vector<std::string>> rows = {
      {"TOKEN", "NAMES", "CLASS", "LABELS", "USES LEFT", "EXPIRES", "APPROVAL", "BY"}};
  for (const Json& token : answer.find("tokens")->as_array())
    rows.push_back({token.string_or("id"), token.string_or("names"),
                    token.string_or("hostClass", "-"), labels_text(token),
                    std::to_string(token.int_or("usesLeft")),
                    shown_time(token.string_or("expires")),
                    token.bool_or("approve") ? "automatic" : "by hand", token.string_or("by")});
  print(rows.size() > 1 ? table(rows)
                        : "no join token is valid now; make one with: consort token create\n");
  return kOk;
}

Result<int> run_revoke(const Arguments& arguments) {
  http::Client client = TRY(controller_client(arguments));
  const Json answer = TRY(
      client.send_json("DELETE", "/v1/tokens/" + url_encode(arguments.word(0)), Json::object()));
  print(arguments.json() ? answer.dump() + "\n"
                         : fmt::format("token {} lets nobody in any more\n", arguments.word(0)));
  return kOk;
}

}  // namespace

Command token_create_command() {
  return {"token create",
          "Make a token with which machines join.",
          "It carries the fingerprint of the controller's authority: a machine that joins with it "
          "believes no other controller. It is shown once; the controller keeps a hash.",
          {},
          {{"--host-class", "CLASS",
            "The class that the machines are meant for; becomes their label class=CLASS."},
           {"--label", "KEY=VALUE", "A label of every host that joins with it.", true},
           {"--names", "PATTERN", "Which names they may claim: web-* or one name; default any."},
           {"--ttl", "DURATION", "How long it is valid; default 1h."},
           {"--uses", "N", "How many machines may join with it; default 1."},
           {"--by-hand", "", "Each machine waits until it is approved: consort host approve."}},
          run_create,
          false,
          false,
          "consort token create --host-class web --ttl 1h --uses 3"};
}
Command token_list_command() {
  return {"token list", "List the join tokens that are valid.", "", {}, {}, run_list};
}
Command token_revoke_command() {
  return {"token revoke",
          "Make a join token worthless.",
          "Hosts that have joined with it stay.",
          {{"TOKEN", "Its id, as `consort token list` shows it.", Positional::Count::one}},
          {},
          run_revoke};
}

}  // namespace consort::cli
