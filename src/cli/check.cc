// consort check: everything that can be found out about a site without touching a host.
#include <fmt/format.h>

#include <algorithm>

#include "cli/context.h"
#include "cli/rows.h"
#include "cli/terminal.h"

namespace consort::cli {
namespace {

// More than these nobody reads at once.
constexpr std::size_t kShownMistakes = 20;

std::string count(std::size_t number, std::string_view thing, std::string_view plural = "s") {
  return fmt::format("{} {}{}", number, thing, number == 1 ? "" : plural);
}

void tell(const std::vector<Error>& mistakes) {
  for (std::size_t i = 0; i < std::min(mistakes.size(), kShownMistakes); ++i)
    print_error(mistakes[i]);
  if (mistakes.size() > kShownMistakes)
    print_to_stderr(fmt::format("… and {} more; all of them: consort check --json\n",
                                mistakes.size() - kShownMistakes));
}

Json list_of(const std::vector<Error>& mistakes) {
  Json out = Json::array();
  for (const Error& mistake : mistakes) out.push_back(error_to_json(mistake));
  return out;
}

// Nothing of the site could be compiled.
Result<int> refuse(const Arguments& arguments, Error first, const std::vector<Error>& mistakes) {
  if (mistakes.empty()) return fail(std::move(first));
  if (arguments.json()) {
    print(Json::object({{"error", error_to_json(first)}, {"mistakes", list_of(mistakes)}}).dump() +
          "\n");
  } else {
    tell(mistakes);
    print(fmt::format("{}: {}\n", paint(Colour::red, "broken"), count(mistakes.size(), "mistake")));
  }
  return kError;
}

// What is wrong with single services, and then with how they are together.
std::vector<Error> mistakes_of(const plan::Compiled& compiled) {
  std::vector<Error> out;
  for (const auto& [name, error] : compiled.broken) {
    out.push_back(error);
    const auto [begin, end] = compiled.more_mistakes.equal_range(name);
    for (auto it = begin; it != end; ++it) out.push_back(it->second);
  }
  return out;
}

std::vector<Error> mistakes_together(const plan::Compiled& compiled) {
  std::vector<Error> out;
  // An edge to a service that was left out leads nowhere; that it is broken is told already.
  if (compiled.broken.empty()) {
    if (auto levels = plan::service_levels(compiled.generation.services); !levels)
      out.push_back(std::move(levels).error());
  }
  if (auto claims = plan::check_claims(compiled.generation, compiled.manifests); !claims)
    out.push_back(std::move(claims).error());
  return out;
}

// The controller that can be asked now; nullopt, and a word about it, where there is one that does
// not answer: whoever writes a site may be offline, or not let in.
std::optional<http::Client> reachable_controller(const Arguments& arguments) {
  if (!controller_url(arguments)) return std::nullopt;
  auto client = controller_client(arguments);
  std::optional<Error> why;
  if (!client) {
    why = client.error();
  } else if (auto placement = previous_placement(&*client); !placement) {
    why = std::move(placement).error();
  }
  if (!why) return std::optional(std::move(*client));
  print_to_stderr(
      fmt::format("{} checked without the controller, so not whether secrets are set: {}\n",
                  paint_for_stderr(Colour::yellow, "warning:"), why->message()));
  return std::nullopt;
}

Result<int> run(const Arguments& arguments) {
  std::optional<http::Client> client = reachable_controller(arguments);
  std::vector<Error> mistakes;
  auto prepared = prepare(arguments, client ? &*client : nullptr, &mistakes, SecretChecks::asked,
                          Programs::stood_in);
  if (!prepared) return refuse(arguments, std::move(prepared).error(), mistakes);
  const plan::Compiled& compiled = prepared->compiled;
  const plan::Generation& generation = compiled.generation;
  mistakes = mistakes_of(compiled);
  const std::vector<Error> together = mistakes_together(compiled);
  mistakes.insert(mistakes.end(), together.begin(), together.end());
  const int status = mistakes.empty()                                    ? kOk
                     : together.empty() && arguments.has("--keep-going") ? kPartial
                                                                         : kError;
  const std::vector<std::string> warnings = warnings_about(generation);
  if (arguments.json()) {
    Json broken = Json::object();
    for (const auto& [name, error] : compiled.broken) broken[name] = error_to_json(error);
    print(Json::object({{"site", generation.site},
                        {"hosts", generation.hosts.size()},
                        {"services", generation.services.size()},
                        {"broken", broken},
                        {"mistakes", list_of(mistakes)},
                        {"warnings", Json::array_of(warnings)},
                        {"sources", generation.sources.str()}})
              .dump() +
          "\n");
    return status;
  }
  tell(mistakes);
  tell_warnings(generation);
  std::size_t instances = 0;
  for (const auto& [name, service] : generation.services) instances += service.hosts.size();
  std::string totals =
      fmt::format("{}, {}, {}, {}", count(generation.classes.size(), "host class", "es"),
                  count(generation.hosts.size(), "host"),
                  count(generation.services.size(), "service"), count(instances, "instance"));
  if (!mistakes.empty())
    totals = fmt::format("{} {}; sound: {}", count(mistakes.size(), "mistake"),
                         compiled.broken.empty() ? "between services"
                                                 : "in " + count(compiled.broken.size(), "service"),
                         totals);
  print(fmt::format("{} {}: {}\n",
                    mistakes.empty()          ? paint(Colour::green, "ok")
                    : compiled.broken.empty() ? paint(Colour::red, "broken")
                                              : paint(Colour::yellow, "broken services"),
                    generation.site, totals));
  return status;
}

}  // namespace

Command check_command() {
  return {
      "check",
      "Check a site: evaluate it, ask its inventories, compile every service.",
      "Finds what a host would refuse, too, and tells all mistakes that it can find. Touches no "
      "host. A controller, where there is one, is asked for its registry, for the secrets that are "
      "set and for where things run now; without it the rest is checked (and a warning says so "
      "where it does not answer). With --no-exec sample hosts stand in for those of programs. Exit "
      "status 0: sound; 1: mistakes; 3: mistakes in single "
      "services, with --keep-going.",
      {},
      {site_option(),
       no_exec_option(),
       {"--keep-going", "", "Exit status 3 instead of 1 where only single services are broken."}},
      run,
      false,
      false,
      "consort check --site shop/site.jsonnet"};
}

}  // namespace consort::cli
