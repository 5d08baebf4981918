// What --help prints, and the table of exit statuses that help, man pages and the reference share.
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/text.h"
#include "cli/command.h"
#include "cli/layout.h"

namespace consort::cli {
namespace {

struct OwnExits {
  std::string_view command;
  std::vector<ExitMeaning> exits;
};

constexpr ExitMeaning kDone{kOk, "done, or there was nothing to do"};
constexpr ExitMeaning kFailed{kError, "an error; it is told with what to do about it"};
constexpr ExitMeaning kWrongUsage{kUsage, "the command line is wrong"};
constexpr ExitMeaning kPartly{kPartial, "partial: committed, but some hosts are left behind"};
constexpr ExitMeaning kBack{kReverted, "reverted: a step failed, all is as it was before"};
constexpr ExitMeaning kMixed{kInconsistent, "inconsistent: the way back failed, too"};
constexpr ExitMeaning kNot{
    kRefused, "refused, nothing was changed: stale, locked, or it wants an --allow option"};
constexpr ExitMeaning kInUse{kRefused,
                             "refused: another process uses the folder, or a wrong passphrase"};
constexpr ExitMeaning kLeft{kInterrupted, "interrupted; the rollout goes on"};

std::vector<ExitMeaning> of_rollout() {
  return {{kOk, "done, or there was nothing to do"},
          kFailed,
          kPartly,
          kBack,
          kMixed,
          kNot,
          kWrongUsage,
          kLeft};
}

// Commands whose exit statuses are more than done, error and wrong usage.
const std::vector<OwnExits>& own_exits() {
  static const std::vector<OwnExits> table = {
      {"plan",
       {{kOk, "nothing to do"},
        kFailed,
        {kChanges, "there is something to do"},
        kNot,
        kWrongUsage}},
      {"diff", {{kOk, "no difference"}, kFailed, {kChanges, "something differs"}, kWrongUsage}},
      {"check",
       {{kOk, "the site is sound"},
        kFailed,
        {kPartial, "some services are broken (--keep-going)"},
        kWrongUsage}},
      {"deploy", of_rollout()},
      {"rollback", of_rollout()},
      {"rollout abort",
       {{kOk, "the rollout had done all its steps already"},
        kFailed,
        kPartly,
        kBack,
        kMixed,
        kNot,
        kWrongUsage,
        kLeft}},
      {"apply",
       {{0, "all was kept"},
        {1, "an error before anything was tried"},
        {2, "something was changed or repaired"},
        {4, "something failed"},
        {6, "something was changed or repaired, something failed"},
        kWrongUsage}},
      {"controller",
       {{kOk, "it was told to end"},
        kFailed,
        {kRefused,
         "refused: another process uses the folder, a wrong passphrase, or --insecure elsewhere "
         "than on loopback"},
        kWrongUsage}},
      {"controller init", {kDone, kFailed, kInUse, kWrongUsage}},
      {"controller admin", {kDone, kFailed, kInUse, kWrongUsage}},
      {"key sign",
       {kDone,
        kFailed,
        {kRefused, "refused: a wrong passphrase, or what others may read"},
        kWrongUsage}},
      {"lab exec",
       {{kError, "an error before the command ran; else its own exit status"}, kWrongUsage}},
      {"lab run",
       {{kError, "an error before the command ran; else its own exit status"}, kWrongUsage}},
      {"lab up",
       {kDone, kFailed, kWrongUsage, {kInterrupted, "interrupted; what was begun is removed"}}},
      {"demo", {{kOk, "every check passed"}, {kError, "a check failed, or an error"}, kWrongUsage}},
  };
  return table;
}

struct Entry {
  std::string name;
  std::string text;
};

// "  --site FILE   The site file", wrapped below the text; long names stand on a line of their own.
std::string entries(std::string_view title, const std::vector<Entry>& list, std::size_t width) {
  if (list.empty()) return "";
  std::size_t column = 0;
  for (const Entry& entry : list) column = std::max(column, display_width(entry.name));
  column = std::min<std::size_t>(column, width < 70 ? 18 : 28) + 4;
  std::string out = fmt::format("\n{}:\n", title);
  const std::string margin(column, ' ');
  for (const Entry& entry : list) {
    const std::size_t used = display_width(entry.name) + 2;
    out += "  " + entry.name;
    out += used + 2 > column ? "\n" + margin : std::string(column - used, ' ');
    out += wrap(entry.text, width, column, margin) + "\n";
  }
  return out;
}

std::string option_name(const Option& option) {
  std::string out = option.short_name.empty() ? "    " : fmt::format("{}, ", option.short_name);
  out += option.name;
  if (!option.value.empty()) out += fmt::format(" {}", option.value);
  return out;
}

std::vector<Entry> option_entries(const std::vector<Option>& options) {
  std::vector<Entry> out;
  for (const Option& option : options) {
    std::string text(option.doc);
    if (!option.choices.empty() &&
        option.doc.find(option.choices.front()) == std::string_view::npos)
      text += fmt::format(
          " One of {}.",
          join(std::vector<std::string>(option.choices.begin(), option.choices.end()), ", "));
    out.push_back({option_name(option), text});
  }
  return out;
}

std::string paragraph(std::string_view text, std::size_t width) {
  return text.empty() ? "" : "\n" + wrap(text, width, 0, "") + "\n";
}

}  // namespace

std::vector<ExitMeaning> exit_meanings(const Command& command) {
  for (const OwnExits& own : own_exits()) {
    if (own.command == command.name) return own.exits;
  }
  return {kDone, kFailed, kWrongUsage};
}

std::vector<ExitMeaning> all_exit_meanings() {
  return {kDone,   kFailed,     {kChanges, "changes pending (plan, diff)"},
          kPartly, kBack,       kMixed,
          kNot,    kWrongUsage, {kInterrupted, "interrupted"}};
}

std::string usage_line(const Command& command) {
  std::string out = "consort " + command.name;
  if (!command.options.empty()) out += " [OPTIONS]";
  for (const Positional& word : command.words) {
    switch (word.count) {
      case Positional::Count::one:
        out += fmt::format(" {}", word.name);
        break;
      case Positional::Count::optional:
        out += fmt::format(" [{}]", word.name);
        break;
      case Positional::Count::many:
        out += fmt::format(" {}{}…", command.passes_rest ? "-- " : "", word.name);
        break;
    }
  }
  return out;
}

std::string help_text(const Command& command, std::size_t width) {
  std::string out = wrap(command.summary, width, 0, "") +
                    "\n\nUsage: " + wrap(usage_line(command), width, 7, "         ") + "\n";
  out += paragraph(command.description, width);
  std::vector<Entry> words;
  for (const Positional& word : command.words)
    words.push_back({std::string(word.name), std::string(word.doc)});
  out += entries("Arguments", words, width);
  out += entries("Options", option_entries(command.options), width);
  out += entries("Options of every command", option_entries(global_options()), width);
  std::vector<Entry> exits;
  for (const ExitMeaning& exit : exit_meanings(command))
    exits.push_back({std::to_string(exit.status), std::string(exit.meaning)});
  out += entries("Exit status", exits, width);
  if (!command.example.empty()) out += fmt::format("\nExample:\n  {}\n", command.example);
  return out;
}

std::string help_of_group(std::string_view group, std::size_t width) {
  std::vector<Entry> below;
  for (const Command& command : commands()) {
    if (!command.hidden && command.name.starts_with(std::string(group) + " "))
      below.push_back({command.name, command.summary});
  }
  return fmt::format("{}\n\nUsage: consort {} COMMAND [OPTIONS]\n", group_summary(group), group) +
         entries("Commands", below, width) +
         fmt::format("\nEach explains itself: consort {} COMMAND --help\n", group);
}

std::string help_of_all(std::size_t width) {
  std::vector<Entry> all;
  std::string last;
  for (const Command& command : commands()) {
    if (command.hidden) continue;
    const std::string group = split(command.name, ' ').front();
    const bool grouped = group != command.name;
    if (grouped && group == last) continue;
    last = group;
    all.push_back(grouped ? Entry{group + " …", std::string(group_summary(group))}
                          : Entry{command.name, command.summary});
  }
  std::vector<Entry> exits;
  for (const ExitMeaning& exit : all_exit_meanings())
    exits.push_back({std::to_string(exit.status), std::string(exit.meaning)});
  return "Consort deploys, upgrades and keeps whole distributed systems.\n\nUsage: consort COMMAND "
         "[OPTIONS]\n" +
         entries("Commands", all, width) +
         entries("Options of every command", option_entries(global_options()), width) +
         entries("Exit status", exits, width) +
         "\nEvery command explains itself: consort COMMAND --help\n";
}

std::string_view group_summary(std::string_view group) {
  if (group == "rollout") return "Rollouts: list, show, pause, resume or abort them.";
  if (group == "host") return "Hosts: install them, let them in or out, see what is known of them.";
  if (group == "token") return "Tokens with which machines join: create, list, revoke them.";
  if (group == "operator") return "Who may do what: create, change, list or revoke operators.";
  if (group == "context") return "Controllers that this person has credentials for.";
  if (group == "controller") return "The authority of a controller, and its admins.";
  if (group == "secret") return "Values that only the hosts which use them can read.";
  if (group == "key") return "Keys that sign generations, and whose signatures hosts ask for.";
  if (group == "lab") return "Fleets of this machine's own, to try things.";
  return "";
}

}  // namespace consort::cli
