#include "agent/apply.h"

#include <fmt/format.h>

#include <algorithm>

#include "agent/facts.h"
#include "agent/supervisors/native.h"
#include "agent/supervisors/systemd.h"
#include "base/json_reader.h"
#include "base/text.h"
#include "objects/store.h"
#include "site/placeholder.h"

namespace consort::agent {
namespace {

Result<std::string> value_of(std::string_view name, const LabelMap& facts,
                             const ApplyOptions& options, const std::string& host_name) {
  const auto from = [&](const LabelMap& map, std::string_view key,
                        std::string_view kind) -> Result<std::string> {
    const auto it = map.find(key);
    if (it != map.end()) return it->second;
    const std::string meant = did_you_mean(key, map);
    return fail(ErrorCode::not_found, fmt::format("this host has no {} '{}'", kind, key))
        .hint(meant.empty() ? "write $${ for a literal ${"
                            : fmt::format("did you mean '{}'?", meant));
  };
  if (name == "host.name") return host_name;
  if (name == "host.address") return options.host_address;
  if (name.starts_with("host.labels.")) return from(options.labels, name.substr(12), "label");
  if (name.starts_with("fact.")) return from(facts, name.substr(5), "fact");
  return fail(ErrorCode::invalid_input,
              fmt::format("${{{}}} has a value only in a deployed service", name))
      .hint("deploy it as part of a site, or write the value");
}

bool needs_supervisor(const std::map<std::string, Json>& specs) {
  for (const auto& [name, spec] : specs) {
    if (spec.string_or("type") == "daemon") return true;
  }
  return false;
}

Result<std::map<std::string, Json>> read_specs(const Json& document) {
  if (!document.is_object())
    return fail(ErrorCode::invalid_input,
                "the document must be an object with a member 'resources'")
        .hint("{ \"resources\": { \"motd\": { \"type\": \"file\", … } } }");
  JsonReader reader(document, "");
  std::map<std::string, Json> out;
  for (const auto& [name, spec] : reader.object("resources")) out.emplace(name, spec);
  TRYV(reader.finish());
  if (document.find("resources") == nullptr)
    return fail(ErrorCode::invalid_input, "the document has no member 'resources'");
  return out;
}

}  // namespace

Json apply_report_to_json(const ApplyReport& report) {
  Json out = report_to_json(report.pass);
  out["reverted"] = Json::array_of(report.reverted);
  out["leftovers"] = Json::array_of(report.leftovers);
  return out;
}

Result<ApplyReport> apply_document(const Json& document, const ApplyOptions& options) {
  std::map<std::string, Json> specs = TRY(read_specs(document));
  LabelMap facts = gather_facts(options.root);
  const std::string host_name = options.host_name.empty() ? facts["hostname"] : options.host_name;
  for (auto& [name, spec] : specs) {
    spec = TRY(site::expand_all(
        spec, site::PlaceholderStage::host,
        [&](std::string_view key) { return value_of(key, facts, options, host_name); },
        "resources." + name));
  }
  ConvergerOptions converge;
  converge.root = options.root;
  converge.state_folder =
      options.state_folder.empty() ? options.root / "var/lib/consort/apply" : options.state_folder;
  converge.workers = options.workers;
  converge.labels = std::move(facts);
  for (const auto& [key, value] : options.labels) converge.labels[key] = value;
  TRYV(make_folders(converge.state_folder, 0700));
  const FileLock lock =
      TRY(FileLock::acquire(converge.state_folder / "lock", "the state of consort apply"));
  const objects::ObjectStore backups =
      TRY(objects::ObjectStore::open(converge.state_folder / "objects"));
  converge.backups = &backups;
  std::unique_ptr<Supervisor> own;
  converge.supervisor = options.supervisor;
  // Also where a daemon of an earlier document is to be stopped.
  const bool has_run_daemons =
      fs::exists(converge.state_folder / "units") || fs::exists(converge.state_folder / "daemons");
  if (converge.supervisor == nullptr && (needs_supervisor(specs) || has_run_daemons)) {
    const bool systemd = systemd_is_running() && options.root == "/";
    own = systemd
              ? TRY(make_systemd_supervisor({converge.state_folder / "units"}))
              : TRY(make_native_supervisor({converge.state_folder / "daemons", options.shim_argv}));
    converge.supervisor = own.get();
  }
  const std::unique_ptr<Converger> converger = TRY(Converger::create(std::move(converge)));
  TRYV(converger->set_resources(specs));
  ApplyReport report;
  // Before the rest: what takes the place of something wants it free.
  const std::vector<std::string> due = converger->leftovers(OnRemoval::revert);
  if (options.rehearsal == Rehearsal::dry_run) report.reverted = due;
  std::vector<std::string> troubles;
  if (options.rehearsal == Rehearsal::no && !due.empty()) {
    ReleaseReport released = TRY(converger->release({due.begin(), due.end()}));
    report.reverted = std::move(released.reverted);
    troubles = std::move(released.warnings);
    report.troubled = !troubles.empty();
  }
  PassOptions pass;
  pass.audit = options.audit;
  pass.rehearsal = options.rehearsal;
  pass.list_kept = true;
  report.pass = converger->pass(pass);
  for (const std::string& trouble : troubles)
    report.pass.warnings.push_back("could not be undone: " + trouble);
  report.leftovers = converger->leftovers();
  std::erase_if(report.leftovers, [&](const std::string& name) {
    return std::find(report.reverted.begin(), report.reverted.end(), name) != report.reverted.end();
  });
  return report;
}

}  // namespace consort::agent
