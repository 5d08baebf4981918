// consort operator: who may do what.
#include <fmt/format.h>

#include "access/principal.h"
#include "base/files.h"
#include "base/text.h"
#include "base/time.h"
#include "cli/context.h"
#include "cli/layout.h"
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

// What lies there may be the only copy of a credential.
Status check_file_is_free(const Arguments& arguments) {
  const fs::path file = arguments.value("--token-file");
  std::error_code ec;
  if (file.empty() || arguments.json() || !fs::exists(fs::symlink_status(file, ec))) return {};
  return fail(ErrorCode::conflict, fmt::format("{} is there already", file.string()))
      .hint("name another file, or remove it if nobody needs it any more");
}

// Writes a credential where only its owner can read it, or prints it for a pipe.
Status hand_over(const Arguments& arguments, const http::Client& client, const std::string& name,
                 const std::string& token) {
  const std::string file = arguments.value("--token-file");
  if (file.empty()) {
    print(token + "\n");
    if (stderr_is_terminal())
      print_to_stderr(
          fmt::format("shown this once. {} logs in with: consort login {} --token-file FILE\n",
                      name, client.url()));
    return {};
  }
  TRYV(write_file_atomic(file, token + "\n", 0600));
  print(
      fmt::format("the token of {0} is in {2}; {0} logs in with: consort login {1} --token-file "
                  "{2}\n",
                  name, client.url(), file));
  return {};
}

Result<Json> new_token(http::Client& client, const Arguments& arguments, const std::string& name) {
  Json body = Json::object();
  if (arguments.has("--ttl"))
    body["ttl"] = format_duration(TRY(parse_duration(arguments.value("--ttl"))));
  return client.send_json("POST", path_of(name) + "/tokens", body);
}

Result<int> run_create(const Arguments& arguments) {
  TRYV(check_file_is_free(arguments));
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
  TRYV(hand_over(arguments, client, name, answer.string_or("token")));
  return kOk;
}

Result<int> run_token(const Arguments& arguments) {
  TRYV(check_file_is_free(arguments));
  http::Client client = TRY(controller_client(arguments));
  const Json answer = TRY(new_token(client, arguments, arguments.word(0)));
  if (arguments.json()) {
    print(answer.dump() + "\n");
    return kOk;
  }
  TRYV(hand_over(arguments, client, arguments.word(0), answer.string_or("token")));
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
                      shown_time(credential.string_or("lastUsed", "never")),
                      shown_time(credential.string_or("expires", "never"))});
      name = may = "";
    }
  }
  print(rows.size() > 1 ? table(rows) : "there is no operator\n");
  return kOk;
}

// The list shows the beginning of a serial only; that is enough where it is of one certificate.
Result<std::string> serial_of(http::Client& client, const std::string& name,
                              const std::string& given) {
  std::vector<std::string> found;
  const Json answer = TRY(client.get_json("/v1/operators"));
  const Json* operators = answer.find("operators");
  if (given.empty() || operators == nullptr || !operators->is_array()) return std::string();
  for (const Json& one : operators->as_array()) {
    const Json* credentials = one.find("credentials");
    if (one.string_or("name") != name || credentials == nullptr || !credentials->is_array())
      continue;
    for (const Json& credential : credentials->as_array()) {
      const std::string serial = credential.string_or("id");
      if (credential.string_or("kind") == "certificate" && serial.starts_with(given))
        found.push_back(serial);
    }
  }
  if (found.size() > 1)
    return fail(ErrorCode::usage,
                fmt::format("{} certificates of {} begin with {}", found.size(), name, given))
        .hint("say more of the serial: consort operator list --json");
  if (found.empty())
    return fail(ErrorCode::not_found, fmt::format("{} has no certificate {}", name, given))
        .hint("see them with: consort operator list");
  return found.front();
}

Result<int> run_revoke(const Arguments& arguments) {
  http::Client client = TRY(controller_client(arguments));
  const std::string name = arguments.word(0);
  if (arguments.has("--token") && arguments.has("--certificate"))
    return fail(ErrorCode::usage, "a token or a certificate?").hint("one at a time");
  const bool is_certificate = arguments.has("--certificate");
  const std::string kind = is_certificate ? "certificate" : "token";
  const bool all = !arguments.has("--" + kind);
  const std::string id = is_certificate
                             ? TRY(serial_of(client, name, arguments.value("--certificate")))
                             : arguments.value("--token");
  if (!all && id.empty())
    return fail(ErrorCode::usage, fmt::format("which {}?", kind))
        .hint("see them with: consort operator list");
  const Json answer = TRY(client.send_json(
      "DELETE", path_of(name) + (all ? "" : fmt::format("/{}s/{}", kind, url_encode(id))),
      Json::object()));
  print(arguments.json() ? answer.dump() + "\n"
        : all            ? fmt::format("{} is let in no more\n", name)
                         : fmt::format("{} {} of {} is worth nothing now\n", kind, id, name));
  return kOk;
}

const std::vector<Option>& grant_options() {
  static const std::vector<Option> out = {
      {"--role",
       "ROLE",
       "viewer (looks), deployer (of services), or admin; default viewer.",
       false,
       "",
       {"viewer", "deployer", "admin"}},
      {"--service", "SERVICE", "Which services a deployer may change; shop-* is a pattern.", true},
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
          {{"OPERATOR", "Who.", Positional::Count::one}},
          {{"--ttl", "DURATION", "How long it is valid; default: for ever."},
           {"--token-file", "FILE", "Where to write it (mode 0600), instead of showing it."}},
          run_token};
}
Command operator_grant_command() {
  return {"operator grant",
          "Change what an operator may do.",
          "Replaces what was granted before.",
          {{"OPERATOR", "Who.", Positional::Count::one}},
          grant_options(),
          run_grant};
}
Command operator_list_command() {
  return {"operator list", "List operators, what they may do, and their credentials.", "", {}, {},
          run_list};
}
Command operator_revoke_command() {
  return {"operator revoke",
          "Let an operator in no more, or take one token or certificate away.",
          "",
          {{"OPERATOR", "Who.", Positional::Count::one}},
          {{"--token", "ID", "Only this token."},
           {"--certificate", "SERIAL",
            "Only this certificate; as much of its serial as `operator list` shows is enough."}},
          run_revoke,
          false,
          false,
          "consort operator revoke ann --certificate 5f1c0a9e"};
}

}  // namespace consort::cli
