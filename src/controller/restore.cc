// How a core comes back from its store, also from one whose last transactions were never made.
#include <fmt/format.h>

#include <algorithm>

#include "controller/core.h"

namespace consort::controller {
namespace {

Result<std::uint64_t> parse_number(std::string_view text, std::string_view key) {
  std::uint64_t out = 0;
  for (const char c : text) {
    if (c < '0' || c > '9')
      return fail(ErrorCode::corrupt, fmt::format("the store's key {} holds no number", key));
    out = out * 10 + static_cast<std::uint64_t>(c - '0');
    if (out >= kNumberLimit)
      return fail(ErrorCode::corrupt,
                  fmt::format("the store's key {} holds a number that is too large", key));
  }
  return out;
}

// Whatever this controller has written itself: its bytes are the limit, not its values.
Result<Json> parse_stored(const std::string& value) {
  JsonLimits limits;
  limits.max_bytes = limits.max_values = kMostValueBytes;
  return parse_json(value, "", limits);
}

}  // namespace

void apply_writes(Store& store, const Writes& writes) {
  for (const auto& [key, value] : writes) {
    if (value) {
      store[key] = *value;
    } else if (key.ends_with('/')) {
      const auto first = store.lower_bound(key);
      auto last = first;
      while (last != store.end() && last->first.starts_with(key)) ++last;
      store.erase(first, last);
    } else {
      store.erase(key);
    }
  }
}

Result<Core> Core::restore(const Store& store) {
  Core core;
  // In the order of the keys: a rollout's head comes before its plan, way back and runs.
  for (const auto& [key, value] : store) {
    if (auto status = core.load(key, value); !status)
      return fail(std::move(status).error().context(fmt::format("in the store's key {}", key)));
  }
  core.drop_unfinished();
  core.restored_epoch_ = core.epoch_;
  for (auto& [name, host] : core.hosts_) host.known_epoch = core.epoch_;
  for (auto& [host, target] : core.targets_) {
    target.epoch = core.epoch_;
    if (const auto it = core.hosts_.find(host); it != core.hosts_.end())
      it->second.known_seq = target.seq;
  }
  // It has joined again, and perhaps that was not written as a whole.
  for (const auto& [name, seq] : core.removed_) {
    const auto it = core.hosts_.find(name);
    if (it == core.hosts_.end()) continue;
    it->second.known_seq = std::max(it->second.known_seq, seq);
    plan::Target& target = core.targets_[name];
    if (target.seq > seq) core.leftovers_.insert("removed/" + name);
    target.seq = std::max(target.seq, seq);
    target.epoch = core.epoch_;
  }
  std::erase_if(core.removed_, [&](const auto& item) { return core.hosts_.contains(item.first); });
  core.restore_access_doubt();
  return core;
}

Status Core::load(const std::string& key, const std::string& value) {
  const std::size_t slash = key.find('/');
  const std::string kind = key.substr(0, slash);
  const std::string rest = slash == std::string::npos ? "" : key.substr(slash + 1);
  if (kind == "epoch") {
    epoch_ = TRY(parse_number(value, key));
  } else if (kind == "current") {
    current_ = TRY(parse_number(value, key));
  } else if (kind == "budgets") {
    budgets_ = TRY(budget::budgets_from_json(TRY(parse_stored(value))));
  } else if (kind == "targets") {
    targets_.emplace(rest, TRY(plan::target_from_json(TRY(parse_stored(value)))));
  } else if (kind == "hosts") {
    const Json json = TRY(parse_stored(value));
    HostState host;
    if (const Json* report = json.find("report"))
      host.report = TRY(plan::host_report_from_json(*report));
    host.joined = from_millis(json.int_or("joined"));
    const Json* placed = json.find("placed");
    if (placed != nullptr && placed->is_array()) {
      for (const Json& service : placed->as_array())
        if (service.is_string()) host.placed.insert(service.as_string());
    } else {
      believe(host);  // a store of an older controller does not say it
    }
    hosts_.emplace(rest, std::move(host));
  } else if (kind == "removed") {
    removed_.emplace(rest, TRY(parse_number(value, key)));
  } else if (kind == "generations") {
    generations_.emplace(TRY(parse_number(rest, key)),
                         TRY(plan::generation_from_json(TRY(parse_stored(value)))));
  } else if (kind == "candidates") {
    candidates_.emplace(rest, TRY(plan::generation_from_json(TRY(parse_stored(value)))));
  } else if (kind == "rollouts") {
    return load_rollout(rest, value);
  } else if (kind == "first") {
    first_deployed_.emplace(TRY(Digest::parse(rest)), TRY(parse_number(value, key)));
  } else if (kind == "statements") {
    return load_statement(value);
  } else if (kind == "tail") {
    tail_.emplace(std::pair(rest.substr(0, rest.find('/')), rest.substr(rest.find('/') + 1)),
                  straggler_from_text(value));
  } else if (kind == "access-in-doubt") {
    access_in_doubt_ = true;
    settling_access_ = value == kAccessInDoubt ? "" : value;
  } else if (kind == "secrets-above") {
    secrets_above_ = TRY(parse_number(value, key));
  } else if (kind == "log") {
    const std::uint64_t number = TRY(parse_number(rest, key));
    next_event_ = std::max(next_event_, number + 1);
    const auto event = parse_stored(value);
    const std::string host = event ? event->string_or("host") : "";
    const std::size_t bytes = event ? event->string_or("text").size() : 0;
    for (const std::uint64_t forgotten : kept_events_.add(number, host, bytes))
      leftovers_.insert(event_key(forgotten));
  }
  return {};
}

Status Core::load_rollout(const std::string& rest, const std::string& value) {
  const std::size_t slash = rest.find('/');
  const std::string id = rest.substr(0, slash);
  if (slash == std::string::npos) {
    rollouts_.emplace(id, TRY(rollout::head_from_json(TRY(parse_stored(value)))));
    // r000012 or r000012.e3
    const std::string_view number = std::string_view(id).substr(1, id.find('.') - 1);
    next_rollout_ = std::max(next_rollout_, TRY(parse_number(number, id)) + 1);
    return {};
  }
  const auto it = rollouts_.find(id);
  if (it == rollouts_.end()) {
    leftovers_.insert("rollouts/" + rest);
    return {};
  }
  rollout::Rollout& rollout = it->second;
  const std::string part = rest.substr(slash + 1);
  const Json json = TRY(parse_stored(value));
  // Written before the head says so, and meaningless until it does.
  if ((part == "back" && !rollout.reverting) ||
      (part == "runs" && rollout.result == rollout::Result::open)) {
    leftovers_.insert("rollouts/" + rest);
    return {};
  }
  if (part == "plan") return rollout::restore_plan(rollout, json);
  if (part == "back") return rollout::restore_back(rollout, json);
  if (part == "runs") return rollout::restore_runs(rollout, json);
  if (!part.starts_with("runs/") || part.size() < 7) return {};
  const rollout::Way way = part[5] == 'f' ? rollout::Way::forward : rollout::Way::back;
  if (rollout.result != rollout::Result::open ||
      (way == rollout::Way::back && !rollout.reverting)) {
    leftovers_.insert("rollouts/" + rest);
    return {};
  }
  const auto step = TRY(parse_number(std::string_view(part).substr(6), rest));
  return rollout::restore_run(rollout, {way, static_cast<int>(step)}, json);
}

// Slots are written before the rollout that takes them: one that never came to be must not keep
// any.
bool Core::holds_slots(const std::string& reason) const {
  if (reason.starts_with("rollout:")) {
    const auto it = rollouts_.find(reason.substr(8));
    return it != rollouts_.end() && it->second.result == rollout::Result::open;
  }
  return !reason.starts_with("converge:") ||
         std::any_of(tail_.begin(), tail_.end(), [&](const auto& t) {
           return reason == tail_reason(t.first.first, t.first.second);
         });
}

// The head of a rollout and `current` are written together, after what they refer to and before
// what they make needless.
void Core::drop_unfinished() {
  std::erase_if(generations_, [&](const auto& g) {
    if (g.first <= current_) return false;
    leftovers_.insert(fmt::format("generations/{:010}", g.first));
    return true;
  });
  std::erase_if(first_deployed_, [&](const auto& f) {
    if (f.second <= current_) return false;
    leftovers_.insert("first/" + f.first.str());
    return true;
  });
  std::erase_if(candidates_, [&](const auto& c) {
    const auto rollout = rollouts_.find(c.first);
    if (rollout != rollouts_.end() && rollout->second.result == rollout::Result::open) return false;
    leftovers_.insert("candidates/" + c.first);
    return true;
  });
}

}  // namespace consort::controller
