#include "cli/sample_host.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "agent/mistakes.h"
#include "site/placeholder.h"

namespace consort::cli {
namespace {

// Beyond so many unknown values not all combinations of samples are tried.
constexpr std::size_t kMostUnknown = 6;

// Names of what only the host knows: "fact.os.id", "host.labels.rack".
std::vector<std::string> unknown_values(const plan::Manifest& manifest, const LabelMap& labels) {
  std::set<std::string> out;
  const auto collect = [&](const Json& json) {
    const auto names = site::placeholders_in(json, site::PlaceholderStage::host);
    if (!names) return;
    for (const std::string& name : *names) {
      if (name.starts_with("fact.") ||
          (name.starts_with("host.labels.") && !labels.contains(name.substr(12))))
        out.insert(name);
    }
  };
  for (const auto& [name, spec] : manifest.resources) collect(spec);
  if (manifest.daemon) collect(*manifest.daemon);
  return {out.begin(), out.end()};
}

// A word, or a path: each value has its own, so that no two resources meet by chance.
std::string sample_of(std::string name, bool as_path) {
  std::replace(name.begin(), name.end(), '.', '-');
  return as_path ? "/" + name : name;
}

}  // namespace

std::vector<Error> mistakes_on_host(const plan::Manifest& manifest, const fleet::Host* host) {
  agent::HostIdentity identity;
  identity.name = host != nullptr ? host->name : "host";
  identity.address = host != nullptr ? host->address : "127.0.0.1";
  identity.data = "/var/lib/consort";
  if (host != nullptr) {
    for (const auto& [key, value] : host->labels) identity.labels[key] = value;
  }
  const std::vector<std::string> unknown = unknown_values(manifest, identity.labels);
  const agent::Version version{Digest::of(manifest.service), manifest};
  std::vector<Error> fewest;
  const std::size_t trials = std::size_t{1} << std::min(unknown.size(), kMostUnknown);
  for (std::size_t trial = 0; trial < trials; ++trial) {
    for (std::size_t i = 0; i < unknown.size(); ++i) {
      const bool as_path = ((trial >> std::min(i, kMostUnknown)) & 1U) != 0;
      const std::string& name = unknown[i];
      auto& values = name.starts_with("fact.") ? identity.facts : identity.labels;
      values[name.substr(name.starts_with("fact.") ? 5 : 12)] = sample_of(name, as_path);
    }
    std::vector<Error> mistakes = agent::mistakes_of(identity, version);
    if (mistakes.empty()) return {};
    if (trial == 0 || mistakes.size() < fewest.size()) fewest = std::move(mistakes);
  }
  // With so many unknown values, what is found may be the samples' fault.
  if (unknown.size() > kMostUnknown) return {};
  return fewest;
}

}  // namespace consort::cli
