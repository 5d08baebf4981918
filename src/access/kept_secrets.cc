#include "access/kept_secrets.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <tuple>

#include "base/text.h"

namespace consort::access {
namespace {

constexpr std::size_t kHostsShown = 5;

// One version of a secret as one service uses it.
using Use = std::tuple<std::string, std::string, std::uint64_t>;  // service, secret, version

bool is_there(const plan::Step& step, const std::map<std::string, Digest>& before) {
  if (step.from->manifest == step.to->manifest) return true;
  const auto it = before.find(step.service);
  return it != before.end() && it->second == step.to->manifest;
}

std::map<Use, std::vector<std::string>> brought_to_hosts(
    const plan::Plan& plan, const std::map<Digest, plan::Manifest>& manifests,
    const std::map<std::string, Digest>& before) {
  std::map<Use, std::vector<std::string>> out;
  for (const plan::Step& step : plan.steps) {
    if (!step.to || (step.from && is_there(step, before))) continue;
    const auto manifest = manifests.find(step.to->manifest);
    if (manifest == manifests.end()) continue;
    for (const auto& [name, version] : manifest->second.secrets)
      out[{step.service, name, version}].push_back(step.host);
  }
  return out;
}

const SecretRecord* record_of(const Registry& registry, const std::string& name) {
  const auto it = registry.secrets.find(name);
  return it == registry.secrets.end() ? nullptr : &it->second;
}

plan::Need not_kept(const Use& use) {
  const auto& [service, name, version] = use;
  return {"",
          fmt::format("{} would go back to version {} of the secret '{}', which is no longer kept",
                      service, version, name),
          fmt::format("only the last {} versions are; deploy the sources of then instead, which "
                      "takes the newest value",
                      kKeptSecretVersions)};
}

plan::Need not_sealed(const Use& use, const SecretRecord& record, std::vector<std::string> blind) {
  const auto& [service, name, version] = use;
  const std::size_t count = blind.size();
  blind.resize(std::min(count, kHostsShown));
  const bool newest = record.versions.back().number == version;
  return {"",
          fmt::format("{} would go back to version {} of the secret '{}', which is not sealed for "
                      "{}{}",
                      service, version, name, consort::join(blind, ", "),
                      count > kHostsShown ? fmt::format(" and {} more", count - kHostsShown) : ""),
          newest ? fmt::format("seal it for them, too: consort secret reseal {}", name)
                 : "only the newest version can be sealed anew; deploy the sources of then "
                   "instead, which takes it"};
}

}  // namespace

std::vector<plan::Need> secrets_out_of_reach(const Registry& registry, const plan::Plan& plan,
                                             const std::map<Digest, plan::Manifest>& manifests,
                                             const std::map<std::string, Digest>& before) {
  std::vector<plan::Need> out;
  for (const auto& [use, hosts] : brought_to_hosts(plan, manifests, before)) {
    const auto& [service, name, number] = use;
    const SecretRecord* record = record_of(registry, name);
    const SecretVersion* version = record == nullptr ? nullptr : record->version(number);
    if (version == nullptr) {
      out.push_back(not_kept(use));
      continue;
    }
    const std::vector<std::string> readers = readers_of(registry, *version);
    std::vector<std::string> blind;
    for (const std::string& host : hosts) {
      if (!std::binary_search(readers.begin(), readers.end(), host)) blind.push_back(host);
    }
    if (blind.empty()) continue;
    std::sort(blind.begin(), blind.end());
    blind.erase(std::unique(blind.begin(), blind.end()), blind.end());
    out.push_back(not_sealed(use, *record, std::move(blind)));
  }
  return out;
}

}  // namespace consort::access
