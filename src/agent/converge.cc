#include "agent/converge.h"

#include <fmt/format.h>

#include <algorithm>
#include <mutex>
#include <utility>

#include "agent/flapping.h"
#include "agent/graph.h"
#include "agent/overlay_files.h"
#include "agent/pass.h"
#include "agent/real_files.h"
#include "agent/removals.h"
#include "agent/supervisors/supervisor.h"
#include "objects/store.h"

namespace consort::agent {

struct Converger::Impl {
  explicit Impl(ConvergerOptions o) : options(std::move(o)) {}

  ConvergerOptions options;
  std::unique_ptr<RealFiles> files;
  std::unique_ptr<Accounts> accounts;
  std::unique_ptr<Ledger> ledger;
  SystemProcessRunner system_runner;
  SystemClock system_clock;

  std::vector<std::unique_ptr<Resource>> resources;
  Graph graph;
  std::vector<char> guarded_off;                // `when` is false
  std::vector<std::vector<Evidence>> evidence;  // per resource; empty: unknown
  std::vector<char> recorded;                   // the ledger knows that it is as wished
  std::map<std::string, Flapping> flapping;
  std::mutex flapping_mutex;
  std::pair<Stamp, Stamp> account_stamps;
  Removals* removals = nullptr;

  [[nodiscard]] Instant now() const {
    return options.clock != nullptr ? options.clock->now() : system_clock.now();
  }
  [[nodiscard]] Context context(OverlayFiles* overlay, Accounts* imagined) {
    return Context{overlay != nullptr ? static_cast<HostFiles&>(*overlay) : *files,
                   imagined != nullptr ? *imagined : *accounts,
                   options.runner != nullptr ? *options.runner : system_runner,
                   options.root,
                   options.state_folder,
                   options.supervisor,
                   options.backups,
                   overlay,
                   graph.claimed.get(),
                   options.claims,
                   removals,
                   options.secrets};
  }

  [[nodiscard]] bool known_good(std::uint32_t i) const {
    if (evidence[i].empty()) return false;
    return std::all_of(evidence[i].begin(), evidence[i].end(),
                       [&](const Evidence& item) { return files->stamp(item.path) == item.stamp; });
  }
  void remember(std::uint32_t i, std::vector<Evidence> seen) {
    const bool solid = std::all_of(seen.begin(), seen.end(), [](const Evidence& item) {
      return HostFiles::trustworthy(item.stamp);
    });
    if (!solid) seen.clear();
    seen.shrink_to_fit();
    evidence[i] = std::move(seen);
  }
  // A user that got another uid makes files wrong that nobody touched.
  void forget_if_accounts_changed() {
    accounts->refresh();
    const std::pair stamps(files->stamp("/etc/passwd"), files->stamp("/etc/group"));
    if (stamps != account_stamps) {
      for (auto& item : evidence) item.clear();
    }
    account_stamps = stamps;
  }
};

Converger::Converger(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Converger::~Converger() = default;

Result<std::unique_ptr<Converger>> Converger::create(ConvergerOptions options) {
  auto impl = std::make_unique<Impl>(std::move(options));
  impl->files = TRY(RealFiles::open(impl->options.root, impl->options.own_folder));
  impl->options.root = impl->files->host_path("");
  if (impl->options.root.empty()) impl->options.root = "/";
  impl->accounts = std::make_unique<Accounts>(*impl->files, impl->options.root == "/");
  TRYV(make_folders(impl->options.state_folder, 0700));
  impl->ledger = TRY(Ledger::open(impl->options.state_folder / "ledger.jsonl"));
  return std::unique_ptr<Converger>(new Converger(std::move(impl)));
}

void Converger::set_labels(LabelMap labels) { impl_->options.labels = std::move(labels); }

void Converger::keep_removed_in(Removals* removals) { impl_->removals = removals; }

Result<std::vector<std::string>> Converger::bring_back(Removals& removals) {
  return removals.bring_back(impl_->context(nullptr, nullptr));
}

Status Converger::set_resources(const std::map<std::string, Json>& specs) {
  std::vector<std::unique_ptr<Resource>> resources;
  resources.reserve(specs.size());
  for (const auto& [name, spec] : specs)
    resources.push_back(TRY(parse_resource(name, spec, impl_->options.root)));
  Graph graph = TRY(build_graph(resources));
  std::map<std::string_view, std::uint32_t> old;
  for (std::uint32_t i = 0; i < impl_->resources.size(); ++i)
    old.emplace(impl_->resources[i]->name(), i);
  std::vector<std::vector<Evidence>> evidence(resources.size());
  std::vector<char> off(resources.size(), 0);
  for (std::uint32_t i = 0; i < resources.size(); ++i) {
    const auto it = old.find(resources[i]->name());
    if (it != old.end() && impl_->resources[it->second]->wish() == resources[i]->wish())
      evidence[i] = std::move(impl_->evidence[it->second]);
    const Selector* when = resources[i]->common().when.get();
    off[i] = when != nullptr && !when->matches(impl_->options.labels) ? 1 : 0;
  }
  if (impl_->options.claims != nullptr)
    impl_->options.claims->set(impl_->options.name, graph.claimed);
  impl_->resources = std::move(resources);
  impl_->graph = std::move(graph);
  impl_->evidence = std::move(evidence);
  impl_->recorded.assign(impl_->resources.size(), 0);
  impl_->guarded_off = std::move(off);
  return {};
}

PassReport Converger::pass(const PassOptions& options) {
  impl_->forget_if_accounts_changed();
  if (options.rehearsal == Rehearsal::no)
    return Pass<Impl>(*impl_, options, nullptr, nullptr).run();
  OverlayFiles overlay(*impl_->files);
  Accounts imagined(overlay, impl_->options.root == "/");
  return Pass<Impl>(*impl_, options, &overlay, &imagined).run();
}

Result<ReleaseReport> Converger::release(const std::set<std::string>& names) {
  std::vector<Ledger::Entry> entries;
  for (const std::string& name : names) {
    if (impl_->ledger->has(name)) entries.push_back(TRY(impl_->ledger->get(name)));
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
  impl_->recorded.assign(impl_->resources.size(), 0);
  const Context context = impl_->context(nullptr, nullptr);
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
    TRYV(impl_->ledger->forget(entry.name));
  }
  return report;
}

std::vector<std::string> Converger::leftovers() const {
  std::set<std::string_view> present;
  for (const auto& resource : impl_->resources) present.insert(resource->name());
  std::vector<std::string> out;
  for (std::string& name : impl_->ledger->names()) {
    if (!present.contains(name)) out.push_back(std::move(name));
  }
  return out;
}

std::map<std::string, std::vector<std::string>> Converger::watches() const {
  std::map<std::string, std::vector<std::string>> out;
  const Context context = impl_->context(nullptr, nullptr);
  for (std::uint32_t i = 0; i < impl_->resources.size(); ++i) {
    if (impl_->guarded_off[i]) continue;
    std::vector<std::string> paths;
    for (const std::string& path : impl_->resources[i]->watch(context))
      paths.push_back(impl_->files->host_path(path).string());
    if (!paths.empty()) out.emplace(impl_->resources[i]->name(), std::move(paths));
  }
  return out;
}

std::size_t Converger::size() const { return impl_->resources.size(); }
std::uint64_t Converger::changes_made() const { return impl_->files->changes_made(); }

}  // namespace consort::agent
