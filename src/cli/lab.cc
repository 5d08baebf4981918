// consort lab …: a fleet on one's own machine, to try a site on.
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>

#include "base/text.h"
#include "cli/rows.h"
#include "cli/terminal.h"
#include "platform/lab.h"

namespace consort::cli {
namespace {

using platform::Lab;

const Option kDirOption{"--dir", "DIR", "The lab's folder; default $CONSORT_LAB, then ./lab."};

fs::path lab_folder(const Arguments& arguments) {
  const char* set = std::getenv("CONSORT_LAB");
  return arguments.value("--dir", set != nullptr && *set != '\0' ? set : "lab");
}

fs::path self() { return fs::read_symlink("/proc/self/exe"); }

Result<Lab> open_lab(const Arguments& arguments) {
  return Lab::open(lab_folder(arguments), self());
}

std::string state_of(const Json& part) {
  if (!part.bool_or("running")) return paint(Colour::red, "off");
  std::string out = part.bool_or("cut") ? "cut off" : "running";
  if (!part.bool_or("kept")) out += ", not kept";
  return paint(out == "running" ? Colour::green : Colour::yellow, out);
}

void print_lab(const Json& lab) {
  std::vector<std::vector<std::string>> rows = {{"HOST", "CLASS", "ADDRESS", "STATE"}};
  const Json& controller = *lab.find("controller");
  bool lost = controller.bool_or("running") && !controller.bool_or("kept");
  for (const Json& host : lab.find("hosts")->as_array()) {
    rows.push_back({host.string_or("name"), host.string_or("class"), host.string_or("address"),
                    state_of(host)});
    lost = lost || (host.bool_or("running") && !host.bool_or("kept"));
  }
  print(table(rows));
  print(fmt::format("\nplatform    {} ({})\ncontroller  {}{}\ninventory   {}\n",
                    lab.string_or("platform"), lab.string_or("why"), controller.string_or("url"),
                    !controller.bool_or("running") ? ", which does not run"
                    : controller.bool_or("kept")   ? ""
                                                   : " (running, not kept)",
                    lab.string_or("inventory")));
  if (lost)
    print(
        "\nWhat is not kept runs on although its lab-keep was killed, and nobody starts it again "
        "when it ends.\n`consort lab start HOST` starts it anew, `consort lab stop HOST` ends "
        "it.\n");
}

Result<int> run_up(const Arguments& arguments) {
  platform::LabRequest request;
  request.folder = lab_folder(arguments);
  request.self = self();
  request.platform = arguments.value("--platform");
  request.classes = TRY(platform::parse_classes(arguments.value("--hosts", "web=2,db=1")));
  struct sigaction action {};
  action.sa_handler = [](int) { Lab::interrupt(); };
  for (const int number : {SIGINT, SIGTERM, SIGHUP}) ::sigaction(number, &action, nullptr);
  const Lab lab = TRY(Lab::up(
      request, [](std::string_view line) { print_to_stderr(fmt::format("lab: {}\n", line)); }));
  const Json described = lab.describe();
  if (arguments.json()) {
    print(described.dump() + "\n");
    return kOk;
  }
  print_lab(described);
  const std::string dir = lab.folder().string();
  print(fmt::format(
      "\nTry:\n  consort lab run --dir {0} -- consort host list\n  consort lab run --dir {0} -- "
      "bash      # a shell in the lab's network, with CONSORT_CONTROLLER set\n"
      "  consort lab exec --dir {0} {1} -- hostname\n  consort lab down --dir {0}\n",
      dir, lab.hosts().front().spec.name));
  return kOk;
}

Result<int> run_down(const Arguments& arguments) {
  const fs::path folder = lab_folder(arguments);
  TRYV(Lab::down(folder, self()));
  print(arguments.json() ? Json::object({{"removed", folder.string()}}).dump() + "\n"
                         : fmt::format("removed the lab in {}\n", folder.string()));
  return kOk;
}

Result<int> run_status(const Arguments& arguments) {
  const Lab lab = TRY(open_lab(arguments));
  if (arguments.json()) {
    print(lab.describe().dump() + "\n");
  } else {
    print_lab(lab.describe());
  }
  return kOk;
}

// Becomes the program, so that its exit status, terminal and signals are the user's own.
Failure become(const std::vector<std::string>& argv) {
  std::vector<std::string> words = argv;
  std::vector<char*> pointers;
  for (std::string& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  ::execvp(pointers[0], pointers.data());
  return fail_errno(errno, fmt::format("cannot run {}", argv.front()));
}

// The words after "--", which CLI parsers like to leave in.
std::vector<std::string> command_in(const std::vector<std::string>& words, std::size_t first) {
  if (first < words.size() && words[first] == "--") ++first;
  return {words.begin() + static_cast<std::ptrdiff_t>(std::min(first, words.size())), words.end()};
}

Result<int> run_exec(const Arguments& arguments) {
  const Lab lab = TRY(open_lab(arguments));
  const std::vector<std::string> command = command_in(arguments.words, 1);
  if (command.empty())
    return fail(ErrorCode::usage, "which command shall run there?")
        .hint("consort lab exec web1 -- hostname");
  return become(TRY(lab.exec_argv(arguments.words[0], command)));
}

Result<int> run_run(const Arguments& arguments) {
  const Lab lab = TRY(open_lab(arguments));
  const std::vector<std::string> command = command_in(arguments.words, 0);
  if (command.empty())
    return fail(ErrorCode::usage, "which command shall run?")
        .hint("consort lab run -- consort status");
  return become(lab.inside_argv(command));
}

std::string_view done(Lab::Verb verb) {
  switch (verb) {
    case Lab::Verb::start:
      return "runs";
    case Lab::Verb::stop:
      return "is off";
    case Lab::Verb::kill:
      return "was killed";
    case Lab::Verb::reboot:
      return "was rebooted";
    case Lab::Verb::cut:
      return "is cut off";
    case Lab::Verb::heal:
      return "is connected again";
  }
  return "";
}

template <Lab::Verb verb>
Result<int> run_verb(const Arguments& arguments) {
  Lab lab = TRY(open_lab(arguments));
  TRYV(lab.act(verb, arguments.word(0)));
  print(arguments.json() ? Json::object({{"host", arguments.word(0)}, {"done", true}}).dump() + "\n"
                         : fmt::format("{} {}\n", arguments.word(0), done(verb)));
  return kOk;
}

Command verb_command(std::string name, std::string summary, Result<int> (*run)(const Arguments&),
                     std::string_view who) {
  std::string example = fmt::format("consort {} web1", name);
  return {std::move(name), std::move(summary), "", {{"HOST", who}}, {kDirOption}, run, false,
          false,           std::move(example)};
}

constexpr std::string_view kHost = "A host of the lab.";
constexpr std::string_view kHostOrController = "A host of the lab, or `controller`.";

}  // namespace

Command lab_up_command() {
  return {"lab up",
          "Make a fleet on this machine: a controller and hosts, each with its agent.",
          "With root and systemd-container the hosts are real systemd systems with their own "
          "addresses, in a network of their own (platform nspawn). "
          "Elsewhere each is one agent process with its own folder and 127.x.y.z address (platform "
          "process). The folder gets hosts.yaml, an inventory of them.",
          {},
          {{"--hosts", "LIST", "Classes and how many hosts of each; default web=2,db=1."},
           {"--platform",
            "PLATFORM",
            "nspawn or process; default: the best that this machine permits.",
            false,
            "",
            {"nspawn", "process"}},
           kDirOption},
          run_up,
          false,
          false,
          "consort lab up --hosts lb=1,web=2,db=1 --dir /tmp/lab"};
}
Command lab_down_command() {
  return {"lab down",
          "Remove a lab: hosts, processes, mounts, networks, files.",
          "Works after a crash, too, and when a part of it is gone already.",
          {},
          {kDirOption},
          run_down,
          false,
          false,
          "consort lab down --dir /tmp/lab"};
}
Command lab_status_command() {
  return {"lab status", "Show a lab's hosts.", "", {}, {kDirOption}, run_status};
}
Command lab_exec_command() {
  return {"lab exec",
          "Run a command in a host of the lab.",
          "",
          {{"HOST", kHost}, {"COMMAND", "The command and its arguments.", Positional::Count::many}},
          {kDirOption},
          run_exec,
          false,
          true,
          "consort lab exec web1 -- systemctl status"};
}
Command lab_run_command() {
  return {"lab run",
          "Run a command on this machine, in the lab's network, with CONSORT_CONTROLLER set.",
          "",
          {{"COMMAND", "The command and its arguments.", Positional::Count::many}},
          {kDirOption},
          run_run,
          false,
          true,
          "consort lab run -- consort status"};
}
Command lab_start_command() {
  return verb_command("lab start", "Switch a host on, or start the controller.",
                      run_verb<Lab::Verb::start>, kHostOrController);
}
Command lab_stop_command() {
  return verb_command("lab stop", "Shut a host down in order.", run_verb<Lab::Verb::stop>,
                      kHostOrController);
}
Command lab_kill_command() {
  return verb_command("lab kill", "Switch a host off, or kill the controller, without warning.",
                      run_verb<Lab::Verb::kill>, kHostOrController);
}
Command lab_reboot_command() {
  return verb_command("lab reboot", "Reboot a host.", run_verb<Lab::Verb::reboot>, kHost);
}
Command lab_cut_command() {
  return verb_command(
      "lab cut", "Cut a host off the network (platform process: its agent off the controller).",
      run_verb<Lab::Verb::cut>, kHost);
}
Command lab_heal_command() {
  return verb_command("lab heal", "Connect a host again.", run_verb<Lab::Verb::heal>, kHost);
}

Command lab_keep_command() {
  return {"lab-keep",
          "Keeps one program of a lab running.",
          "Started by `lab up`.",
          {{"BASE", "Path of its files, without extension."}},
          {},
          [](const Arguments& arguments) { return platform::keep_main(arguments.word(0)); },
          true};
}

}  // namespace consort::cli
