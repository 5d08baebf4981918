#include "controller/shell.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/log.h"
#include "base/text.h"
#include "controller/audit_log.h"

namespace consort::controller {
namespace {

constexpr std::size_t kRecentEvents = 2000;
constexpr std::size_t kBacklogBytes = 256U << 10U;
constexpr std::size_t kWorkers = 3;
constexpr std::size_t kMostUnreadable = 1000;
constexpr std::size_t kHostsTold = 1000;  // bytes
constexpr Duration kPruneEvery = hours(1);
constexpr Duration kStartOverAfter = seconds(5);

}  // namespace

Shell::Shell(http::EventLoop& loop, state::StateStore& store, objects::ObjectStore objects,
             const Clock& clock)
    : loop_(loop),
      store_(store),
      objects_(std::move(objects)),
      journal_(store, objects_, [&loop](std::function<void()> act) { loop.post(std::move(act)); }),
      clock_(clock),
      workers_(kWorkers) {}

Status Shell::start() {
  const Store stored = TRY(journal_.load());
  core_.emplace(TRY(Core::restore(stored)));
  registry_ = TRY(access::Registry::restore(stored));
  audit_head_ = TRY(load_audit_head(store_));
  failed_ = false;
  ++life_;
  // All that are still wanted come anew, in the new epoch.
  targets_.clear();
  events_.clear();
  recent_ = EventShares(kRecentEvents);
  for (const auto& [key, value] : stored) {
    if (!key.starts_with("log/")) continue;
    const auto json = parse_json(value);
    if (!json) continue;
    Event event;
    event.number = static_cast<std::uint64_t>(json->int_or("number"));
    event.at = parse_instant(json->string_or("at")).value_or(Instant{});
    event.kind = json->string_or("kind");
    event.rollout = json->string_or("rollout");
    event.service = json->string_or("service");
    event.host = json->string_or("host");
    event.text = json->string_or("text");
    remember(std::move(event));
  }
  schedule_collection();
  carry_out(core_->start(now()), [](const Status& status) {
    if (!status) log_error("the new epoch could not be stored: {}", status.error().message());
  });
  prune_registry();
  log_info("epoch {}: {} hosts, {} generations, {} rollouts known", core_->epoch(),
           core_->hosts().size(), core_->generations().size(), core_->rollouts().size());
  return {};
}

// The core has moved on in memory, but its store has not: what is durable is the truth.
void Shell::start_over(const Error& error) {
  ++metrics_.failed_commits;
  if (failed_) return;
  failed_ = true;
  log_error("the store refused a write: {}; reading it anew in {}", error.message(),
            human_duration(kStartOverAfter));
  loop_.after(kStartOverAfter, [this] {
    if (auto status = start(); !status) {
      failed_ = false;
      start_over(status.error());
    }
  });
}

Status Shell::writable() const {
  if (ready()) return {};
  return fail(ErrorCode::unavailable, "the controller's store cannot be written now")
      .hint(
          fmt::format("nothing was changed; it tries again every {}; see the controller's log and "
                      "the free space of its disk, then try again",
                      human_duration(kStartOverAfter)));
}

void Shell::carry_out(Output output, std::function<void(Status)> done) {
  carry_out(std::move(output), std::nullopt, std::move(done));
}

void Shell::carry_out(Output output, std::optional<access::AuditNote> note,
                      std::function<void(Status)> done) {
  schedule_tick();
  if (note) {
    const access::AuditEntry entry = access::append(audit_head_, std::move(*note));
    audit_head_ = access::head_of(entry);
    write_audit_entry(entry, output.writes);
  }
  Targets targets;
  for (const std::string& host : output.targets) targets.emplace(host, core_->target_of(host));
  if (!output.writes.empty()) ++metrics_.commits;
  journal_.commit(std::move(output.writes), [this, life = life_, targets = std::move(targets),
                                             events = std::move(output.events),
                                             done = std::move(done)](const Status& status) {
    if (life == life_) {
      if (status) {
        published(targets, events);
      } else {
        start_over(status.error());
      }
    }
    if (done) done(status);
  });
}

void Shell::published(const Targets& targets, const std::vector<Event>& events) {
  for (const auto& [host, target] : targets) {
    if (!target) {
      // Whoever comes by this name later begins at (epoch, 1): not to be measured by this one.
      targets_.erase(host);
      continue;
    }
    plan::Target& known = targets_[host];
    if (std::pair(known.epoch, known.seq) <= std::pair(target->epoch, target->seq)) known = *target;
    answer_poll(host);
  }
  for (const Event& event : events) {
    remember(event);
    const std::string data = event_to_json(event).dump();
    std::erase_if(streams_, [&](const Stream& to) {
      return !to.stream.send(event.kind, std::to_string(event.number), data);
    });
    log_debug("event {} {} {}@{} {}", event.number, event.kind, event.service, event.host,
              event.text);
  }
}

void Shell::remember(Event event) {
  for (const std::uint64_t number : recent_.add(event.number, event.host, event.text.size()))
    events_.erase(number);
  events_.insert_or_assign(event.number, std::move(event));
}

void Shell::add_stream(const http::EventStream& stream, std::uint64_t after,
                       std::function<bool()> still_believed) {
  // More than may wait for a reader comes in parts: it asks again after the last that it has seen.
  std::size_t bytes = 0;
  for (auto it = events_.upper_bound(after); it != events_.end(); ++it) {
    const std::string data = event_to_json(it->second).dump();
    bytes += data.size();
    if (bytes > kBacklogBytes) return stream.end();
    stream.send(it->second.kind, std::to_string(it->first), data);
  }
  streams_.push_back({stream, std::move(still_believed)});
}

void Shell::hold_poll(const std::string& host, std::uint64_t epoch, std::uint64_t seq,
                      const http::Responder& responder, std::function<bool()> still_believed) {
  ++metrics_.polls;
  // A second poll of the same host takes the place of the first, whose connection is most likely
  // dead.
  if (const auto old = polls_.find(host); old != polls_.end())
    old->second.responder.send(http::Response::empty(204));
  const std::uint64_t number = next_poll_++;
  polls_.insert_or_assign(host, Poll{number, epoch, seq, responder, std::move(still_believed)});
  carry_out(core_->on_poll(host, epoch, seq, now()));
  responder.on_close([this, host, number] {
    const auto it = polls_.find(host);
    if (it == polls_.end() || it->second.number != number) return;
    polls_.erase(it);
    if (ready()) carry_out(core_->on_silence(host, now()));
  });
  loop_.after(kPollHold, [this, host, number] {
    const auto it = polls_.find(host);
    if (it == polls_.end() || it->second.number != number) return;
    const http::Responder waiting = it->second.responder;
    polls_.erase(it);
    waiting.send(http::Response::empty(204));
    if (ready()) carry_out(core_->on_contact(host, now()));
  });
  answer_poll(host);
}

void Shell::answer_poll(const std::string& host) {
  const auto poll = polls_.find(host);
  const auto target = targets_.find(host);
  if (poll == polls_.end() || target == targets_.end()) return;
  if (target->second.epoch == poll->second.epoch && target->second.seq == poll->second.seq) return;
  // A newer one is on its way into the store: what is durable is out of date already.
  const auto newest = core_->target_of(host);
  if (!newest || newest->epoch != target->second.epoch || newest->seq != target->second.seq) return;
  const http::Responder responder = poll->second.responder;
  polls_.erase(poll);
  responder.send(http::Response::json(plan::target_to_json(target->second)));
}

void Shell::change_access(access::Writes writes, std::optional<access::AuditNote> note,
                          std::function<void(Status)> done) {
  change_access(std::move(writes), {}, std::move(note), std::move(done));
}

void Shell::change_access(access::Writes writes, Output output,
                          std::optional<access::AuditNote> note, std::function<void(Status)> done) {
  // What the registry made itself it can read; else the store is the truth.
  if (auto status = registry_.apply(writes); !status) return start_over(status.error());
  output.writes.merge(writes);
  carry_out(std::move(output), std::move(note),
            [this, done = std::move(done)](const Status& status) {
              if (status) end_what_is_no_more_believed();
              if (done) done(status);
            });
}

void Shell::end_what_is_no_more_believed() {
  const Error error = fail(ErrorCode::unauthenticated, "this credential is believed no more");
  for (auto it = polls_.begin(); it != polls_.end();) {
    if (!it->second.still_believed || it->second.still_believed()) {
      ++it;
      continue;
    }
    const http::Responder responder = it->second.responder;
    it = polls_.erase(it);
    http::Response response = http::Response::error(error);
    response.headers.set("Connection", "close");
    responder.send(std::move(response));
  }
  std::erase_if(streams_, [](const Stream& to) {
    if (!to.still_believed || to.still_believed()) return false;
    to.stream.end();
    return true;
  });
}

void Shell::tell_finding(const access::Finding& finding) {
  // The host has a say in the words.
  const std::string text = printable(finding.text, Lines::one);
  if (!ready() || !findings_.take(finding.host, text, now())) return;
  log_warn("{}", text);
  access::AuditNote note;
  note.at = now();
  note.who = "host " + finding.host;
  note.action = access::action_name(access::Action::send_report);
  note.subject = finding.host;
  note.reason = text;
  carry_out({}, std::move(note), {});
}

void Shell::prune_registry() {
  pruning_.cancel();
  if (ready()) {
    access::Writes old = access::prune(registry_, now());
    if (!old.empty()) change_access(std::move(old), std::nullopt);
    // Credentials also end by themselves: nobody listens for longer than theirs is good.
    end_what_is_no_more_believed();
  }
  pruning_ = loop_.after(kPruneEvery, [this] { prune_registry(); });
}

Result<std::vector<access::AuditEntry>> Shell::audit(std::uint64_t after, std::size_t limit) const {
  return audit_entries(store_, after, limit);
}

void Shell::schedule_tick() {
  const auto wake = core_->wake();
  if (!wake || (tick_at_ && *tick_at_ <= *wake)) return;
  tick_.cancel();
  tick_at_ = *wake;
  const Duration wait = std::max(Duration{1}, std::chrono::duration_cast<Duration>(*wake - now()));
  tick_ = loop_.after(wait, [this] {
    tick_at_.reset();
    if (ready()) carry_out(core_->tick(now()));
  });
}

void Shell::with_manifests(std::set<Digest> digests, std::set<Digest> others,
                           std::function<void(Result<std::map<Digest, plan::Manifest>>)> use) {
  std::map<Digest, plan::Manifest> known;
  std::vector<Digest> wanted;
  for (const Digest& digest : digests) others.erase(digest);
  std::set<Digest> all = std::move(digests);
  all.insert(others.begin(), others.end());
  for (const Digest& digest : all) {
    const auto it = manifests_.find(digest);
    if (it != manifests_.end()) {
      known.emplace(digest, it->second);
    } else if (!digest.is_none()) {
      wanted.push_back(digest);
    }
  }
  if (wanted.empty()) return use(std::move(known));
  workers_.post([this, wanted = std::move(wanted), others = std::move(others),
                 known = std::move(known), use = std::move(use)]() mutable {
    Result<std::map<Digest, plan::Manifest>> loaded = std::move(known);
    std::map<Digest, ErrorCode> unreadable;
    for (const Digest& digest : wanted) {
      auto manifest = plan::get_manifest(objects_, digest);
      if (manifest) {
        loaded->insert_or_assign(digest, std::move(*manifest));
        continue;
      }
      const ErrorCode code = manifest.error().code();
      // Forgotten, so that the next plan or deploy sends it anew.
      if (code == ErrorCode::corrupt) static_cast<void>(objects_.discard(digest).has_value());
      // A host may name whatever it likes as what it runs: that is in nobody's way.
      if (others.contains(digest)) {
        if (code != ErrorCode::not_found) unreadable.emplace(digest, code);
        continue;
      }
      loaded = fail(std::move(manifest).error().context("while loading manifests"));
      break;
    }
    loop_.post([this, loaded = std::move(loaded), unreadable = std::move(unreadable),
                use = std::move(use)]() mutable {
      if (loaded) manifests_.insert(loaded->begin(), loaded->end());
      tell_unreadable(unreadable);
      use(std::move(loaded));
    });
  });
}

// Once each. What is in the object is nobody's business here.
void Shell::tell_unreadable(const std::map<Digest, ErrorCode>& manifests) {
  for (const auto& [digest, code] : manifests) {
    if (unreadable_.size() >= kMostUnreadable || !unreadable_.insert(digest).second) continue;
    std::string hosts;
    for (const auto& [name, host] : core_->hosts()) {
      for (const auto& [service, instance] : host.report.instances) {
        if (instance.applied && instance.applied->manifest == digest)
          hosts += fmt::format("; {} says that it runs it as {}", name, service);
      }
    }
    log_warn("{} cannot be read as a manifest ({}): plans do without it{}", digest.str(),
             error_code_name(code), hosts.substr(0, kHostsTold));
  }
}

}  // namespace consort::controller
