#include "agent/core.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/json_reader.h"

namespace consort::agent {
namespace {

constexpr std::size_t kKeptDuties = 32;

// Where in its history this manifest came first; later than all when it is new here.
std::size_t age(const Instance& instance, const Digest& manifest) {
  return static_cast<std::size_t>(
      std::find(instance.history.begin(), instance.history.end(), manifest) -
      instance.history.begin());
}

// Whether this attempt has seen the service at work, or tried to.
bool has_tried_it(const transition::Transition& journal) {
  using transition::Step;
  for (const auto* list : {&journal.forward, &journal.back}) {
    for (const transition::StepRecord& record : *list) {
      const bool tries = record.step == Step::start || record.step == Step::validate ||
                         record.step == Step::start_old || record.step == Step::validate_old;
      if (tries && record.progress != transition::Progress::planned) return true;
    }
  }
  return false;
}

// An attempt that had nothing to do says nothing about how a service that runs is.
void note_health(Instance& instance, const transition::Transition& journal,
                 const std::optional<plan::InstanceState>& before, const transition::Ended& end) {
  const auto runs = [](const std::optional<plan::InstanceState>& state) {
    return state && state->mode == plan::Mode::running;
  };
  const bool works = end.outcome.result == plan::Outcome::Result::done ||
                     end.outcome.result == plan::Outcome::Result::reverted;
  if (works && runs(before) && runs(end.applied) && !has_tried_it(journal)) return;
  instance.health = !runs(end.applied)      ? plan::Health::unknown
                    : !works                ? plan::Health::unhealthy
                    : has_tried_it(journal) ? plan::Health::healthy
                                            : plan::Health::unknown;
  instance.health_reason = works ? "" : end.outcome.message;
}

}  // namespace

Json instance_to_json(const Instance& instance) {
  Json::Array history;
  for (const Digest& digest : instance.history) history.emplace_back(digest.str());
  Json::Object duties;
  for (const auto& [token, outcome] : instance.duties)
    duties.emplace(token, plan::outcome_to_json(outcome));
  return Json::object(
      {{"applied", instance.applied ? plan::instance_state_to_json(*instance.applied) : Json()},
       {"history", history},
       {"hasData", instance.has_data},
       {"keepsData", instance.keeps_data},
       {"outcome", instance.outcome ? plan::outcome_to_json(*instance.outcome) : Json()},
       {"duties", duties},
       {"dutyOrder", Json::array_of(instance.duty_order)},
       {"transition",
        instance.transition ? transition::transition_to_json(*instance.transition) : Json()},
       {"owed", instance.owed ? transition::transition_to_json(*instance.owed) : Json()}});
}

Result<Instance> instance_from_json(const Json& json) {
  JsonReader reader(json, "instance");
  Instance out;
  if (const Json* applied = reader.any("applied"))
    out.applied = TRY(plan::instance_state_from_json(*applied, "applied"));
  for (const std::string& digest : reader.strings("history"))
    out.history.push_back(TRY(Digest::parse(digest)));
  out.has_data = reader.boolean("hasData", false);
  // A record of an older agent does not say it.
  out.keeps_data = reader.boolean("keepsData", !out.history.empty());
  if (const Json* outcome = reader.any("outcome"))
    out.outcome = TRY(plan::outcome_from_json(*outcome, "outcome"));
  for (const auto& [token, outcome] : reader.object("duties"))
    out.duties.emplace(token, TRY(plan::outcome_from_json(outcome, "duties")));
  if (reader.any("dutyOrder") != nullptr) {
    out.duty_order = reader.strings("dutyOrder");
  } else {
    for (const auto& [token, outcome] : out.duties) out.duty_order.push_back(token);
  }
  if (const Json* journal = reader.any("transition"))
    out.transition = TRY(transition::transition_from_json(*journal));
  if (const Json* owed = reader.any("owed"))
    out.owed = TRY(transition::transition_from_json(*owed));
  TRYV(reader.finish(UnknownMembers::ignore));
  return out;
}

namespace {

// The only way out is a person's: without the record nobody knows what of the service's data is
// where, which version runs, and whether a change was under way.
std::string remedy_for(const std::string& service, const std::string& key, const Error& error) {
  return fmt::format(
      "the agent's record state/{0}.json below its data folder is damaged ({1}); nothing of {2} is "
      "touched until you put the file back from a backup and start the agent again, or look at the "
      "host and remove the file: then {2} is installed anew over what is there",
      key, error.message(), service);
}

}  // namespace

Result<Core> Core::restore(const Store& store) {
  Core core;
  for (const auto& [key, value] : store) {
    const auto load = [&, &key = key, &value = value]() -> Status {
      const Json json = TRY(parse_json(value, fmt::format("state/{}.json", key)));
      if (key == "target") core.target_ = TRY(plan::target_from_json(json));
      if (key.starts_with("instances/"))
        core.instances_.emplace(key.substr(10), TRY(instance_from_json(json)));
      return {};
    };
    auto status = load();
    if (status) continue;
    if (key.starts_with("instances/")) {
      const std::string service = key.substr(10);
      core.damaged_.emplace(service, remedy_for(service, key, status.error()));
      continue;
    }
    return fail(std::move(status).error().context(fmt::format("in the agent's record '{}'", key)))
        .hint("delete that file below the agent's data folder: the controller sends it anew");
  }
  return core;
}

Output Core::on_record_removed(const std::string& service, bool has_data) {
  Output out;
  if (damaged_.erase(service) == 0) return out;
  Instance& instance = instances_[service];
  instance.has_data = instance.keeps_data = has_data;
  out.report = true;
  save(service, out);
  forget_what_left_no_trace(out);
  consider(service, out);
  return out;
}

void Core::save(const std::string& service, Output& out) const {
  out.writes["instances/" + service] = instance_to_json(instances_.at(service)).dump();
}

// What has gone without a trace needs no record, except its outcome while the target names it.
// Where there are data, has_data and the history still tell their story to the next installation.
void Core::forget_what_left_no_trace(Output& out) {
  std::erase_if(instances_, [&](const auto& item) {
    const auto& [service, instance] = item;
    if (instance.applied || instance.transition || instance.owed || instance.loading ||
        instance.has_data || instance.keeps_data || target_.instances.contains(service))
      return false;
    out.writes["instances/" + service] = std::nullopt;
    return true;
  });
}

Output Core::start() {
  Output out;
  out.report = true;
  ordered_ = guarded();
  for (auto& [service, instance] : instances_) {
    if (!instance.transition) continue;
    instance.transition = transition::recover(std::move(*instance.transition));
    save(service, out);
    go_on(service, out);
  }
  forget_what_left_no_trace(out);
  for (const auto& [service, entry] : target_.instances) consider(service, out);
  order_guard(out);
  return out;
}

Result<Output> Core::on_target(const plan::Target& target) {
  const auto order = std::pair(target.epoch, target.seq);
  const auto own = std::pair(target_.epoch, target_.seq);
  if (order < own) {
    return fail(ErrorCode::refused,
                fmt::format("target ({}, {}) is older than ({}, {}), which this host holds already",
                            target.epoch, target.seq, target_.epoch, target_.seq))
        .hint("another controller has taken over this host");
  }
  Output out;
  if (order == own) return out;
  std::optional<plan::Admissions> kept = std::move(target_.admissions);
  target_ = target;
  if (!target_.admissions) target_.admissions = std::move(kept);
  out.writes["target"] = plan::target_to_json(target_).dump();
  out.report = true;
  forget_what_left_no_trace(out);
  for (const auto& [service, entry] : target_.instances) consider(service, out);
  order_guard(out);
  return out;
}

bool Core::is_due(const Instance& instance, const plan::TargetEntry& entry) const {
  if (entry.duty && !instance.duties.contains(entry.duty->token)) return true;
  return !instance.outcome || instance.outcome->attempt != entry.attempt;
}

// Begins what is due for this service, unless something is under way.
void Core::consider(const std::string& service, Output& out) {
  const auto entry = target_.instances.find(service);
  if (entry == target_.instances.end() || damaged_.contains(service)) return;
  Instance& instance = instances_[service];
  if (instance.transition || instance.loading || !is_due(instance, entry->second)) return;
  LoadManifests load{service, {}};
  if (instance.owed) {
    for (const auto& state : {instance.owed->from, instance.owed->to})
      if (state) load.digests.insert(state->manifest);
  } else if (entry->second.duty && !instance.duties.contains(entry->second.duty->token)) {
    for (const Digest& digest :
         {entry->second.duty->owner, entry->second.duty->from, entry->second.duty->to}) {
      if (!digest.is_none()) load.digests.insert(digest);
    }
  } else {
    if (instance.applied) load.digests.insert(instance.applied->manifest);
    if (entry->second.wanted) load.digests.insert(entry->second.wanted->manifest);
  }
  instance.loading = true;
  out.work.emplace_back(std::move(load));
}

Output Core::on_manifests_failed(const std::string& service, const std::string& why) {
  Output out;
  Instance& instance = instances_[service];
  instance.loading = false;
  const auto entry = target_.instances.find(service);
  if (entry == target_.instances.end()) return out;
  instance.outcome = plan::Outcome{};
  instance.outcome->result = plan::Outcome::Result::waiting;
  instance.outcome->step = "fetch";
  instance.outcome->message = why;
  out.report = true;
  return out;
}

Output Core::retry() {
  Output out;
  for (const auto& [service, entry] : target_.instances) consider(service, out);
  return out;
}

Output Core::on_manifests(const std::string& service,
                          const std::map<Digest, plan::Manifest>& manifests) {
  learn(manifests);
  Output out = begin_due(service, manifests);
  order_guard(out);
  return out;
}

Output Core::begin_due(const std::string& service,
                       const std::map<Digest, plan::Manifest>& manifests) {
  Output out;
  Instance& instance = instances_[service];
  instance.loading = false;
  const auto entry = target_.instances.find(service);
  if (entry == target_.instances.end() || instance.transition || !is_due(instance, entry->second))
    return out;
  const auto find = [&](const Digest& digest) -> const plan::Manifest* {
    const auto it = manifests.find(digest);
    return it == manifests.end() ? nullptr : &it->second;
  };
  const bool duty = entry->second.duty && !instance.duties.contains(entry->second.duty->token);
  if (instance.owed) {
    instance.transition =
        transition::mend(*instance.owed, duty ? entry->second.duty->token : entry->second.attempt);
  } else if (duty) {
    const plan::Manifest* owner = find(entry->second.duty->owner);
    const plan::Hook* hook = owner == nullptr ? nullptr : owner->hook(entry->second.duty->hook);
    if (owner != nullptr && (hook == nullptr || hook->scope != plan::Hook::Scope::service)) {
      plan::Outcome outcome;
      outcome.attempt = entry->second.duty->token;
      outcome.result = plan::Outcome::Result::failed;
      outcome.step = entry->second.duty->hook;
      outcome.message = "this version has no such hook of scope service";
      conclude_duty(service, outcome);
      out.report = true;
      save(service, out);
      consider(service, out);
      return out;
    }
    if (hook == nullptr) {
      // The target has changed while they were loaded: ask for the right ones.
      consider(service, out);
      return out;
    }
    instance.transition = transition::begin_duty(service, *entry->second.duty, *hook);
  } else {
    transition::Begin begin;
    begin.service = service;
    begin.attempt = entry->second.attempt;
    begin.from = instance.applied;
    begin.to = entry->second.wanted;
    begin.old_manifest = begin.from ? find(begin.from->manifest) : nullptr;
    begin.new_manifest = begin.to ? find(begin.to->manifest) : nullptr;
    if ((begin.from && begin.old_manifest == nullptr) ||
        (begin.to && begin.new_manifest == nullptr)) {
      consider(service, out);
      return out;
    }
    begin.has_data = instance.has_data;
    if (begin.new_manifest != nullptr && begin.new_manifest->data_version != 0)
      instance.keeps_data = true;
    begin.downwards = begin.from && begin.to &&
                      age(instance, begin.to->manifest) < age(instance, begin.from->manifest);
    instance.transition = transition::begin(begin);
  }
  out.report = true;
  save(service, out);
  go_on(service, out);
  return out;
}

// Journals the intent of the next step and hands it out, or concludes.
void Core::go_on(const std::string& service, Output& out) {
  Instance& instance = instances_.at(service);
  const transition::Decision decision = transition::decide(*instance.transition);
  if (const auto* end = std::get_if<transition::Ended>(&decision)) {
    conclude(service, *end, out);
    return;
  }
  instance.transition = transition::with_intent(std::move(*instance.transition));
  save(service, out);
  out.work.emplace_back(
      PerformStep{service, std::get<transition::StepOrder>(decision), *instance.transition});
  out.report = true;
}

// False for an answer to a question of long ago.
bool Core::record(const std::string& service, const std::string& token,
                  const transition::StepResult& result) {
  const auto it = instances_.find(service);
  if (it == instances_.end() || !it->second.transition) return false;
  const transition::Decision current = transition::decide(*it->second.transition);
  const auto* order = std::get_if<transition::StepOrder>(&current);
  if (order == nullptr || order->token != token) return false;
  if (order->step == transition::Step::setup && result.status == transition::StepStatus::ok)
    it->second.has_data = true;
  it->second.transition = transition::with_result(std::move(*it->second.transition), result);
  return true;
}

Output Core::on_step(const std::string& service, const std::string& token,
                     const transition::StepResult& result) {
  Output out;
  if (!record(service, token, result)) return out;
  save(service, out);
  go_on(service, out);
  order_guard(out);
  return out;
}

Output Core::on_last_step(const std::string& service, const std::string& token,
                          const transition::StepResult& result) {
  Output out;
  if (record(service, token, result)) save(service, out);
  return out;
}

// Of very many the oldest are forgotten, but never one that the target names: it would be performed
// again.
void Core::conclude_duty(const std::string& service, const plan::Outcome& outcome) {
  Instance& instance = instances_.at(service);
  if (instance.duties.insert_or_assign(outcome.attempt, outcome).second)
    instance.duty_order.push_back(outcome.attempt);
  const auto entry = target_.instances.find(service);
  const auto is_named = [&](const std::string& token) {
    return entry != target_.instances.end() && entry->second.duty &&
           entry->second.duty->token == token;
  };
  auto& order = instance.duty_order;
  while (order.size() > kKeptDuties) {
    const auto oldest = std::find_if_not(order.begin(), order.end(), is_named);
    instance.duties.erase(*oldest);
    order.erase(oldest);
  }
}

void Core::conclude(const std::string& service, const transition::Ended& end, Output& out) {
  Instance& instance = instances_.at(service);
  const transition::Transition journal = std::move(*instance.transition);
  instance.transition.reset();
  if (journal.duty) {
    conclude_duty(service, end.outcome);
  } else {
    instance.owed = transition::owed_by(journal);
    const auto entry = target_.instances.find(service);
    // What had to come first may have been in the way of a duty.
    if (journal.mending && !end.mended && entry != target_.instances.end() && entry->second.duty &&
        entry->second.duty->token == end.outcome.attempt)
      conclude_duty(service, end.outcome);
    const std::optional<plan::InstanceState> before = std::exchange(instance.applied, end.applied);
    if (!end.mended) instance.outcome = end.outcome;
    if (end.applied && age(instance, end.applied->manifest) == instance.history.size())
      instance.history.push_back(end.applied->manifest);
    note_health(instance, journal, before, end);
  }
  out.report = true;
  save(service, out);
  consider(service, out);
}

Output Core::on_health(const std::string& service, plan::Health health, const std::string& reason,
                       bool serves) {
  Output out;
  const auto it = instances_.find(service);
  if (it == instances_.end() || !it->second.applied || it->second.transition) return out;
  Instance& instance = it->second;
  if (instance.health == health && instance.health_reason == reason && instance.serves == serves)
    return out;
  instance.health = health;
  instance.health_reason = reason;
  instance.serves = serves;
  out.report = true;
  return out;
}

Output Core::on_access(const plan::AccessReport& access) {
  Output out;
  out.report = access_ != access;
  access_ = access;
  return out;
}

bool Core::is_settled(const std::string& service) const {
  const auto it = instances_.find(service);
  if (it == instances_.end() || it->second.transition || it->second.loading) return false;
  const auto entry = target_.instances.find(service);
  return entry == target_.instances.end() || !is_due(it->second, entry->second);
}

std::set<Digest> Core::manifests_in_use() const {
  std::set<Digest> out;
  const auto add = [&](const std::optional<plan::InstanceState>& state) {
    if (state) out.insert(state->manifest);
  };
  for (const auto& [service, entry] : target_.instances) {
    add(entry.wanted);
    if (entry.duty) out.insert({entry.duty->owner, entry.duty->from, entry.duty->to});
  }
  for (const auto& [service, instance] : instances_) {
    add(instance.applied);
    for (const auto& journal : {instance.transition, instance.owed}) {
      if (!journal) continue;
      add(journal->from);
      add(journal->to);
    }
  }
  out.erase(Digest());
  return out;
}

}  // namespace consort::agent
