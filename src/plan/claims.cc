#include "plan/claims.h"

#include <fmt/format.h>

#include <set>

#include "base/text.h"

namespace consort::plan {
namespace {

struct Claim {
  std::string thing;  // "path /etc/x", "port 80", "user shop"
  Json wish;
};

std::vector<Claim> claims_of(const Manifest& manifest) {
  std::vector<Claim> out;
  for (const auto& [name, spec] : manifest.resources) {
    const std::string type = spec.string_or("type");
    // Compared as the agent spells it: both would have the same file.
    if (const std::string path = plain_path(spec.string_or("path"));
        !path.empty() && !path.starts_with("${service.")) {
      Json wish = spec;
      wish["path"] = path;
      out.push_back({"path " + path, std::move(wish)});
    }
    if (type == "user" || type == "group")
      out.push_back({type + " " + spec.string_or("name"), spec});
  }
  for (const auto& [name, endpoint] : manifest.provides) {
    // Ports are claimed by running twice: no two wishes for one are compatible.
    if (const std::int64_t port = endpoint.int_or("port"); port > 0)
      out.push_back({fmt::format("port {}", port), manifest.service});
  }
  return out;
}

}  // namespace

Status check_claims(const Generation& wanted, const std::map<Digest, Manifest>& manifests) {
  std::map<std::string, std::vector<std::string>> services_by_host;
  for (const auto& [service, record] : wanted.services) {
    for (const std::string& host : record.hosts) services_by_host[host].push_back(service);
  }
  std::set<std::vector<std::string>> checked;  // hosts of a class share their set of services
  for (const auto& [host, services] : services_by_host) {
    if (services.size() < 2 || !checked.insert(services).second) continue;
    std::map<std::string, std::pair<std::string, Json>> taken;
    for (const std::string& service : services) {
      const auto manifest = manifests.find(wanted.services.at(service).manifest);
      if (manifest == manifests.end()) continue;
      for (Claim& claim : claims_of(manifest->second)) {
        const auto [it, made] = taken.try_emplace(claim.thing, service, claim.wish);
        if (made || it->second.first == service || it->second.second == claim.wish) continue;
        return fail(ErrorCode::conflict,
                    fmt::format("services.{} and services.{} both claim {} on host {}",
                                it->second.first, service, claim.thing, host))
            .hint("give one of them another value, or place them on different hosts");
      }
    }
  }
  return {};
}

}  // namespace consort::plan
