// The table of commands: parsing, help, completions, man pages and the command reference all come
// from it. One file per command; each exports a function that gives its row.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace consort::cli {

// What a value is called says what it names, and so what completes it: FILE, DIR, FOLDER, HOST,
// SERVICE, CLASS, ROLLOUT, GENERATION, OPERATOR, SECRET, TOKEN, CONTEXT; "HOST|SERVICE" is either.
struct Option {
  std::string_view name;        // "--site"
  std::string_view value = "";  // what its value is called: "FILE"; "" for a flag
  std::string_view doc = "";
  bool repeated = false;
  std::string_view short_name = "";            // "-m"
  std::vector<std::string_view> choices = {};  // of its value; empty: anything
};

struct Positional {
  enum class Count : std::uint8_t { one, optional, many };
  std::string_view name;  // "HOST"
  std::string_view doc;
  Count count = Count::one;
  std::vector<std::string_view> choices = {};
};

// What was typed. Names as in the table.
struct Arguments {
  std::vector<std::string> words;  // positionals, in order
  std::map<std::string, std::vector<std::string>, std::less<>>
      options;  // of a flag: one empty string

  [[nodiscard]] bool has(std::string_view name) const {
    return options.find(name) != options.end();
  }
  [[nodiscard]] std::string value(std::string_view name, std::string_view otherwise = "") const;
  [[nodiscard]] std::vector<std::string> values(std::string_view name) const;
  [[nodiscard]] std::string word(std::size_t index, std::string_view otherwise = "") const;
  [[nodiscard]] bool json() const { return has("--json"); }
};

// Exit statuses (DESIGN.md section 12).
enum ExitStatus : int {
  kOk = 0,
  kError = 1,
  kChanges = 2,
  kPartial = 3,
  kReverted = 4,
  kInconsistent = 5,
  kRefused = 6,
  kUsage = 64,
  kInterrupted = 130
};

struct ExitMeaning {
  int status;
  std::string_view meaning;
};

struct Command {
  std::string name;  // "plan", "host list"
  std::string summary;
  std::string description;
  std::vector<Positional> words;
  std::vector<Option> options;
  // The exit status, or an error that main() renders (or prints as JSON with --json).
  Result<int> (*run)(const Arguments& arguments) = nullptr;
  bool hidden = false;
  // Everything after the command's name is its own business (`lab exec HOST -- …`).
  bool passes_rest = false;
  std::string example = {};
};

[[nodiscard]] const std::vector<Command>& commands();
// Options that every command understands: --json --controller --no-color --help.
[[nodiscard]] const std::vector<Option>& global_options();

struct Parsed {
  const Command* command =
      nullptr;  // null: `help` is to be printed and `status` is the exit status
  Arguments arguments;
  std::string help;
  int status = 0;
};
[[nodiscard]] Result<Parsed> parse(const std::vector<std::string>& argv);

// What to say next to bring about the same by `command`, quoted for a shell: its words, those of
// its options that were given (perhaps to another command) and shape what it brings, then `more`.
// What is about one run only (--yes, --wait, --plan, --key, --propose, --as-of, …) is left out.
[[nodiscard]] std::string command_line(const Command& command,
                                       const std::vector<std::string>& words,
                                       const Arguments& arguments,
                                       const std::vector<std::string>& more);

// Help, for a terminal of that many columns (help.cc).
[[nodiscard]] std::string usage_line(const Command& command);  // "consort host show HOST"
[[nodiscard]] std::string help_text(const Command& command, std::size_t width);
[[nodiscard]] std::string help_of_group(std::string_view group, std::size_t width);
[[nodiscard]] std::string help_of_all(std::size_t width);
[[nodiscard]] std::string_view group_summary(std::string_view group);
// Which exit statuses a command has, and what they mean there; and those of all commands.
[[nodiscard]] std::vector<ExitMeaning> exit_meanings(const Command& command);
[[nodiscard]] std::vector<ExitMeaning> all_exit_meanings();

// Generated from the table (generate.cc).
[[nodiscard]] std::string command_reference();                  // docs/reference/commands.md
[[nodiscard]] std::string man_page(const Command* command);     // troff; null: consort(1)
[[nodiscard]] std::string completions(std::string_view shell);  // bash | zsh | fish; "" for another

}  // namespace consort::cli
