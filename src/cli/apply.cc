// consort apply: converges one file of resources, without any controller.
#include "agent/apply.h"

#include <fmt/format.h>

#include "base/text.h"
#include "cli/rows.h"
#include "cli/terminal.h"
#include "fleet/fleet.h"
#include "site/document.h"

namespace consort::cli {
namespace {

Result<int> run(const Arguments& arguments) {
  const Json document = TRY(site::evaluate_document(arguments.word(0)));
  agent::ApplyOptions options;
  // Where it stands now: daemons have a working folder of their own.
  options.root = fs::absolute(arguments.value("--root", "/")).lexically_normal();
  options.rehearsal = arguments.has("--dry-run") ? agent::Rehearsal::dry_run : agent::Rehearsal::no;
  if (arguments.has("--state"))
    options.state_folder = fs::absolute(arguments.value("--state")).lexically_normal();
  const agent::ApplyReport report = TRY(agent::apply_document(document, options));
  if (arguments.json()) {
    print(agent::apply_report_to_json(report).dump() + "\n");
  } else {
    for (const std::string& name : report.reverted)
      print(fmt::format("{} {}: the file no longer names it\n",
                        arguments.has("--dry-run") ? "would undo" : "undone", name));
    if (!report.leftovers.empty())
      print(fmt::format("left alone, for the file no longer names them: {}\n",
                        join(report.leftovers, ", ")));
    print(agent::render_report(report.pass));
  }
  return report.exit_status();
}

}  // namespace

Command apply_command() {
  return {
      "apply",
      "Converge one file of resources on this machine, without any controller.",
      "What an earlier run made and the file no longer names is undone where it said onRemoval: "
      "'revert' (a daemon is stopped), and left alone otherwise. "
      "Exit status 0: all kept; 2: repaired; 4: some failed; 6: both; 1: bad input.",
      {{"FILE", "{ resources: { name: { type, … } } }, Jsonnet or JSON.", Positional::Count::one}},
      {{"--dry-run", "", "Say what would be done, change nothing."},
       {"--root", "DIR", "Below this folder instead of /."},
       {"--state", "DIR", "Where to keep what is owned; default ROOT/var/lib/consort/apply."}},
      run,
      false,
      false,
      "consort apply motd.json --dry-run"};
}

}  // namespace consort::cli
