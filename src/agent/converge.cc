#include "agent/converge.h"

#include <fmt/format.h>

#include <algorithm>
#include <mutex>
#include <utility>

#include "agent/converger_state.h"
#include "agent/supervisors/supervisor.h"
#include "objects/store.h"

namespace consort::agent {

Converger::Converger(std::unique_ptr<ConvergerState> state) : state_(std::move(state)) {}
Converger::~Converger() = default;

Result<std::unique_ptr<Converger>> Converger::create(ConvergerOptions options) {
  auto state = std::make_unique<ConvergerState>(std::move(options));
  state->files = TRY(RealFiles::open(state->options.root, state->options.own_folder));
  state->options.root = state->files->host_path("");
  if (state->options.root.empty()) state->options.root = "/";
  state->accounts = std::make_unique<Accounts>(*state->files, state->options.root == "/");
  TRYV(make_folders(state->options.state_folder, 0700));
  state->ledger = TRY(Ledger::open(state->options.state_folder / "ledger.jsonl"));
  return std::unique_ptr<Converger>(new Converger(std::move(state)));
}

void Converger::set_labels(LabelMap labels) { state_->options.labels = std::move(labels); }

void Converger::keep_removed_in(Removals* removals) { state_->removals = removals; }

Result<std::vector<std::string>> Converger::bring_back(Removals& removals) {
  return removals.bring_back(state_->context(nullptr, nullptr));
}

Status Converger::set_resources(const std::map<std::string, Json>& specs) {
  std::vector<std::unique_ptr<Resource>> resources;
  resources.reserve(specs.size());
  for (const auto& [name, spec] : specs)
    resources.push_back(TRY(parse_resource(name, spec, state_->options.root)));
  Graph graph = TRY(build_graph(resources));
  std::map<std::string_view, std::uint32_t> old;
  for (std::uint32_t i = 0; i < state_->resources.size(); ++i)
    old.emplace(state_->resources[i]->name(), i);
  std::vector<std::vector<Evidence>> evidence(resources.size());
  std::vector<char> off(resources.size(), 0);
  for (std::uint32_t i = 0; i < resources.size(); ++i) {
    const auto it = old.find(resources[i]->name());
    if (it != old.end() && state_->resources[it->second]->wish() == resources[i]->wish())
      evidence[i] = std::move(state_->evidence[it->second]);
    const Selector* when = resources[i]->common().when.get();
    off[i] = when != nullptr && !when->matches(state_->options.labels) ? 1 : 0;
  }
  if (state_->options.claims != nullptr)
    state_->options.claims->set(state_->options.name, graph.claimed);
  state_->resources = std::move(resources);
  state_->graph = std::move(graph);
  state_->evidence = std::move(evidence);
  state_->recorded.assign(state_->resources.size(), 0);
  state_->guarded_off = std::move(off);
  return {};
}

PassReport Converger::pass(const PassOptions& options) {
  state_->forget_if_accounts_changed();
  if (options.rehearsal == Rehearsal::no) return run_pass(*state_, options, nullptr, nullptr);
  OverlayFiles overlay(*state_->files);
  Accounts imagined(overlay, state_->options.root == "/");
  return run_pass(*state_, options, &overlay, &imagined);
}

Result<ReleaseReport> Converger::release(const std::set<std::string>& names) {
  std::vector<Ledger::Entry> entries;
  for (const std::string& name : names) {
    if (state_->ledger->has(name)) entries.push_back(TRY(state_->ledger->get(name)));
  }
  // Daemons stop before their files go, children before parents, accounts last.
  const auto rank = [](const Ledger::Entry& entry) {
    return entry.type == "daemon"         ? 0
           : entry.claim.starts_with('/') ? 1
           : entry.type == "user"         ? 2
                                          : 3;
  };
  std::sort(entries.begin(), entries.end(), [&](const Ledger::Entry& a, const Ledger::Entry& b) {
    return std::tuple(rank(a), b.claim.size(), a.name) <
           std::tuple(rank(b), a.claim.size(), b.name);
  });
  ReleaseReport report;
  state_->recorded.assign(state_->resources.size(), 0);
  const Context context = state_->context(nullptr, nullptr);
  for (const Ledger::Entry& entry : entries) {
    const ResourceType* type = find_resource_type(entry.type);
    if (entry.on_removal == OnRemoval::revert && !entry.before.is_null() && type != nullptr &&
        type->revert != nullptr) {
      const Status status =
          type->revert(context, Json::object({{"path", entry.claim}, {"before", entry.before}}));
      if (status) {
        report.reverted.push_back(entry.name);
      } else {
        report.warnings.push_back(fmt::format("{}: {}", entry.name, status.error().message()));
      }
    } else {
      report.kept.push_back(entry.name);
    }
    TRYV(state_->ledger->forget(entry.name));
  }
  return report;
}

std::vector<std::string> Converger::leftovers() const {
  std::set<std::string_view> present;
  for (const auto& resource : state_->resources) present.insert(resource->name());
  std::vector<std::string> out;
  for (std::string& name : state_->ledger->names()) {
    if (!present.contains(name)) out.push_back(std::move(name));
  }
  return out;
}

std::map<std::string, std::vector<std::string>> Converger::watches() const {
  std::map<std::string, std::vector<std::string>> out;
  const Context context = state_->context(nullptr, nullptr);
  for (std::uint32_t i = 0; i < state_->resources.size(); ++i) {
    if (state_->guarded_off[i]) continue;
    std::vector<std::string> paths;
    for (const std::string& path : state_->resources[i]->watch(context))
      paths.push_back(state_->files->host_path(path).string());
    if (!paths.empty()) out.emplace(state_->resources[i]->name(), std::move(paths));
  }
  return out;
}

std::size_t Converger::size() const { return state_->resources.size(); }
std::uint64_t Converger::changes_made() const { return state_->files->changes_made(); }

}  // namespace consort::agent
