// `consort agent`: the process that keeps one host.
#include <fmt/format.h>

#include <cstdlib>

#include "agent/shell.h"
#include "base/files.h"
#include "base/text.h"
#include "cli/command.h"
#include "cli/rows.h"
#include "cli/terminal.h"

namespace consort::cli {
namespace {

Result<std::map<std::string, std::string>> labels_of(const Arguments& arguments) {
  std::map<std::string, std::string> out;
  for (const std::string& text : arguments.values("--label")) {
    const std::size_t equals = text.find('=');
    if (equals == 0 || equals == std::string::npos) {
      return fail(ErrorCode::usage, fmt::format("--label {}: a label is key=value", text))
          .hint("--label datacenter=east");
    }
    out[text.substr(0, equals)] = text.substr(equals + 1);
  }
  return out;
}

// "TOKEN@URL" or a file with a token: how this host gets in the first time.
Status read_join(const Arguments& arguments, agent::AgentOptions& options) {
  const std::string join = arguments.value("--join");
  if (!join.empty()) {
    const std::size_t at = join.find('@');
    if (at == std::string::npos)
      return fail(ErrorCode::usage, "--join wants TOKEN@URL")
          .hint(
              "--join cj1.…@https://10.0.0.1:8440; or keep the token out of the process list: "
              "--join-file FILE --controller URL");
    options.join_token = crypto::SecretText(std::string_view(join).substr(0, at));
    options.controller_url = join.substr(at + 1);
  }
  const std::string file = arguments.value("--join-file");
  if (file.empty()) return {};
  auto text = read_file(file, 4096);
  // Once a host has joined its token is worth nothing; nobody needs to keep the file.
  std::error_code ec;
  const auto is_there = [&](const char* name) {
    return fs::exists(options.data / "identity" / name, ec);
  };
  const bool has_joined = is_there("joined.json") || is_there("host.pem");
  if (!text && text.error().code() == ErrorCode::not_found && has_joined) return {};
  if (!text) return fail(std::move(text).error());
  // Whoever has read it before can join in this host's place.
  if (const Status only_own = check_private(file, "let an admin revoke the token and make another");
      !only_own && !has_joined)
    print_to_stderr(
        fmt::format("warning: {}; {}\n", only_own.error().message(), only_own.error().hint_text()));
  options.join_token = crypto::SecretText(trim(*text));
  crypto::wipe(*text);
  return {};
}

Result<int> run(const Arguments& arguments) {
  agent::AgentOptions options;
  options.data = arguments.value("--data", "/var/lib/consort");
  const char* environment = std::getenv("CONSORT_CONTROLLER");
  options.controller_url =
      arguments.value("--controller", environment == nullptr ? "" : environment);
  TRYV(read_join(arguments, options));
  options.name = arguments.value("--name");
  options.address = arguments.value("--address");
  options.labels = TRY(labels_of(arguments));
  options.trust = arguments.value("--trust");
  options.root = arguments.value("--root", "/");
  options.supervisor =
      TRY(agent::supervisor_choice_from_name(arguments.value("--supervisor", "auto")));
  options.firewall = TRY(agent::firewall_choice_from_name(arguments.value("--firewall", "auto")));
  std::error_code ec;
  if (options.controller_url.empty() && !fs::exists(options.data / "identity/joined.json", ec))
    print_to_stderr(
        "warning: no controller is named, and this host has not joined one: it keeps what is "
        "there, and nobody tells it more; see: consort agent --help\n");
  TRYV(agent::run_agent(std::move(options)));
  return kOk;
}

}  // namespace

Command agent_command() {
  Command out;
  out.name = "agent";
  out.summary = "Keep this host as its controller wants it.";
  out.description =
      "Runs until SIGTERM or SIGINT; the services that it keeps outlive it, and the next start "
      "goes on where this one ended. "
      "A host joins once, with a token; its key never leaves it, and its certificate is renewed by "
      "itself. Without a controller it keeps what it was last told.";
  out.options = {
      {"--data", "DIR", "its records, objects and the services' folders; default /var/lib/consort"},
      {"--join", "TOKEN@URL",
       "join this controller, with a token of `consort token create`; not looked at once joined"},
      {"--join-file", "FILE", "where the token is, so that no process list shows it"},
      {"--name", "NAME", "the host's name; default the hostname"},
      {"--address", "ADDRESS",
       "where other hosts reach this one; default the address that reaches the controller"},
      {"--label", "KEY=VALUE", "a label of this host", true},
      {"--trust", "FILE",
       "a trust list: from now on only what is signed by its keys is taken (docs/signing.md)"},
      {"--root", "DIR", "where resources and account files are; default /"},
      {"--supervisor",
       "KIND",
       "auto (systemd where it is init), systemd or native",
       false,
       "",
       {"auto", "systemd", "native"}},
      {"--firewall",
       "KIND",
       "who may reach a service's ports: auto (nftables where the root is /), nftables, or none",
       false,
       "",
       {"auto", "nftables", "none"}}};
  out.run = &run;
  out.example =
      "consort agent --data /var/lib/consort --join-file /run/consort.token --controller "
      "https://10.0.0.1:8440 --label datacenter=east";
  return out;
}

}  // namespace consort::cli
