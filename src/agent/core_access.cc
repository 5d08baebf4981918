// Which of the admissions that a controller tells are taken: the target is its word alone, and it
// must not close a port that no service of this host offers, ssh for one.
#include "agent/core.h"

namespace consort::agent {

void Core::learn(const std::map<Digest, plan::Manifest>& manifests) {
  for (const auto& [digest, manifest] : manifests) {
    auto& ports = offers_[digest];
    for (const auto& [name, endpoint] : manifest.provides) {
      if (const std::int64_t port = endpoint.int_or("port"); port > 0) ports.insert(port);
    }
  }
}

std::set<Digest> Core::manifests_of(const std::string& service) const {
  std::set<Digest> out;
  const auto add = [&](const std::optional<plan::InstanceState>& state) {
    if (state) out.insert(state->manifest);
  };
  if (const auto entry = target_.instances.find(service); entry != target_.instances.end())
    add(entry->second.wanted);
  const auto it = instances_.find(service);
  if (it == instances_.end()) return out;
  add(it->second.applied);
  for (const auto& journal : {it->second.transition, it->second.owed}) {
    if (!journal) continue;
    add(journal->from);
    add(journal->to);
  }
  return out;
}

// By whom.
std::map<std::int64_t, std::set<std::string>> Core::offered_ports() const {
  std::map<std::int64_t, std::set<std::string>> out;
  const auto add = [&](const std::string& service) {
    for (const Digest& digest : manifests_of(service)) {
      const auto known = offers_.find(digest);
      if (known == offers_.end()) continue;
      for (const std::int64_t port : known->second) out[port].insert(service);
    }
  };
  for (const auto& [service, entry] : target_.instances) add(service);
  for (const auto& [service, instance] : instances_) {
    if (!target_.instances.contains(service)) add(service);
  }
  return out;
}

// A manifest that runs here and cannot be read any more must not leave its port open.
bool Core::is_unread(const std::string& service) const {
  const auto it = instances_.find(service);
  return it != instances_.end() && it->second.applied &&
         !offers_.contains(it->second.applied->manifest);
}

// A port that two services offer bears the name of one of them.
std::pair<plan::Admissions, plan::Admissions> Core::taken_and_held() const {
  std::pair<plan::Admissions, plan::Admissions> out;
  if (!target_.admissions) return out;
  const auto ports = offered_ports();
  for (const plan::Admission& admission : *target_.admissions) {
    const bool taken = ports.contains(admission.port) || is_unread(admission.service);
    (taken ? out.first : out.second).push_back(admission);
  }
  return out;
}

plan::Admissions Core::admissions() const { return taken_and_held().first; }
plan::Admissions Core::held_admissions() const { return taken_and_held().second; }

GuardPorts Core::guarded() const {
  GuardPorts out{admissions(), {}};
  auto ports = offered_ports();
  for (const plan::Admission& admission : out.admissions) {
    std::set<std::string>& behind = ports[admission.port];
    if (is_unread(admission.service)) behind.insert(admission.service);
    for (const std::string& service : behind) {
      bool& refuses = out.services[service];
      refuses = refuses || admission.mode == plan::AccessMode::enforce;
    }
  }
  return out;
}

// In front of everything else that `out` brings.
void Core::order_guard(Output& out) {
  std::erase_if(offers_, [in_use = manifests_in_use()](const auto& item) {
    return !in_use.contains(item.first);
  });
  GuardPorts now = guarded();
  if (now == ordered_) return;
  ordered_ = now;
  out.work.insert(out.work.begin(), std::move(now));
}

}  // namespace consort::agent
