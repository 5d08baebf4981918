// consort operator: who may do what.
#include <fmt/format.h>

#include "access/principal.h"
#include "base/files.h"
#include "base/text.h"
#include "base/time.h"
#include "cli/context.h"
#include "cli/rows.h"
#include "cli/terminal.h"

namespace consort::cli {
namespace {

Result<Json> grants_of(const Arguments& arguments) {
  access::Grant grant;
  grant.role = TRY(access::role_from_name(arguments.value("--role", "viewer")));
  grant.services = arguments.values("--service");
  grant.owners = arguments.values("--owner");
  const std::vector<access::Grant> grants = {grant};
  TRYV(access::check_grants(grants));
  return access::grants_to_json(grants);
}

std::string path_of(const std::string& name) { return "/v1/operators/" + url_encode(name); }

// Writes a credential where only its owner can read it, or prints it for a pipe.
Status hand_over(const Arguments& arguments, const std::string& name, const std::string& token) {
  const std::string file = arguments.value("--token-file");
  if (file.empty()) {
    print(token + "\n");
    if (stderr_is_terminal())
      print_to_stderr(fmt::format(
          "shown this once. {} logs in with: consort login URL --token-file FILE\n", name));
    return {};
  }
  TRYV(write_file_atomic(file, token + "\n", 0600));
  print(fmt::format("the token of {} is in {}\n", name, file));
  return {};
}

Result<Json> new_token(http::Client& client, const Arguments& arguments, const std::string& name) {
  Json body = Json::object();
  if (arguments.has("--ttl"))
    body["ttl"] = format_duration(TRY(parse_duration(arguments.value("--ttl"))));
  return client.send_json("POST", path_of(name) + "/tokens", body);
}

Result<int> run_create(const Arguments& arguments) {
  http::Client client = TRY(controller_client(arguments));
  const std::string name = arguments.word(0);
  TRYV(client
           .send_json("POST", "/v1/operators",
                      Json::object({{"name", name}, {"grants", TRY(grants_of(arguments))}}))
           .map([](const Json&) {}));
  const Json answer = TRY(new_token(client, arguments, name));
  if (arguments.json()) {
    print(answer.dump() + "\n");
    return kOk;
  }
  TRYV(hand_over(arguments, name, answer.string_or("token")));
  return kOk;
}

Result<int> run_token(const Arguments& arguments) {
  http::Client client = TRY(controller_client(arguments));
  const Json answer = TRY(new_token(client, arguments, arguments.word(0)));
  if (arguments.json()) {
    print(answer.dump() + "\n");
    return kOk;
  }
  TRYV(hand_over(arguments, arguments.word(0), answer.string_or("token")));
  return kOk;
}

Result<int> run_grant(const Arguments& arguments) {
  http::Client client = TRY(controller_client(arguments));
  const Json answer = TRY(client.send_json("PUT", path_of(arguments.word(0)),
                                           Json::object({{"grants", TRY(grants_of(arguments))}})));
  print(arguments.json()
            ? answer.dump() + "\n"
            : fmt::format("{} is now {}\n", arguments.word(0), answer.string_or("may")));
  return kOk;
}

// Nobody writes down when a certificate is used.
std::string last_used_without(const Json& credential) {
  return credential.string_or("kind") == "token" ? "never" : "-";
}

Result<int> run_list(const Arguments& arguments) {
  http::Client client = TRY(controller_client(arguments));
  const Json answer = TRY(client.get_json("/v1/operators"));
  if (arguments.json()) {
    print(answer.dump() + "\n");
    return kOk;
  }
  std::vector<std::vector<std::string>> rows = {
      {"OPERATOR", "IS", "CREDENTIAL", "LAST USED", "EXPIRES"}};
  for (const Json& one : answer.find("operators")->as_array()) {
    std::string name = one.string_or("name");
    std::string may = one.string_or("may");
    const Json::Array& credentials = one.find("credentials")->as_array();
    if (credentials.empty()) rows.push_back({name, may, "none", "-", "-"});
    for (const Json& credential : credentials) {
      rows.push_back({name, may,
                      credential.string_or("kind") + " " + credential.string_or("id").substr(0, 16),
                      credential.string_or("lastUsed", last_used_without(credential)),
                      credential.string_or("expires", "never")});
      name = may = "";
    }
  }
  print(rows.size() > 1 ? table(rows) : "there is no operator\n");
  return kOk;
}

Result<int> run_revoke(const Arguments& arguments) {
  http::Client client = TRY(controller_client(arguments));
  const std::string name = arguments.word(0);
  const std::string token = arguments.value("--token");
  const Json answer = TRY(client.send_json(
      "DELETE", path_of(name) + (token.empty() ? "" : "/tokens/" + url_encode(token)),
      Json::object()));
  print(arguments.json() ? answer.dump() + "\n"
        : token.empty()  ? fmt::format("{} is let in no more\n", name)
                         : fmt::format("token {} of {} is worth nothing now\n", token, name));
  return kOk;
}

const std::vector<Option>& grant_options() {
  static const std::vector<Option> out = {
      {"--role", "ROLE", "viewer (looks), deployer (of services), or admin; default viewer."},
      {"--service", "NAME", "Which services a deployer may change; shop-* is a pattern.", true},
      {"--owner", "OWNER", "… or those of this owner.", true}};
  return out;
}

std::vector<Option> with_grants(std::vector<Option> options) {
  options.insert(options.begin(), grant_options().begin(), grant_options().end());
  return options;
}

}  // namespace

Command operator_create_command() {
  return {"operator create",
          "Let somebody in.",
          "Prints a bearer token, once; the controller keeps a hash of it.",
          {{"NAME", "Who.", Positional::Count::one}},
          with_grants(
              {{"--ttl", "DURATION", "How long the token is valid; default: for ever."},
               {"--token-file", "FILE", "Where to write it (mode 0600), instead of showing it."}}),
          run_create,
          false,
          false,
          "consort operator create ann --role deployer --service 'shop-*' --token-file ann.token"};
}
Command operator_token_command() {
  return {"operator token",
          "Make another token for an operator.",
          "",
          {{"NAME", "Who.", Positional::Count::one}},
          {{"--ttl", "DURATION", "How long it is valid; default: for ever."},
           {"--token-file", "FILE", "Where to write it (mode 0600), instead of showing it."}},
          run_token};
}
Command operator_grant_command() {
  return {"operator grant",
          "Change what an operator may do.",
          "Replaces what was granted before.",
          {{"NAME", "Who.", Positional::Count::one}},
          grant_options(),
          run_grant};
}
Command operator_list_command() {
  return {"operator list", "List operators, what they may do, and their credentials.", "", {}, {},
          run_list};
}
Command operator_revoke_command() {
  return {"operator revoke",
          "Let an operator in no more, or take one token away.",
          "",
          {{"NAME", "Who.", Positional::Count::one}},
          {{"--token", "ID", "Only this token."}},
          run_revoke};
}

}  // namespace consort::cli
