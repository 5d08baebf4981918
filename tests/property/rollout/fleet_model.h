// A fleet as a table, in virtual seconds: hosts that are slow, fail, hang, vanish and come back,
// instances that fall ill and recover. What really is there and what the engine has heard of it are
// two tables; the rules are checked on what really is.
#pragma once

#include "fixtures/sites.h"
#include "rollout/rollout.h"

namespace consort::tests {

using InstanceKey = std::pair<std::string, std::string>;  // service, host

struct Span {
  int from = 0;  // seconds since the beginning
  int length = 0;
  [[nodiscard]] bool covers(int at) const { return at >= from && at < from + length; }
};

struct Behaviour {
  int takes = 1;       // seconds for one change
  bool fails = false;  // goes back by itself on the way forward
  bool hangs = false;  // on the way forward: far longer than any limit
};

struct FaultSchedule {
  std::map<InstanceKey, Behaviour> behaviour;
  std::map<std::string, Span> away;  // host → cannot be reached
  std::map<InstanceKey, Span> sick;  // running, but not healthy
  std::optional<Span> paused;        // by an operator, and then resumed
  std::optional<int> aborted;
};

class FleetModel {
 public:
  FleetModel(const Model& before, const Model& after, plan::Plan plan, FaultSchedule faults)
      : before_(before),
        after_(after),
        faults_(std::move(faults)),
        real_(before.running()),
        heard_(real_),
        outages_(plan.outages),
        rollout_(rollout::begin("r1", std::move(plan), 1, "me", "", kBegin)) {
    for (const auto& [name, members] : after.generation.classes) {
      censuses_[name].hosts = static_cast<std::int64_t>(members.size());
      budgets_[name].slots = rollout_.plan.policy.max_unavailable.value_or(
          budget::default_max_unavailable(censuses_[name].hosts));
    }
  }

  // Turns the world until the rollout has ended and the fleet is at rest; false if it never does.
  bool run() {
    for (at_ = 0; at_ < kLongest; at_ = next()) {
      finish_changes();
      listen();
      obey_operators();
      advance();
      take_back_slots();
      if (rollout_.result != rollout::Result::open && changes_.empty() && waiting_.empty() &&
          at_ > kFaultsEnd)
        return true;
    }
    return false;
  }

  [[nodiscard]] const rollout::Rollout& rollout() const { return rollout_; }
  [[nodiscard]] Instances real() const { return instances_of(real_); }
  [[nodiscard]] const budget::Budgets& budgets() const { return budgets_; }
  [[nodiscard]] const std::vector<std::string>& violations() const { return violations_; }
  [[nodiscard]] const std::set<std::string>& touched() const { return touched_; }
  [[nodiscard]] std::string trace() const { return trace_; }

  static constexpr int kFaultsEnd = 1200;

 private:
  struct Change {
    plan::TargetEntry entry;
    std::optional<plan::InstanceState> from;
    int ends = 0;
    bool fails = false;
  };
  static constexpr int kLongest = 40'000;
  static inline const Instant kBegin = from_millis(1'700'000'000'000);

  [[nodiscard]] Instant now() const { return kBegin + seconds(at_); }
  [[nodiscard]] bool reachable(const std::string& host) const {
    const auto it = faults_.away.find(host);
    return it == faults_.away.end() || !it->second.covers(at_);
  }
  [[nodiscard]] bool is_sick(const InstanceKey& key) const {
    const auto it = faults_.sick.find(key);
    return it != faults_.sick.end() && it->second.covers(at_);
  }
  void note(const std::string& text) { trace_ += std::to_string(at_) + "s " + text + "\n"; }
  void violate(const std::string& text) {
    violations_.push_back(std::to_string(at_) + "s " + text);
  }

  // The next second in which anything happens.
  [[nodiscard]] int next() const {
    int out = at_ <= kFaultsEnd ? kFaultsEnd + 1 : kLongest;
    const auto consider = [&](int at) {
      if (at > at_) out = std::min(out, at);
    };
    for (const auto& [key, change] : changes_) consider(change.ends);
    for (const auto& [key, entry] : waiting_) {
      if (reachable(key.second) && !changes_.contains(key)) consider(at_ + 1);
    }
    for (const auto& [host, span] : faults_.away) {
      consider(span.from);
      consider(span.from + span.length);
    }
    for (const auto& [key, span] : faults_.sick) {
      consider(span.from);
      consider(span.from + span.length);
    }
    if (faults_.paused) {
      consider(faults_.paused->from);
      consider(faults_.paused->from + faults_.paused->length);
    }
    if (faults_.aborted) consider(*faults_.aborted);
    if (wake_)
      consider(std::max(
          at_ + 1,
          static_cast<int>(std::chrono::ceil<std::chrono::seconds>(*wake_ - kBegin).count())));
    return out;
  }

  void finish_changes() {
    for (auto it = changes_.begin(); it != changes_.end();) {
      if (it->second.ends > at_) {
        ++it;
        continue;
      }
      const auto [service, host] = it->first;
      const Change change = it->second;
      it = changes_.erase(it);
      plan::InstanceReport& report = real_[host].instances[service];
      plan::Outcome outcome;
      outcome.attempt = change.entry.attempt;
      if (change.fails) {
        outcome.result = plan::Outcome::Result::reverted;
        outcome.step = "validate";
        report.applied = change.from;
      } else if (!change.entry.duty) {
        report.applied = change.entry.wanted;
      }
      if (change.entry.duty) {
        report.duties[change.entry.duty->token] = outcome;
      } else {
        report.outcome = outcome;
      }
      note("  " + service + "@" + host + (change.fails ? " failed" : " is done"));
    }
    for (auto it = waiting_.begin(); it != waiting_.end();) {
      const auto& [key, entry] = *it;
      if (changes_.contains(key) || !reachable(key.second)) {
        ++it;
        continue;
      }
      begin_change(key, entry);
      it = waiting_.erase(it);
    }
  }

  void begin_change(const InstanceKey& key, const plan::TargetEntry& entry) {
    const bool back = entry.attempt.ends_with("/back");
    const auto found = faults_.behaviour.find(key);
    const Behaviour how = found == faults_.behaviour.end() ? Behaviour{} : found->second;
    Change change;
    change.entry = entry;
    change.from = real_[key.second].instances[key.first].applied;
    change.fails = how.fails && !back && change.from != entry.wanted;
    check_taking(key, change);
    change.ends = at_ + (how.hangs && !back ? 5000 : how.takes);
    changes_[key] = std::move(change);
  }

  void obey_operators() {
    if (rollout_.result != rollout::Result::open) return;
    const bool pause = faults_.paused && faults_.paused->covers(at_) && !rollout_.abort;
    if (rollout_.paused && !pause) rollout_.resumed = now();
    rollout_.paused = pause;
    if (!faults_.aborted || at_ < *faults_.aborted || rollout_.abort) return;
    rollout_.abort = true;
    if (rollout_.paused) rollout_.resumed = now();
    rollout_.paused = false;
  }

  // Who has not answered when the rollout ends keeps its slot until it has.
  void take_back_slots() {
    if (rollout_.result == rollout::Result::open) return;
    for (const auto& [host, seen] : real_) {
      const auto is_there = [&host = host](const auto& item) { return item.first.second == host; };
      if (std::none_of(changes_.begin(), changes_.end(), is_there) &&
          std::none_of(waiting_.begin(), waiting_.end(), is_there))
        budget::release(budgets_, host, "rollout:r1");
    }
  }

  // I4: whoever takes away what is healthy holds a slot at that time, also when the rollout has
  // ended.
  void check_taking(const InstanceKey& key, const Change& change) {
    const bool takes = change.from && change.from->mode == plan::Mode::running &&
                       change.entry.wanted && change.from != change.entry.wanted &&
                       !change.entry.duty && !is_sick(key) && !declared(key.first);
    if (!takes) return;
    for (const auto& [name, members] : after_.generation.classes) {
      if (std::count(members.begin(), members.end(), key.second) == 0) continue;
      const budget::Budget& budget = budgets_[name];
      if (!budget.holders.contains(key.second) &&
          !(budget.joint && budget.joint->hosts.contains(key.second)))
        violate("I4: " + key.first + "@" + key.second + " is taken away without a slot of " + name);
    }
  }

  // What the engine hears: nothing of hosts that are away; instances that change report as before.
  void listen() {
    for (auto& [host, seen] : real_) {
      heard_[host].reachable = reachable(host);
      if (!reachable(host)) continue;
      for (auto& [service, report] : seen.instances) {
        const bool runs = report.applied && report.applied->mode == plan::Mode::running;
        report.health = !runs                      ? plan::Health::unknown
                        : is_sick({service, host}) ? plan::Health::unhealthy
                                                   : plan::Health::healthy;
        heard_[host].instances[service] = report;
      }
    }
    for (auto& [name, census] : censuses_) {
      census.unhealthy.clear();
      census.unreachable.clear();
      for (const std::string& host : after_.generation.classes.at(name)) {
        const auto& seen = heard_.at(host);
        const bool sick =
            std::any_of(seen.instances.begin(), seen.instances.end(),
                        [](const auto& i) { return i.second.health == plan::Health::unhealthy; });
        if (!seen.reachable || sick) census.unhealthy.insert(host);
        if (!seen.reachable) census.unreachable.insert(host);
      }
    }
  }

  void advance() {
    // A new leader goes on from the journal alone.
    auto again = rollout::rollout_from_json(rollout::rollout_to_json(rollout_));
    if (!again) return violate("the journal cannot be read: " + render_error(again.error()));
    rollout_ = std::move(*again);
    wake_.reset();
    for (int i = 0; i < 1000; ++i) {
      rollout::Effects effects = rollout::advance(rollout_, heard_, budgets_, censuses_, now());
      for (const rollout::Event& event : effects.events)
        note(event.kind + " " + event.service + (event.host.empty() ? "" : "@" + event.host) + " " +
             event.text);
      for (auto& [host, entries] : effects.targets) {
        for (auto& [service, entry] : entries) take_target({service, host}, std::move(entry));
      }
      check_slots();
      wake_ = effects.wake;
      if (!effects.changed) return;
    }
    violate("the engine never comes to rest");
  }

  void take_target(const InstanceKey& key, plan::TargetEntry entry) {
    touched_.insert(key.first);
    check_start(key, entry);
    check_stop(key, entry);
    waiting_.insert_or_assign(key, std::move(entry));
  }

  [[nodiscard]] bool is_changing(const InstanceKey& key) const {
    return changes_.contains(key) || waiting_.contains(key);
  }

  // Healthy and not about to change.
  [[nodiscard]] std::int64_t up(const std::string& service, const InstanceKey& without) const {
    std::int64_t count = 0;
    for (const auto& [host, seen] : real_) {
      const InstanceKey key{service, host};
      const auto it = seen.instances.find(service);
      if (it == seen.instances.end() || key == without || is_changing(key) || is_sick(key))
        continue;
      if (it->second.applied && it->second.applied->mode == plan::Mode::running && reachable(host))
        ++count;
    }
    return count;
  }

  // I1, against what the manifest that starts was made for.
  void check_start(const InstanceKey& key, const plan::TargetEntry& entry) {
    if (entry.duty || !entry.wanted || entry.wanted->mode != plan::Mode::running) return;
    for (const Model* model : {&after_, &before_}) {
      const auto record = model->generation.services.find(key.first);
      if (record == model->generation.services.end() ||
          record->second.manifest != entry.wanted->manifest)
        continue;
      if (rollout_.reverting && model == &after_) continue;
      for (const plan::Edge& edge : record->second.edges) {
        if (edge.kind != plan::Edge::Kind::needs) continue;
        if (up(edge.service, {}) < 1 && !rollout_.reverting)
          violate("I1: " + key.first + "@" + key.second + " starts, but no " + edge.service +
                  " is healthy");
      }
      return;
    }
  }

  [[nodiscard]] bool declared(const std::string& service) const {
    return std::any_of(outages_.begin(), outages_.end(), [&](const plan::JointOutage& outage) {
      const auto named = [&](const std::vector<std::string>& names) {
        return std::find(names.begin(), names.end(), service) != names.end();
      };
      return outage.provider == service || named(outage.dependents) || named(outage.affected);
    });
  }

  // I2: what is healthy is not taken away below the quorum of a dependent that runs.
  void check_stop(const InstanceKey& key, const plan::TargetEntry& entry) {
    const auto& applied = real_[key.second].instances[key.first].applied;
    if (entry.duty || !applied || applied->mode != plan::Mode::running || applied == entry.wanted ||
        is_changing(key) || is_sick(key) || declared(key.first))
      return;
    const std::int64_t left = up(key.first, key);
    for (const auto& [name, record] : before_.generation.services) {
      for (const plan::Edge& edge : record.edges) {
        if (edge.kind != plan::Edge::Kind::needs || edge.service != key.first) continue;
        if (!runs_as(name, record.manifest)) continue;
        if (left < std::max<std::int64_t>(edge.quorum, 1) && entry.wanted)
          violate("I2: " + key.first + "@" + key.second + " is taken away from " + name);
      }
    }
  }

  [[nodiscard]] bool runs_as(const std::string& service, const Digest& manifest) const {
    return std::any_of(real_.begin(), real_.end(), [&](const auto& host) {
      const auto it = host.second.instances.find(service);
      return it != host.second.instances.end() && it->second.applied &&
             *it->second.applied == plan::InstanceState{manifest, plan::Mode::running};
    });
  }

  // I11: what is taken away never grows beyond the slots, whatever is sick besides and whatever
  // an outage declares; and a host that was well is taken only while all that is away fits.
  void check_slots() {
    for (const auto& [name, budget] : budgets_) {
      const budget::Census& census = censuses_[name];
      const std::int64_t slots = budget::amount_of(budget.slots, census.hosts);
      if (budget::paying_holders(budget) > slots)
        violate("I11: budget " + name + " has more holders than slots");
      std::set<std::string> holders;
      for (const auto& [host, reasons] : budget.holders) holders.insert(host);
      const std::set<std::string> had = std::exchange(holders_[name], holders);
      const bool more = std::any_of(holders.begin(), holders.end(), [&](const std::string& host) {
        return !had.contains(host) && !census.unhealthy.contains(host);
      });
      if (!more || budget.joint) continue;
      holders.insert(census.unhealthy.begin(), census.unhealthy.end());
      if (static_cast<std::int64_t>(holders.size()) > slots)
        violate("I11: budget " + name + " gave away more than it has");
    }
  }

  const Model& before_;
  const Model& after_;
  FaultSchedule faults_;
  plan::Observed real_;
  plan::Observed heard_;
  std::vector<plan::JointOutage> outages_;
  rollout::Rollout rollout_;
  budget::Budgets budgets_;
  budget::Censuses censuses_;
  int at_ = 0;
  std::optional<Instant> wake_;                       // when the engine wants to look again
  std::map<InstanceKey, plan::TargetEntry> waiting_;  // sent, not begun
  std::map<InstanceKey, Change> changes_;
  std::map<std::string, std::set<std::string>> holders_;
  std::set<std::string> touched_;
  std::vector<std::string> violations_;
  std::string trace_;
};

inline rc::Gen<FaultSchedule> any_faults(const Model& before, const Model& after) {
  std::set<InstanceKey> instances;
  for (const Model* model : {&before, &after}) {
    for (const auto& [name, record] : model->generation.services) {
      for (const std::string& host : record.hosts) instances.emplace(name, host);
    }
  }
  std::vector<std::string> hosts;
  for (const auto& [name, record] : after.generation.hosts) hosts.push_back(name);
  return rc::gen::exec([instances, hosts] {
    FaultSchedule out;
    for (const InstanceKey& key : instances) {
      out.behaviour[key].takes = draw_between(1, 20);
      if (draw_chance(6)) out.behaviour[key].fails = true;
      if (draw_chance(3)) out.behaviour[key].hangs = true;
      if (draw_chance(8)) out.sick[key] = {draw_between(0, 200), draw_between(1, 600)};
    }
    if (draw_chance(15)) out.paused = Span{draw_between(0, 100), draw_between(1, 300)};
    if (draw_chance(15)) out.aborted = draw_between(0, 200);
    for (const std::string& host : hosts) {
      if (draw_chance(8)) out.away[host] = {draw_between(0, 200), draw_between(1, 900)};
    }
    return out;
  });
}

inline void showValue(const FaultSchedule& faults, std::ostream& os) {
  for (const auto& [key, how] : faults.behaviour) {
    os << key.first << "@" << key.second << " takes " << how.takes << (how.fails ? " fails" : "")
       << (how.hangs ? " hangs" : "") << "\n";
  }
  for (const auto& [key, span] : faults.sick)
    os << key.first << "@" << key.second << " is sick from " << span.from << " for " << span.length
       << "\n";
  if (faults.paused)
    os << "paused from " << faults.paused->from << " for " << faults.paused->length << "\n";
  if (faults.aborted) os << "aborted at " << *faults.aborted << "\n";
  for (const auto& [host, span] : faults.away)
    os << host << " is away from " << span.from << " for " << span.length << "\n";
}

}  // namespace consort::tests
