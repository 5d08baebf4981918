// Commands that are told to people, to be said next.
#include <algorithm>
#include <array>

#include "base/process.h"
#include "cli/command.h"

namespace consort::cli {
namespace {

// How one run goes, and not what it brings. Whoever says the next one decides that anew.
constexpr std::array<std::string_view, 8> kOfOneRun = {
    "--yes", "--wait", "--detach", "--plan", "--key", "--signatures", "--propose", "--as-of"};
constexpr std::array<std::string_view, 2> kWhere = {"--controller", "--context"};

void say_again(const Option& option, const Arguments& arguments, std::vector<std::string>& out) {
  if (!arguments.has(option.name)) return;
  if (option.value.empty()) {
    out.emplace_back(option.name);
    return;
  }
  for (const std::string& value : arguments.values(option.name)) {
    out.emplace_back(option.name);
    out.push_back(value);
  }
}

}  // namespace

std::string command_line(const Command& command, const std::vector<std::string>& words,
                         const Arguments& arguments, const std::vector<std::string>& more) {
  std::vector<std::string> out = words;
  for (const Option& option : command.options) {
    if (std::find(kOfOneRun.begin(), kOfOneRun.end(), option.name) == kOfOneRun.end())
      say_again(option, arguments, out);
  }
  for (const Option& option : global_options()) {
    if (std::find(kWhere.begin(), kWhere.end(), option.name) != kWhere.end())
      say_again(option, arguments, out);
  }
  out.insert(out.end(), more.begin(), more.end());
  const std::string said = "consort " + command.name;
  return out.empty() ? said : said + " " + quote_argv(out);
}

}  // namespace consort::cli
