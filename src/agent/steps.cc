#include "agent/steps.h"

#include <fmt/format.h>
#include <sys/statvfs.h>

#include <algorithm>
#include <set>
#include <thread>

#include "agent/history.h"
#include "agent/readiness.h"
#include "agent/resources/artifact.h"
#include "agent/supervisors/process_facts.h"
#include "base/text.h"
#include "objects/tree.h"

namespace consort::agent {
namespace {

using transition::Owner;
using transition::Step;
using transition::StepResult;
using transition::StepStatus;

constexpr std::uint64_t kSpareBytes = 16U << 20U;
constexpr Duration kCalm(500);  // a daemon that lives so long has begun to work

StepResult failed(const Error& error) {
  StepResult out;
  out.status = StepStatus::failed;
  out.message = error.message();
  for (const std::string& context : error.contexts()) out.message += " (while " + context + ")";
  if (!error.hint_text().empty()) out.message += "; hint: " + error.hint_text();
  return out;
}

std::uint64_t size_of_folder(const fs::path& folder) {
  std::uint64_t out = 0;
  std::error_code ec;
  for (fs::recursive_directory_iterator
           it(folder, fs::directory_options::skip_permission_denied, ec),
       end;
       !ec && it != end; it.increment(ec)) {
    std::error_code ignored;
    if (it->is_regular_file(ignored) && !it->is_symlink(ignored)) out += it->file_size(ignored);
  }
  return out;
}

bool holds_nothing(const fs::path& folder) {
  std::error_code ec;
  return !fs::exists(folder, ec) || fs::is_empty(folder, ec);
}

bool walks_back(Step step) { return step >= Step::stop_new; }

bool switches(Step step) { return step == Step::switch_over || step == Step::remove; }

// By what a transition's way back is known, from its first change of a resource on; "": it has
// none. A transition that mends another one goes back where that one came from.
std::string way_back_of(const transition::Transition& t) {
  if (t.duty) return "";
  const auto it = std::find_if(t.forward.begin(), t.forward.end(),
                               [](const auto& record) { return switches(record.step); });
  return it == t.forward.end() ? "" : it->token;
}

// By a version that says so: not where a snapshot relies on the fence, or where it was said
// already.
bool can_be_passed_over(const transition::Transition& t) {
  return !t.drain_may_fail && t.to && t.to->mode != plan::Mode::drained &&
         std::none_of(t.forward.begin(), t.forward.end(), [](const transition::StepRecord& record) {
           return record.step == Step::backup_running;
         });
}

}  // namespace

Steps::Steps(Workshop& workshop, std::string service, Keeper& keeper)
    : shop_(workshop),
      service_(std::move(service)),
      keeper_(keeper),
      files_(workshop.host, service_) {}

StepResult Steps::perform(const PerformStep& work) {
  auto result = dispatch(work);
  keeper_.close_way_back();
  return result ? std::move(*result) : failed(result.error());
}

Status Steps::load_versions(const PerformStep& work) {
  const transition::Transition& t = work.transition;
  const auto load = [&](const Digest& digest) -> Result<Version> {
    return Version{digest, TRY(plan::get_manifest(shop_.store, digest))};
  };
  const auto load_state = [&](const plan::InstanceState& state) -> Result<Version> {
    Version out = TRY(load(state.manifest));
    out.host = state.host;
    return out;
  };
  if (t.duty) {
    if (!t.duty->from.is_none()) old_ = TRY(load(t.duty->from));
    if (!t.duty->to.is_none()) new_ = TRY(load(t.duty->to));
    duty_owner_ = TRY(load(t.duty->owner));
    return {};
  }
  if (t.from) old_ = TRY(load_state(*t.from));
  if (t.to) new_ = TRY(load_state(*t.to));
  return {};
}

const Version* Steps::owner_of(const PerformStep& work) const {
  if (duty_owner_) return &*duty_owner_;
  const std::optional<Version>& version = work.order.owner == Owner::old_manifest ? old_ : new_;
  return work.order.owner == Owner::none || !version ? nullptr : &*version;
}

std::string Steps::direction_of(const PerformStep& work) const {
  if (work.transition.duty) return work.transition.duty->direction;
  return work.transition.downwards != walks_back(work.order.step) ? "down" : "up";
}

Result<StepResult> Steps::dispatch(const PerformStep& work) {
  if (work.order.step == Step::fetch) {
    // What arrives must not take the room that the journal needs.
    if (work.transition.to) TRYV(check_free(kSpareBytes));
    TRYV(fetch(work.transition));
    return StepResult{};
  }
  TRYV(load_versions(work));
  const auto done = [](const Status& status) -> Result<StepResult> {
    if (!status) return tl::unexpected<Error>(status.error());
    return StepResult{};
  };
  const Version* before = old_ ? &*old_ : nullptr;
  const Version* after = new_ ? &*new_ : nullptr;
  if (switches(work.order.step)) {
    TRYV(keeper_.begin_way_back(way_back_of(work.transition)));
  } else if (work.order.step < Step::commit) {
    TRYV(keeper_.open_way_back(way_back_of(work.transition)));
  }
  switch (work.order.step) {
    case Step::preflight:
      return done(preflight(work.transition));
    case Step::stop:
    case Step::stop_new:
      return stop(work);
    case Step::backup_running:
    case Step::backup:
      return backup(work);
    case Step::restore:
      return restore(work);
    case Step::switch_over:
      // Only before the first try: after a crash in the middle of it the way may be cut already.
      if (!work.order.again) TRYV(remember_reachable());
      return done(switch_to(after, before));
    case Step::switch_back:
      return switch_back(work);
    case Step::setup:
      return setup(work);
    case Step::start:
    case Step::start_old:
      return start(work);
    case Step::validate:
    case Step::validate_old:
      return validate(work);
    case Step::confirm:
      return confirm();
    case Step::commit:
      return done(commit(work.transition));
    case Step::remove:
      return done(remove());
    default:
      return hook(work);
  }
}

Result<StepResult> Steps::hook(const PerformStep& work, const fs::path& snapshot) {
  HookRun run;
  run.name = work.order.hook;
  run.direction = direction_of(work);
  run.token = work.order.token;
  run.owner = owner_of(work);
  run.old_version = old_ ? &*old_ : nullptr;
  run.new_version = new_ ? &*new_ : nullptr;
  run.snapshot = snapshot;
  StepResult result = run_hook(shop_, service_, run);
  // What is wrong with it cannot be put right by the version that comes.
  if (result.status != StepStatus::ok && work.order.owner == Owner::old_manifest && new_)
    result.message += fmt::format(
        " (a hook of the version that is here, not of the one that comes){}",
        work.order.step == Step::drain && can_be_passed_over(work.transition)
            ? "; hint: to leave it all the same, deploy a version whose drain hook says "
              "onFailure: 'continue'"
            : "");
  return result;
}

// --- before the change
// ------------------------------------------------------------------------------------

Status Steps::fetch(const transition::Transition& t) {
  std::vector<Digest> wanted;
  if (t.to) wanted.push_back(t.to->manifest);
  if (t.duty) {
    for (const Digest& digest : {t.duty->owner, t.duty->from, t.duty->to}) {
      if (!digest.is_none()) wanted.push_back(digest);
    }
  }
  for (const Digest& digest : wanted) {
    TRYV(shop_.fetcher->closure(digest, shop_.fetch_patience));
    Version version{digest, TRY(plan::get_manifest(shop_.store, digest))};
    if (t.to && t.to->manifest == digest) version.host = t.to->host;
    TRYV(fetch_secrets(version));
    TRYV(files_.unpack(shop_.store, version));
    TRYV(mend_artifacts(t, version));
  }
  return {};
}

// What an earlier version has left unpacked may have been changed since: nobody kept it. What the
// version that is here has in common with this one is kept with its resources.
Status Steps::mend_artifacts(const transition::Transition& t, const Version& version) {
  std::set<Digest> kept;
  for (const Digest& here : {t.from ? t.from->manifest : Digest(), t.duty ? t.duty->from : Digest(),
                             t.duty ? t.duty->to : Digest()}) {
    if (here.is_none()) continue;
    const plan::Manifest manifest = TRY(plan::get_manifest(shop_.store, here));
    for (const auto& [name, artifact] : manifest.artifacts) kept.insert(artifact.digest);
  }
  // Where its resources are no good, the preflight tells.
  const auto others = keeper_.interests_of(version);
  if (!others) return {};
  for (const auto& [name, artifact] : version.manifest.artifacts) {
    if (kept.contains(artifact.digest)) continue;
    const std::string place =
        TRY(normal_path(files_.artifact(artifact.digest).string(), shop_.host.root));
    const bool mended = TRY(files_.mend(shop_.store, artifact, [&](const std::string& inside) {
      return belongs_to_others(others->claimed, others->owned, place, inside);
    }));
    if (!mended) continue;
    shop_.note(make_event(SystemClock().now(), "repaired", service_, "artifact:" + name,
                          "what was unpacked earlier was no longer as deployed"));
  }
  return {};
}

// Before anything is changed: what cannot be opened here is found out now.
Status Steps::fetch_secrets(const Version& version) {
  for (const auto& [name, number] : version.manifest.secrets) {
    if (!shop_.secrets) return fail(ErrorCode::unsupported, "this agent keeps no secrets");
    Status status = shop_.secrets->fetch({name, number, service_});
    if (!status) {
      status.error().add_context(fmt::format("fetching the secret '{}'", name));
      return status;
    }
  }
  return {};
}

Status Steps::preflight(const transition::Transition& t) {
  if (!new_) return {};
  for (const Digest& digest : TRY(plan::manifest_closure(shop_.store, new_->digest))) {
    Status status = shop_.store.verify(digest);
    // A damaged object is forgotten, so that the next attempt fetches it anew.
    if (!status && status.error().code() == ErrorCode::corrupt)
      static_cast<void>(shop_.store.discard(digest).has_value());
    if (!status) return status;
  }
  TRYV(check_data(t));
  TRYV(check_space(t));
  if (Status status = keeper_.check(*new_); !status) {
    status.error().add_context(fmt::format("checking the resources of {}", service_));
    return status;
  }
  return remember_reachable();
}

Status Steps::check_data(const transition::Transition& t) {
  if (t.from || holds_nothing(files_.data())) return {};
  const Kept kept = TRY(shop_.kept.load(service_));
  const std::int64_t wanted = new_->manifest.data_version;
  if (!kept.data_version || *kept.data_version == wanted) return {};
  return fail(ErrorCode::conflict, fmt::format("{} holds data of version {} from an earlier "
                                               "installation, and this manifest has dataVersion {}",
                                               files_.data().string(), *kept.data_version, wanted))
      .hint(fmt::format("deploy the release with dataVersion {} first and upgrade from it, or move "
                        "the folder away",
                        *kept.data_version));
}

Status Steps::check_space(const transition::Transition& t) {
  std::uint64_t needed = kSpareBytes + TRY(files_.unpacked_size(shop_.store, new_->manifest));
  // Twice: the hook's copy, and the objects made of it.
  if (t.data_changes && old_ && old_->manifest.hook("backup") != nullptr)
    needed += 2 * size_of_folder(files_.data());
  return check_free(needed);
}

Status Steps::check_free(std::uint64_t needed) const {
  struct statvfs info {};
  if (::statvfs(shop_.host.data.c_str(), &info) != 0)
    return fail_errno(errno,
                      fmt::format("cannot look at the disk of {}", shop_.host.data.string()));
  const std::uint64_t free_bytes = static_cast<std::uint64_t>(info.f_bavail) * info.f_frsize;
  if (free_bytes >= needed) return {};
  return fail(ErrorCode::io,
              fmt::format("{} needs {} MiB on the disk of {}, where {} MiB are free", service_,
                          needed >> 20U, shop_.host.data.string(), free_bytes >> 20U))
      .hint("make room on the host and deploy again");
}

// The guard against locking oneself out is armed only when the way to the controller was open
// before.
Status Steps::remember_reachable() {
  Kept kept = TRY(shop_.kept.load(service_));
  const bool reachable = shop_.fetcher->reachable();
  if (kept.reachable == reachable) return {};
  kept.reachable = reachable;
  return shop_.kept.save(service_, kept);
}

// --- data
// ---------------------------------------------------------------------------------------------------

Result<StepResult> Steps::backup(const PerformStep& work) {
  const fs::path folder = files_.folder() / "snapshot";
  TRYV(remove_tree(folder));
  TRYV(make_folders(folder, 0700));
  StepResult result = TRY(hook(work, folder));
  if (result.status == StepStatus::ok) {
    const Digest tree = TRY(objects::put_folder(shop_.store, folder));
    Kept kept = TRY(shop_.kept.load(service_));
    kept.add({tree, old_->digest, format_instant(SystemClock().now())});
    TRYV(shop_.kept.save(service_, kept));
    result.snapshot = tree.str();
  }
  TRYV(remove_tree(folder));
  return result;
}

Result<StepResult> Steps::restore(const PerformStep& work) {
  const fs::path folder = files_.folder() / "restore";
  TRYV(remove_tree(folder));
  TRYV(
      objects::materialise_tree(shop_.store, TRY(Digest::parse(work.transition.snapshot)), folder));
  StepResult result = TRY(hook(work, folder));
  TRYV(remove_tree(folder));
  return result;
}

Result<StepResult> Steps::setup(const PerformStep& work) {
  StepResult result = TRY(hook(work));
  if (result.status != StepStatus::ok) return result;
  Kept kept = TRY(shop_.kept.load(service_));
  kept.data_version = new_->manifest.data_version;
  TRYV(shop_.kept.save(service_, kept));
  return result;
}

// --- processes
// ------------------------------------------------------------------------------------------------

Result<StepResult> Steps::stop(const PerformStep& work) {
  const Version* owner = owner_of(work);
  StepResult result = TRY(hook(work));
  if (result.status != StepStatus::ok || owner == nullptr || !owner->manifest.daemon) return result;
  const auto limit = parse_duration(owner->manifest.daemon->string_or("stopTimeout", "30s"));
  TRYV(shop_.supervisor->stop(service_, limit.value_or(seconds(30)) + seconds(5)));
  return result;
}

Result<StepResult> Steps::start(const PerformStep& work) {
  const Version& owner = *owner_of(work);
  TRYV(files_.unpack(shop_.store, owner));
  TRYV(keeper_.hand_over(owner));
  TRYV(keeper_.set(owner, DaemonPart::with));
  if (keeper_.daemon()) {
    PassOptions only;
    only.only = {service_};
    only.ordered = true;
    const std::string trouble = first_trouble(keeper_, keeper_.pass(only));
    Status ready = trouble.empty() ? wait_until_ready(*shop_.supervisor, *keeper_.daemon())
                                   : Status(fail(ErrorCode::unavailable, trouble));
    if (!ready) {
      StepResult out = failed(ready.error());
      out.tail = shop_.supervisor->log_tail(service_, 20);
      return out;
    }
  }
  StepResult result = TRY(hook(work));
  if (result.status == StepStatus::ok && owner.manifest.hook("start") != nullptr) {
    Kept kept = TRY(shop_.kept.load(service_));
    kept.started_in_boot = boot_id();
    TRYV(shop_.kept.save(service_, kept));
  }
  return result;
}

Status Steps::start_after_boot(const Version& version) {
  if (version.manifest.hook("start") == nullptr) return {};
  Kept kept = TRY(shop_.kept.load(service_));
  if (kept.started_in_boot == boot_id()) return {};
  HookRun run;
  run.name = "start";
  run.token = fmt::format("boot/{}/{}/start", boot_id(), service_);
  run.owner = run.new_version = &version;
  const StepResult result = run_hook(shop_, service_, run);
  if (result.status != StepStatus::ok)
    return fail(ErrorCode::unavailable, fmt::format("after the boot: {}", result.message));
  kept.started_in_boot = boot_id();
  return shop_.kept.save(service_, kept);
}

Status Steps::watch_daemon() {
  if (!keeper_.daemon()) return {};
  const DaemonSpec& spec = *keeper_.daemon();
  DaemonStatus status = TRY(shop_.supervisor->status(service_));
  // Without a readiness check only time tells a daemon that works from one that is about to give
  // up.
  if (spec.readiness.type == ReadinessSpec::Type::none) {
    const Duration age = SystemClock().now() - status.since;
    if (age < kCalm && age >= Duration(0)) std::this_thread::sleep_for(kCalm - age);
    status = TRY(shop_.supervisor->status(service_));
  }
  if (status.restarts > 0)
    return fail(
        ErrorCode::unavailable,
        fmt::format("its daemon has ended and was started again {}",
                    status.restarts == 1 ? "once" : fmt::format("{} times", status.restarts)));
  if (!status.running && !has_done_its_work(spec, status))
    return fail(ErrorCode::unavailable,
                fmt::format("its daemon does not run{}",
                            status.exit_status
                                ? fmt::format(": it ended with status {}", *status.exit_status)
                                : ""));
  return wait_until_ready(*shop_.supervisor, spec);
}

Result<StepResult> Steps::validate(const PerformStep& work) {
  const Version& owner = *owner_of(work);
  TRYV(keeper_.set(owner, DaemonPart::with));
  Status sound = watch_daemon();
  if (sound) {
    const std::string trouble = first_trouble(keeper_, keeper_.pass());
    if (!trouble.empty()) sound = fail(ErrorCode::unavailable, trouble);
  }
  if (!sound) {
    StepResult out = failed(sound.error());
    if (keeper_.daemon()) out.tail = shop_.supervisor->log_tail(service_, 20);
    return out;
  }
  return hook(work);
}

// --- files
// ----------------------------------------------------------------------------------------------------

Status Steps::switch_to(const Version* version, const Version* from) {
  if (version == nullptr) {
    // There was nothing before.
    if (from != nullptr && from->manifest.daemon) TRYV(shop_.supervisor->remove(service_));
    TRYV(keeper_.clear());
    return keeper_.release_leftovers();
  }
  TRYV(files_.unpack(shop_.store, *version));
  TRYV(keeper_.set(*version, DaemonPart::without));
  PassOptions asked;
  asked.ordered = true;
  const PassReport report = keeper_.pass(asked);
  for (Json& event : events_of(keeper_, service_, report, SystemClock().now()))
    shop_.note(std::move(event));
  const std::string trouble = first_trouble(keeper_, report);
  if (!trouble.empty()) return fail(ErrorCode::unavailable, trouble);
  TRYV(keeper_.hand_over(*version));
  if (from != nullptr && from->manifest.daemon && !version->manifest.daemon)
    TRYV(shop_.supervisor->remove(service_));
  return keeper_.release_leftovers();
}

// First as it was, whoever decides on it; then the old version looks after what is its own.
Result<StepResult> Steps::switch_back(const PerformStep& work) {
  const Keeper::Lost lost = TRY(keeper_.go_back(way_back_of(work.transition)));
  TRYV(switch_to(old_ ? &*old_ : nullptr, new_ ? &*new_ : nullptr));
  const std::vector<std::string> still = TRY(keeper_.still_lost(lost));
  StepResult result;
  if (!still.empty())
    result.message = fmt::format("not all that was changed could be brought back: {}",
                                 presentable(join(still, ", "), 2048));
  return result;
}

Status Steps::remove() {
  // The base service of a class has no name for a daemon, and none.
  if (is_name(service_)) TRYV(shop_.supervisor->remove(service_));
  TRYV(keeper_.clear());
  TRYV(keeper_.release_leftovers());
  for (const char* name : {"versions", "artifacts", "hooks", "run", "scratch"})
    TRYV(remove_tree(files_.folder() / name));
  return {};
}

// --- the end
// --------------------------------------------------------------------------------------------------

StepResult Steps::confirm() {
  const auto kept = shop_.kept.load(service_);
  const auto end = std::chrono::steady_clock::now() + shop_.confirm_time;
  StepResult result;
  while (!shop_.fetcher->reachable()) {
    if (kept && !kept->reachable) {
      result.unconfirmed = true;
      return result;
    }
    if (std::chrono::steady_clock::now() > end) {
      result.status = StepStatus::failed;
      result.message = fmt::format(
          "the controller was reachable before the change and is not after it, for {}: the change "
          "may lock this host out (self-lockout)",
          human_duration(shop_.confirm_time));
      return result;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
  }
  return result;
}

Status Steps::commit(const transition::Transition& t) {
  Kept kept = TRY(shop_.kept.load(service_));
  if (new_ && !holds_nothing(files_.data())) kept.data_version = new_->manifest.data_version;
  if (t.from && (!t.to || t.from->manifest != t.to->manifest)) kept.previous = t.from->manifest;
  TRYV(shop_.kept.save(service_, kept));
  return keeper_.forget_way_back();
}

}  // namespace consort::agent
