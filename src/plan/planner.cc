// make_plan(): from the difference between wanted and applied to ordered waves.
//
// Forward, level by level (providers first): hold the dependents of a provider that cannot keep
// them up, do what is done once, move away, change in batches, let the dependents go on. Removals
// come last, dependents first. Backwards (rollback) the levels run the other way round.
#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "plan/claims.h"
#include "plan/plan.h"

namespace consort::plan {
namespace {

struct Key {
  std::string service;
  std::string host;
  auto operator<=>(const Key&) const = default;
};

struct Draft {
  Action action = Action::install;
  std::optional<InstanceState> to;
  std::string reason;
};

InstanceState in_mode(InstanceState state, Mode mode) {
  state.mode = mode;
  return state;
}

class Planner {
 public:
  explicit Planner(const PlanInput& input) : in_(input), wanted_(*input.wanted) {}

  Result<Plan> make() {
    TRYV(check_scope());
    levels_ = TRY(service_levels(wanted_.services));
    if (in_.base != nullptr) {
      if (auto levels = service_levels(in_.base->services)) base_levels_ = std::move(*levels);
    }
    TRYV(check_claims(wanted_, *in_.manifests));
    TRYV(compare());
    TRYV(check_removals());
    find_outages();
    TRYV(check_outages());
    TRYV(check_groups());
    build();
    finish();
    return std::move(plan_);
  }

 private:
  // --- what is there -------------------------------------------------------------------------

  [[nodiscard]] bool in_scope(const std::string& service) const {
    if (wanted_.broken.contains(service)) return false;
    if (!in_.only.empty() && !in_.only.contains(service)) return false;
    return !in_.except.contains(service);
  }

  [[nodiscard]] const Manifest* manifest(const Digest& digest) const {
    const auto it = in_.manifests->find(digest);
    return it == in_.manifests->end() ? nullptr : &it->second;
  }

  [[nodiscard]] std::optional<InstanceState> now(const Key& key) const {
    const auto it = now_.find(key);
    return it == now_.end() ? std::nullopt : std::optional(it->second);
  }

  [[nodiscard]] bool runs(const InstanceState& state) const {
    const Manifest* m = manifest(state.manifest);
    return m == nullptr || m->runs();
  }

  Status check_scope() {
    for (const auto* names : {&in_.only, &in_.except}) {
      for (const std::string& name : *names) {
        if (wanted_.services.contains(name) || wanted_.broken.contains(name) ||
            runs_somewhere(name))
          continue;
        const std::string guess = did_you_mean(name, wanted_.services);
        return fail(ErrorCode::not_found,
                    fmt::format("no service '{}' in site {}", name, wanted_.site))
            .hint(guess.empty() ? "" : fmt::format("did you mean '{}'?", guess));
      }
    }
    return {};
  }

  [[nodiscard]] bool runs_somewhere(const std::string& service) const {
    return std::any_of(in_.observed->begin(), in_.observed->end(), [&](const auto& host) {
      const auto it = host.second.instances.find(service);
      return it != host.second.instances.end() && it->second.applied;
    });
  }

  // --- the difference --------------------------------------------------------------------------

  Status compare() {
    for (const auto& [host, observed] : *in_.observed) {
      for (const auto& [service, report] : observed.instances) {
        if (!report.applied) continue;
        if (!wanted_.hosts.contains(host)) {
          if (in_scope(service)) plan_.detached.push_back(fmt::format("{}: {}", host, service));
          continue;
        }
        now_[{service, host}] = *report.applied;
        // A sick instance counts, too: whether enough are healthy is looked at when the step
        // begins.
        if (report.applied->mode == Mode::running) ++running_[service];
      }
    }
    for (const auto& [service, record] : wanted_.services) {
      if (!in_scope(service)) continue;
      for (const std::string& host : record.hosts) TRYV(compare_instance(service, record, host));
    }
    for (const auto& [key, state] : now_) {
      if (!in_scope(key.service)) continue;
      const auto record = wanted_.services.find(key.service);
      const bool stays =
          record != wanted_.services.end() &&
          std::binary_search(record->second.hosts.begin(), record->second.hosts.end(), key.host);
      if (!stays) {
        drafts_[key] = {Action::remove, std::nullopt,
                        record == wanted_.services.end() ? "the site has no such service any more"
                                                         : "no longer placed on this host"};
        ++leaving_[key.service];
      }
    }
    for (auto& [key, draft] : drafts_) {
      if (draft.action == Action::install && leaving_.contains(key.service)) {
        draft.action = Action::move;
        moved_.insert(key.service);
      }
    }
    return {};
  }

  Status compare_instance(const std::string& service, const ServiceRecord& record,
                          const std::string& host) {
    const InstanceState goal = wanted_state(wanted_, record, host);
    const auto current = now({service, host});
    if (current == goal) {
      ++plan_.kept[service];
      return {};
    }
    const Manifest* after = manifest(record.manifest);
    if (after == nullptr)
      return fail(ErrorCode::not_found, fmt::format("the manifest {} of service {} is not known",
                                                    record.manifest.str(), service));
    Draft draft;
    draft.to = goal;
    if (!current) {
      draft.action = Action::install;
      draft.reason =
          in_.base != nullptr && in_.base->services.contains(service) ? "new host" : "new service";
    } else if (same_version(*current, goal)) {
      draft.action = Action::resume;
      draft.reason = fmt::format("is {}", mode_name(current->mode));
    } else if (current->manifest == goal.manifest) {
      draft.action = Action::reconfigure;
      draft.reason = host_change(current->host, goal.host);
    } else {
      const Manifest* before = manifest(current->manifest);
      draft.action = Action::upgrade;
      draft.reason = "another manifest";
      if (before != nullptr) {
        const bool same_release = before->version == after->version &&
                                  before->data_version == after->data_version &&
                                  artifacts_equal(*before, *after);
        if (same_release) draft.action = Action::reconfigure;
        // Once for all instances that go this way: comparing manifests is most of a large plan.
        const auto [reason, first] = reasons_.try_emplace({current->manifest, goal.manifest});
        if (first) {
          reason->second = change_reason(*before, *after);
          note_changes(*before, *after);
        }
        draft.reason = reason->second;
      }
    }
    drafts_[{service, host}] = std::move(draft);
    return {};
  }

  // "label rack a → b"
  static std::string host_change(const std::map<std::string, std::string>& before,
                                 const std::map<std::string, std::string>& after) {
    std::vector<std::string> out;
    const auto value = [](const auto& map, const std::string& name) {
      const auto it = map.find(name);
      return it == map.end() ? std::string("none") : it->second;
    };
    std::set<std::string> names;
    for (const auto* map : {&before, &after}) {
      for (const auto& [name, unused] : *map) names.insert(name);
    }
    for (const std::string& name : names) {
      if (value(before, name) == value(after, name)) continue;
      const std::string word = name == "address" ? name : "label " + name.substr(7);
      out.push_back(
          fmt::format("{} of the host {} → {}", word, value(before, name), value(after, name)));
    }
    return join(out, ", ");
  }

  static bool artifacts_equal(const Manifest& before, const Manifest& after) {
    return before.artifacts.size() == after.artifacts.size() &&
           std::equal(before.artifacts.begin(), before.artifacts.end(), after.artifacts.begin(),
                      [](const auto& a, const auto& b) {
                        return a.first == b.first && a.second.digest == b.second.digest;
                      });
  }

  void note_changes(const Manifest& before, const Manifest& after) {
    for (Change& change : manifest_changes(before, after)) {
      if (std::find(plan_.changes.begin(), plan_.changes.end(), change) == plan_.changes.end())
        plan_.changes.push_back(std::move(change));
    }
  }

  Status check_removals() {
    if (in_.allow_unsafe_removal) return {};
    for (const auto& [service, count] : leaving_) {
      std::int64_t have = 0;
      bool data = false;
      for (const auto& [key, state] : now_) {
        if (key.service != service) continue;
        ++have;
        const Manifest* m = manifest(state.manifest);
        data = data || (m != nullptr && m->data_version > 0);
      }
      if (data && count == have) {
        return fail(
                   ErrorCode::refused,
                   fmt::format("this would remove every instance of {}, which keeps data", service))
            .hint(
                "its data folders stay on the hosts; if that is what you want, say "
                "--allow-unsafe-removal");
      }
    }
    return {};
  }

  // --- joint outages -----------------------------------------------------------------------------

  // Services whose running instances need `provider`, with the largest quorum they ask for.
  [[nodiscard]] std::map<std::string, std::int64_t> dependents_of(
      const std::string& provider) const {
    std::map<std::string, std::int64_t> out;
    const auto collect = [&](const std::map<std::string, ServiceRecord>& services) {
      for (const auto& [name, record] : services) {
        for (const Edge& edge : record.edges) {
          if (edge.kind != Edge::Kind::needs || edge.service != provider ||
              !running_.contains(name))
            continue;
          auto& quorum = out[name];
          quorum = std::max({quorum, edge.quorum, std::int64_t{1}});
        }
      }
    };
    collect(in_.base != nullptr ? in_.base->services : wanted_.services);
    return out;
  }

  [[nodiscard]] bool drains(const std::string& service) const {
    for (const auto& [key, state] : now_) {
      if (key.service != service) continue;
      const Manifest* m = manifest(state.manifest);
      if (m == nullptr || m->hook("drain") == nullptr) return false;
    }
    return true;
  }

  [[nodiscard]] bool changes(const std::string& service) const {
    return std::any_of(drafts_.begin(), drafts_.end(),
                       [&](const auto& d) { return d.first.service == service; });
  }

  // Why the service cannot keep its dependents up during this plan, or "".
  [[nodiscard]] std::string interruption(const std::string& service, std::int64_t quorum) const {
    if (stopped_.contains(service)) return "it is stopped, because what it needs is away";
    if (moved_.contains(service)) return "it moves to another host";
    std::int64_t disrupted = 0;
    for (const auto& [key, draft] : drafts_) {
      if (key.service != service || !draft.to) continue;
      const auto current = now(key);
      if (current && current->mode == Mode::running && !same_version(*current, *draft.to) &&
          runs(*current))
        ++disrupted;
    }
    const auto running = running_.find(service);
    const std::int64_t have = running == running_.end() ? 0 : running->second;
    if (disrupted == 0 || have - 1 >= quorum) return "";
    return have == 1 ? "its only instance must stop"
                     : fmt::format("{} instances run and {} must stay", have, quorum);
  }

  void find_outages() {
    std::vector<std::pair<int, std::string>> order;
    for (const auto& [service, level] : levels_) order.emplace_back(level, service);
    std::sort(order.begin(), order.end());
    for (const auto& [level, service] : order) {
      const auto dependents = dependents_of(service);
      std::int64_t quorum = 0;
      for (const auto& [name, q] : dependents) quorum = std::max(quorum, q);
      if (dependents.empty()) continue;
      const std::string why = interruption(service, quorum);
      if (why.empty()) continue;
      JointOutage outage{service, {}, {}, why, !moved_.contains(service)};
      for (const auto& [name, q] : dependents) {
        outage.dependents.push_back(name);
        if (!changes(name)) outage.needs_permission = true;
        if (!drains(name)) stopped_.insert(name);
      }
      plan_.outages.push_back(std::move(outage));
    }
    for (JointOutage& outage : plan_.outages) outage.affected = affected_by(outage);
  }

  // Services that go on running meanwhile, but lose what they need: dependents of the dependents.
  [[nodiscard]] std::vector<std::string> affected_by(const JointOutage& outage) const {
    std::set<std::string> seen(outage.dependents.begin(), outage.dependents.end());
    std::set<std::string> held;
    for (const JointOutage& other : plan_.outages)
      held.insert(other.dependents.begin(), other.dependents.end());
    std::set<std::string> out;
    std::vector<std::string> open = outage.dependents;
    while (!open.empty()) {
      const std::string provider = open.back();
      open.pop_back();
      for (const auto& [name, quorum] : dependents_of(provider)) {
        if (!seen.insert(name).second) continue;
        if (!held.contains(name)) out.insert(name);
        open.push_back(name);
      }
    }
    return {out.begin(), out.end()};
  }

  Status check_outages() {
    if (in_.allow_outage || wanted_.policy.allow_outage) return {};
    for (const JointOutage& outage : plan_.outages) {
      if (!outage.needs_permission) continue;
      return fail(ErrorCode::refused,
                  fmt::format("a joint outage: {} cannot keep {} up ({})", outage.provider,
                              join(outage.dependents, ", "), outage.reason))
          .hint(
              "allow it once with --allow-outage, or for good with policy: { allowOutage: true }");
    }
    return {};
  }

  [[nodiscard]] const JointOutage* outage_of(const std::string& provider) const {
    for (const JointOutage& outage : plan_.outages) {
      if (outage.provider == provider) return &outage;
    }
    return nullptr;
  }

  // --- groups (one datacenter at a time)
  // -----------------------------------------------------------

  [[nodiscard]] std::string group_of(const std::string& host) const {
    if (wanted_.policy.one_at_a_time.empty()) return "";
    const auto& labels = wanted_.hosts.at(host).labels;
    const auto it = labels.find(wanted_.policy.one_at_a_time);
    return it == labels.end() ? "" : it->second;
  }

  Status check_groups() {
    std::set<std::string> groups;
    for (const auto& [key, draft] : drafts_) groups.insert(group_of(key.host));
    groups_.assign(groups.begin(), groups.end());
    if (groups_.size() < 2) return {};
    std::map<std::string, std::pair<std::string, std::string>>
        range;  // service → first and last group
    for (const auto& [key, draft] : drafts_) {
      if (!draft.to) continue;
      const std::string group = group_of(key.host);
      auto [it, made] = range.try_emplace(key.service, group, group);
      it->second.first = std::min(it->second.first, group);
      it->second.second = std::max(it->second.second, group);
    }
    for (const auto& [service, record] : wanted_.services) {
      const auto own = range.find(service);
      if (own == range.end()) continue;
      for (const Edge& edge : record.edges) {
        const auto provider = range.find(edge.service);
        if (!is_hard(edge) || provider == range.end() || edge.service == service) continue;
        const bool early = in_.backwards ? own->second.second > provider->second.first
                                         : own->second.first < provider->second.second;
        // Within the same set of groups each group changes its providers first.
        if (!early || provider->second == own->second) continue;
        return fail(ErrorCode::refused,
                    fmt::format("policy oneAtATime '{}': {} would change in {} before {}, which it "
                                "needs, changes in {}",
                                wanted_.policy.one_at_a_time, service, own->second.first,
                                edge.service, provider->second.second))
            .hint(fmt::format("deploy the provider first: --only {}", edge.service));
      }
    }
    return {};
  }

  // --- waves
  // ------------------------------------------------------------------------------------------

  int add_step(Action action, const Key& key, std::optional<InstanceState> to,
               const std::string& reason) {
    Step step;
    step.id = static_cast<int>(plan_.steps.size());
    step.action = action;
    step.service = key.service;
    step.host = key.host;
    step.from = now(key);
    step.to = to;
    step.reason = reason;
    const bool was_up = step.from && step.from->mode == Mode::running && runs(*step.from);
    step.disrupts = was_up && action != Action::remove;
    // In a declared outage nobody's quorum is kept: that of the provider, and that of the
    // dependents it takes away.
    const bool held = outage_of(key.service) != nullptr ||
                      (to && to->mode != Mode::running && held_for_.contains(key));
    if (was_up && to && !held && (!same_version(*to, *step.from) || to->mode != Mode::running)) {
      for (const auto& [name, quorum] : dependents_of(key.service))
        step.keep_healthy = std::max(step.keep_healthy, quorum);
    }
    add_needs(step);
    if (to) {
      now_[key] = *to;
    } else {
      now_.erase(key);
    }
    plan_.steps.push_back(std::move(step));
    return plan_.steps.back().id;
  }

  // How many instances must be healthy: at the provider's first start all of them, if not declared.
  [[nodiscard]] std::int64_t needed(const Edge& edge) const {
    const auto provider = wanted_.services.find(edge.service);
    if (edge.quorum == 0 && !running_.contains(edge.service) && provider != wanted_.services.end())
      return std::max<std::int64_t>(1, static_cast<std::int64_t>(provider->second.hosts.size()));
    return std::max<std::int64_t>(edge.quorum, 1);
  }

  // Instances that run at this point of the plan.
  [[nodiscard]] std::int64_t up(const std::string& service) const {
    return std::count_if(now_.begin(), now_.end(), [&](const auto& item) {
      return item.first.service == service && item.second.mode == Mode::running;
    });
  }

  void add_needs(Step& step) const {
    const auto record = wanted_.services.find(step.service);
    if (record == wanted_.services.end()) return;
    std::map<std::string, std::int64_t> quorums;  // several endpoints of one provider count once
    for (const Edge& edge : record->second.edges) {
      const auto provider = wanted_.services.find(edge.service);
      if (edge.kind != Edge::Kind::needs || provider == wanted_.services.end()) continue;
      auto& quorum = quorums[edge.service];
      // One group at a time: at the first start the instances of later groups are not there yet.
      const bool declared = edge.quorum > 0;
      const std::int64_t most =
          declared ? edge.quorum : std::max<std::int64_t>(up(edge.service), 1);
      quorum = std::max(quorum, std::min(needed(edge), most));
    }
    for (const auto& [service, quorum] : quorums) step.needs.push_back({service, quorum});
  }

  void add_wave(const std::string& name, std::vector<int> steps, Duration soak = Duration{0}) {
    if (!steps.empty()) plan_.waves.push_back({name, std::move(steps), soak});
  }

  [[nodiscard]] std::vector<std::string> services_at(int level) const {
    std::vector<std::string> out;
    for (const auto& [service, l] : levels_) {
      if (l == level) out.push_back(service);
    }
    return out;
  }

  void build() {
    int top = 0;
    for (const auto& [service, level] : levels_) top = std::max(top, level);
    if (groups_.empty()) groups_.emplace_back("");
    for (const std::string& group : groups_) {
      for (int i = 0; i <= top; ++i) build_level(group, in_.backwards ? top - i : i);
    }
    build_removals(top);
  }

  void build_level(const std::string& group, int level) {
    const std::vector<std::string> services = services_at(level);
    std::vector<Key> keys;
    for (const auto& [key, draft] : drafts_) {
      if (draft.to && group_of(key.host) == group &&
          std::find(services.begin(), services.end(), key.service) != services.end())
        keys.push_back(key);
    }
    if (keys.empty()) return;
    const std::string prefix = fmt::format("{}level {}", group.empty() ? "" : group + " · ", level);
    hold(services, prefix);
    build_duties(group, keys, prefix, in_.backwards ? "contract" : "migrate", /*last_group=*/false);
    std::vector<int> away;
    for (const auto& [key, draft] : drafts_) {
      if (!draft.to && moved_.contains(key.service) &&
          std::find(services.begin(), services.end(), key.service) != services.end() && now(key)) {
        away.push_back(add_step(Action::stop, key, std::nullopt, "moves to another host"));
      }
    }
    add_wave(prefix + " · move away", std::move(away));
    build_batches(keys, prefix);
    build_duties(group, keys, prefix, in_.backwards ? "migrate" : "contract", /*last_group=*/true);
    let_go(group, level, prefix);
  }

  // Stops or drains what needs the providers of this level, dependents of dependents first.
  void hold(const std::vector<std::string>& providers, const std::string& prefix) {
    std::map<int, std::vector<Key>, std::greater<>> by_level;
    std::vector<std::string> open = providers;
    std::set<std::string> seen;
    while (!open.empty()) {
      const std::string provider = std::move(open.back());
      open.pop_back();
      const JointOutage* outage = outage_of(provider);
      if (outage == nullptr || !seen.insert(provider).second) continue;
      for (const std::string& dependent : outage->dependents) {
        // A dependent with an outage of its own takes its dependents along.
        open.push_back(dependent);
        for (const auto& [key, state] : now_) {
          if (key.service != dependent || state.mode != Mode::running ||
              !held_for_.try_emplace(key, provider).second)
            continue;
          by_level[level_before(dependent, 0)].push_back(key);
        }
      }
    }
    for (const auto& [level, keys] : by_level) {
      std::vector<int> steps;
      for (const Key& key : keys) {
        const bool stop = !drains(key.service);
        steps.push_back(add_step(stop ? Action::stop : Action::drain, key,
                                 in_mode(*now(key), stop ? Mode::stopped : Mode::drained),
                                 fmt::format("{} is away meanwhile", held_for_[key])));
      }
      add_wave(prefix + " · hold dependents", std::move(steps));
    }
  }

  // Lets held dependents run again, providers first, unless a change of their own follows in this
  // group or something that they need is still away.
  void let_go(const std::string& group, int level, const std::string& prefix) {
    std::map<int, std::vector<Key>> by_level;
    for (const auto& [key, provider] : held_for_) {
      const auto current = now(key);
      if (!current || current->mode == Mode::running) continue;
      const int own = levels_.contains(key.service) ? levels_.at(key.service) : 0;
      const auto draft = drafts_.find(key);
      const bool gone = draft != drafts_.end() && !draft->second.to;
      const bool later = draft != drafts_.end() && draft->second.to && !in_.backwards &&
                         group_of(key.host) == group && own > level;
      if (!gone && !later) by_level[own].push_back(key);
    }
    for (const auto& [own, keys] : by_level) {
      std::vector<int> steps;
      for (const Key& key : keys) {
        if (waits_for_provider(key.service, group)) continue;
        steps.push_back(add_step(Action::resume, key, in_mode(*now(key), Mode::running),
                                 fmt::format("{} is back", held_for_[key])));
        held_for_.erase(key);
      }
      add_wave(prefix + " · dependents go on", std::move(steps));
    }
  }

  // Something that the service needs has too few instances up, and will have more later; or it
  // goes away in this group once more.
  [[nodiscard]] bool waits_for_provider(const std::string& service,
                                        const std::string& group) const {
    const auto record = wanted_.services.find(service);
    if (record == wanted_.services.end()) return false;
    return std::any_of(
        record->second.edges.begin(), record->second.edges.end(), [&](const Edge& edge) {
          if (edge.kind != Edge::Kind::needs) return false;
          std::int64_t up = 0;
          bool comes_back = false;
          for (const auto& [key, state] : now_) {
            if (key.service != edge.service) continue;
            if (state.mode == Mode::running) ++up;
            const auto draft = drafts_.find(key);
            const bool stays = draft == drafts_.end() || draft->second.to.has_value();
            comes_back = comes_back || (stays && state.mode != Mode::running);
          }
          bool goes_away = false;
          for (const auto& [key, draft] : drafts_) {
            if (key.service != edge.service || !draft.to || now(key) == draft.to) continue;
            comes_back = true;
            const auto current = now(key);
            goes_away =
                goes_away || (outage_of(key.service) != nullptr && group_of(key.host) == group &&
                              (!current || current->manifest != draft.to->manifest));
          }
          return goes_away || (comes_back && up < needed(edge));
        });
  }

  // Hooks with scope 'service': once per service and rollout, before the first or after the last
  // instance.
  void build_duties(const std::string& group, const std::vector<Key>& keys,
                    const std::string& prefix, const std::string& hook, bool last_group) {
    std::vector<int> steps;
    std::set<std::string> seen;
    for (const Key& key : keys) {
      if (!seen.insert(key.service).second) continue;
      if (group != (last_group ? last_group_of(key.service) : first_group_of(key.service)))
        continue;
      // Where the batches have run already, the state before them is still in the steps.
      const auto before =
          before_[key.service].is_none() ? state_before(key.service) : before_[key.service];
      before_[key.service] = before;
      const Digest after = wanted_.services.at(key.service).manifest;
      const Manifest* old_manifest = manifest(before);
      const Manifest* new_manifest = manifest(after);
      if (before.is_none() || before == after || old_manifest == nullptr || new_manifest == nullptr)
        continue;
      if (old_manifest->data_version == new_manifest->data_version) continue;
      const Manifest* owner = in_.backwards ? old_manifest : new_manifest;
      const Hook* found = owner->hook(hook);
      if (found == nullptr || found->scope != Hook::Scope::service) continue;
      Duty duty;
      duty.hook = hook;
      duty.direction = in_.backwards ? "down" : "up";
      duty.owner = in_.backwards ? before : after;
      duty.from = before;
      duty.to = after;
      const auto state = now(key);
      const int id = add_step(Action::duty, key, state,
                              fmt::format("data version {} → {}, once for all instances",
                                          old_manifest->data_version, new_manifest->data_version));
      plan_.steps.back().duty = std::move(duty);
      plan_.steps.back().disrupts = false;
      plan_.steps.back().keep_healthy = 0;
      steps.push_back(id);
    }
    add_wave(prefix + " · once per service", std::move(steps));
  }

  [[nodiscard]] Digest state_before(const std::string& service) const {
    for (const auto& [key, state] : now_) {
      if (key.service == service && drafts_.contains(key)) return state.manifest;
    }
    return {};
  }

  [[nodiscard]] std::string first_group_of(const std::string& service) const {
    std::string out = "\xff";
    for (const auto& [key, draft] : drafts_) {
      if (key.service == service && draft.to) out = std::min(out, group_of(key.host));
    }
    return out;
  }

  [[nodiscard]] std::string last_group_of(const std::string& service) const {
    std::string out;
    for (const auto& [key, draft] : drafts_) {
      if (key.service == service && draft.to) out = std::max(out, group_of(key.host));
    }
    return out;
  }

  // Batches are counted per class. New instances protect nothing yet: they all come with the first
  // batch.
  void build_batches(const std::vector<Key>& keys, const std::string& prefix) {
    std::map<std::string, std::set<std::string>> hosts_by_class;
    std::map<std::string, bool> is_class;
    for (const Key& key : keys) {
      if (now(key)) hosts_by_class[wanted_.services.at(key.service).host_class].insert(key.host);
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
      auto host = hosts.begin();
      for (std::size_t b = 0; b < sizes.size(); ++b) {
        for (std::size_t n = 0; n < sizes[b]; ++n) batch_of[{host_class, *host++}] = b;
      }
      count = std::max(count, sizes.size());
    }
    for (std::size_t b = 0; b < count; ++b) {
      std::vector<int> steps;
      bool upgrades = false;
      for (const Key& key : keys) {
        const auto it = batch_of.find({wanted_.services.at(key.service).host_class, key.host});
        const std::size_t batch = it == batch_of.end() ? 0 : it->second;
        if (batch != b) continue;
        const Draft& draft = drafts_.at(key);
        upgrades = upgrades || it != batch_of.end();
        steps.push_back(add_step(draft.action, key, draft.to, draft.reason));
      }
      const Duration soak = upgrades && !in_.backwards ? wanted_.policy.soak : Duration{0};
      add_wave(count > 1 ? fmt::format("{} · batch {} of {}", prefix, b + 1, count) : prefix,
               std::move(steps), soak);
    }
  }

  void build_removals(int top) {
    std::map<int, std::vector<Key>, std::greater<>> by_level;
    for (const auto& [key, draft] : drafts_) {
      if (draft.to || !now(key)) continue;
      by_level[level_before(key.service, top)].push_back(key);
    }
    for (const auto& [level, keys] : by_level) {
      std::vector<int> steps;
      for (const Key& key : keys)
        steps.push_back(add_step(Action::remove, key, std::nullopt, drafts_.at(key).reason));
      add_wave(fmt::format("remove · level {}", level), std::move(steps));
    }
  }

  // What is stopped or removed is still bound as it was before: that order counts, not the new one.
  [[nodiscard]] int level_before(const std::string& service, int otherwise) const {
    if (const auto it = base_levels_.find(service); it != base_levels_.end()) return it->second;
    if (const auto it = levels_.find(service); it != levels_.end()) return it->second;
    return otherwise;
  }

  void finish() {
    plan_.site = wanted_.site;
    plan_.base = in_.base != nullptr ? in_.base->number : 0;
    plan_.backwards = in_.backwards;
    plan_.policy = wanted_.policy;
    std::set<std::string> unreachable;
    Json::Array fingerprint;
    for (const Step& step : plan_.steps) {
      const auto host = in_.observed->find(step.host);
      if (host == in_.observed->end() || !host->second.reachable) unreachable.insert(step.host);
      plan_.budgets[step.host] = wanted_.hosts.at(step.host).classes;
      fingerprint.push_back(Json::array_of(
          std::vector<std::string>{step.service, step.host, std::string(action_name(step.action)),
                                   step.from ? instance_state_to_json(*step.from).dump() : "",
                                   step.to ? instance_state_to_json(*step.to).dump() : ""}));
    }
    plan_.unreachable.assign(unreachable.begin(), unreachable.end());
    for (const auto& [name, hosts] : wanted_.classes)
      plan_.class_sizes[name] = static_cast<std::int64_t>(hosts.size());
    std::sort(plan_.detached.begin(), plan_.detached.end());
    Json waves = Json::array();
    for (const Wave& wave : plan_.waves) waves.push_back(wave.name);
    const Json inputs = Json::object(
        {{"steps", fingerprint}, {"waves", waves}, {"policy", policy_to_json(wanted_.policy)}});
    plan_.inputs = Digest::of(inputs.dump());
  }

  const PlanInput& in_;
  const Generation& wanted_;
  Plan plan_;
  std::map<std::string, int> levels_;
  std::map<std::string, int> base_levels_;  // of what ran before
  std::map<Key, InstanceState> now_;  // observed, then as it will be after the steps made so far
  std::map<std::string, std::int64_t> running_;  // service → running instances before the plan
  std::map<Key, Draft> drafts_;
  std::map<std::string, std::int64_t> leaving_;
  std::set<std::string> moved_;
  std::set<std::string> stopped_;  // dependents that are stopped, not only drained, in an outage
  std::map<Key, std::string> held_for_;
  std::map<std::string, Digest> before_;
  std::map<std::pair<Digest, Digest>, std::string> reasons_;  // from → to
  std::vector<std::string> groups_;
};

}  // namespace

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

std::set<std::string> Plan::services() const {
  std::set<std::string> out;
  for (const Step& step : steps) out.insert(step.service);
  return out;
}

Result<Plan> make_plan(const PlanInput& input) { return Planner(input).make(); }

}  // namespace consort::plan
