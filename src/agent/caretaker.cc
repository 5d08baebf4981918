#include "agent/caretaker.h"

#include <fmt/format.h>

#include <algorithm>
#include <future>

#include "agent/history.h"
#include "agent/steps.h"
#include "agent/supervisors/process_facts.h"
#include "base/log.h"
#include "base/text.h"

namespace consort::agent {
namespace {

constexpr unsigned kWorkers = 6;
constexpr unsigned kHealthWorkers = 3;
constexpr std::int64_t kObjectGrace = 3600;              // seconds
constexpr std::int64_t kBackupGrace = 30LL * 24 * 3600;  // seconds
constexpr Duration kLongestLoadPause = seconds(30);
constexpr std::size_t kToldLines = 20;  // of the last words of what failed
constexpr std::size_t kToldBytes = 8192;
constexpr Duration kRecordTick = seconds(2);

// The backups that the ledgers of all services need, and the ways back of these.
Result<std::set<Digest>> originals_in(const fs::path& state,
                                      const std::set<std::string>& changing) {
  std::set<Digest> out;
  for (const fs::path& service : TRY(list_folder(state / "converge")))
    out.merge(TRY(Ledger::backups_of(service / "ledger.jsonl")));
  for (const std::string& service : changing)
    out.merge(TRY(Originals::backups_of(state / "originals" / service)));
  return out;
}

// After "try again": 1 s, 2 s, 4 s.
Duration pause_before(const PerformStep& work) {
  const auto& list = work.transition.walking_back ? work.transition.back : work.transition.forward;
  for (const transition::StepRecord& record : list) {
    if (record.step == work.order.step && record.progress == transition::Progress::intent &&
        record.tries > 0)
      return seconds(1) * (1 << std::min(record.tries - 1, 5));
  }
  return Duration(0);
}

}  // namespace

Caretaker::Caretaker(Workshop& workshop, http::EventLoop& loop, Core core, Trust trust,
                     Duration health_interval, std::function<void(plan::HostReport)> tell)
    : shop_(workshop),
      loop_(loop),
      core_(std::move(core)),
      trust_(std::move(trust)),
      health_interval_(health_interval),
      tell_(std::move(tell)),
      reserve_(shop_.host.data / "reserve"),
      firewall_(shop_.firewall, shop_.host.root, boot_rules()),
      work_(kWorkers),
      health_(kHealthWorkers) {
  position_ = {core_.target().epoch, core_.target().seq};
}

Caretaker::~Caretaker() { close(Duration(0)); }

Status Caretaker::begin() {
  watch_ = TRY(Watch::create(
      [this](const Drift& drift) { loop_.post([this, drift] { on_drift(drift); }); }));
  for (const auto& [name, instance] : core_.instances()) {
    const ServicePtr s = service(name);
    if (!instance.transition) continue;
    s->busy = true;
    const transition::Decision decision = transition::decide(*instance.transition);
    // A hook of the killed agent may still run; it must not run beside its own second try.
    const ServiceFiles files(shop_.host, name);
    if (const auto* order = std::get_if<transition::StepOrder>(&decision))
      end_leftovers(files.data(), order->token);
    TRYV(remove_tree(files.folder() / "scratch"));
  }
  // Also services that are gone: what they have left may be still to be undone.
  for (const fs::path& folder : TRY(list_folder(shop_.host.data / "state/converge")))
    service(folder.filename().string());
  announce_claims();
  learn_offers();
  guard_at_start();
  take(core_.start());
  for (const auto& [name, s] : services_) {
    if (!s->busy) settle(s);
  }
  audit();
  for (const auto& [name, remedy] : core_.damaged()) {
    log_error("{}", remedy);
    shop_.note(make_event(SystemClock().now(), "damaged", name, "", remedy));
  }
  await_repair();
  return {};
}

// Until the operator has taken away the last damaged record.
void Caretaker::await_repair() {
  if (core_.damaged().empty() || closing_) return;
  const std::map<std::string, std::string> damaged = core_.damaged();
  for (const auto& [name, remedy] : damaged) {
    std::error_code ec;
    if (fs::exists(shop_.host.data / "state/instances" / (name + ".json"), ec) || ec) continue;
    shop_.note(make_event(SystemClock().now(), "damaged", name, "",
                          "its damaged record is gone: it is installed anew"));
    take(core_.on_record_removed(name, shop_.kept.holds_data(name)));
  }
  loop_.after(kRecordTick, [this] { await_repair(); });
}

// Before the first service looks after its files, a purge must know what all others keep. Reading
// all manifests twice is worth it only where something is purged.
void Caretaker::announce_claims() {
  std::map<std::string, std::vector<Version>> known;
  bool purges = false;
  for (const auto& [name, instance] : core_.instances()) {
    std::vector<plan::InstanceState> states;
    if (instance.applied) states.push_back(*instance.applied);
    for (const auto& journal : {instance.transition, instance.owed}) {
      if (journal && journal->from) states.push_back(*journal->from);
      if (journal && journal->to) states.push_back(*journal->to);
    }
    for (const plan::InstanceState& state : states) {
      auto manifest = plan::get_manifest(shop_.store, state.manifest);
      if (!manifest) continue;  // it is not here yet, so it keeps nothing
      for (const auto& [resource, spec] : manifest->resources)
        purges = purges || spec.bool_or("purge");
      known[name].push_back({state.manifest, std::move(*manifest), state.host});
    }
  }
  // Of a damaged service nobody knows better than its target.
  for (const auto& [name, remedy] : core_.damaged()) {
    const auto entry = core_.target().instances.find(name);
    if (entry == core_.target().instances.end() || !entry->second.wanted) continue;
    const plan::InstanceState& wanted = *entry->second.wanted;
    if (auto manifest = plan::get_manifest(shop_.store, wanted.manifest))
      known[name].push_back({wanted.manifest, std::move(*manifest), wanted.host});
  }
  if (!purges) return;
  for (const auto& [name, versions] : known) {
    const ServicePtr s = service(name);
    Status status = make_keeper(shop_, *s);
    if (status) status = s->keeper->announce(versions);
    if (!status) log_warn("what {} keeps is not known yet: {}", name, status.error().message());
  }
}

bool Caretaker::close(Duration grace) {
  const bool first = !closing_.exchange(true);
  if (first) {
    shop_.fetcher->cancel();
    health_.close(Duration(0));
  }
  static_cast<void>(work_.close(grace));
  shop_.hooks->end_all();
  const bool done = work_.close(seconds(2)) && health_.close(seconds(2));
  if (first) {
    // What ended in time is in the journal before the loop ends.
    auto recorded = std::make_shared<std::promise<void>>();
    auto all = recorded->get_future();
    loop_.post([recorded] { recorded->set_value(); });
    recorded.reset();
    all.wait_for(seconds(2));
  }
  const std::lock_guard lock(watch_mutex_);
  watch_.reset();
  firewall_watch_.reset();
  return done;
}

std::pair<std::uint64_t, std::uint64_t> Caretaker::position() const {
  const std::lock_guard lock(position_mutex_);
  return position_;
}

// --- what the core says
// -------------------------------------------------------------------------------------

Status Caretaker::on_target(const plan::Target& target) {
  TRYV(check_trust(target));
  take(TRY(core_.on_target(target)));
  if (deferred_.empty()) return {};
  return fail(ErrorCode::io,
              fmt::format("the target cannot be written below {}", shop_.host.data.string()))
      .hint("make room on this host's disk");
}

// A refusal is told once per target: the controller goes on offering it.
Status Caretaker::check_trust(const plan::Target& target) {
  auto status = trust_.check(shop_.host.name, core_, target);
  if (trust_.refusal().empty()) {
    if (std::exchange(distrusted_, std::nullopt)) tell();
    return status;
  }
  const auto offered = std::pair(target.epoch, target.seq);
  if (distrusted_ == offered) return status;
  distrusted_ = offered;
  shop_.note(make_event(SystemClock().now(), "untrusted", "", "", trust_.refusal()));
  tell();
  return status;
}

void Caretaker::on_connected() {
  load_pause_ = seconds(2);
  take(core_.retry());
  tell();
}

// Nothing is done, and nothing is told, before it is on the disk.
void Caretaker::take(Output output) {
  if (closing_) return;
  if (!deferred_.empty()) {
    deferred_.push_back(std::move(output));
    return;
  }
  Status status = write(output.writes);
  if (!status && reserve_.release()) status = write(output.writes);
  if (!status) {
    log_error("the agent's journal cannot be written; it tries again every second: {}",
              status.error().message());
    deferred_.push_back(std::move(output));
    loop_.after(seconds(1), [this] { retry_writes(); });
    return;
  }
  reserve_.hold();
  carry_out(std::move(output));
}

void Caretaker::retry_writes() {
  std::vector<Output> waiting = std::exchange(deferred_, {});
  for (Output& output : waiting) take(std::move(output));
}

Status Caretaker::write(const Writes& writes) const {
  for (const auto& [key, value] : writes) {
    const fs::path path = shop_.host.data / "state" / (key + ".json");
    if (value) {
      TRYV(write_file_atomic(path, *value + "\n", 0600));
    } else {
      TRYV(remove_tree(path));
    }
  }
  return {};
}

void Caretaker::carry_out(Output output) {
  {
    const std::lock_guard lock(position_mutex_);
    position_ = {core_.target().epoch, core_.target().seq};
  }
  note_transitions();
  // The rules of an earlier target may still be on their way: nothing overtakes them.
  if (guarding_ && !output.work.empty()) {
    if (std::exchange(output.report, false)) tell();
    behind_guard_.push_back(std::move(output));
    return;
  }
  if (!output.work.empty() && std::holds_alternative<GuardPorts>(output.work.front())) {
    const GuardPorts work = std::get<GuardPorts>(std::move(output.work.front()));
    output.work.erase(output.work.begin());
    if (output.report) tell();
    return guard(work, std::move(output));
  }
  for (Work& item : output.work) {
    if (const auto* manifests = std::get_if<LoadManifests>(&item)) load_manifests(*manifests);
    if (const auto* step = std::get_if<PerformStep>(&item)) perform(*step);
  }
  if (output.report) tell();
}

void Caretaker::tell() {
  plan::HostReport report = core_.report();
  report.host = shop_.host.name;
  report.boot_id = boot_id();
  report.facts.insert(shop_.host.facts.begin(), shop_.host.facts.end());
  report.facts["address"] = shop_.host.address;
  for (const auto& [key, value] : shop_.host.labels) report.facts["label." + key] = value;
  trust_.tell(report);
  tell_(std::move(report));
}

void Caretaker::note_transitions() {
  for (const auto& [name, instance] : core_.instances()) {
    const ServicePtr s = service(name);
    if (instance.transition && !s->busy) {
      s->busy = true;
      ++s->generation;
      s->care.reset();
      const bool duty = instance.transition->duty.has_value();
      shop_.note(make_event(
          SystemClock().now(), duty ? "duty-began" : "transition-began", name, "",
          fmt::format(
              "{} → {}",
              instance.transition->from ? instance.transition->from->manifest.brief() : "nothing",
              instance.transition->to ? instance.transition->to->manifest.brief() : "nothing")));
    } else if (!instance.transition && s->busy) {
      s->busy = false;
      ended(*s, instance);
      settle(s);
      clean_up(s);
    }
  }
}

void Caretaker::ended(Service& service, const Instance& instance) {
  Json event = make_event(SystemClock().now(), "transition-ended", service.name, "", "");
  if (instance.outcome && instance.outcome->result == plan::Outcome::Result::inconsistent &&
      !instance.owed) {
    event["text"] = "mended: what an earlier change left undone is done";
  } else if (instance.outcome) {
    event["text"] = fmt::format("{}{}", plan::outcome_name(instance.outcome->result),
                                instance.outcome->message.empty()
                                    ? ""
                                    : ": " + presentable(instance.outcome->message, 2048));
    // As people look for it where they look for the reason (`consort explain`).
    if (const std::string tail = last_lines(instance.outcome->tail, kToldLines); !tail.empty())
      event["text"] = event["text"].as_string() + "\n" + presentable(tail, kToldBytes);
    event["outcome"] = plan::outcome_to_json(*instance.outcome);
  }
  shop_.note(std::move(event));
}

void Caretaker::load_manifests(const LoadManifests& work) {
  // Not on the service's own strand: without a controller this takes long, and drift is repaired
  // meanwhile.
  work_.submit(
      "load " + work.service,
      [this, work] {
        std::map<Digest, plan::Manifest> found;
        Status status;
        for (const Digest& digest : work.digests) {
          status = shop_.fetcher->object(digest);
          if (!status) break;
          auto manifest = plan::get_manifest(shop_.store, digest);
          if (!manifest) {
            status = tl::unexpected<Error>(manifest.error());
            break;
          }
          found.emplace(digest, std::move(*manifest));
        }
        loop_.post([this, work, found = std::move(found), status] {
          if (status) return take(core_.on_manifests(work.service, found));
          take(core_.on_manifests_failed(work.service, status.error().message()));
          loop_.after(load_pause_, [this] {
            if (!closing_) take(core_.retry());
          });
          load_pause_ = std::min(load_pause_ * 2, kLongestLoadPause);
        });
      },
      Strands::Pace::slow);
}

void Caretaker::perform(const PerformStep& work) {
  const ServicePtr s = service(work.service);
  const auto submit = [this, s, work] {
    work_.submit(
        s->name,
        [this, s, work] {
          if (closing_) return;
          const auto begun = std::chrono::steady_clock::now();
          transition::StepResult result;
          if (const Status status = make_keeper(shop_, *s); !status) {
            result.status = transition::StepStatus::failed;
            result.message = status.error().message();
          } else {
            result = Steps(shop_, s->name, *s->keeper).perform(work);
          }
          const auto elapsed =
              std::chrono::duration_cast<Duration>(std::chrono::steady_clock::now() - begun);
          if (closing_ && was_broken_off(work, result)) return;
          Json event = make_event(SystemClock().now(), "step", s->name, "",
                                  fmt::format("{}{}", transition::step_name(work.order.step),
                                              result.message.empty() ? "" : ": " + result.message));
          event["millis"] = elapsed.count();
          event["local"] = true;
          shop_.record(std::move(event));
          loop_.post([this, work, result] { stepped(work, result); });
        },
        Strands::Pace::slow);
  };
  const Duration pause = pause_before(work);
  if (pause.count() == 0) return submit();
  loop_.after(pause, submit);
}

// What was broken off has no result: the journal says that it began, and the next life goes on.
// Also what a signal ended: the one that ends the agent may go to its whole control group.
bool Caretaker::was_broken_off(const PerformStep& work,
                               const transition::StepResult& result) const {
  using transition::Step;
  if (work.order.step == Step::fetch || work.order.step == Step::confirm)
    return result.status != transition::StepStatus::ok || result.unconfirmed;
  return result.status != transition::StepStatus::ok &&
         (shop_.hooks->ended() || result.exit_status > 128);
}

void Caretaker::stepped(const PerformStep& work, const transition::StepResult& result) {
  if (!closing_) return take(core_.on_step(work.service, work.order.token, result));
  if (!deferred_.empty()) return;
  const Output last = core_.on_last_step(work.service, work.order.token, result);
  if (const Status status = write(last.writes); !status)
    log_error("the end of a step cannot be recorded: {}", status.error().message());
}

// --- cleaning up
// ----------------------------------------------------------------------------------------------

void Caretaker::clean_up(const ServicePtr& service) {
  const Instance& instance = core_.instances().at(service->name);
  std::set<Digest> keep;
  if (instance.applied) keep.insert(instance.applied->manifest);
  const bool is_over = !instance.owed;
  work_.submit(service->name, [this, service, keep, is_over] {
    if (is_over && service->keeper) {
      if (const Status status = service->keeper->forget_way_back(); !status)
        log_warn("{}", status.error().message());
    }
    keep_versions(*service, keep);
    // Not beside it: both read whole manifests.
    loop_.post([this] { collect(); });
  });
}

void Caretaker::keep_versions(const Service& service, std::set<Digest> keep) const {
  const auto kept = shop_.kept.load(service.name);
  if (!kept) return;
  if (!keep.empty() && kept->previous) keep.insert(*kept->previous);
  std::vector<Version> versions;
  for (const Digest& digest : keep) {
    if (auto manifest = plan::get_manifest(shop_.store, digest))
      versions.push_back({digest, std::move(*manifest)});
  }
  const ServiceFiles files(shop_.host, service.name);
  if (const Status status = files.keep_only(versions); !status)
    log_warn("{}", status.error().message());
  if (shop_.secrets) shop_.secrets->forget_below_removed(files.folder() / "versions");
}

// Those that no manifest needs which is in use, or which there may be a way back to. What was
// fetched for a step since `roots` were looked up is spared by the grace.
void Caretaker::forget_secrets(const std::set<Digest>& roots) {
  if (!shop_.secrets) return;
  std::set<std::pair<std::string, std::uint64_t>> needed;
  for (const Digest& root : roots) {
    // Snapshots are roots, too, and no manifests.
    const auto manifest = plan::get_manifest(shop_.store, root);
    if (!manifest) continue;
    needed.insert(manifest->secrets.begin(), manifest->secrets.end());
  }
  shop_.secrets->keep_only(needed, seconds(kObjectGrace));
}

void Caretaker::collect() {
  // Nobody knows what they need.
  if (!core_.damaged().empty()) return;
  std::set<std::string> changing;
  for (const auto& [name, instance] : core_.instances()) {
    if (instance.transition || instance.owed) changing.insert(name);
  }
  work_.submit(
      "collect",
      [this, roots = core_.manifests_in_use(), changing]() mutable {
        const auto kept = shop_.kept.roots();
        if (!kept) return log_warn("no objects are collected: {}", kept.error().message());
        roots.insert(kept->begin(), kept->end());
        const auto references = [this](const Digest& digest) {
          return plan::object_references(shop_.store, digest);
        };
        const auto report = shop_.store.collect(roots, references, kObjectGrace,
                                                objects::ObjectStore::Mode::remove);
        if (!report) log_warn("objects could not be collected: {}", report.error().message());
        const auto nothing = [](const Digest&) -> Result<std::vector<Digest>> {
          return std::vector<Digest>{};
        };
        // What will be asked for stays for as long as that may be.
        const auto originals = originals_in(shop_.host.data / "state", changing);
        const auto backups = originals ? shop_.backups.collect(*originals, nothing, kBackupGrace,
                                                               objects::ObjectStore::Mode::remove)
                                       : tl::unexpected<Error>(originals.error());
        if (!backups) log_warn("old backups could not be collected: {}", backups.error().message());
        forget_secrets(roots);
      },
      Strands::Pace::slow);
}

}  // namespace consort::agent
