// `consort host install`: the program, the unit and a token to a new machine, over the system's
// ssh.
#include "cli/install.h"

#include <fmt/format.h>
#include <sys/utsname.h>

#include <chrono>
#include <thread>

#include "base/digest.h"
#include "base/files.h"
#include "base/process.h"
#include "base/text.h"
#include "cli/context.h"
#include "cli/credentials.h"
#include "cli/rows.h"
#include "cli/terminal.h"
#include "crypto/secret.h"
#include "http/url.h"

namespace consort::cli {
namespace {

constexpr std::size_t kProgramLimit = 512U << 20U;
constexpr Duration kLook = Duration{300};
constexpr const char* kTokenTtl = "15m";

// Every command that the machine's shell sees is one of these, as it stands here: nothing that
// somebody typed is ever put into one. What varies comes through standard input.
constexpr const char* kProbe =
    "echo machine=$(uname -m); echo user=$(id -u); echo name=$(uname -n); "
    "test -d /run/systemd/system && echo systemd=yes; "
    "test -f /usr/local/bin/consort && echo program=$(sha256sum < /usr/local/bin/consort); "
    "test -f /var/lib/consort/identity/joined.json && "
    "echo joined=$(cat /var/lib/consort/identity/joined.json); true";
constexpr const char* kPutProgram =
    "set -e; umask 022; mkdir -p /usr/local/bin; f=/usr/local/bin/.consort.new; cat > $f; "
    "chmod 755 $f; $f version > /dev/null || { ldd $f 2> /dev/null | grep 'not found' >&2 || true; "
    "rm -f $f; exit 3; }; mv -f $f /usr/local/bin/consort";
constexpr const char* kPutUnit =
    "set -e; umask 022; f=/etc/systemd/system/consort-agent.service; cat > $f.new; mv -f $f.new $f";
constexpr const char* kPutDropIn =
    "set -e; umask 022; d=/etc/systemd/system/consort-agent.service.d; mkdir -p $d; cat > "
    "$d/.join.new; mv -f $d/.join.new $d/join.conf";
constexpr const char* kPutToken =
    "set -e; mkdir -p -m 755 /var/lib/consort; umask 077; f=/var/lib/consort/join-token; cat > "
    "$f.new; mv -f $f.new $f";
constexpr const char* kStart =
    "systemctl daemon-reload && systemctl enable --quiet consort-agent && systemctl restart "
    "consort-agent";
constexpr const char* kForgetToken = "rm -f /var/lib/consort/join-token";
constexpr const char* kLog = "journalctl -u consort-agent -n 5 --no-pager -o cat 2>/dev/null; true";

std::string last_line(std::string_view text) {
  const std::vector<std::string> lines = split(trim(text), '\n');
  return lines.empty() ? "" : lines.back();
}

// One machine, by ssh.
class Machine {
 public:
  Machine(std::vector<std::string> ssh, std::string target)
      : ssh_(std::move(ssh)), target_(std::move(target)) {}

  // `command`: one of the constants above. Errors: unavailable (ssh does not get there), io.
  [[nodiscard]] Result<std::string> run(const char* command, std::string_view input = "") const {
    ProcessSpec spec;
    spec.argv = ssh_;
    for (const char* word : {"-o", "BatchMode=yes", "-o", "ConnectTimeout=10", "--"})
      spec.argv.emplace_back(word);
    spec.argv.push_back(target_);
    spec.argv.emplace_back(command);
    spec.input = input;
    spec.timeout = minutes(10);
    auto outcome = run_process(spec);
    crypto::wipe(spec.input);
    if (!outcome) return fail(std::move(outcome).error().context("starting " + ssh_.front()));
    if (outcome->ok()) return outcome->output;
    const std::string said = last_line(outcome->errors);
    if (outcome->timed_out || outcome->status == 255)
      return fail(ErrorCode::unavailable, fmt::format("{} does not get to {}: {}", ssh_.front(),
                                                      target_, said.empty() ? "no answer" : said))
          .hint(fmt::format("it must get there without a question: {} {} true", quote_argv(ssh_),
                            target_));
    return fail(ErrorCode::io,
                fmt::format("{}: {}", target_,
                            said.empty() ? fmt::format("status {}", outcome->status) : said));
  }
  [[nodiscard]] const std::string& target() const { return target_; }

 private:
  std::vector<std::string> ssh_;
  std::string target_;
};

struct Order {
  std::string name;
  std::string controller;  // as the machine reaches it
  Duration patience;
};

void tell(const Arguments& arguments, const std::string& text) {
  if (!arguments.json()) print_to_stderr(text + "\n");
}

// Where the machine finds the controller. Our own loopback is not its.
Result<std::string> controller_for(const Arguments& arguments, const std::string& own) {
  const std::string given = arguments.value("--reach");
  const std::string url = given.empty() ? own : given;
  const http::Url parsed = TRY(http::parse_url(url));
  const std::string& host = parsed.at.host;
  if (given.empty() && http::is_loopback(host))
    return fail(ErrorCode::usage,
                fmt::format("{} is this machine only; where does the new one reach the controller?",
                            url))
        .hint(
            "--reach https://ADDRESS:8440, an address that was named to `consort controller "
            "init --address`");
  return url;
}

Status check_machine(const MachineFacts& facts, const Machine& machine) {
  if (facts.user != "0")
    return fail(ErrorCode::refused,
                fmt::format("on {} one is not root; the agent and its unit belong to root",
                            machine.target()))
        .hint("root@ADDRESS");
  if (!facts.systemd)
    return fail(ErrorCode::unsupported, fmt::format("{} does not run systemd", machine.target()))
        .hint(
            "copy the program there, and let its init start: consort agent --join-file FILE "
            "--controller URL; the token is of: consort token create");
  utsname own{};
  ::uname(&own);
  if (facts.machine != own.machine)
    return fail(ErrorCode::unsupported, fmt::format("{} is a {}, and this program is made for {}",
                                                    machine.target(), facts.machine, own.machine))
        .hint("install the package for its architecture there; then: consort token create");
  return {};
}

// Whether it joined before: then only the program is renewed. Error refused when it is another's.
Result<bool> joined_already(const MachineFacts& facts, const Machine& machine,
                            const std::string& name) {
  if (facts.joined.empty()) return false;
  const auto json = parse_json(facts.joined);
  const std::string as = json ? json->string_or("name") : "";
  if (as == name) return true;
  return fail(ErrorCode::refused,
              fmt::format("{} has joined {} as '{}'", machine.target(),
                          json ? json->string_or("controller") : "a controller", as))
      .hint("if it shall join anew, remove /var/lib/consort/identity there; or say --name " + as);
}

// A name that is taken shows now, not as an agent that waits.
Status check_name_is_free(http::Client& client, const std::string& name) {
  const auto host = client.get_json("/v1/hosts/" + name);
  if (!host && host.error().code() == ErrorCode::not_found) return {};
  if (!host) return fail(host.error());
  const Json* identity = host->find("identity");
  if (identity == nullptr || identity->is_null()) return {};
  return fail(ErrorCode::conflict,
              fmt::format("there is a host '{}' already ({})", name, identity->string_or("state")))
      .hint(fmt::format("another name: --name NAME; or, if that one is gone for good: consort host "
                        "remove {}",
                        name));
}

Status send_program(const Arguments& arguments, const Machine& machine, const MachineFacts& facts) {
  const std::string program = TRY(read_file("/proc/self/exe", kProgramLimit));
  if ("sha256:" + facts.program == Digest::of(program).str()) {
    tell(arguments, "the program is there already");
    return {};
  }
  tell(arguments,
       fmt::format("sending the program, {:.1f} MB", static_cast<double>(program.size()) / 1e6));
  auto sent = machine.run(kPutProgram, program);
  if (sent) return {};
  return fail(std::move(sent).error().context("the program does not run there"))
      .hint("install what it needs, or the package of Consort, and say the same again");
}

// Until the controller has heard of it.
Status wait_for_host(const Arguments& arguments, http::Client& client, const Machine& machine,
                     const Order& order) {
  const auto deadline = std::chrono::steady_clock::now() + order.patience;
  bool told = false;
  while (std::chrono::steady_clock::now() < deadline) {
    const auto host = client.get_json("/v1/hosts/" + order.name);
    if (host) {
      const Json* identity = host->find("identity");
      const std::string state =
          identity == nullptr || identity->is_null() ? "" : identity->string_or("state");
      if (state == "approved" && host->bool_or("reachable")) return {};
      if (state == "pending" && !std::exchange(told, true))
        tell(arguments, "it waits for an admin: consort host approve " + order.name);
    } else if (host.error().code() != ErrorCode::not_found) {
      return fail(host.error());
    }
    std::this_thread::sleep_for(kLook);
  }
  const auto log = machine.run(kLog);
  const std::string said = log ? last_line(*log) : "";
  return fail(ErrorCode::timeout, fmt::format("{} has not come to {} within {}{}", order.name,
                                              order.controller, human_duration(order.patience),
                                              said.empty() ? "" : "; its agent says: " + said))
      .hint(fmt::format("see there: journalctl -u consort-agent; it goes on trying, and `consort "
                        "host show {}` tells when it is there",
                        order.name));
}

Result<int> run(const Arguments& arguments) {
  TRYV(check_ssh_target(arguments.word(0)));
  const Machine machine(TRY(ssh_words(arguments.value("--ssh", "ssh"))), arguments.word(0));
  const auto context = TRY(chosen_context(arguments));
  http::Client client = TRY(controller_client(arguments));
  Order order;
  order.controller = TRY(controller_for(arguments, context ? context->controller : client.url()));
  order.patience = TRY(parse_duration(arguments.value("--timeout", "2m")));

  tell(arguments, "looking at " + machine.target());
  const MachineFacts facts = machine_facts(TRY(machine.run(kProbe)));
  TRYV(check_machine(facts, machine));
  order.name = arguments.value("--name", facts.name);
  const std::string drop_in = TRY(join_drop_in(order.controller, order.name));
  const bool joined = TRY(joined_already(facts, machine, order.name));
  if (!joined) TRYV(check_name_is_free(client, order.name));

  TRYV(send_program(arguments, machine, facts));
  TRYV(machine.run(kPutUnit, agent_unit()).map([](const std::string&) {}));
  TRYV(machine.run(kPutDropIn, drop_in).map([](const std::string&) {}));
  if (!joined) {
    Json answer = TRY(client.send_json("POST", "/v1/tokens",
                                       Json::object({{"names", order.name},
                                                     {"hostClass", arguments.value("--host-class")},
                                                     {"ttl", kTokenTtl},
                                                     {"uses", 1},
                                                     {"approve", !arguments.has("--by-hand")}})));
    TRYV(machine.run(kPutToken, answer.string_or("token") + "\n").map([](const std::string&) {}));
  }
  tell(arguments, "starting the agent");
  TRYV(machine.run(kStart).map([](const std::string&) {}));
  TRYV(wait_for_host(arguments, client, machine, order));
  // It is used up; nobody needs it there.
  TRYV(machine.run(kForgetToken).map([](const std::string&) {}));
  if (arguments.json()) {
    print(Json::object({{"name", order.name},
                        {"machine", machine.target()},
                        {"controller", order.controller},
                        {"state", joined ? "renewed" : "joined"}})
              .dump() +
          "\n");
  } else {
    print(
        fmt::format("{} has joined; see it with: consort host show {}\n", order.name, order.name));
  }
  return kOk;
}

}  // namespace

Status check_ssh_target(std::string_view target) {
  constexpr std::string_view kAllowed =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789@._-:[]%";
  if (!target.empty() && target.size() <= 255 && target.front() != '-' &&
      target.find_first_not_of(kAllowed) == std::string_view::npos)
    return {};
  return fail(ErrorCode::usage,
              fmt::format("'{}' is no machine that ssh knows", target.substr(0, 80)))
      .hint("root@ADDRESS; options of ssh go with --ssh 'ssh -p 2222'");
}

Result<std::vector<std::string>> ssh_words(std::string_view text) {
  std::vector<std::string> out;
  for (std::string& word : split(text, ' ')) {
    if (!word.empty()) out.push_back(std::move(word));
  }
  if (!out.empty()) return out;
  return fail(ErrorCode::usage, "--ssh is empty").hint("--ssh 'ssh -p 2222 -i /root/.ssh/key'");
}

Result<std::string> join_drop_in(std::string_view controller, std::string_view name) {
  if (!is_name(name))
    return fail(ErrorCode::invalid_input,
                fmt::format("'{}' is no name for a host", name.substr(0, 80)))
        .hint("letters, digits, '.', '_', '-'; at most 63: give one with --name");
  // Neither blanks and quotes nor what systemd replaces ('%', '$', '\').
  constexpr std::string_view kAllowed =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:/._-[]";
  if (!controller.starts_with("https://") ||
      controller.find_first_not_of(kAllowed) != std::string_view::npos)
    return fail(ErrorCode::invalid_input,
                fmt::format("'{}' is no URL of a controller that machines can join",
                            controller.substr(0, 200)))
        .hint("https://ADDRESS:8440, named with --reach");
  return fmt::format(
      "# Written by `consort host install`. Once the host has joined, the token is not looked at.\n"
      "[Service]\n"
      "ExecStart=\n"
      "ExecStart=/usr/local/bin/consort agent --data /var/lib/consort --join-file "
      "/var/lib/consort/join-token --controller {} --name {}\n",
      controller, name);
}

MachineFacts machine_facts(std::string_view probe_output) {
  MachineFacts out;
  for (const std::string& line : split(probe_output, '\n')) {
    const std::size_t equals = line.find('=');
    if (equals == std::string::npos) continue;
    const std::string key = line.substr(0, equals);
    const std::string value(trim(std::string_view(line).substr(equals + 1)));
    if (key == "machine") out.machine = value;
    if (key == "user") out.user = value;
    if (key == "name") out.name = value;
    if (key == "systemd") out.systemd = value == "yes";
    if (key == "program") out.program = value.substr(0, value.find(' '));
    if (key == "joined") out.joined = value;
  }
  return out;
}

Command host_install_command() {
  return {"host install",
          "Let a new machine join: the program, the unit and a token go there over ssh.",
          "What it needs there: root, systemd, and ssh that gets in without a question. The token "
          "is for this name, once, for 15 minutes, and travels through standard input only. Said "
          "again for a host that has joined, it renews the program and starts the agent anew.",
          {{"MACHINE", "As ssh knows it: root@ADDRESS.", Positional::Count::one}},
          {{"--host-class", "CLASS",
            "The class that the machine is meant for; becomes its label class=CLASS."},
           {"--name", "NAME", "The host's name; default what the machine calls itself."},
           {"--reach", "URL", "Where the machine reaches the controller; default the context's."},
           {"--ssh", "COMMAND", "Program and options, split at blanks; default ssh."},
           {"--by-hand", "", "It waits until it is approved: consort host approve."},
           {"--timeout", "DURATION", "How long to wait until it is there; default 2m."}},
          run,
          false,
          false,
          "consort host install root@10.0.0.7 --host-class web"};
}

}  // namespace consort::cli
