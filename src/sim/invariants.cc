// The invariants (SCENARIOS.md), checked on the machines while the world turns.
#include <fmt/format.h>

#include <algorithm>

#include "sim/world.h"

namespace consort::sim {

int World::running_instances(const std::string& service) const {
  int count = 0;
  for (const auto& [host, agent] : agents_) {
    const auto it = agent.machines.find(service);
    if (it != agent.machines.end() && it->second.running) ++count;
  }
  return count;
}

// I1: no instance starts before everything it needs is healthy.
void World::check_start(const std::string& host, const plan::Manifest& manifest) {
  for (const auto& [name, need] : manifest.needs) {
    const std::string provider = need.string_or("service");
    if (running_instances(provider) == 0)
      violate("I1", fmt::format("{}@{} starts while no instance of {} runs", manifest.service, host,
                                provider));
  }
}

// I13: those whom an instance needs let it in before it starts.
void World::check_admission(const std::string& host, const plan::Manifest& manifest) {
  if (!controller_) return;
  std::string address;
  for (const auto& [id, rollout] : controller_->rollouts()) {
    // The candidate of an open rollout knows the host, the current generation perhaps not yet.
    const auto stored = controller_disk_.find("candidates/" + id);
    if (stored == controller_disk_.end()) continue;
    const auto candidate = plan::generation_from_json(*parse_json(stored->second));
    if (candidate->hosts.contains(host)) address = candidate->hosts.at(host).address;
  }
  for (const auto& [name, need] : manifest.needs) {
    const std::string provider = need.string_or("service");
    for (const auto& [other, agent] : agents_) {
      const auto machine = agent.machines.find(provider);
      if (machine == agent.machines.end() || !machine->second.running) continue;
      for (const plan::Admission& rule : agent.rules) {
        if (rule.service != provider || rule.mode != plan::AccessMode::enforce ||
            std::count(rule.sources.begin(), rule.sources.end(), address) > 0)
          continue;
        violate("I13", fmt::format("{}@{} ({}) starts, and {} on {} does not let it in",
                                   manifest.service, host, address, provider, other));
      }
    }
  }
}

// I13: at rest every host lets in exactly those who are declared.
void World::check_access() {
  if (!controller_ || controller_->current() == nullptr) return;
  plan::AccessInput input;
  input.generations = {controller_->current()};
  const auto table = plan::admissions(input);
  for (const auto& [host, record] : controller_->current()->hosts) {
    const auto wanted = table.find(host);
    const plan::Admissions nothing;
    if (agents_.at(host).rules != (wanted == table.end() ? nothing : wanted->second))
      violate("I13", fmt::format("{} does not let in whom the generation declares", host));
  }
}

bool World::in_declared_outage(const std::string& service) const {
  if (!controller_) return true;  // nobody to ask: the plan that is under way is on its disk
  for (const auto& [id, rollout] : controller_->rollouts()) {
    if (rollout.result != rollout::Result::open) continue;
    for (const plan::JointOutage& outage : rollout.plan.outages) {
      for (const auto* named : {&outage.dependents, &outage.affected}) {
        if (std::find(named->begin(), named->end(), service) != named->end()) return true;
      }
      if (outage.provider == service) return true;
    }
  }
  return false;
}

// I2: a provider does not fall to nothing while a dependent still serves against it, save in a
// declared joint outage (where dependents are drained or stopped first).
void World::check_stop(const std::string& host, const std::string& service) {
  const Machine& machine = agents_.at(host).machines.at(service);
  if (!machine.running || running_instances(service) > 1) return;
  for (const auto& [name, agent] : agents_) {
    for (const auto& [dependent, other] : agent.machines) {
      if (!other.running || !other.serving) continue;
      for (const auto& [edge, need] : manifests_.at(*other.running).needs) {
        if (need.string_or("service") != service) continue;
        const bool drains = manifests_.at(*other.running).hook("drain") != nullptr;
        if (in_declared_outage(service) && drains) continue;  // drained by its own mark, below
        if (!in_declared_outage(service))
          violate("I2", fmt::format("the last instance of {} stops on {} while {}@{} serves",
                                    service, host, dependent, name));
      }
    }
  }
}

// I11: never more holders where something is lost than slots.
void World::check_budgets() {
  if (!controller_) return;
  const budget::Censuses censuses = controller_->censuses();
  for (const auto& [name, budget] : controller_->budgets()) {
    const auto census = censuses.find(name);
    if (census == censuses.end()) continue;
    const std::int64_t slots = budget::amount_of(budget.slots, census->second.hosts);
    if (budget::paying_holders(budget) <= slots) continue;
    std::string names;
    for (const auto& [host, reasons] : budget.holders) {
      names += " " + host;
      for (const auto& reason : reasons) names += "/" + reason.first;
    }
    violate("I11", fmt::format("budget {} has {} holders and {} slots:{}", name,
                               budget::paying_holders(budget), slots, names));
  }
}

bool World::holds_slot(const std::string& host) const {
  const auto& budgets = controller_->budgets();
  const auto budget = budgets.find(classes_.at(host));
  return budget != budgets.end() &&
         (budget->second.holders.contains(host) ||
          (budget->second.joint && budget->second.joint->hosts.contains(host)));
}

// Until its transition has ended; how the service is then is what the controller hears of.
bool World::is_taken(const std::string& host, const std::string& service) const {
  const Agent& agent = agents_.at(host);
  const auto record = agent.disk.find("instances/" + service);
  if (record == agent.disk.end()) return false;
  const auto instance = agent::instance_from_json(*parse_json(record->second));
  const auto taken = agent.taken.find(service);
  return instance && instance->transition && taken != agent.taken.end() &&
         instance->transition->attempt == taken->second;
}

// Whether the rollout that this attempt belongs to has said that the service will be away.
bool World::was_declared(const std::string& attempt, const std::string& service) const {
  if (!controller_) return true;
  const auto rollout = controller_->rollouts().find(attempt.substr(0, attempt.find('/')));
  if (rollout == controller_->rollouts().end()) return true;
  const auto& outages = rollout->second.plan.outages;
  return std::any_of(outages.begin(), outages.end(), [&](const plan::JointOutage& outage) {
    return outage.provider == service ||
           std::count(outage.dependents.begin(), outage.dependents.end(), service) > 0;
  });
}

// I4: whoever takes away what serves holds a slot, whenever it does so; and never are more hosts of
// a class taken away at once than it has slots. What a rollout has brought anew and takes back was
// not there before.
void World::check_taking(const std::string& host, const agent::PerformStep& work) {
  Agent& agent = agents_.at(host);
  const Machine& machine = agent.machines[work.service];
  const transition::Step step = work.order.step;
  const bool takes = (step == transition::Step::drain || step == transition::Step::stop) &&
                     machine.running && machine.serving && work.transition.to &&
                     !work.transition.mending;
  if (!takes || agent.on_its_own) return;
  agent.taken[work.service] = work.transition.attempt;
  if (!controller_) return;
  if (!holds_slot(host))
    violate("I4", fmt::format("{} takes {} away for {} and holds no slot", host, work.service,
                              work.transition.attempt));
  const std::string& host_class = classes_.at(host);
  const auto census = controller_->censuses()[host_class];
  const auto budget = controller_->budgets().find(host_class);
  if (budget == controller_->budgets().end()) return;
  std::string names;
  std::int64_t count = 0;
  for (const auto& [other, its] : agents_) {
    if (classes_.at(other) != host_class) continue;
    const auto taken =
        std::find_if(its.taken.begin(), its.taken.end(), [&, &who = other](const auto& t) {
          return is_taken(who, t.first) && !was_declared(t.second, t.first);
        });
    if (taken == its.taken.end()) continue;
    ++count;
    names += fmt::format(" {} ({} by {})", other, taken->first, taken->second);
  }
  const std::int64_t slots = budget::amount_of(budget->second.slots, census.hosts);
  if (count > slots)
    violate("I4", fmt::format("{} hosts of {} are taken away, and it has {} slots:{}", count,
                              host_class, slots, names));
}

void World::check_slots_are_free() {
  if (!controller_) return;
  for (const auto& [name, budget] : controller_->budgets()) {
    for (const auto& [host, reasons] : budget.holders)
      violate("I11", fmt::format("at rest {} holds a slot of {} for {}", host, name,
                                 reasons.begin()->first));
    if (budget.joint) violate("I11", fmt::format("at rest {} is held as a whole", name));
  }
}

// I5: the record is true.
void World::check_truth() {
  for (const auto& [host, agent] : agents_) {
    if (!agent.core) continue;
    for (const auto& [service, instance] : agent.core->instances()) {
      const auto it = agent.machines.find(service);
      const Machine machine = it == agent.machines.end() ? Machine{} : it->second;
      const bool should_run = instance.applied && instance.applied->mode != plan::Mode::stopped &&
                              manifests_.at(instance.applied->manifest).runs();
      const std::optional<Digest> recorded =
          should_run ? std::optional(instance.applied->manifest) : std::nullopt;
      if (machine.running != recorded) {
        violate("I5", fmt::format("{}@{}: the record says {}, the machine runs {}", service, host,
                                  recorded ? recorded->brief() : "nothing",
                                  machine.running ? machine.running->brief() : "nothing"));
      }
    }
  }
}

rollout::Result World::result_of(const std::string& rollout) const {
  if (!controller_ || !controller_->rollouts().contains(rollout)) return rollout::Result::open;
  return controller_->rollouts().at(rollout).result;
}

std::string World::summary_of(const std::string& rollout) const {
  if (!controller_ || !controller_->rollouts().contains(rollout)) return "";
  return controller_->rollouts().at(rollout).summary;
}

const Machine& World::machine(const std::string& host, const std::string& service) const {
  static const Machine nothing;
  const Agent& agent = agents_.at(host);
  const auto it = agent.machines.find(service);
  return it == agent.machines.end() ? nothing : it->second;
}

std::set<std::string> World::take_touched() { return std::exchange(touched_, {}); }

}  // namespace consort::sim
