// Parsing of command lines. The only file that knows CLI11.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>

#include "base/text.h"
#include "cli/command.h"

namespace consort::cli {
namespace {

struct Binding {
  const Command* command;
  CLI::App* app;
  std::map<std::string, CLI::Option*> options;
  CLI::Option* words = nullptr;
  std::vector<std::string> word_values;
};

void add_option(Binding& binding, const Option& option) {
  std::string names(option.name);
  if (!option.short_name.empty()) names = fmt::format("{},{}", option.short_name, names);
  CLI::Option* made = nullptr;
  const std::string doc(option.doc);
  if (option.value.empty()) {
    made = binding.app->add_flag(names, doc);
  } else {
    made = binding.app->add_option(names, doc)->type_name(std::string(option.value));
    if (option.repeated) {
      made->expected(1)->take_all()->delimiter(',');
    } else {
      made->expected(1)->take_last();
    }
  }
  binding.options[std::string(option.name)] = made;
}

std::string_view group_summary(std::string_view group) {
  if (group == "rollout") return "Pause, resume or abort a rollout.";
  if (group == "host") return "The hosts that the controller knows.";
  if (group == "lab") return "Fleets of this machine's own, to try things.";
  return "";
}

// "host list" lives below "host", which is made when it is first needed.
CLI::App* app_for(CLI::App& root, const std::string& name, const std::string& summary) {
  CLI::App* at = &root;
  const std::vector<std::string> parts = split(name, ' ');
  for (std::size_t i = 0; i < parts.size(); ++i) {
    CLI::App* child = nullptr;
    for (CLI::App* candidate : at->get_subcommands([](CLI::App*) { return true; })) {
      if (candidate->get_name() == parts[i]) child = candidate;
    }
    if (child == nullptr)
      child = at->add_subcommand(
          parts[i], i + 1 == parts.size() ? summary : std::string(group_summary(parts[i])));
    at = child;
  }
  return at;
}

Failure unknown_command(const std::vector<std::string>& argv) {
  std::vector<std::string> names;
  for (const Command& command : commands()) {
    if (!command.hidden) names.push_back(command.name);
  }
  const std::string typed = argv.empty() ? "" : argv.front();
  const std::string guess = did_you_mean(typed, names);
  return fail(ErrorCode::usage, fmt::format("there is no command '{}'", typed))
      .hint(guess.empty() ? "see them all with: consort --help"
                          : fmt::format("did you mean: consort {}", guess));
}

// What people type because other programs know it.
std::vector<std::string> as_everywhere(std::vector<std::string> argv) {
  if (argv == std::vector<std::string>{"--version"} || argv == std::vector<std::string>{"-V"})
    return {"version"};
  if (!argv.empty() && argv.front() == "help") {
    argv.erase(argv.begin());
    argv.emplace_back("--help");
  }
  return argv;
}

// Of a command that passes the rest on: what follows "--", which CLI11 would take for words of a
// parent.
std::vector<std::string> take_rest(std::vector<std::string>& argv) {
  const auto mark = std::find(argv.begin(), argv.end(), "--");
  if (mark == argv.end()) return {};
  const bool passes =
      std::any_of(commands().begin(), commands().end(), [&](const Command& command) {
        const std::vector<std::string> name = split(command.name, ' ');
        return command.passes_rest &&
               static_cast<std::size_t>(mark - argv.begin()) >= name.size() &&
               std::equal(name.begin(), name.end(), argv.begin());
      });
  if (!passes) return {};
  std::vector<std::string> rest(mark + 1, argv.end());
  argv.erase(mark, argv.end());
  return rest;
}

}  // namespace

std::string Arguments::value(std::string_view name, std::string_view otherwise) const {
  const auto it = options.find(name);
  return it == options.end() || it->second.empty() ? std::string(otherwise) : it->second.back();
}

std::vector<std::string> Arguments::values(std::string_view name) const {
  const auto it = options.find(name);
  return it == options.end() ? std::vector<std::string>{} : it->second;
}

std::string Arguments::word(std::size_t index, std::string_view otherwise) const {
  return index < words.size() ? words[index] : std::string(otherwise);
}

Result<Parsed> parse(const std::vector<std::string>& typed) {
  std::vector<std::string> argv = as_everywhere(typed);
  const std::vector<std::string> rest_of_line = take_rest(argv);
  CLI::App root("Consort deploys, upgrades and keeps whole distributed systems.", "consort");
  root.require_subcommand(0, 1);
  root.set_help_all_flag("");
  root.footer("Every command explains itself: consort COMMAND --help");
  std::vector<std::unique_ptr<Binding>> bindings;
  for (const Command& command : commands()) {
    auto binding = std::make_unique<Binding>();
    binding->command = &command;
    binding->app = app_for(root, command.name, command.summary);
    binding->app->description(command.summary);
    if (command.hidden) binding->app->group("");
    for (const Option& option : command.options) add_option(*binding, option);
    for (const Option& option : global_options()) add_option(*binding, option);
    if (!command.words.empty()) {
      binding->words =
          binding->app->add_option(std::string(command.words.front().name), binding->word_values,
                                   std::string(command.words.front().doc));
      std::size_t least = 0;
      std::size_t most = 0;
      for (const Positional& word : command.words) {
        if (word.count == Positional::Count::one) ++least;
        most = word.count == Positional::Count::many ? 10'000 : most + 1;
      }
      binding->words->expected(static_cast<int>(least), static_cast<int>(most));
      if (least > 0) binding->words->required();
    }
    if (command.passes_rest) binding->app->prefix_command();
    // The list of commands shows one line each; the rest stands at the end of the command's own
    // help.
    std::string footer = command.description;
    if (!command.example.empty())
      footer += fmt::format("{}Example:\n  {}", footer.empty() ? "" : "\n\n", command.example);
    if (!footer.empty()) binding->app->footer(footer);
    bindings.push_back(std::move(binding));
  }
  std::vector<std::string> reversed(argv.rbegin(), argv.rend());
  Parsed out;
  try {
    root.parse(reversed);
  } catch (const CLI::CallForHelp&) {
    const auto chosen = root.get_subcommands();
    CLI::App* app = &root;
    while (!app->get_subcommands().empty()) app = app->get_subcommands().front();
    out.help = app->help();
    return out;
  } catch (const CLI::ParseError& error) {
    const bool known =
        !argv.empty() && std::any_of(commands().begin(), commands().end(), [&](const Command& c) {
          return split(c.name, ' ').front() == argv.front();
        });
    if (!known && !argv.empty() && !argv.front().starts_with("-")) return unknown_command(argv);
    return fail(ErrorCode::usage, error.what())
        .hint(known ? fmt::format("see: consort {} --help", argv.front()) : "see: consort --help");
  }
  CLI::App* app = &root;
  while (!app->get_subcommands().empty()) app = app->get_subcommands().front();
  for (const auto& binding : bindings) {
    if (binding->app != app) continue;
    out.command = binding->command;
    for (const auto& [name, option] : binding->options) {
      if (option->count() == 0) continue;
      out.arguments.options[name] =
          option->get_items_expected_max() == 0 ? std::vector<std::string>{""} : option->results();
    }
    out.arguments.words = binding->word_values;
    for (const std::string& rest : binding->app->remaining()) out.arguments.words.push_back(rest);
    out.arguments.words.insert(out.arguments.words.end(), rest_of_line.begin(), rest_of_line.end());
    return out;
  }
  out.help = app->help();
  out.status = app == &root && argv.empty() ? kOk : kUsage;
  return out;
}

}  // namespace consort::cli
