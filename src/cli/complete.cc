#include "cli/complete.h"

#include <fmt/format.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>

#include "base/text.h"
#include "cli/context.h"
#include "cli/credentials.h"
#include "cli/rows.h"
#include "cli/terminal.h"
#include "platform/lab.h"

namespace consort::cli {
namespace {

// Somebody waits with the finger on the key.
constexpr Duration kPatience{400};

struct Place {
  const Command* command = nullptr;
  std::vector<std::string> words;  // positionals that are complete already
  const Option* value_of = nullptr;
  bool rest = false;  // after "--"
};

const Option* option_named(const Command& command, std::string_view typed) {
  for (const auto* options : {&command.options, &global_options()}) {
    for (const Option& option : *options) {
      if (option.name == typed || (!option.short_name.empty() && option.short_name == typed))
        return &option;
    }
  }
  return nullptr;
}

// The command whose name these words begin with, and how many words that is.
const Command* command_in(const std::vector<std::string>& words, std::size_t& used) {
  for (const Command& command : commands()) {
    const std::vector<std::string> name = split(command.name, ' ');
    if (command.hidden || words.size() <= name.size()) continue;
    if (!std::equal(name.begin(), name.end(), words.begin())) continue;
    used = name.size();
    return &command;
  }
  return nullptr;
}

Place place_of(const std::vector<std::string>& words) {
  Place out;
  std::size_t used = 0;
  out.command = command_in(words, used);
  if (out.command == nullptr) return out;
  for (std::size_t i = used; i + 1 < words.size(); ++i) {
    const std::string& word = words[i];
    if (word == "--") {
      out.rest = true;
      return out;
    }
    const Option* option = word.starts_with("-") ? option_named(*out.command, word) : nullptr;
    if (option == nullptr && !word.starts_with("-")) out.words.push_back(word);
    if (option == nullptr || option->value.empty()) continue;
    if (i + 2 == words.size()) out.value_of = option;
    ++i;
  }
  return out;
}

void add(Completion& out, const std::vector<Candidate>& candidates, std::string_view typed) {
  for (const Candidate& candidate : candidates) {
    if (!candidate.word.starts_with(typed)) continue;
    if (std::any_of(out.candidates.begin(), out.candidates.end(),
                    [&](const Candidate& c) { return c.word == candidate.word; }))
      continue;
    out.candidates.push_back(candidate);
  }
}

// A value by what it is called: "HOST|SERVICE" may be either.
void add_values(Completion& out, const Command& command, std::string_view kinds,
                const std::vector<std::string_view>& choices, std::string_view typed,
                const NameSource& names) {
  for (const std::string_view choice : choices) add(out, {{std::string(choice), ""}}, typed);
  if (!choices.empty()) return;
  for (const std::string& kind : split(kinds, '|')) {
    if (kind == "FILE") {
      out.files = Completion::Files::any;
    } else if (kind == "DIR" || kind == "FOLDER") {
      out.files = Completion::Files::folders;
    } else {
      add(out, names(kind == "HOST" && command.name.starts_with("lab ") ? "LABHOST" : kind), typed);
    }
  }
}

void add_options(Completion& out, const Command& command, std::string_view typed) {
  for (const auto* options : {&command.options, &global_options()}) {
    for (const Option& option : *options)
      add(out, {{std::string(option.name), std::string(option.doc)}}, typed);
  }
  add(out, {{"--help", "Explain the command."}}, typed);
}

Completion complete_name(const std::vector<std::string>& words) {
  Completion out;
  for (const Command& command : commands()) {
    if (command.hidden) continue;
    const std::vector<std::string> name = split(command.name, ' ');
    const std::size_t at = words.size() - 1;
    if (at >= name.size() || !std::equal(words.begin(), words.end() - 1, name.begin())) continue;
    const bool last = at + 1 == name.size();
    add(out, {{name[at], last ? command.summary : std::string(group_summary(name[at]))}},
        words.back());
  }
  return out;
}

// --- what is there -------------------------------------------------------------------------------

std::vector<Candidate> names_in(const Json& list, std::string_view key, std::string_view about) {
  std::vector<Candidate> out;
  if (!list.is_array()) return out;
  for (const Json& item : list.as_array()) {
    const Json* name = item.find(key);
    if (name == nullptr) continue;
    out.push_back({name->is_int() ? std::to_string(name->as_int()) : item.string_or(key),
                   item.string_or(about)});
  }
  return out;
}

std::vector<Candidate> newest_first(std::vector<Candidate> candidates) {
  std::reverse(candidates.begin(), candidates.end());
  return candidates;
}

Result<std::vector<Candidate>> ask_controller(const Context& context, std::string_view kind) {
  http::ClientOptions options;
  options.connect_timeout = options.timeout = kPatience;
  http::Client client = TRY(client_of(context, options));
  const auto list = [&](std::string_view target, std::string_view member) -> Result<Json> {
    const Json answer = TRY(client.get_json(target));
    const Json* found = answer.find(member);
    return found == nullptr ? Json() : *found;
  };
  if (kind == "HOST") return names_in(TRY(list("/v1/status", "hosts")), "name", "");
  if (kind == "ROLLOUT")
    return newest_first(names_in(TRY(list("/v1/rollouts", "rollouts")), "id", "result"));
  if (kind == "GENERATION")
    return newest_first(names_in(TRY(list("/v1/generations", "generations")), "number", "message"));
  if (kind == "OPERATOR") return names_in(TRY(list("/v1/operators", "operators")), "name", "may");
  if (kind == "SECRET") return names_in(TRY(list("/v1/secrets", "secrets")), "name", "");
  if (kind == "TOKEN") return names_in(TRY(list("/v1/tokens", "tokens")), "id", "names");
  std::vector<Candidate> out;
  if (kind != "SERVICE" && kind != "CLASS") return out;
  const Json services = TRY(list("/v1/status", "services"));
  if (!services.is_object()) return out;
  for (const auto& [name, service] : services.as_object()) {
    if (kind == "SERVICE") out.push_back({name, service.string_or("purpose")});
    if (kind == "CLASS") out.push_back({service.string_or("hostClass"), ""});
  }
  return out;
}

std::vector<Candidate> lab_hosts() {
  const char* set = std::getenv("CONSORT_LAB");
  const auto lab =
      platform::Lab::open(set != nullptr && *set != '\0' ? set : "lab", fs::path("/proc/self/exe"));
  std::vector<Candidate> out;
  if (!lab) return out;
  for (const platform::LabHost& host : lab->hosts()) out.push_back({host.spec.name, ""});
  out.push_back({"controller", ""});
  return out;
}

std::vector<Candidate> contexts() {
  std::vector<Candidate> out;
  for (const std::string& name : context_names().value_or(std::vector<std::string>{})) {
    const auto context = load_context(name);
    out.push_back({name, context ? context->controller : ""});
  }
  return out;
}

// A value that stands in the words already: `--controller URL`.
std::string typed_value(const std::vector<std::string>& words, std::string_view option) {
  for (std::size_t i = 0; i + 2 < words.size(); ++i) {
    if (words[i] == option) return words[i + 1];
  }
  return "";
}

std::string one_line(std::string text) {
  std::replace_if(
      text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20; }, ' ');
  return text;
}

// Never says a word about what went wrong: it would stand in the middle of somebody's command line.
Result<int> run_complete(const Arguments& arguments) {
  struct sigaction action {};
  action.sa_handler = [](int) { ::_exit(kOk); };
  ::sigaction(SIGALRM, &action, nullptr);
  itimerval limit{};
  limit.it_value.tv_usec = 900'000;
  ::setitimer(ITIMER_REAL, &limit, nullptr);
  std::vector<std::string> words = arguments.words;
  // bash makes a word of its own of the "=" in --site=FILE.
  words.erase(std::remove(words.begin(), words.end(), "="), words.end());
  if (words.empty()) words.emplace_back();
  const std::string named = typed_value(words, "--controller");
  Arguments typed;
  if (!named.empty()) typed.options["--controller"] = {named};
  if (const std::string name = typed_value(words, "--context"); !name.empty())
    typed.options["--context"] = {name};
  const auto context = chosen_context(typed);
  const Completion completion = complete(words, [&](std::string_view kind) {
    if (kind == "LABHOST") return lab_hosts();
    if (kind == "CONTEXT") return contexts();
    if (!context || !*context) return std::vector<Candidate>{};
    return ask_controller(**context, kind).value_or(std::vector<Candidate>{});
  });
  std::string out;
  for (const Candidate& candidate : completion.candidates)
    out += one_line(candidate.word) +
           (candidate.about.empty() ? "" : "\t" + one_line(candidate.about)) + "\n";
  if (completion.files == Completion::Files::any) out += ":files\n";
  if (completion.files == Completion::Files::folders) out += ":folders\n";
  print(out);
  return kOk;
}

}  // namespace

Completion complete(const std::vector<std::string>& words, const NameSource& names) {
  Completion out;
  if (words.empty()) return out;
  const Place place = place_of(words);
  const std::string& typed = words.back();
  if (place.command == nullptr) return complete_name(words);
  if (place.rest) {
    out.files = Completion::Files::any;
  } else if (place.value_of != nullptr) {
    add_values(out, *place.command, place.value_of->value, place.value_of->choices, typed, names);
  } else if (typed.starts_with("-")) {
    add_options(out, *place.command, typed);
  } else if (!place.command->words.empty()) {
    const std::size_t at = std::min(place.words.size(), place.command->words.size() - 1);
    const Positional& word = place.command->words[at];
    if (place.words.size() < place.command->words.size() || word.count == Positional::Count::many)
      add_values(out, *place.command, word.name, word.choices, typed, names);
  }
  return out;
}

Command complete_command() {
  return {"__complete",
          "Say what may be typed next.",
          "Asked by the shells' completions.",
          {{"WORDS", "What was typed.", Positional::Count::many}},
          {},
          run_complete,
          true,
          true};
}

}  // namespace consort::cli
