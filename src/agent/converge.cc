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

void Converger::remember_in(Originals* originals) {
  state_->remembering.reset();
  state_->originals = originals;
  if (originals != nullptr)
    state_->remembering =
        std::make_unique<RememberingFiles>(state_->context(nullptr, nullptr), *originals);
}

Status Converger::remember_metadata(const std::string& path) {
  return state_->context(nullptr, nullptr).remember({}, {path});
}

Status Converger::begin_to_remember(Originals& originals, const std::string& step) {
  TRYV(state_->ledger->flush());
  return originals.begin(step, state_->ledger->path());
}

Result<std::vector<Originals::Lost>> Converger::bring_back(Originals& originals,
                                                           const std::set<std::string>& only) {
  remember_in(nullptr);
  return originals.bring_back(state_->context(nullptr, nullptr), only);
}

Status Converger::bring_back_ledger(const Originals& originals) {
  const fs::path path = state_->ledger->path();
  TRYV(write_file_atomic(path, TRY(read_file(originals.ledger(), Ledger::kMostBytes)), 0600));
  state_->ledger = TRY(Ledger::open(path));
  state_->recorded.assign(state_->resources.size(), 0);
  return {};
}

bool Converger::decides_on(const std::string& claim) const {
  for (std::uint32_t i = 0; i < state_->resources.size(); ++i) {
    const Resource& resource = *state_->resources[i];
    const auto claims = resource.claims();
    if (!state_->guarded_off[i] && state_->enforces(resource) && resource.decides_on_all() &&
        std::find(claims.begin(), claims.end(), claim) != claims.end())
      return true;
  }
  return false;
}

namespace {

// What is wished for in another way, or not at all any more, has no history.
void forget_flapping(ConvergerState& state, const std::vector<std::unique_ptr<Resource>>& resources,
                     const std::map<std::string_view, std::uint32_t>& old) {
  std::map<std::string, Flapping> kept;
  for (const auto& resource : resources) {
    const auto it = old.find(resource->name());
    const bool same = it != old.end() && state.resources[it->second]->wish() == resource->wish();
    if (auto node = state.flapping.extract(resource->name()); same && !node.empty())
      kept.insert(std::move(node));
  }
  state.flapping = std::move(kept);
}

}  // namespace

Status Converger::set_resources(const std::map<std::string, Json>& specs) {
  std::vector<std::unique_ptr<Resource>> resources;
  resources.reserve(specs.size());
  for (const auto& [name, spec] : specs)
    resources.push_back(TRY(parse_resource(name, spec, state_->options.root)));
  Graph graph = TRY(build_graph(resources));
  std::map<std::string_view, std::uint32_t> old;
  for (std::uint32_t i = 0; i < state_->resources.size(); ++i)
    old.emplace(state_->resources[i]->name(), i);
  std::vector<Seen> seen(resources.size());
  std::vector<char> off(resources.size(), 0);
  for (std::uint32_t i = 0; i < resources.size(); ++i) {
    const auto it = old.find(resources[i]->name());
    if (it != old.end() && state_->resources[it->second]->wish() == resources[i]->wish())
      seen[i] = std::move(state_->seen[it->second]);
    const Selector* when = resources[i]->common().when.get();
    off[i] = when != nullptr && !when->matches(state_->options.labels) ? 1 : 0;
  }
  forget_flapping(*state_, resources, old);
  if (state_->options.claims != nullptr)
    state_->options.claims->set(state_->options.name, graph.claimed);
  state_->resources = std::move(resources);
  state_->graph = std::move(graph);
  state_->seen = std::move(seen);
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

namespace {

// Daemons stop before their files go, children before parents, accounts last.
bool goes_before(const Ledger::Entry& a, const Ledger::Entry& b) {
  const auto rank = [](const Ledger::Entry& entry) {
    return entry.type == "daemon"         ? 0
           : entry.claim.starts_with('/') ? 1
           : entry.type == "user"         ? 2
                                          : 3;
  };
  return std::tuple(rank(a), b.claim.size(), a.name) < std::tuple(rank(b), a.claim.size(), b.name);
}

// Gives up what the ledger knows by some names.
class Release {
 public:
  explicit Release(ConvergerState& state)
      : state_(state), context_(state.context(nullptr, nullptr)) {
    for (const auto& resource : state_.resources) {
      present_.insert(resource->name());
      for (std::string& claim : resource->claims())
        owners_.emplace(std::move(claim), resource.get());
    }
  }

  Result<ReleaseReport> run(const std::set<std::string>& names) {
    std::vector<Ledger::Entry> entries;
    for (const std::string& name : names) {
      if (state_.ledger->has(name)) entries.push_back(TRY(state_.ledger->get(name)));
    }
    std::sort(entries.begin(), entries.end(), goes_before);
    for (const Ledger::Entry& entry : entries) TRYV(give_up(entry));
    return std::move(report_);
  }

 private:
  Status give_up(const Ledger::Entry& entry) {
    const ResourceType* type = find_resource_type(entry.type);
    const bool undoable = !entry.before.is_null() && type != nullptr && type->revert != nullptr;
    if (const Resource* heir = heir_of(entry); undoable && heir != nullptr) {
      TRYV(hand_over(entry, *heir));
      report_.kept.push_back(entry.name);
    } else if (undoable && entry.on_removal == OnRemoval::revert && waits(entry)) {
      return owe(entry);
    } else if (undoable && entry.on_removal == OnRemoval::revert) {
      Status status =
          type->revert(context_, Json::object({{"path", entry.claim}, {"before", entry.before}}));
      if (!status) {
        report_.warnings.push_back(fmt::format("{}: {}", entry.name, status.error().message()));
        // What others use as well is theirs from now on; anything else is tried again.
        if (status.error().code() != ErrorCode::conflict) return owe(entry);
      } else {
        report_.reverted.push_back(entry.name);
      }
    } else {
      report_.kept.push_back(entry.name);
    }
    return heirs_.contains(entry.name) ? Status() : state_.ledger->forget(entry.name);
  }

  // While there is a way back accounts stay: one that is made again may have another number than
  // the files that are its own.
  [[nodiscard]] bool waits(const Ledger::Entry& entry) const {
    return context_.originals != nullptr && (entry.type == "user" || entry.type == "group");
  }

  // Who decides on the same now: what has moved goes before the set is made so, and an heir of
  // another type may need the place empty.
  [[nodiscard]] const Resource* heir_of(const Ledger::Entry& entry) const {
    const auto it = owners_.find(entry.claim);
    if (it == owners_.end() || it->second->name() == entry.name) return nullptr;
    const bool moved = present_.contains(entry.name);
    return !moved || it->second->type() == entry.type ? it->second : nullptr;
  }

  Status hand_over(Ledger::Entry entry, const Resource& heir) {
    Digest wish;
    if (state_.ledger->has(heir.name()) && !state_.ledger->is_elsewhere(heir, entry.claim))
      wish = TRY(state_.ledger->get(heir.name())).wish;
    entry.name = heir.name();
    entry.type = heir.type();
    entry.wish = wish;
    entry.on_removal = heir.common().on_removal;
    heirs_.insert(entry.name);
    return state_.ledger->put(entry);
  }

  // By a name of its own where its name is needed for another place.
  Status owe(Ledger::Entry entry) {
    if (!present_.contains(entry.name)) return {};
    const std::string name =
        std::exchange(entry.name, fmt::format("{} ({})", entry.name, entry.claim));
    TRYV(state_.ledger->put(entry));
    return heirs_.contains(name) ? Status() : state_.ledger->forget(name);
  }

  ConvergerState& state_;
  Context context_;
  ReleaseReport report_;
  std::set<std::string_view> present_;
  std::map<std::string, const Resource*> owners_;
  std::set<std::string> heirs_;  // their entries are new ones
};

}  // namespace

Result<ReleaseReport> Converger::release(const std::set<std::string>& names) {
  state_->recorded.assign(state_->resources.size(), 0);
  return Release(*state_).run(names);
}

std::set<std::string> Converger::moved() const {
  std::set<std::string> out;
  for (const auto& resource : state_->resources) {
    if (state_->ledger->is_elsewhere(*resource, claim_of(*resource))) out.insert(resource->name());
  }
  return out;
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

std::vector<std::string> Converger::leftovers(OnRemoval on_removal) const {
  std::vector<std::string> out = leftovers();
  std::erase_if(out, [&](const std::string& name) {
    const auto entry = state_->ledger->get(name);
    return !entry || entry->on_removal != on_removal;
  });
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
