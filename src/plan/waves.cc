#include "plan/waves.h"

#include <fmt/format.h>

#include <algorithm>

namespace consort::plan {
namespace {

InstanceState in_mode(InstanceState state, Mode mode) {
  state.mode = mode;
  return state;
}

// The instances as they are at one point of the plan.
class Site {
 public:
  explicit Site(const ByInstance<InstanceState>& now) : now_(now) {
    for (const auto& [key, state] : now_) count(key, state, 1);
  }

  [[nodiscard]] const InstanceState* find(const InstanceKey& key) const {
    const auto it = now_.find(key);
    return it == now_.end() ? nullptr : &it->second;
  }
  [[nodiscard]] auto instances(const std::string& service) const {
    return of_service(now_, service);
  }
  // How many run.
  [[nodiscard]] std::int64_t up(const std::string& service) const {
    const auto it = up_.find(service);
    return it == up_.end() ? 0 : it->second;
  }

  void set(const InstanceKey& key, const std::optional<InstanceState>& state) {
    const auto it = now_.find(key);
    if (it != now_.end()) {
      count(key, it->second, -1);
      if (!state) now_.erase(it);
    }
    if (!state) return;
    now_[key] = *state;
    count(key, *state, 1);
  }

 private:
  void count(const InstanceKey& key, const InstanceState& state, std::int64_t by) {
    if (state.mode == Mode::running) up_[key.service] += by;
  }

  ByInstance<InstanceState> now_;
  std::map<std::string, std::int64_t> up_;
};

class Waves {
 public:
  explicit Waves(const Order& order)
      : order_(order),
        in_(order.input),
        wanted_(*order.input.wanted),
        drafts_(order.difference.drafts),
        now_(order.difference.now) {
    for (const auto& [service, level] : order.levels) {
      services_[level].push_back(service);
      top_ = std::max(top_, level);
    }
  }

  StepsInWaves make() {
    for (const std::string& group : order_.groups.all()) {
      for (int i = 0; i <= top_; ++i) add_level(group, in_.backwards ? top_ - i : i);
    }
    add_removals();
    return std::move(out_);
  }

 private:
  // --- steps ---------------------------------------------------------------------------------

  [[nodiscard]] bool runs(const InstanceState& state) const {
    const Manifest* m = known_manifest(in_, state.manifest);
    return m == nullptr || m->runs();
  }

  int add_step(Action action, const InstanceKey& key, const std::optional<InstanceState>& to,
               const std::string& reason) {
    Step step;
    step.id = static_cast<int>(out_.steps.size());
    step.action = action;
    step.service = key.service;
    step.host = key.host;
    if (const InstanceState* from = now_.find(key)) step.from = *from;
    step.to = to;
    step.reason = reason;
    const bool was_up = step.from && step.from->mode == Mode::running && runs(*step.from);
    step.disrupts = was_up && (action != Action::remove || some_stay(key.service));
    if (was_up && to && !in_outage(key, *to) &&
        (!same_version(*to, *step.from) || to->mode != Mode::running))
      step.keep_healthy = quorum_of_dependents(key.service);
    add_needs(step);
    now_.set(key, to);
    // Fewer than wanted in the end cannot be kept either.
    if (action == Action::remove && step.disrupts && order_.outages.of(key.service) == nullptr)
      step.keep_healthy = std::min(quorum_of_dependents(key.service), now_.up(key.service));
    out_.steps.push_back(std::move(step));
    return out_.steps.back().id;
  }

  // Some instance of it is still there when all removals are done.
  [[nodiscard]] bool some_stay(const std::string& service) const {
    for (const auto& [key, state] : now_.instances(service)) {
      const auto draft = drafts_.find(key);
      if (draft == drafts_.end() || draft->second.to) return true;
    }
    return false;
  }

  // In a declared outage nobody's quorum is kept: neither that of the provider, nor that of the
  // dependents which it takes away.
  [[nodiscard]] bool in_outage(const InstanceKey& key, const InstanceState& to) const {
    return order_.outages.of(key.service) != nullptr ||
           (to.mode != Mode::running && held_for_.contains(key));
  }

  [[nodiscard]] std::int64_t quorum_of_dependents(const std::string& service) const {
    std::int64_t out = 0;
    const auto dependents = order_.dependents.find(service);
    if (dependents == order_.dependents.end()) return out;
    for (const auto& [name, quorum] : dependents->second) out = std::max(out, quorum);
    return out;
  }

  // How many instances must be healthy: at the provider's first start all of them, if not declared.
  [[nodiscard]] std::int64_t needed(const Edge& edge) const {
    const auto provider = wanted_.services.find(edge.service);
    if (edge.quorum == 0 && !order_.difference.running.contains(edge.service) &&
        provider != wanted_.services.end())
      return std::max<std::int64_t>(1, static_cast<std::int64_t>(provider->second.hosts.size()));
    return std::max<std::int64_t>(edge.quorum, 1);
  }

  void add_needs(Step& step) const {
    const auto record = wanted_.services.find(step.service);
    if (record == wanted_.services.end()) return;
    std::map<std::string, std::int64_t> quorums;  // several endpoints of one provider count once
    for (const Edge& edge : record->second.edges) {
      if (edge.kind != Edge::Kind::needs || !wanted_.services.contains(edge.service)) continue;
      // One group at a time: at the first start the instances of later groups are not there yet.
      const std::int64_t most =
          edge.quorum > 0 ? edge.quorum : std::max<std::int64_t>(now_.up(edge.service), 1);
      auto& quorum = quorums[edge.service];
      quorum = std::max(quorum, std::min(needed(edge), most));
    }
    for (const auto& [service, quorum] : quorums) step.needs.push_back({service, quorum});
  }

  void add_wave(const std::string& name, std::vector<int> steps, Duration soak = Duration{0}) {
    if (!steps.empty()) out_.waves.push_back({name, std::move(steps), soak});
  }

  // --- one level -----------------------------------------------------------------------------

  void add_level(const std::string& group, int level) {
    const std::vector<std::string>& services = services_[level];
    std::vector<InstanceKey> keys;
    for (const std::string& service : services) {
      for (const auto& [key, draft] : of_service(drafts_, service)) {
        if (draft.to && order_.groups.of(key.host) == group) keys.push_back(key);
      }
    }
    if (keys.empty()) return;
    const std::string prefix = fmt::format("{}level {}", group.empty() ? "" : group + " · ", level);
    hold(services, prefix);
    const std::string first = in_.backwards ? "contract" : "migrate";
    const std::string last = in_.backwards ? "migrate" : "contract";
    add_duties(keys, prefix, first,
               [&](const std::string& s) { return order_.groups.is_first(group, s); });
    move_away(services, prefix);
    add_batches(keys, prefix);
    add_duties(keys, prefix, last,
               [&](const std::string& s) { return order_.groups.is_last(group, s); });
    let_go(group, level, prefix);
  }

  // Stops or drains what needs the providers of this level, dependents of dependents first.
  void hold(const std::vector<std::string>& providers, const std::string& prefix) {
    std::map<int, std::vector<InstanceKey>, std::greater<>> by_level;
    std::vector<std::string> open = providers;
    std::set<std::string> seen;
    while (!open.empty()) {
      const std::string provider = std::move(open.back());
      open.pop_back();
      const JointOutage* outage = order_.outages.of(provider);
      if (outage == nullptr || !seen.insert(provider).second) continue;
      for (const std::string& dependent : outage->dependents) {
        // A dependent with an outage of its own takes its dependents along.
        open.push_back(dependent);
        for (const auto& [key, state] : now_.instances(dependent)) {
          if (state.mode == Mode::running && held_for_.try_emplace(key, provider).second)
            by_level[level_before(dependent, 0)].push_back(key);
        }
      }
    }
    for (const auto& [level, keys] : by_level) {
      std::vector<int> steps;
      for (const InstanceKey& key : keys) {
        const bool stop = order_.outages.stops(key.service);
        steps.push_back(add_step(stop ? Action::stop : Action::drain, key,
                                 in_mode(*now_.find(key), stop ? Mode::stopped : Mode::drained),
                                 fmt::format("{} is away meanwhile", held_for_[key])));
      }
      add_wave(prefix + " · hold dependents", std::move(steps));
    }
  }

  void move_away(const std::vector<std::string>& services, const std::string& prefix) {
    std::vector<int> steps;
    for (const std::string& service : services) {
      if (!order_.difference.moved.contains(service)) continue;
      for (const auto& [key, draft] : of_service(drafts_, service)) {
        if (!draft.to && now_.find(key) != nullptr)
          steps.push_back(add_step(Action::stop, key, std::nullopt, "moves to another host"));
      }
    }
    add_wave(prefix + " · move away", std::move(steps));
  }

  // What is unhealthy comes first: it uses up the budget that all others would wait for, and
  // mending it needs no slot.
  [[nodiscard]] std::vector<std::string> sick_first(const std::set<std::string>& hosts,
                                                    const std::vector<InstanceKey>& keys) const {
    std::set<std::string> sick;
    for (const InstanceKey& key : keys) {
      const auto observed = in_.observed->find(key.host);
      if (observed == in_.observed->end() || !observed->second.reachable) continue;
      const auto it = observed->second.instances.find(key.service);
      if (it != observed->second.instances.end() && it->second.health == Health::unhealthy)
        sick.insert(key.host);
    }
    std::vector<std::string> out(hosts.begin(), hosts.end());
    std::stable_partition(out.begin(), out.end(),
                          [&](const std::string& host) { return sick.contains(host); });
    return out;
  }

  // Batches are counted per class. New instances protect nothing yet: they all come with the first
  // batch.
  void add_batches(const std::vector<InstanceKey>& keys, const std::string& prefix) {
    std::map<std::string, std::set<std::string>> hosts_by_class;
    for (const InstanceKey& key : keys) {
      if (now_.find(key) != nullptr) hosts_by_class[class_of(key)].insert(key.host);
    }
    std::map<std::pair<std::string, std::string>, std::size_t> batch_of;  // (class, host) → batch
    std::size_t count = 1;
    for (const auto& [host_class, hosts] : hosts_by_class) {
      const auto members = wanted_.classes.find(host_class);
      const auto total = static_cast<std::int64_t>(
          members == wanted_.classes.end() ? hosts.size() : members->second.size());
      const std::vector<std::size_t> sizes =
          in_.backwards ? std::vector<std::size_t>{hosts.size()}
                        : batch_sizes(wanted_.policy.batches, total, hosts.size());
      const std::vector<std::string> ordered = sick_first(hosts, keys);
      auto host = ordered.begin();
      for (std::size_t b = 0; b < sizes.size(); ++b) {
        for (std::size_t n = 0; n < sizes[b]; ++n) batch_of[{host_class, *host++}] = b;
      }
      count = std::max(count, sizes.size());
    }
    std::vector<std::vector<InstanceKey>> batches(count);
    std::vector<bool> changes(count);  // not only new instances
    for (const InstanceKey& key : keys) {
      const auto it = batch_of.find({class_of(key), key.host});
      const std::size_t batch = it == batch_of.end() ? 0 : it->second;
      batches[batch].push_back(key);
      if (it != batch_of.end()) changes[batch] = true;
    }
    for (std::size_t b = 0; b < count; ++b) {
      std::vector<int> steps;
      for (const InstanceKey& key : batches[b]) {
        const Draft& draft = drafts_.at(key);
        steps.push_back(add_step(draft.action, key, draft.to, draft.reason));
      }
      const Duration soak = changes[b] && !in_.backwards ? wanted_.policy.soak : Duration{0};
      add_wave(count > 1 ? fmt::format("{} · batch {} of {}", prefix, b + 1, count) : prefix,
               std::move(steps), soak);
    }
  }

  [[nodiscard]] const std::string& class_of(const InstanceKey& key) const {
    return wanted_.services.at(key.service).host_class;
  }

  // Lets held dependents run again, providers first, unless a change of their own follows in this
  // group or something that they need is still away.
  void let_go(const std::string& group, int level, const std::string& prefix) {
    std::map<int, std::vector<InstanceKey>> by_level;
    for (const auto& [key, provider] : held_for_) {
      const InstanceState* current = now_.find(key);
      if (current == nullptr || current->mode == Mode::running) continue;
      const auto found = order_.levels.find(key.service);
      const int own = found == order_.levels.end() ? 0 : found->second;
      const auto draft = drafts_.find(key);
      const bool gone = draft != drafts_.end() && !draft->second.to;
      const bool later = draft != drafts_.end() && draft->second.to && !in_.backwards &&
                         order_.groups.of(key.host) == group && own > level;
      if (!gone && !later) by_level[own].push_back(key);
    }
    for (const auto& [own, keys] : by_level) {
      std::vector<int> steps;
      for (const InstanceKey& key : keys) {
        if (waits_for_provider(key.service, group)) continue;
        steps.push_back(add_step(Action::resume, key, in_mode(*now_.find(key), Mode::running),
                                 fmt::format("{} is back", held_for_[key])));
        held_for_.erase(key);
      }
      add_wave(prefix + " · dependents go on", std::move(steps));
    }
  }

  [[nodiscard]] bool waits_for_provider(const std::string& service,
                                        const std::string& group) const {
    const auto record = wanted_.services.find(service);
    if (record == wanted_.services.end()) return false;
    const auto& edges = record->second.edges;
    return std::any_of(edges.begin(), edges.end(), [&](const Edge& edge) {
      return edge.kind == Edge::Kind::needs && comes_back_later(edge, group);
    });
  }

  // The provider has too few instances up, and will have more later; or it goes away in this group
  // once more.
  [[nodiscard]] bool comes_back_later(const Edge& edge, const std::string& group) const {
    bool comes_back = false;
    for (const auto& [key, state] : now_.instances(edge.service)) {
      const auto draft = drafts_.find(key);
      const bool stays = draft == drafts_.end() || draft->second.to.has_value();
      comes_back = comes_back || (stays && state.mode != Mode::running);
    }
    for (const auto& [key, draft] : of_service(drafts_, edge.service)) {
      const InstanceState* current = now_.find(key);
      if (!draft.to || (current != nullptr && *current == *draft.to)) continue;
      comes_back = true;
      if (order_.outages.of(key.service) != nullptr && order_.groups.of(key.host) == group &&
          (current == nullptr || current->manifest != draft.to->manifest))
        return true;
    }
    return comes_back && now_.up(edge.service) < needed(edge);
  }

  // --- hooks with scope 'service' ------------------------------------------------------------

  // Once per service and rollout, before the first or after the last instance.
  template <class IsItsTurn>
  void add_duties(const std::vector<InstanceKey>& keys, const std::string& prefix,
                  const std::string& hook, const IsItsTurn& is_its_turn) {
    std::vector<int> steps;
    std::set<std::string> seen;
    for (const InstanceKey& key : keys) {
      if (!seen.insert(key.service).second || !is_its_turn(key.service)) continue;
      const Digest from = manifest_before(key.service);
      const Digest to = wanted_.services.at(key.service).manifest;
      const Manifest* before = known_manifest(in_, from);
      const Manifest* after = known_manifest(in_, to);
      if (from == to || before == nullptr || after == nullptr ||
          before->data_version == after->data_version)
        continue;
      // The newer version knows the way up and the way down.
      const Hook* found = (in_.backwards ? before : after)->hook(hook);
      if (found == nullptr || found->scope != Hook::Scope::service) continue;
      const InstanceState* state = now_.find(key);
      const int id =
          add_step(Action::duty, key, state == nullptr ? std::nullopt : std::optional(*state),
                   fmt::format("data version {} → {}, once for all instances", before->data_version,
                               after->data_version));
      Step& step = out_.steps.back();
      step.duty.emplace();
      step.duty->hook = hook;
      step.duty->direction = in_.backwards ? "down" : "up";
      step.duty->owner = in_.backwards ? from : to;
      step.duty->from = from;
      step.duty->to = to;
      step.disrupts = false;
      step.keep_healthy = 0;
      steps.push_back(id);
    }
    add_wave(prefix + " · once per service", std::move(steps));
  }

  // What the instances ran before the plan; none for a new service.
  [[nodiscard]] Digest manifest_before(const std::string& service) const {
    for (const auto& [key, state] : of_service(order_.difference.now, service)) {
      if (drafts_.contains(key)) return state.manifest;
    }
    return {};
  }

  // --- removals ------------------------------------------------------------------------------

  void add_removals() {
    std::map<int, std::vector<InstanceKey>, std::greater<>> by_level;
    for (const auto& [key, draft] : drafts_) {
      if (!draft.to && now_.find(key) != nullptr)
        by_level[level_before(key.service, top_)].push_back(key);
    }
    for (const auto& [level, keys] : by_level) {
      std::vector<int> steps;
      for (const InstanceKey& key : keys)
        steps.push_back(add_step(Action::remove, key, std::nullopt, drafts_.at(key).reason));
      add_wave(fmt::format("remove · level {}", level), std::move(steps));
    }
  }

  // What is stopped or removed is still bound as it was before: that order counts, not the new one.
  [[nodiscard]] int level_before(const std::string& service, int otherwise) const {
    for (const auto* levels : {&order_.base_levels, &order_.levels}) {
      if (const auto it = levels->find(service); it != levels->end()) return it->second;
    }
    return otherwise;
  }

  const Order& order_;
  const PlanInput& in_;
  const Generation& wanted_;
  const ByInstance<Draft>& drafts_;
  std::map<int, std::vector<std::string>> services_;  // by level
  int top_ = 0;
  Site now_;
  ByInstance<std::string> held_for_;  // held instance → the provider that is away
  StepsInWaves out_;
};

}  // namespace

StepsInWaves make_waves(const Order& order) { return Waves(order).make(); }

std::vector<std::size_t> batch_sizes(const std::vector<budget::Amount>& batches, std::int64_t total,
                                     std::size_t changed) {
  std::vector<std::size_t> out;
  std::size_t left = changed;
  for (std::size_t i = 0; left > 0; ++i) {
    const budget::Amount& amount = batches[std::min(i, batches.size() - 1)];
    const auto size = std::min<std::size_t>(left, static_cast<std::size_t>(std::max<std::int64_t>(
                                                      1, budget::amount_of(amount, total))));
    out.push_back(size);
    left -= size;
  }
  return out;
}

}  // namespace consort::plan
