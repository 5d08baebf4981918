// Parsing of command lines. The only file that knows CLI11.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>

#include "base/text.h"
#include "cli/command.h"
#include "cli/terminal.h"

namespace consort::cli {
namespace {

struct Binding {
  const Command* command = nullptr;
  CLI::App* app = nullptr;
  std::map<std::string, CLI::Option*> options;
  std::vector<std::string> words;
};
using Bindings = std::vector<std::unique_ptr<Binding>>;

void add_option(Binding& binding, const Option& option) {
  std::string names(option.name);
  if (!option.short_name.empty()) names = fmt::format("{},{}", option.short_name, names);
  CLI::Option* made = nullptr;
  if (option.value.empty()) {
    made = binding.app->add_flag(names);
  } else {
    made = binding.app->add_option(names)->type_name(std::string(option.value));
    if (option.repeated) {
      made->expected(1)->take_all()->delimiter(',');
    } else {
      made->expected(1)->take_last();
    }
  }
  binding.options[std::string(option.name)] = made;
}

// "host list" lives below "host", which is made when it is first needed.
CLI::App* app_for(CLI::App& root, const std::string& name) {
  CLI::App* at = &root;
  for (const std::string& part : split(name, ' ')) {
    CLI::App* child = nullptr;
    for (CLI::App* candidate : at->get_subcommands([](CLI::App*) { return true; })) {
      if (candidate->get_name() == part) child = candidate;
    }
    at = child != nullptr ? child : at->add_subcommand(part);
  }
  return at;
}

Bindings bind(CLI::App& root) {
  Bindings out;
  for (const Command& command : commands()) {
    auto binding = std::make_unique<Binding>();
    binding->command = &command;
    binding->app = app_for(root, command.name);
    for (const Option& option : command.options) add_option(*binding, option);
    for (const Option& option : global_options()) add_option(*binding, option);
    // How many there must be is looked at afterwards, to say it in the table's words.
    if (!command.words.empty())
      binding->app->add_option("words", binding->words)->expected(0, 10'000);
    if (command.passes_rest) binding->app->prefix_command();
    out.push_back(std::move(binding));
  }
  return out;
}

CLI::App* chosen_app(CLI::App& root) {
  CLI::App* app = &root;
  while (!app->get_subcommands().empty()) app = app->get_subcommands().front();
  return app;
}

const Binding* binding_of(const Bindings& bindings, const CLI::App* app) {
  for (const auto& binding : bindings) {
    if (binding->app == app) return binding.get();
  }
  return nullptr;
}

// Pipes have no width; help is for people wherever it goes.
std::size_t help_width() { return std::clamp<std::size_t>(terminal_width(), 40, 100); }

std::string help_for(const Bindings& bindings, CLI::App& root) {
  const CLI::App* app = chosen_app(root);
  if (app == &root) return help_of_all(help_width());
  const Binding* binding = binding_of(bindings, app);
  return binding != nullptr ? help_text(*binding->command, help_width())
                            : help_of_group(app->get_name(), help_width());
}

// What somebody means who leaves out or adds a word.
std::string meant(const Command& command, const std::vector<std::string>& words) {
  if (command.name == "lab stop" && words.empty())
    return fmt::format("usage: {}; to end the whole lab: consort lab down", usage_line(command));
  return fmt::format("usage: {}", usage_line(command));
}

Status check_words(const Command& command, const std::vector<std::string>& words) {
  std::size_t most = 0;
  for (std::size_t i = 0; i < command.words.size(); ++i) {
    const Positional& word = command.words[i];
    if (word.count == Positional::Count::one && words.size() <= i)
      return fail(ErrorCode::usage, fmt::format("{} is missing", word.name))
          .hint(meant(command, words));
    most = word.count == Positional::Count::many ? words.size() : most + 1;
  }
  if (words.size() > std::max(most, command.words.size()))
    return fail(ErrorCode::usage, fmt::format("'{}' is one word too many", words[most]))
        .hint(meant(command, words));
  return {};
}

Status check_choices(const Command& command, const Arguments& arguments) {
  const auto fits = [](const std::vector<std::string_view>& choices, const std::string& value) {
    return choices.empty() || std::find(choices.begin(), choices.end(), value) != choices.end();
  };
  const auto wrong = [](std::string_view what, const std::string& value,
                        const std::vector<std::string_view>& choices) {
    return fail(ErrorCode::usage, fmt::format("{} cannot be '{}'", what, value))
        .hint(fmt::format("one of {}",
                          join(std::vector<std::string>(choices.begin(), choices.end()), ", ")));
  };
  for (const Option& option : command.options) {
    for (const std::string& value : arguments.values(option.name)) {
      if (!fits(option.choices, value)) return wrong(option.name, value, option.choices);
    }
  }
  for (std::size_t i = 0; i < std::min(command.words.size(), arguments.words.size()); ++i) {
    if (!fits(command.words[i].choices, arguments.words[i]))
      return wrong(command.words[i].name, arguments.words[i], command.words[i].choices);
  }
  return {};
}

// Where the first word is, behind options that every command has; the end where that cannot be
// told.
std::size_t first_word_at(const std::vector<std::string>& argv) {
  for (std::size_t i = 0; i < argv.size(); ++i) {
    if (!argv[i].starts_with("-")) return i;
    const std::string name = argv[i].substr(0, argv[i].find('='));
    const auto option =
        std::find_if(global_options().begin(), global_options().end(), [&](const Option& each) {
          return each.name == name || (!each.short_name.empty() && each.short_name == name);
        });
    if (option == global_options().end()) break;
    if (!option->value.empty() && name == argv[i]) ++i;
  }
  return argv.size();
}

std::string first_word(const std::vector<std::string>& argv) {
  const std::size_t at = first_word_at(argv);
  return at < argv.size() ? argv[at] : "";
}

// How many words from `at` on name a command or begin to: 2 of "host list web1".
std::size_t words_of_name(const std::vector<std::string>& argv, std::size_t at) {
  std::size_t most = 0;
  for (const Command& command : commands()) {
    const std::vector<std::string> name = split(command.name, ' ');
    std::size_t same = 0;
    while (same < name.size() && at + same < argv.size() && argv[at + same] == name[same]) ++same;
    most = std::max(most, same);
  }
  return most;
}

// Options that every command has may stand before it (`consort --context work status`): they are
// put behind its name.
std::vector<std::string> command_first(const std::vector<std::string>& argv) {
  const std::size_t at = first_word_at(argv);
  const std::size_t length = words_of_name(argv, at);
  if (length == 0) return argv;
  std::vector<std::string> out = argv;
  std::rotate(out.begin(), out.begin() + static_cast<std::ptrdiff_t>(at),
              out.begin() + static_cast<std::ptrdiff_t>(at + length));
  return out;
}

// Whether it begins as some command does, or with an option that leaves that open.
bool begins_known(const std::vector<std::string>& argv) {
  const std::string word = first_word(argv);
  return word.empty() || word == "help" ||
         std::any_of(commands().begin(), commands().end(), [&](const Command& command) {
           return split(command.name, ' ').front() == word;
         });
}

Failure unknown_command(const std::vector<std::string>& argv) {
  std::vector<std::string> names;
  for (const Command& command : commands()) {
    if (command.hidden) continue;
    names.push_back(command.name);
    if (const std::string group = split(command.name, ' ').front(); group != command.name)
      names.push_back(group);
  }
  const std::string typed = first_word(argv);
  const std::string guess = did_you_mean(typed, names);
  return fail(ErrorCode::usage, fmt::format("there is no command '{}'", typed))
      .hint(guess.empty() ? "see them all with: consort --help"
                          : fmt::format("did you mean: consort {}", guess));
}

// What people type because other programs know it.
std::vector<std::string> as_everywhere(std::vector<std::string> argv) {
  const bool only_options = std::all_of(argv.begin(), argv.end(),
                                        [](const std::string& w) { return w.starts_with("-"); });
  const auto version = std::find_if(argv.begin(), argv.end(), [](const std::string& word) {
    return word == "--version" || word == "-V";
  });
  if (only_options && version != argv.end()) {
    argv.erase(version);
    argv.insert(argv.begin(), "version");
    return argv;
  }
  if (const std::size_t at = first_word_at(argv); at < argv.size() && argv[at] == "help") {
    argv.erase(argv.begin() + static_cast<std::ptrdiff_t>(at));
    argv.emplace_back("--help");
  }
  return command_first(argv);
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

namespace {

// For the first option that the command does not have.
std::string guessed_option(const Command& command, const std::vector<std::string>& argv) {
  std::vector<std::string> known;
  for (const auto* options : {&command.options, &global_options()}) {
    for (const Option& option : *options) known.emplace_back(option.name);
  }
  for (const std::string& word : argv) {
    const std::string name = word.substr(0, word.find('='));
    if (!name.starts_with("--") || std::find(known.begin(), known.end(), name) != known.end())
      continue;
    return did_you_mean(name, known);
  }
  return "";
}

// Other programs have the number of what to go back to as a word: the only one that is too many
// here, where --to does not say another; "" otherwise.
std::string number_to_go_back_to(const Binding& binding) {
  if (binding.command->name != "rollback" || binding.options.at("--to")->count() > 0) return "";
  const std::vector<std::string> rest = binding.app->remaining();
  if (rest.size() != 1 || rest.front().find_first_not_of("0123456789") != std::string::npos)
    return "";
  return rest.front();
}

// "lab upp": a group without such a command.
Failure unknown_in_group(const std::string& group, const std::string& typed) {
  std::vector<std::string> names;
  for (const Command& command : commands()) {
    if (!command.hidden && command.name.starts_with(group + " "))
      names.push_back(command.name.substr(group.size() + 1));
  }
  const std::string guess = did_you_mean(typed, names);
  return fail(ErrorCode::usage, fmt::format("there is no command '{} {}'", group, typed))
      .hint(guess.empty() ? fmt::format("see: consort {} --help", group)
                          : fmt::format("did you mean: consort {} {}", group, guess));
}

// What is too much, in the order in which it was typed; "" when that is not the mistake.
std::string first_extra(CLI::App& app, const std::vector<std::string>& argv) {
  const std::vector<std::string> rest = app.remaining(true);
  const auto it = std::find_if(argv.begin(), argv.end(), [&](const std::string& word) {
    return std::find(rest.begin(), rest.end(), word) != rest.end();
  });
  return it == argv.end() ? "" : *it;
}

Failure wrong_usage(const CLI::ParseError& error, const Bindings& bindings, CLI::App& root,
                    const std::vector<std::string>& argv) {
  if (!begins_known(argv)) return unknown_command(argv);
  CLI::App* app = chosen_app(root);
  const Binding* binding = binding_of(bindings, app);
  const std::string extra = first_extra(*app, argv);
  std::string what = error.what();
  if (binding == nullptr && app != &root && !extra.empty() && !extra.starts_with("-"))
    return unknown_in_group(app->get_name(), extra);
  if (binding != nullptr && !extra.empty())
    what = extra.starts_with("-")
               ? fmt::format("consort {} has no option '{}'", binding->command->name,
                             extra.substr(0, extra.find('=')))
               : fmt::format("'{}' is not expected here", extra);
  std::string path = app == &root ? "" : app->get_name() + " ";
  if (binding != nullptr) {
    path = binding->command->name + " ";
    if (const std::string guess = guessed_option(*binding->command, argv); !guess.empty())
      return fail(ErrorCode::usage, what).hint(fmt::format("did you mean {}?", guess));
    if (const std::string number = number_to_go_back_to(*binding); !number.empty())
      return fail(ErrorCode::usage, what)
          .hint(fmt::format("did you mean: consort rollback --to {}", number));
    if (binding->command->name == "logs" && !extra.empty() && !extra.starts_with("-"))
      return fail(ErrorCode::usage, what)
          .hint(fmt::format("did you mean: consort logs --service {0}, or --host {0}", extra));
  }
  return fail(ErrorCode::usage, what).hint(fmt::format("see: consort {}--help", path));
}

Arguments arguments_of(const Binding& binding, const std::vector<std::string>& rest_of_line) {
  Arguments out;
  for (const auto& [name, option] : binding.options) {
    if (option->count() == 0) continue;
    out.options[name] =
        option->get_items_expected_max() == 0 ? std::vector<std::string>{""} : option->results();
  }
  out.words = binding.words;
  for (const std::string& rest : binding.app->remaining()) out.words.push_back(rest);
  out.words.insert(out.words.end(), rest_of_line.begin(), rest_of_line.end());
  return out;
}

}  // namespace

Result<Parsed> parse(const std::vector<std::string>& typed) {
  std::vector<std::string> argv = as_everywhere(typed);
  const std::vector<std::string> rest_of_line = take_rest(argv);
  CLI::App root("", "consort");
  root.require_subcommand(0, 1);
  root.set_help_all_flag("");
  const Bindings bindings = bind(root);
  std::vector<std::string> reversed(argv.rbegin(), argv.rend());
  Parsed out;
  try {
    root.parse(reversed);
  } catch (const CLI::CallForHelp&) {
    if (!begins_known(argv)) return unknown_command(argv);
    out.help = help_for(bindings, root);
    return out;
  } catch (const CLI::ParseError& error) {
    return wrong_usage(error, bindings, root, argv);
  }
  if (const Binding* binding = binding_of(bindings, chosen_app(root)); binding != nullptr) {
    out.command = binding->command;
    out.arguments = arguments_of(*binding, rest_of_line);
    TRYV(check_words(*binding->command, out.arguments.words));
    TRYV(check_choices(*binding->command, out.arguments));
    return out;
  }
  out.help = help_for(bindings, root);
  // `consort` and `consort host` ask what there is; options alone ask for nothing.
  out.status = chosen_app(root) != &root || argv.empty() ? kOk : kUsage;
  return out;
}

}  // namespace consort::cli
