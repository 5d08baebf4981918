#include "cli/programs.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <memory>

#include "base/process.h"
#include "base/text.h"
#include "cli/terminal.h"

namespace consort::cli {
namespace {

std::vector<std::string> argv_of(const site::Site& site, const Json& inventory) {
  std::vector<std::string> argv;
  for (const Json& word : inventory.find("argv")->as_array()) argv.push_back(word.as_string());
  return program_from(site.file.parent_path(), std::move(argv)).argv;
}

constexpr std::int64_t kMostSampleHosts = 10'000;  // of a class

// A host's name has room for a number behind it, and no two classes share one.
std::string sample_prefix(const std::string& host_class) {
  constexpr std::size_t kBytes = 40;
  if (host_class.size() <= kBytes) return host_class;
  return fmt::format("{}-{:08x}", host_class.substr(0, kBytes - 9),
                     stable_hash(host_class) & 0xffffffffU);
}

// As many as the class and its services want, without labels of their own.
Json sample_inventory(site::Site& site, site::HostClass& host_class) {
  host_class.min = std::min(host_class.min, kMostSampleHosts);
  std::int64_t count = std::max<std::int64_t>(1, host_class.min);
  for (auto& [name, service] : site.services) {
    if (service.on != host_class.name || !service.replicas) continue;
    service.replicas = std::min(*service.replicas, kMostSampleHosts);
    count = std::max(count, *service.replicas);
  }
  const std::string prefix = sample_prefix(host_class.name);
  Json hosts = Json::object();
  for (std::int64_t i = 1; i <= count; ++i) hosts[fmt::format("{}-{}", prefix, i)] = Json::object();
  return Json::object({{"type", "hosts"}, {"hosts", hosts}});
}

// A question is no good below a text that fills the screen.
std::string shown_command(const std::vector<std::string>& argv) {
  constexpr std::size_t kMost = 1000;
  std::string out = quote_argv(argv);
  if (out.size() <= kMost) return out;
  const std::size_t hidden = out.size() - kMost;
  out.resize(kMost);
  while (!is_utf8(out)) out.pop_back();
  return fmt::format("{} … and {} more bytes, which the site file has", out, hidden);
}

void stand_in(site::Site& site) {
  for (auto& [name, host_class] : site.host_classes) {
    if (host_class.inventory.string_or("type") != "exec") continue;
    print_to_stderr(fmt::format(
        "{} checked without the inventory of host class {}, so with sample hosts in the place of "
        "its own; not run: {}\n",
        paint_for_stderr(Colour::yellow, "warning:"), name,
        shown_command(argv_of(site, host_class.inventory))));
    host_class.inventory = sample_inventory(site, host_class);
    // Which of the hosts match, only their labels say.
    for (auto& [other, service] : site.services) {
      if (service.on == name && !service.when.empty()) service.replicas.reset();
    }
  }
}

Status refuse(const std::vector<std::string>& argv) {
  return fail(ErrorCode::refused,
              fmt::format("the inventory is a program, and --no-exec is given: {}",
                          shown_command(argv)))
      .hint("without --no-exec it is run as you, on this machine; read it first");
}

Status ask_first(const std::vector<std::string>& argv, const AskPerson& ask) {
  const std::string command = shown_command(argv);
  const auto answer =
      ask(fmt::format("to know the hosts, this site wants to run here, as you: "
                      "{}\nrun it? [y/N] ",
                      command));
  if (answer && *answer) return {};
  return fail(ErrorCode::refused,
              answer ? fmt::format("not run: {}", command)
                     : fmt::format("to know the hosts, this site wants to run {}, and {}", command,
                                   answer.error().message()))
      .hint("read what it does (it could reach your keys), then allow it with --exec");
}

}  // namespace

fleet::ProgramGate settle_programs(site::Site& site, const Arguments& arguments, Programs programs,
                                   const AskPerson& ask) {
  if (arguments.has("--no-exec")) {
    if (programs == Programs::stood_in) stand_in(site);
    return refuse;
  }
  if (programs != Programs::asked) return {};
  if (arguments.has("--exec")) {
    return [](const std::vector<std::string>& argv) -> Status {
      print_to_stderr(fmt::format("runs: {}\n", quote_argv(argv)));
      return {};
    };
  }
  // Several classes may come from one program: one question is enough.
  const auto settled = std::make_shared<std::map<std::vector<std::string>, Status>>();
  return [ask, settled](const std::vector<std::string>& argv) -> Status {
    const auto known = settled->find(argv);
    return known != settled->end() ? known->second
                                   : settled->emplace(argv, ask_first(argv, ask)).first->second;
  };
}

const Option& no_exec_option() {
  static const Option option{"--no-exec", "",
                             "Run no program that the site names as an inventory."};
  return option;
}

}  // namespace consort::cli
