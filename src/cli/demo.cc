// consort demo: a real distributed system on this machine, deployed, upgraded under load, broken
// and repaired.
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdlib>

#include "base/text.h"
#include "cli/demo_stage.h"
#include "cli/rows.h"
#include "cli/terminal.h"

namespace consort::cli {
namespace {

fs::path self() { return fs::read_symlink("/proc/self/exe"); }

// Where the example is: beside the installed program, or in the source tree that it was built from.
Result<fs::path> example_folder() {
  std::vector<fs::path> places = {
      self().parent_path().parent_path() / "share/consort/examples/shop",
      fs::path(CONSORT_EXAMPLES) / "shop"};
  if (const char* given = std::getenv("CONSORT_EXAMPLES"); given != nullptr)
    places.insert(places.begin(), fs::path(given) / "shop");
  for (const fs::path& place : places) {
    std::error_code error;
    if (fs::exists(place / "site-v1.jsonnet", error)) return place;
  }
  return fail(ErrorCode::not_found, "the example 'shop' is not installed")
      .hint("set CONSORT_EXAMPLES to the folder that has it");
}

// On the platform `process` the servers come from this machine.
Status check_programs() {
  std::string missing;
  for (const auto& [path, package] :
       {std::pair("/usr/lib/postgresql/15/bin/postgres", "postgresql-15"),
        std::pair("/usr/sbin/nginx", "nginx-light"), std::pair("/usr/sbin/haproxy", "haproxy"),
        std::pair("/usr/bin/python3", "python3"),
        std::pair("/usr/lib/python3/dist-packages/psycopg2", "python3-psycopg2"),
        std::pair("/usr/bin/curl", "curl"), std::pair("/usr/bin/pgrep", "procps")}) {
    if (::access(path, F_OK) != 0) missing += std::string(" ") + package;
  }
  if (missing.empty()) return {};
  return fail(ErrorCode::unsupported,
              fmt::format("the platform process takes the shop's servers from this machine, and "
                          "these packages are missing:{}",
                          missing))
      .hint(fmt::format("apt-get install --no-install-recommends{}   (./dev demo does it, and "
                        "keeps their services from starting)",
                        missing));
}

// Others must be able to pass through it: PostgreSQL runs as a user of its own.
Result<fs::path> make_folder(const Arguments& arguments) {
  if (const std::string given = arguments.value("--dir"); !given.empty()) {
    TRYV(make_folders(given));
    std::error_code error;
    if (!fs::is_empty(given, error))
      return fail(ErrorCode::conflict, fmt::format("{} is not empty", given))
          .hint("choose another --dir; the demo makes it");
    return fs::canonical(given);
  }
  const char* set = std::getenv("TMPDIR");
  std::string path =
      fmt::format("{}/consort-demo-XXXXXX", set != nullptr && *set == '/' ? set : "/tmp");
  if (::mkdtemp(path.data()) == nullptr)
    return fail_errno(errno, fmt::format("cannot make {}", path));
  ::chmod(path.c_str(), 0755);
  return fs::path(path);
}

Result<Stage> set_the_stage(const Arguments& arguments, const fs::path& folder) {
  const platform::Choice choice = TRY(platform::choose_platform(arguments.value("--platform")));
  if (choice.name == "process") TRYV(check_programs());
  std::error_code error;
  fs::copy(TRY(example_folder()), folder / "site", fs::copy_options::recursive, error);
  if (error)
    return fail(ErrorCode::io, fmt::format("cannot copy the example: {}", error.message()));
  platform::LabRequest request{
      folder / "lab", self(), arguments.value("--platform"), {{"lb", 1}, {"web", 2}, {"db", 1}}};
  print(fmt::format(
      "{}\n  {} {}\n", paint(Colour::bold, "0. Make a fleet of four hosts on this machine"),
      paint(Colour::cyan, "$"), paint(Colour::bold, "consort lab up --hosts lb=1,web=2,db=1")));
  const auto begun = std::chrono::steady_clock::now();
  platform::Lab lab = TRY(platform::Lab::up(
      request, [](std::string_view line) { print(fmt::format("    {}\n", line)); }));
  for (const platform::LabHost& host : lab.hosts())
    print(fmt::format("    {:<5} {}\n", host.spec.name, host.spec.address));
  print(fmt::format("    up in {}\n", human_duration(std::chrono::duration_cast<Duration>(
                                          std::chrono::steady_clock::now() - begun))));
  TRYV(write_file_atomic(folder / "site" / "hosts.yaml", TRY(read_file(lab.inventory()))));
  return Stage(std::move(lab), folder, self());
}

int report(const std::vector<DemoCheck>& checks, const Status& played, bool json) {
  const auto passed = std::count_if(checks.begin(), checks.end(),
                                    [](const DemoCheck& check) { return check.passed; });
  const bool all = played.has_value() && passed == static_cast<std::ptrdiff_t>(checks.size());
  std::vector<std::vector<std::string>> rows = {{"STEP", "CHECK", "", "DETAIL"}};
  Json records = Json::array();
  for (const DemoCheck& check : checks) {
    rows.push_back({std::to_string(check.step), check.what,
                    check.passed ? paint(Colour::green, "passed") : paint(Colour::red, "FAILED"),
                    check.detail});
    records.push_back(Json::object({{"step", check.step},
                                    {"check", check.what},
                                    {"passed", check.passed},
                                    {"detail", check.detail}}));
  }
  const auto tell = json ? print_to_stderr : print;
  tell("\n" + table(rows) + "\n");
  if (!played) print_error(played.error());
  tell(fmt::format("demo: {} of {} checks passed{}\n", passed, checks.size(),
                   played ? "" : ", and it did not come to its end"));
  if (json)
    print(Json::object({{"checks", records}, {"passed", passed}, {"complete", played.has_value()}})
              .dump() +
          "\n");
  return all ? kOk : kError;
}

Status tidy_up(const fs::path& folder) {
  Status down = platform::Lab::down(folder / "lab", self());
  Status removed = remove_tree(folder);
  if (!down && down.error().code() != ErrorCode::not_found)  // it may not have come to a lab
    return down;
  return removed;
}

// Ctrl-C, whenever it came: whoever stops something wants to know what is left of it.
Result<int> end_stopped(const fs::path& folder) {
  TRYV(tidy_up(folder));
  return fail(ErrorCode::interrupted, "stopped; everything that was made is removed");
}

void tell_how_to_look_around(const fs::path& folder) {
  print(fmt::format(
      "\nThe fleet stays up. Look around:\n  export CONSORT_LAB={0}/lab\n  cd {0}/site\n  consort "
      "lab run -- consort status\n  consort lab run -- consort explain web1\n"
      "  consort lab exec db1 -- bash\nand when you are done:\n  consort lab down && rm -r {0}\n",
      folder.string()));
}

Result<int> run_demo(const Arguments& arguments) {
  struct sigaction action {};
  action.sa_handler = [](int) { interrupt_stage(); };
  for (const int number : {SIGINT, SIGTERM, SIGHUP}) ::sigaction(number, &action, nullptr);
  const fs::path folder = TRY(make_folder(arguments));
  auto stage = set_the_stage(arguments, folder);
  if (!stage) {
    if (!check_not_interrupted()) return end_stopped(folder);
    if (Status tidy = tidy_up(folder); !tidy) print_error(tidy.error());
    return fail(std::move(stage.error()));
  }
  const auto begun = std::chrono::steady_clock::now();
  const Status played = play(*stage);
  stage->stop_customer();
  if (!played && !check_not_interrupted()) return end_stopped(folder);
  const int status = report(stage->checks(), played, arguments.json());
  if (!arguments.json())
    print(paint(Colour::dim, fmt::format("played in {} on the platform {}\n",
                                         human_duration(std::chrono::duration_cast<Duration>(
                                             std::chrono::steady_clock::now() - begun)),
                                         stage->lab().platform_name())));
  if (arguments.has("--keep")) {
    tell_how_to_look_around(folder);
    return status;
  }
  TRYV(tidy_up(folder));
  return status;
}

}  // namespace

Command demo_command() {
  return {
      "demo",
      "Show everything on a fleet of four hosts on this machine, checking each step.",
      "Deploys a shop (HAProxy, nginx, a Python application, PostgreSQL), upgrades it while a "
      "customer places orders, lets two releases fail and "
      "go back, damages hosts, kills the controller, and rolls back. Takes about half a "
      "minute. It leaves nothing behind but, on the platform nspawn, the hosts' root file system, "
      "which the first run makes in a minute or two and keeps for the next (about 1 GB in "
      "/var/cache/consort; remove it with: rm -r /var/cache/consort/roots).",
      {},
      {{"--platform",
        "PLATFORM",
        "nspawn or process; default: the best that this machine permits.",
        false,
        "",
        {"nspawn", "process"}},
       {"--keep", "", "Leave the fleet up at the end."},
       {"--dir", "DIR", "Where to put it; default: a new folder in $TMPDIR."}},
      run_demo,
      false,
      false,
      "consort demo"};
}

}  // namespace consort::cli
