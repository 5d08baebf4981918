// consort login and consort context: what this person has in hand to be let in.
#include <fmt/format.h>

#include <algorithm>

#include "access/tokens.h"
#include "base/text.h"
#include "cli/context.h"
#include "cli/credentials.h"
#include "cli/rows.h"
#include "cli/terminal.h"

namespace consort::cli {
namespace {

// "name@host" of the URL's host, without dots that a file name would not mind but people do.
std::string name_from(const std::string& url) {
  std::string host = url.substr(url.find("//") + 2);
  host = host.substr(0, host.find_first_of(":/"));
  return is_name(host) ? host : "default";
}

Result<std::string> read_token(const Arguments& arguments) {
  std::string text;
  if (arguments.has("--token-file")) {
    text = TRY(read_file(arguments.value("--token-file"), 4096));
  } else {
    if (stdin_is_terminal()) print_to_stderr("token (it is not shown): ");
    text = TRY(read_secret_line());
  }
  const std::string token(trim(text));
  if (token.empty())
    return fail(ErrorCode::usage, "no token was given")
        .hint("name its file: --token-file FILE; or pipe it in");
  return token;
}

// What was made current is without effect as long as the environment names another one.
void tell_what_goes_before(const std::string& name) {
  const std::string set = context_of_environment();
  if (set.empty() || set == name) return;
  print_to_stderr(
      fmt::format("warning: commands go on using {}, which CONSORT_CONTEXT names; to use {}: unset "
                  "CONSORT_CONTEXT\n",
                  set, name));
}

Result<int> run_login(const Arguments& arguments) {
  const std::string url = arguments.word(0);
  Context context;
  context.controller = url;
  context.name = arguments.value("--name", name_from(url));
  context.token = TRY(read_token(arguments));
  context.authority_pem = TRY(fetch_authority(url, context.token));
  const std::string who = TRY(TRY(client_of(context)).get_json("/v1/whoami")).string_or("name");
  // Before there is a certificate that nobody keeps.
  TRYV(check_replaceable(context, who, "--name"));
  if (arguments.has("--certificate")) context = TRY(with_certificate(std::move(context)));
  http::Client client = TRY(client_of(context));
  const Json me = TRY(client.get_json("/v1/whoami"));
  TRYV(save_context(context));
  const bool use = !arguments.has("--keep-current");
  if (use) TRYV(use_context(context.name));
  if (arguments.json()) {
    print(me.dump() + "\n");
  } else {
    print(fmt::format("you are {}, {}; the context is called {}\n", me.string_or("name"),
                      me.string_or("may"), context.name));
    if (arguments.has("--certificate"))
      print(
          "the token is still good, and the certificate ends with it: keep or remove its file, as "
          "you would a password\n");
  }
  if (use) tell_what_goes_before(context.name);
  return kOk;
}

// Of a token's context only the token is known here: its id, which is no secret.
std::string bearer(const Context& context) {
  const auto token = access::OperatorTokenText::parse(context.token);
  return token ? "token " + token->id : "-";
}

struct Listed {
  Json record;
  std::vector<std::string> row;
};

Listed listed(const std::string& name, bool in_force) {
  const auto context = load_context(name);
  const std::string with = !context ? "unreadable: " + context.error().message()
                           : !context->certificate_pem.empty() ? "certificate"
                           : !context->token.empty()           ? "token"
                                                               : "nothing";
  const auto end =
      context ? certificate_end(*context).value_or(std::nullopt) : std::optional<Instant>();
  const auto who = context ? certificate_holder(*context) : std::nullopt;
  return {Json::object({{"name", name},
                        {"current", in_force},
                        {"who", who ? Json(*who) : Json()},
                        {"controller", context ? context->controller : ""},
                        {"with", with},
                        {"expires", end ? Json(format_instant(*end)) : Json()}}),
          {in_force ? "*" : "", name,
           who       ? *who
           : context ? bearer(*context)
                     : "-",
           context ? context->controller : "-",
           end ? fmt::format("{} until {}", with, format_instant(*end)) : with}};
}

Result<int> run_list(const Arguments& arguments) {
  std::vector<std::string> names = TRY(context_names());
  const std::string set = context_of_environment();
  const std::string in_force = set.empty() ? TRY(current_context_name()).value_or("") : set;
  // A file somewhere, as a lab's.
  if (!set.empty() && std::find(names.begin(), names.end(), set) == names.end())
    names.push_back(set);
  Json records = Json::array();
  std::vector<std::vector<std::string>> rows = {{"", "CONTEXT", "WHO", "CONTROLLER", "WITH"}};
  for (const std::string& name : names) {
    Listed context = listed(name, name == in_force);
    records.push_back(std::move(context.record));
    rows.push_back(std::move(context.row));
  }
  if (arguments.json()) {
    print(Json::object({{"contexts", records}}).dump() + "\n");
    return kOk;
  }
  print(names.empty() ? "no context yet: consort login URL --token-file FILE\n" : table(rows));
  if (!set.empty()) print("* by CONSORT_CONTEXT\n");
  return kOk;
}

Result<int> run_use(const Arguments& arguments) {
  TRYV(use_context(arguments.word(0)));
  print(arguments.json() ? Json::object({{"current", arguments.word(0)}}).dump() + "\n"
                         : fmt::format("the current context is {}\n", arguments.word(0)));
  tell_what_goes_before(arguments.word(0));
  return kOk;
}

Result<int> run_show(const Arguments& arguments) {
  http::Client client = TRY(controller_client(arguments));
  const Json me = TRY(client.get_json("/v1/whoami"));
  if (arguments.json()) {
    print(me.dump() + "\n");
    return kOk;
  }
  print(fmt::format("at {} you are {} ({}), with {}\n", client.url(), me.string_or("name"),
                    me.string_or("may"), me.string_or("how")));
  return kOk;
}

Result<int> run_renew(const Arguments& arguments) {
  const std::string name =
      arguments.words.empty() ? TRY(current_context_name()).value_or("") : arguments.word(0);
  if (name.empty())
    return fail(ErrorCode::usage, "which context?").hint("see them: consort context list");
  const Context context = TRY(with_certificate(TRY(load_context(name))));
  TRYV(save_context(context));
  const std::string end = format_instant(TRY(certificate_end(context)).value());
  print(arguments.json() ? Json::object({{"name", name}, {"expires", end}}).dump() + "\n"
                         : fmt::format("{} has a new certificate, good until {}\n", name, end));
  return kOk;
}

Result<int> run_remove(const Arguments& arguments) {
  TRYV(remove_context(arguments.word(0)));
  print(arguments.json() ? Json::object({{"removed", arguments.word(0)}}).dump() + "\n"
                         : fmt::format("context {} is gone from this machine; its credential is "
                                       "still valid if it was not revoked: consort operator revoke "
                                       "takes it away\n",
                                       arguments.word(0)));
  return kOk;
}

}  // namespace

Command login_command() {
  return {"login",
          "Keep a credential for a controller, and use it from now on.",
          "The token is read from --token-file or standard input, never from the command line. It "
          "carries the fingerprint of the controller's authority: a false controller gets nothing.",
          {{"URL", "The controller: https://…", Positional::Count::one}},
          {{"--token-file", "FILE", "Where the token is; default: standard input."},
           {"--certificate", "",
            "Keep a certificate in place of the token: its key never leaves this machine."},
           {"--name", "NAME", "What to call the context; default: the controller's host name."},
           {"--keep-current", "", "Do not make it the current context."}},
          run_login,
          false,
          false,
          "consort login https://controller.example:8440 --token-file ann.token"};
}
Command context_list_command() {
  return {"context list",
          "List the controllers that this person has credentials for.",
          "* is the one that commands use: what CONSORT_CONTEXT names, or the current one.",
          {},
          {},
          run_list};
}
Command context_use_command() {
  return {"context use",
          "Choose the controller that commands go to.",
          "One command only: --context NAME, or CONSORT_CONTEXT.",
          {{"CONTEXT", "Its name.", Positional::Count::one}},
          {},
          run_use};
}
Command context_show_command() {
  return {"context show", "Ask the controller who you are and what you may do.", "", {}, {},
          run_show};
}
Command context_renew_command() {
  return {"context renew",
          "Get a new certificate in place of the context's certificate or token.",
          "With a new key. A certificate is good for a year; one that was got with a token which "
          "ends, until that end. The old one stays good until it ends or is revoked.",
          {{"CONTEXT", "Its name; default: the current one.", Positional::Count::optional}},
          {},
          run_renew};
}
Command context_remove_command() {
  return {"context remove",
          "Remove a credential from this machine.",
          "",
          {{"CONTEXT", "Its name.", Positional::Count::one}},
          {},
          run_remove};
}

}  // namespace consort::cli
