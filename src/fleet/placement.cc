#include <fmt/format.h>

#include <algorithm>

#include "base/digest.h"
#include "base/selector.h"
#include "fleet/fleet.h"

namespace consort::fleet {
namespace {

Result<std::vector<std::string>> candidates(const site::Service& service, const Fleet& fleet) {
  const auto members = fleet.classes.find(service.on);
  std::vector<std::string> out;
  if (members == fleet.classes.end()) return out;
  const Selector selector = TRY(Selector::parse(service.when));
  for (const std::string& name : members->second) {
    const auto& labels = fleet.hosts.at(name).labels;
    const bool matches = selector.matches([&](std::string_view key) -> std::optional<std::string> {
      const auto it = labels.find(std::string(key));
      return it == labels.end() ? std::nullopt : std::optional(it->second);
    });
    if (matches) out.push_back(name);
  }
  return out;
}

// Highest random weight: a host that leaves moves only its own instances.
std::vector<std::string> choose(const site::Service& service, std::vector<std::string> hosts,
                                const std::vector<std::string>& previous) {
  const auto count = static_cast<std::size_t>(*service.replicas);
  const auto weight = [&](const std::string& host) {
    const bool stays = std::find(previous.begin(), previous.end(), host) != previous.end();
    return std::pair(stays, stable_hash(service.name + "@" + host));
  };
  std::sort(hosts.begin(), hosts.end(),
            [&](const std::string& a, const std::string& b) { return weight(a) > weight(b); });
  hosts.resize(count);
  std::sort(hosts.begin(), hosts.end());
  return hosts;
}

}  // namespace

Result<Placement> place(const site::Site& site, const Fleet& fleet, const Placement& previous) {
  Placement out;
  for (const auto& [name, service] : site.services) {
    std::vector<std::string> hosts = TRY(candidates(service, fleet));
    if (service.replicas) {
      if (static_cast<std::int64_t>(hosts.size()) < *service.replicas) {
        return fail(
            ErrorCode::refused,
            fmt::format("services.{}.replicas: {} are wanted, but class {} has {} hosts that match",
                        name, *service.replicas, service.on, hosts.size()));
      }
      const auto before = previous.find(name);
      hosts = choose(service, std::move(hosts),
                     before == previous.end() ? std::vector<std::string>{} : before->second);
    }
    out.emplace(name, std::move(hosts));
  }
  return out;
}

site::EndpointTable endpoint_table(const site::Site& site, const Fleet& fleet,
                                   const Placement& placement) {
  site::EndpointTable out;
  for (const auto& [name, service] : site.services) {
    const auto hosts = placement.find(name);
    for (const auto& [endpoint, value] : service.provides) {
      site::EndpointValue entry;
      entry.port = value.int_or("port");
      if (hosts != placement.end()) {
        for (const std::string& host : hosts->second) {
          entry.hosts.push_back(host);
          entry.addresses.push_back(fleet.hosts.at(host).address);
        }
      }
      out.emplace(fmt::format("{}/{}", name, endpoint), std::move(entry));
    }
  }
  return out;
}

}  // namespace consort::fleet
