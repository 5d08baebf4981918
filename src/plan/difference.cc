#include "plan/difference.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"

namespace consort::plan {
namespace {

bool runs_somewhere(const Observed& observed, const std::string& service) {
  return std::any_of(observed.begin(), observed.end(), [&](const auto& host) {
    const auto it = host.second.instances.find(service);
    return it != host.second.instances.end() && it->second.applied;
  });
}

Status check_scope(const PlanInput& input) {
  const Generation& wanted = *input.wanted;
  for (const auto* names : {&input.only, &input.except}) {
    for (const std::string& name : *names) {
      if (wanted.services.contains(name) || wanted.broken.contains(name) ||
          runs_somewhere(*input.observed, name))
        continue;
      const std::string guess = did_you_mean(name, wanted.services);
      return fail(ErrorCode::not_found,
                  fmt::format("no service '{}' in site {}", name, wanted.site))
          .hint(guess.empty() ? "see the site's services with: consort graph"
                              : fmt::format("did you mean '{}'?", guess));
    }
  }
  return {};
}

// "label rack of the host a → b"
std::string host_change(const std::map<std::string, std::string>& before,
                        const std::map<std::string, std::string>& after) {
  const auto value = [](const auto& map, const std::string& name) {
    const auto it = map.find(name);
    return it == map.end() ? std::string("none") : it->second;
  };
  std::set<std::string> names;
  for (const auto* map : {&before, &after}) {
    for (const auto& [name, unused] : *map) names.insert(name);
  }
  std::vector<std::string> out;
  for (const std::string& name : names) {
    if (value(before, name) == value(after, name)) continue;
    const std::string word = name == "address" ? name : "label " + name.substr(7);
    out.push_back(
        fmt::format("{} of the host {} → {}", word, value(before, name), value(after, name)));
  }
  return join(out, ", ");
}

// The same software: what differs is its configuration.
bool same_release(const Manifest& before, const Manifest& after) {
  return before.version == after.version && before.data_version == after.data_version &&
         before.artifacts.size() == after.artifacts.size() &&
         std::equal(before.artifacts.begin(), before.artifacts.end(), after.artifacts.begin(),
                    [](const auto& a, const auto& b) {
                      return a.first == b.first && a.second.digest == b.second.digest;
                    });
}

class Comparison {
 public:
  explicit Comparison(const PlanInput& input) : in_(input), wanted_(*input.wanted) {}

  Result<Difference> make() {
    TRYV(check_scope(in_));
    take_observed();
    for (const auto& [service, record] : wanted_.services) {
      if (!in_scope(service)) continue;
      for (const std::string& host : record.hosts) TRYV(compare(service, record, host));
    }
    find_leaving();
    find_moves();
    find_removed_data();
    return std::move(out_);
  }

 private:
  [[nodiscard]] bool in_scope(const std::string& service) const {
    if (wanted_.broken.contains(service)) return false;
    if (!in_.only.empty() && !in_.only.contains(service)) return false;
    return !in_.except.contains(service);
  }

  void take_observed() {
    for (const auto& [host, observed] : *in_.observed) {
      for (const auto& [service, report] : observed.instances) {
        if (!report.applied) continue;
        if (!wanted_.hosts.contains(host)) {
          if (in_scope(service)) out_.detached.push_back(fmt::format("{}: {}", host, service));
          continue;
        }
        out_.now[{service, host}] = *report.applied;
        if (report.applied->mode == Mode::running) ++out_.running[service];
      }
    }
    std::sort(out_.detached.begin(), out_.detached.end());
  }

  Status compare(const std::string& service, const ServiceRecord& record, const std::string& host) {
    const InstanceKey key{service, host};
    const InstanceState goal = wanted_state(wanted_, record, host);
    const auto current = out_.now.find(key);
    if (current != out_.now.end() && current->second == goal) {
      ++out_.kept[service];
      return {};
    }
    const Manifest* after = known_manifest(in_, record.manifest);
    if (after == nullptr)
      return fail(ErrorCode::not_found, fmt::format("the manifest {} of service {} is not known",
                                                    record.manifest.str(), service));
    if (current == out_.now.end()) {
      const bool new_host = in_.base != nullptr && in_.base->services.contains(service);
      out_.drafts[key] = {Action::install, goal, new_host ? "new host" : "new service"};
    } else {
      TRYV(check_way_down(service, current->second, goal, *after));
      out_.drafts[key] = change(current->second, goal, *after);
    }
    return {};
  }

  // Only the newer of two versions knows the way down (DESIGN: whose hook). Without one the older
  // version would start on data that it cannot read.
  [[nodiscard]] Status check_way_down(const std::string& service, const InstanceState& current,
                                      const InstanceState& goal, const Manifest& after) const {
    const Manifest* before = known_manifest(in_, current.manifest);
    if (before == nullptr || after.data_version == 0 || before->data_version <= after.data_version)
      return {};
    // A manifest that was never deployed is the newer one, whatever it calls its data.
    const bool is_new = !in_.backwards && in_.first_deployed->contains(current.manifest) &&
                        !in_.first_deployed->contains(goal.manifest);
    if ((is_new ? after : *before).hook("migrate") != nullptr) return {};
    return fail(ErrorCode::refused,
                fmt::format("the data of {} would go down from data version {} to {}, and there is "
                            "no way down: the newer version has no hook 'migrate'",
                            service, before->data_version, after.data_version))
        .hint(fmt::format("add a migrate hook that knows CONSORT_DIRECTION=down to data version {} "
                          "and deploy that first, or restore a backup by hand",
                          before->data_version));
  }

  Draft change(const InstanceState& current, const InstanceState& goal, const Manifest& after) {
    if (same_version(current, goal))
      return {Action::resume, goal, fmt::format("is {}", mode_name(current.mode))};
    if (current.manifest == goal.manifest)
      return {Action::reconfigure, goal, host_change(current.host, goal.host)};
    const Manifest* before = known_manifest(in_, current.manifest);
    if (before == nullptr) return {Action::upgrade, goal, "another manifest"};
    // Once for all instances that go this way: comparing manifests is most of a large plan.
    const auto [reason, first] = reasons_.try_emplace({current.manifest, goal.manifest});
    if (first) {
      reason->second = change_reason(*before, after);
      note_changes(*before, after);
    }
    return {same_release(*before, after) ? Action::reconfigure : Action::upgrade, goal,
            reason->second};
  }

  void note_changes(const Manifest& before, const Manifest& after) {
    for (Change& change : manifest_changes(before, after)) {
      if (std::find(out_.changes.begin(), out_.changes.end(), change) == out_.changes.end())
        out_.changes.push_back(std::move(change));
    }
  }

  void find_leaving() {
    for (const auto& [key, state] : out_.now) {
      if (!in_scope(key.service)) continue;
      const auto record = wanted_.services.find(key.service);
      const bool known = record != wanted_.services.end();
      if (known &&
          std::binary_search(record->second.hosts.begin(), record->second.hosts.end(), key.host))
        continue;
      out_.drafts[key] = {
          Action::remove, std::nullopt,
          known ? "no longer placed on this host" : "the site has no such service any more"};
      out_.leaving.insert(key.service);
    }
  }

  // An instance that comes while another of its service goes is a move.
  void find_moves() {
    for (auto& [key, draft] : out_.drafts) {
      if (draft.action != Action::install || !out_.leaving.contains(key.service)) continue;
      draft.action = Action::move;
      out_.moved.insert(key.service);
    }
  }

  void find_removed_data() {
    if (in_.allow_unsafe_removal) return;
    for (const std::string& service : out_.leaving) {
      bool data = false;
      bool some_stay = false;
      for (const auto& [key, state] : of_service(out_.now, service)) {
        const Manifest* m = known_manifest(in_, state.manifest);
        data = data || (m != nullptr && m->data_version > 0);
        const auto draft = out_.drafts.find(key);
        some_stay = some_stay || draft == out_.drafts.end() || draft->second.to;
      }
      if (!data || some_stay) continue;
      out_.needs.push_back(
          {"--allow-unsafe-removal",
           fmt::format("this would remove every instance of {}, which keeps data", service),
           "its data folders stay on the hosts; if that is what you want, say "
           "--allow-unsafe-removal"});
    }
  }

  const PlanInput& in_;
  const Generation& wanted_;
  Difference out_;
  std::map<std::pair<Digest, Digest>, std::string> reasons_;  // from → to
};

}  // namespace

const Manifest* known_manifest(const PlanInput& input, const Digest& digest) {
  const auto it = input.manifests->find(digest);
  return it == input.manifests->end() ? nullptr : &it->second;
}

Result<Difference> find_difference(const PlanInput& input) { return Comparison(input).make(); }

}  // namespace consort::plan
