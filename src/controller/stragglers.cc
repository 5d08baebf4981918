// Whom rollouts leave behind: hosts that were not reached, or have not answered. They keep their
// slots, and what becomes of them when they are there again.
#include <fmt/format.h>

#include <algorithm>

#include "controller/core.h"

namespace consort::controller {
namespace {

constexpr std::string_view kStays = " stays";

std::string tail_key(const std::string& host, const std::string& service) {
  return fmt::format("tail/{}/{}", host, service);
}

bool halted(const rollout::Rollout& rollout) {
  return !rollout.reverting && rollout.result == rollout::Result::inconsistent;
}

}  // namespace

std::string tail_reason(const std::string& host, const std::string& service) {
  return fmt::format("converge:{}/{}", host, service);
}

std::string straggler_to_text(const Straggler& straggler) {
  return straggler.rollout +
         std::string(straggler.fate == Straggler::Fate::stays ? kStays : std::string_view());
}

Straggler straggler_from_text(const std::string& text) {
  if (!text.ends_with(kStays)) return {text, Straggler::Fate::converges};
  return {text.substr(0, text.size() - kStays.size()), Straggler::Fate::stays};
}

void Core::leave_behind(const plan::Step& step, Straggler straggler, Output& out) {
  out.writes[tail_key(step.host, step.service)] = straggler_to_text(straggler);
  tail_.insert_or_assign({step.host, step.service}, std::move(straggler));
}

Core::Tail::iterator Core::forget_straggler(Tail::iterator straggler, Output& out) {
  const auto& [host, service] = straggler->first;
  if (budget::release(budgets_, host, tail_reason(host, service))) save_budgets(out);
  out.writes[tail_key(host, service)] = std::nullopt;
  return tail_.erase(straggler);
}

void Core::forget_tail(const std::string& host, Output& out) {
  auto it = tail_.lower_bound({host, ""});
  while (it != tail_.end() && it->first.first == host) it = forget_straggler(it, out);
}

void Core::leave_tail(const rollout::Rollout& rollout, Instant now, Output& out) {
  if (halted(rollout)) {
    // Whom it has brought somewhere stays there, whoever had left it behind before.
    for (const plan::Step& step : rollout.forward.steps) {
      const auto it = tail_.find({step.host, step.service});
      if (it != tail_.end() && rollout.forward.runs[static_cast<std::size_t>(step.id)].sent)
        forget_straggler(it, out);
    }
  }
  for (const plan::Step& step : rollout::open_tail(rollout))
    leave_behind(step, {rollout.id, Straggler::Fate::converges}, out);
  leave_unanswered(rollout, now, out);
}

// Who was told something and has not answered may be at it: it keeps its slot until it is known how
// it is.
void Core::leave_unanswered(const rollout::Rollout& rollout, Instant now, Output& out) {
  const std::string held = "rollout:" + rollout.id;
  const std::string text = fmt::format("was told by rollout {} and does not answer", rollout.id);
  for (const plan::Step& step : rollout::unanswered(rollout)) {
    if (!tail_.contains({step.host, step.service}))
      leave_behind(step, {rollout.id, Straggler::Fate::stays}, out);
    const std::string reason = tail_reason(step.host, step.service);
    if (budget::hold_for(budgets_, step.host, held, reason, text)) save_budgets(out);
    // It was part of an outage, say.
    hold_slot(rollout, {step.host, reason, text}, now, out);
  }
  if (budget::release_all(budgets_, held)) save_budgets(out);
}

// Whoever may be away holds a slot, come what may: where none is left, one that counts for those
// that are well.
void Core::hold_slot(const rollout::Rollout& rollout, budget::Claim claim, Instant now,
                     Output& out) {
  const auto classes = rollout.plan.budgets.find(claim.host);
  if (classes == rollout.plan.budgets.end()) return;
  budget::Censuses sizes;
  for (const auto& [name, census] : censuses()) sizes[name].hosts = census.hosts;
  bool granted = budget::acquire(budgets_, classes->second, sizes, claim, now).granted;
  claim.costs_nothing = true;
  granted = granted || budget::acquire(budgets_, classes->second, sizes, claim, now).granted;
  if (granted) save_budgets(out);
}

// A slot is given back before it is written down why (commit_order.h): a leader that died in
// between has left hosts without it that the next one has not heard of yet.
void Core::hold_slots_of_the_unanswered(Instant now, Output& out) {
  for (const auto& [id, rollout] : rollouts_) {
    if (rollout.result != rollout::Result::open) continue;
    const std::string reason = "rollout:" + id;
    for (const plan::Step& step : rollout::unanswered(rollout)) {
      const bool holds_one = std::any_of(budgets_.begin(), budgets_.end(), [&](const auto& item) {
        const budget::Budget& budget = item.second;
        const auto holder = budget.holders.find(step.host);
        return (holder != budget.holders.end() && holder->second.contains(reason)) ||
               (budget.joint && budget.joint->reason == reason &&
                budget.joint->hosts.contains(step.host));
      });
      if (step.disrupts && !holds_one)
        hold_slot(rollout, {step.host, reason, "was told before and has not answered"}, now, out);
    }
  }
}

// It has what it was told last, and has said what became of that. What it said before it was away
// may not hold any more.
bool Core::is_at_rest(const std::string& host, const std::string& service) const {
  const plan::HostReport& said = hosts_.at(host).report;
  const auto report = said.instances.find(service);
  if (report != said.instances.end() && !report->second.step.empty()) return false;
  const auto target = targets_.find(host);
  if (target == targets_.end()) return true;
  if (said.epoch != target->second.epoch || said.seq != target->second.seq) return false;
  const auto entry = target->second.instances.find(service);
  return entry == target->second.instances.end() || has_answered(host, service, entry->second);
}

// Stragglers of a partial rollout converge to the current generation when they return, one try
// each, under the budget.
void Core::converge_tail(Instant now, Output& out) {
  // Before anything was deployed nothing is wanted.
  const plan::Generation nothing;
  const plan::Generation* generation = current() == nullptr ? &nothing : current();
  const budget::Censuses counts = censuses();
  for (auto it = tail_.begin(); it != tail_.end();) {
    const auto& [host, service] = it->first;
    const auto state = hosts_.find(host);
    // What has left the inventory is nobody's to change.
    if (generation != &nothing && !generation->hosts.contains(host)) {
      it = forget_straggler(it, out);
      continue;
    }
    if (state == hosts_.end() || !state->second.reachable || !state->second.heard) {
      ++it;
      continue;
    }
    const bool rests = is_at_rest(host, service);
    if (it->second.fate == Straggler::Fate::stays) {
      if (rests)
        tell(out,
             {0, now, "straggler", "", service, host,
              fmt::format("has answered to rollout {}, and stays as it is", it->second.rollout)});
      if (rests) settle_target(host, service, out);
      it = rests ? forget_straggler(it, out) : std::next(it);
      continue;
    }
    if (!check_locks({service})) {
      // A rollout changes it, which must not wait for this slot.
      if (rests && budget::release(budgets_, host, tail_reason(host, service))) {
        save_budgets(out);
        wake_at(now);
      }
      ++it;
      continue;
    }
    it = converge(it, *generation, counts, now, out);
  }
}

Core::Tail::iterator Core::converge(Tail::iterator straggler, const plan::Generation& generation,
                                    const budget::Censuses& counts, Instant now, Output& out) {
  const auto& [host, service] = straggler->first;
  // One try per generation; never a name that a host remembers from another life of the store.
  const std::string attempt =
      fmt::format("{}/tail/g{}", straggler->second.rollout, generation.number);
  const auto record = generation.services.find(service);
  const bool placed =
      record != generation.services.end() &&
      std::binary_search(record->second.hosts.begin(), record->second.hosts.end(), host);
  std::optional<plan::InstanceState> wanted;
  if (placed) wanted = plan::wanted_state(generation, record->second, host);
  const plan::HostReport& said = hosts_.at(host).report;
  const auto found = said.instances.find(service);
  const plan::InstanceReport report =
      found == said.instances.end() ? plan::InstanceReport() : found->second;
  const bool rests = report.applied == wanted && is_at_rest(host, service);
  const bool answered = report.outcome && report.outcome->attempt == attempt;
  if (rests || answered) {
    tell(out, {0, now, "straggler", "", service, host,
               rests ? "has caught up"
                     : fmt::format("could not catch up: {}", report.outcome->message)});
    settle_target(host, service, out);
    return forget_straggler(straggler, out);
  }
  const auto target = targets_.find(host);
  const plan::TargetEntry* told = nullptr;
  if (target != targets_.end()) {
    const auto entry = target->second.instances.find(service);
    if (entry != target->second.instances.end()) told = &entry->second;
  }
  const bool is_told = told != nullptr && !has_answered(host, service, *told);
  // What is done once for all instances comes first.
  if (is_told && (told->attempt == attempt || told->duty)) return std::next(straggler);
  // Also where it has what is wanted, but was told something else and may begin with that.
  if (report.applied == wanted && !(is_told && told->wanted != wanted)) return std::next(straggler);
  const auto classes = generation.hosts.find(host);
  const bool disrupts =
      report.applied && report.applied->mode == plan::Mode::running && report.applied != wanted;
  const bool is_sick = report.health == plan::Health::unhealthy;
  const budget::Claim claim{host, tail_reason(host, service),
                            fmt::format("catches up with generation {}", generation.number),
                            is_sick && !report.serves};
  const bool may_go =
      (!wanted || wanted->mode != plan::Mode::running || report.applied == wanted ||
       has_what_it_needs(generation, service)) &&
      (!disrupts || is_sick || can_be_done_without(generation, service, host)) &&
      (!disrupts || classes == generation.hosts.end() ||
       budget::acquire(budgets_, classes->second.classes, counts, claim, now).granted);
  if (may_go) {
    save_budgets(out);
    set_target(host, service, {wanted, attempt, std::nullopt}, generation.statement, out);
  } else if (is_at_rest(host, service) &&
             budget::release(budgets_, host, tail_reason(host, service))) {
    // It may wait for long, and nobody else shall.
    save_budgets(out);
    wake_at(now);
  }
  return std::next(straggler);
}

// Instances that are healthy, and will stay so: what was told to change is not counted.
std::int64_t Core::steady(const std::string& service, const std::string& except_host) const {
  return std::count_if(hosts_.begin(), hosts_.end(), [&](const auto& item) {
    const auto& [name, host] = item;
    const auto report = host.report.instances.find(service);
    return name != except_host && host.reachable && host.heard &&
           report != host.report.instances.end() && report->second.applied &&
           report->second.applied->mode == plan::Mode::running &&
           report->second.health == plan::Health::healthy && is_at_rest(name, service);
  });
}

// I1: as in a rollout.
bool Core::has_what_it_needs(const plan::Generation& generation, const std::string& service) const {
  const auto& edges = generation.services.at(service).edges;
  return std::all_of(edges.begin(), edges.end(), [&](const plan::Edge& edge) {
    return edge.kind != plan::Edge::Kind::needs || !generation.services.contains(edge.service) ||
           steady(edge.service, "") >= std::max<std::int64_t>(edge.quorum, 1);
  });
}

// I2: where that takes a declared outage, it takes another deploy.
bool Core::can_be_done_without(const plan::Generation& generation, const std::string& service,
                               const std::string& host) const {
  const auto runs = [&](const std::string& dependent) {
    return std::any_of(hosts_.begin(), hosts_.end(), [&](const auto& item) {
      const auto report = item.second.report.instances.find(dependent);
      return report != item.second.report.instances.end() && report->second.applied &&
             report->second.applied->mode == plan::Mode::running;
    });
  };
  const std::int64_t others = steady(service, host);
  return std::none_of(
      generation.services.begin(), generation.services.end(), [&](const auto& dependent) {
        const auto& edges = dependent.second.edges;
        return std::any_of(edges.begin(), edges.end(), [&](const plan::Edge& edge) {
          return edge.kind == plan::Edge::Kind::needs && edge.service == service &&
                 others < std::max<std::int64_t>(edge.quorum, 1) && runs(dependent.first);
        });
      });
}

}  // namespace consort::controller
