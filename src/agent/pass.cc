// One pass over the graph of a converger: outcomes of resources with work are found by a few
// threads, in dependency order.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <utility>

#include "agent/converger_state.h"

namespace consort::agent {
namespace {

class Pass {
 public:
  Pass(ConvergerState& state, const PassOptions& options, OverlayFiles* overlay, Accounts* imagined)
      : state_(state),
        options_(options),
        context_(state.context(overlay, imagined)),
        outcome_(state.resources.size(), Seen::unknown) {}

  PassReport run() {
    const auto begun = std::chrono::steady_clock::now();
    report_.dry_run = context_.dry_run();
    report_.full_audit = options_.audit == Audit::full;
    std::vector<std::uint32_t> work = find_work();
    if (!work.empty()) do_work(work);
    finish();
    report_.elapsed =
        std::chrono::duration_cast<Duration>(std::chrono::steady_clock::now() - begun);
    return std::move(report_);
  }

 private:
  enum class Seen : std::uint8_t { unknown, untouched, kept, repaired, off, blocked };
  using Reports = std::map<std::uint32_t, ResourceReport>;
  static constexpr std::size_t kLargestBatch = 64;
  static constexpr std::size_t kMostRemembered = 64;  // repairs; beyond it the calm ones go

  // Marks what is known to be right; returns what must be examined, in order.
  std::vector<std::uint32_t> find_work() {
    std::vector<std::uint32_t> work;
    const bool full = options_.audit == Audit::full || context_.dry_run();
    for (const std::uint32_t i : state_.graph.order) {
      if (state_.guarded_off[i]) {
        outcome_[i] = Seen::off;
        continue;
      }
      const bool chosen =
          options_.only.empty() || options_.only.contains(state_.resources[i]->name());
      if (!chosen || (!full && state_.known_good(i))) {
        outcome_[i] = chosen ? Seen::kept : Seen::untouched;
      } else {
        work.push_back(i);
      }
    }
    return work;
  }

  void do_work(const std::vector<std::uint32_t>& work) {
    // A repair may undo what was found right below it, so its dependents are looked at again.
    std::vector<char> pending(state_.resources.size(), 0);
    for (const std::uint32_t i : work) pending[i] = 1;
    std::vector<std::uint32_t> open(state_.resources.size(), 0);
    std::vector<std::vector<std::uint32_t>> dependents(state_.resources.size());
    for (const std::uint32_t i : state_.graph.order) {
      bool affected = pending[i] != 0;
      for (const std::uint32_t need : state_.graph.needs[i])
        affected = affected || pending[need] != 0;
      if (!affected || outcome_[i] == Seen::off) continue;
      pending[i] = 1;
      for (const std::uint32_t need : state_.graph.needs[i]) {
        if (pending[need] == 0) continue;
        ++open[i];
        dependents[need].push_back(i);
      }
    }
    for (const std::uint32_t i : state_.graph.order) {
      if (pending[i] != 0 && open[i] == 0) ready_.push_back(i);
    }
    left_ = static_cast<std::size_t>(std::count(pending.begin(), pending.end(), 1));
    const unsigned helpers =
        work.size() > 1
            ? std::min<unsigned>(state_.options.workers, static_cast<unsigned>(work.size())) - 1
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
          (ready_.size() - next_) / (2 * std::max<std::size_t>(state_.options.workers, 1));
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
    const Resource& resource = *state_.resources[i];
    bool disturbed = false;
    std::string blocker;
    for (const std::uint32_t need : state_.graph.needs[i]) {
      if (outcome_[need] == Seen::repaired) disturbed = true;
      if (outcome_[need] == Seen::blocked && blocker.empty())
        blocker = state_.resources[need]->name();
    }
    const bool already_right = outcome_[i] == Seen::kept || outcome_[i] == Seen::untouched;
    if (already_right && blocker.empty() &&
        (!disturbed || (!resource.is_daemon() && state_.known_good(i) && !context_.dry_run())))
      return;
    const auto begun = std::chrono::steady_clock::now();
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
    item.elapsed = std::chrono::duration_cast<Duration>(std::chrono::steady_clock::now() - begun);
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
        if (!state_.recorded[i]) state_.recorded[i] = record(resource) ? 1 : 0;
        state_.remember(i, std::move(verdict->evidence));
      }
      return;
    }
    item.cause = state_.ledger->applied(resource) ? Cause::corrective : Cause::intended;
    if (!state_.enforces(resource)) {
      const Enforcement mode = state_.enforcement_of(resource);
      item.outcome = Outcome::skipped;
      item.reason =
          fmt::format("it differs; {} only reports", mode == Enforcement::warn ? "warn" : "audit");
      return;
    }
    repair(i, resource, *verdict, item);
  }

  void repair(std::uint32_t i, const Resource& resource, const Verdict& verdict,
              ResourceReport& item) {
    const bool unasked = item.cause == Cause::corrective && !options_.ordered;
    if (!context_.dry_run() && unasked && backs_off(resource, item)) return;
    if (!context_.dry_run() && state_.ledger->lacks_before(resource)) {
      if (Status status = record_before(resource); !status) return fail_with(item, status.error());
    }
    // The set's own daemon has steps of its own in a transition.
    if (context_.originals != nullptr && !context_.dry_run() && resource.is_daemon() &&
        resource.name() != state_.options.name) {
      if (Status status = context_.originals->keep_daemon(context_, resource.name()); !status)
        return fail_with(item, status.error());
    }
    if (!context_.dry_run()) state_.seen[i] = {};
    auto applied = resource.apply(context_, verdict);
    if (!applied) return fail_with(item, applied.error());
    item.outcome = applied->changed ? Outcome::repaired : Outcome::kept;
    item.notes = std::move(applied->notes);
    item.commands = std::move(applied->commands);
    item.backup = applied->backup;
    if (context_.dry_run()) return;
    static_cast<void>(record(resource));
    if (!unasked || !applied->changed) return;
    const std::lock_guard lock(state_.flapping_mutex);
    const Instant now = state_.now();
    // Not each time: what was repaired just now is not calm for long.
    if (state_.flapping.size() >= std::max(kMostRemembered, 2 * state_.flapping_swept)) {
      std::erase_if(state_.flapping, [&](const auto& each) { return each.second.is_calm(now); });
      state_.flapping_swept = state_.flapping.size();
    }
    Flapping& state = state_.flapping[resource.name()];
    state.repaired(now);
    item.flapping = state.flaps();
  }

  // Without a record it is as wished all the same; the next pass records it.
  bool record(const Resource& resource) {
    const Status status = state_.ledger->done(resource, claim_of(resource));
    if (status) return true;
    const std::lock_guard lock(state_.flapping_mutex);
    unrecorded_ = status.error().message();
    return false;
  }

  bool backs_off(const Resource& resource, ResourceReport& item) {
    const std::lock_guard lock(state_.flapping_mutex);
    const auto it = state_.flapping.find(resource.name());
    if (it == state_.flapping.end() || !it->second.backing_off(state_.now())) return false;
    item.outcome = Outcome::failed;
    item.flapping = true;
    item.blocks = true;
    item.reason =
        fmt::format("flapping: something else keeps undoing this repair; the next try is at {}",
                    format_instant(it->second.until()));
    item.hint = resource.type() == "artifact"
                    ? "what a program writes belongs below ${service.data}, not into what it came "
                      "with; or let a resource decide on it"
                    : "find the other program that changes it, or set enforcement: warn";
    return true;
  }

  Status record_before(const Resource& resource) {
    Json before = TRY(resource.capture(context_));
    if (before.is_null()) return {};
    return state_.ledger->intend(resource, claim_of(resource), std::move(before));
  }

  // What a daemon runs with is a digest over the wishes of all that it comes after: no event that
  // could get lost.
  void set_configuration(std::uint32_t i) {
    Hasher hasher;
    for (const std::uint32_t need : state_.graph.needs[i]) {
      const Resource& provider = *state_.resources[need];
      if (state_.guarded_off[need] || provider.common().on_change == OnChange::ignore) continue;
      const auto digest = provider.configuration();
      if (digest && *digest) hasher.update(provider.name() + "=" + (*digest)->hex() + "\n");
    }
    state_.resources[i]->set_configuration(hasher.finish());
  }

  void finish() {
    for (const std::uint32_t i : state_.graph.order) {
      if (outcome_[i] == Seen::untouched) continue;
      const auto it = reports_.find(i);
      if (it == reports_.end()) {
        const bool off = outcome_[i] == Seen::off;
        ++(off ? report_.skipped : report_.kept);
        if (!options_.list_kept) continue;
        ResourceReport item;
        item.name = state_.resources[i]->name();
        item.type = state_.resources[i]->type();
        if (off) item.outcome = Outcome::skipped;
        if (off)
          item.reason = fmt::format("its guard does not hold here: {}",
                                    state_.resources[i]->common().when->text());
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
    if (Status status = state_.ledger->flush(); !status) unrecorded_ = status.error().message();
    if (!unrecorded_.empty())
      report_.warnings.push_back("what was done could not be recorded: " + unrecorded_);
  }

  ConvergerState& state_;
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

std::string claim_of(const Resource& resource) {
  const auto claims = resource.claims();
  return claims.empty() ? std::string() : claims.front();
}

PassReport run_pass(ConvergerState& state, const PassOptions& options, OverlayFiles* overlay,
                    Accounts* imagined) {
  return Pass(state, options, overlay, imagined).run();
}

}  // namespace consort::agent
