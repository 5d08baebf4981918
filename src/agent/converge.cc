#include "agent/converge.h"

#include <fmt/format.h>

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <utility>

#include "agent/flapping.h"
#include "agent/graph.h"
#include "agent/overlay_files.h"
#include "agent/real_files.h"
#include "agent/supervisors/supervisor.h"
#include "base/log.h"
#include "objects/store.h"

namespace consort::agent {
namespace {

using Steady = std::chrono::steady_clock;

std::string claim_of(const Resource& resource) {
  const auto claims = resource.claims();
  return claims.empty() ? std::string() : claims.front();
}

}  // namespace

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
                   options.claims};
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

namespace {

// One pass over the graph. Outcomes of resources with work are found by a few threads, in
// dependency order.
template <class Impl>
class Pass {
 public:
  Pass(Impl& impl, const PassOptions& options, OverlayFiles* overlay, Accounts* imagined)
      : impl_(impl),
        options_(options),
        context_(impl.context(overlay, imagined)),
        outcome_(impl.resources.size(), Seen::unknown) {}

  PassReport run() {
    const auto begun = Steady::now();
    report_.dry_run = context_.dry_run();
    report_.full_audit = options_.audit == Audit::full;
    std::vector<std::uint32_t> work = find_work();
    if (!work.empty()) do_work(work);
    finish();
    report_.elapsed = std::chrono::duration_cast<Duration>(Steady::now() - begun);
    return std::move(report_);
  }

 private:
  enum class Seen : std::uint8_t { unknown, untouched, kept, repaired, off, blocked };
  using Reports = std::map<std::uint32_t, ResourceReport>;
  static constexpr std::size_t kLargestBatch = 64;

  // Marks what is known to be right; returns what must be examined, in order.
  std::vector<std::uint32_t> find_work() {
    std::vector<std::uint32_t> work;
    const bool full = options_.audit == Audit::full || context_.dry_run();
    for (const std::uint32_t i : impl_.graph.order) {
      if (impl_.guarded_off[i]) {
        outcome_[i] = Seen::off;
        continue;
      }
      const bool chosen =
          options_.only.empty() || options_.only.contains(impl_.resources[i]->name());
      if (!chosen || (!full && impl_.known_good(i))) {
        outcome_[i] = chosen ? Seen::kept : Seen::untouched;
      } else {
        work.push_back(i);
      }
    }
    return work;
  }

  void do_work(const std::vector<std::uint32_t>& work) {
    // A repair may undo what was found right below it, so its dependents are looked at again.
    std::vector<char> pending(impl_.resources.size(), 0);
    for (const std::uint32_t i : work) pending[i] = 1;
    std::vector<std::uint32_t> open(impl_.resources.size(), 0);
    std::vector<std::vector<std::uint32_t>> dependents(impl_.resources.size());
    for (const std::uint32_t i : impl_.graph.order) {
      bool affected = pending[i] != 0;
      for (const std::uint32_t need : impl_.graph.needs[i])
        affected = affected || pending[need] != 0;
      if (!affected || outcome_[i] == Seen::off) continue;
      pending[i] = 1;
      for (const std::uint32_t need : impl_.graph.needs[i]) {
        if (pending[need] == 0) continue;
        ++open[i];
        dependents[need].push_back(i);
      }
    }
    for (const std::uint32_t i : impl_.graph.order) {
      if (pending[i] != 0 && open[i] == 0) ready_.push_back(i);
    }
    left_ = static_cast<std::size_t>(std::count(pending.begin(), pending.end(), 1));
    const unsigned helpers =
        work.size() > 1
            ? std::min<unsigned>(impl_.options.workers, static_cast<unsigned>(work.size())) - 1
            : 0;
    const auto loop = [&] { worker(open, dependents); };
    std::vector<std::jthread> threads;
    for (unsigned n = 0; n < helpers; ++n) threads.emplace_back(loop);
    loop();
  }

  void worker(std::vector<std::uint32_t>& open,
              const std::vector<std::vector<std::uint32_t>>& dependents) {
    std::vector<std::uint32_t> batch;
    Reports reports;
    std::unique_lock lock(mutex_);
    while (left_ > 0) {
      if (next_ == ready_.size()) {
        changed_.wait(lock);
        continue;
      }
      // Several at once, since looking at one file takes no longer than waking another thread; few
      // when few are left, so that all threads share what is slow.
      const std::size_t share =
          (ready_.size() - next_) / (2 * std::max<std::size_t>(impl_.options.workers, 1));
      const std::size_t count = std::clamp<std::size_t>(share, 1, kLargestBatch);
      const auto first = ready_.begin() + static_cast<std::ptrdiff_t>(next_);
      batch.assign(first, first + static_cast<std::ptrdiff_t>(count));
      next_ += count;
      lock.unlock();
      for (const std::uint32_t i : batch) evaluate(i, reports);
      lock.lock();
      left_ -= count;
      bool more = left_ == 0;
      for (const std::uint32_t i : batch) {
        for (const std::uint32_t dependent : dependents[i]) {
          if (--open[dependent] == 0) ready_.push_back(dependent);
        }
        more = more || !dependents[i].empty();
      }
      if (more) changed_.notify_all();
    }
    reports_.merge(reports);
  }

  // Outcomes need no lock: each is written by the one thread that evaluates it, before its
  // dependents are made ready under the lock.
  void evaluate(std::uint32_t i, Reports& reports) {
    const Resource& resource = *impl_.resources[i];
    bool disturbed = false;
    std::string blocker;
    for (const std::uint32_t need : impl_.graph.needs[i]) {
      if (outcome_[need] == Seen::repaired) disturbed = true;
      if (outcome_[need] == Seen::blocked && blocker.empty())
        blocker = impl_.resources[need]->name();
    }
    const bool already_right = outcome_[i] == Seen::kept || outcome_[i] == Seen::untouched;
    if (already_right && blocker.empty() &&
        (!disturbed || (!resource.is_daemon() && impl_.known_good(i) && !context_.dry_run())))
      return;
    const auto begun = Steady::now();
    ResourceReport item;
    item.name = resource.name();
    item.type = resource.type();
    if (blocker.empty()) {
      converge(i, resource, item);
    } else {
      item.outcome = Outcome::skipped;
      item.blocks = true;
      item.reason = fmt::format("it comes after '{}', which is not as it should be", blocker);
    }
    item.elapsed = std::chrono::duration_cast<Duration>(Steady::now() - begun);
    if (resource.common().sensitive) hide(item);
    outcome_[i] = item.blocks                         ? Seen::blocked
                  : item.outcome == Outcome::repaired ? Seen::repaired
                                                      : Seen::kept;
    if (item.outcome != Outcome::kept) reports.emplace(i, std::move(item));
  }

  static void hide(ResourceReport& item) {
    for (Change& change : item.changes) {
      change.diff.clear();
      if (change.what == "content" || change.what == "command" || change.what == "symlink")
        change.before = change.after = "(sensitive)";
    }
  }

  static void fail_with(ResourceReport& item, const Error& error) {
    item.outcome = Outcome::failed;
    item.blocks = true;
    item.reason = error.message();
    for (const std::string& while_doing : error.contexts())
      item.reason += " (while " + while_doing + ")";
    item.hint = error.hint_text();
  }

  void converge(std::uint32_t i, const Resource& resource, ResourceReport& item) {
    if (resource.is_daemon()) set_configuration(i);
    auto verdict = resource.examine(context_);
    if (!verdict) return fail_with(item, verdict.error());
    item.reason = verdict->reason;
    item.changes = verdict->changes;
    if (verdict->state == Verdict::State::waiting) {
      item.outcome = Outcome::skipped;
      item.blocks = true;
      return;
    }
    if (verdict->state == Verdict::State::right) {
      if (!context_.dry_run()) {
        if (!impl_.recorded[i]) impl_.recorded[i] = record(resource) ? 1 : 0;
        impl_.remember(i, std::move(verdict->evidence));
      }
      return;
    }
    item.cause = impl_.ledger->applied(resource) ? Cause::corrective : Cause::intended;
    const Enforcement mode = std::max(resource.common().enforcement, impl_.options.enforcement);
    if (mode != Enforcement::enforce) {
      item.outcome = Outcome::skipped;
      item.reason =
          fmt::format("it differs; {} only reports", mode == Enforcement::warn ? "warn" : "audit");
      return;
    }
    repair(i, resource, *verdict, item);
  }

  void repair(std::uint32_t i, const Resource& resource, const Verdict& verdict,
              ResourceReport& item) {
    if (!context_.dry_run() && item.cause == Cause::corrective && backs_off(resource, item)) return;
    if (!context_.dry_run() && impl_.ledger->lacks_before(resource)) {
      if (Status status = record_before(resource); !status) return fail_with(item, status.error());
    }
    if (!context_.dry_run()) impl_.evidence[i].clear();
    auto applied = resource.apply(context_, verdict);
    if (!applied) return fail_with(item, applied.error());
    item.outcome = applied->changed ? Outcome::repaired : Outcome::kept;
    item.notes = std::move(applied->notes);
    item.commands = std::move(applied->commands);
    item.backup = applied->backup;
    if (context_.dry_run()) return;
    static_cast<void>(record(resource));
    if (item.cause != Cause::corrective || !applied->changed) return;
    const std::lock_guard lock(impl_.flapping_mutex);
    Flapping& state = impl_.flapping[resource.name()];
    state.repaired(impl_.now());
    item.flapping = state.flaps();
  }

  // Without a record it is as wished all the same; the next pass records it.
  bool record(const Resource& resource) {
    const Status status = impl_.ledger->done(resource, claim_of(resource));
    if (status) return true;
    const std::lock_guard lock(impl_.flapping_mutex);
    unrecorded_ = status.error().message();
    return false;
  }

  bool backs_off(const Resource& resource, ResourceReport& item) {
    const std::lock_guard lock(impl_.flapping_mutex);
    const auto it = impl_.flapping.find(resource.name());
    if (it == impl_.flapping.end() || !it->second.backing_off(impl_.now())) return false;
    item.outcome = Outcome::failed;
    item.flapping = true;
    item.blocks = true;
    item.reason =
        fmt::format("flapping: something else keeps undoing this repair; the next try is at {}",
                    format_instant(it->second.until()));
    item.hint = "find the other program that changes it, or set enforcement: warn";
    return true;
  }

  Status record_before(const Resource& resource) {
    Json before = TRY(resource.capture(context_));
    if (before.is_null()) return {};
    return impl_.ledger->intend(resource, claim_of(resource), std::move(before));
  }

  // What a daemon runs with is a digest over the wishes of all that it comes after: no event that
  // could get lost.
  void set_configuration(std::uint32_t i) {
    Hasher hasher;
    for (const std::uint32_t need : impl_.graph.needs[i]) {
      const Resource& provider = *impl_.resources[need];
      if (impl_.guarded_off[need] || provider.common().on_change == OnChange::ignore) continue;
      const auto digest = provider.configuration();
      if (digest && *digest) hasher.update(provider.name() + "=" + (*digest)->hex() + "\n");
    }
    impl_.resources[i]->set_configuration(hasher.finish());
  }

  void finish() {
    for (const std::uint32_t i : impl_.graph.order) {
      if (outcome_[i] == Seen::untouched) continue;
      const auto it = reports_.find(i);
      if (it == reports_.end()) {
        const bool off = outcome_[i] == Seen::off;
        ++(off ? report_.skipped : report_.kept);
        if (!options_.list_kept) continue;
        ResourceReport item;
        item.name = impl_.resources[i]->name();
        item.type = impl_.resources[i]->type();
        if (off) item.outcome = Outcome::skipped;
        if (off)
          item.reason = fmt::format("its guard does not hold here: {}",
                                    impl_.resources[i]->common().when->text());
        report_.resources.push_back(std::move(item));
        continue;
      }
      switch (it->second.outcome) {
        case Outcome::kept:
          ++report_.kept;
          break;
        case Outcome::repaired:
          ++report_.repaired;
          break;
        case Outcome::failed:
          ++report_.failed;
          break;
        case Outcome::skipped:
          ++report_.skipped;
          break;
      }
      report_.resources.push_back(std::move(it->second));
    }
    if (context_.dry_run()) return;
    if (Status status = impl_.ledger->flush(); !status) unrecorded_ = status.error().message();
    if (!unrecorded_.empty())
      report_.warnings.push_back("what was done could not be recorded: " + unrecorded_);
  }

  Impl& impl_;
  const PassOptions& options_;
  Context context_;
  std::vector<Seen> outcome_;
  std::string unrecorded_;  // why the ledger lags behind; guarded by the flapping mutex
  Reports reports_;         // guarded by the mutex while threads work
  PassReport report_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::uint32_t> ready_;
  std::size_t next_ = 0;
  std::size_t left_ = 0;
};

}  // namespace

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
