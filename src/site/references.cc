// Checks across services.
#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <map>

#include "base/address_range.h"
#include "base/selector.h"
#include "base/text.h"
#include "site/site.h"

namespace consort::site {
namespace {

Failure unknown(const std::string& path, std::string_view what, const std::string& name,
                const std::string& guess) {
  return fail(ErrorCode::invalid_input, fmt::format("{}: there is no {} '{}'", path, what, name))
      .hint(guess.empty() ? "" : fmt::format("did you mean '{}'?", guess));
}

Status check_need(const Site& site, const std::string& path, const Need& need) {
  const auto provider = site.services.find(need.service);
  if (provider == site.services.end())
    return unknown(path, "service", need.service, did_you_mean(need.service, site.services));
  if (!provider->second.provides.contains(need.endpoint)) {
    return unknown(path, fmt::format("endpoint of service {}", need.service), need.endpoint,
                   did_you_mean(need.endpoint, provider->second.provides));
  }
  return {};
}

Status check_ranges(const Json* access, const std::string& path) {
  const Json* list = access == nullptr ? nullptr : access->find("also");
  if (list == nullptr) return {};
  for (const Json& text : list->as_array()) {
    if (auto range = AddressRange::parse(text.as_string()); !range)
      return fail(std::move(range).error().context(fmt::format("in {}.also", path)));
  }
  return {};
}

// The word on this endpoint, or nullptr when nobody says one.
const Json* access_word(const Site& site, const Service& service, const Json& endpoint) {
  const Json* own = endpoint.find("access");
  for (const Json* access : {own, &service.access, &site.access}) {
    if (access != nullptr && access->find("mode") != nullptr) return access->find("mode");
  }
  return nullptr;
}

Status check_access(const Site& site, const Service& service, const std::string& path) {
  TRYV(check_ranges(&service.access, path + ".access"));
  std::map<std::int64_t, std::pair<std::string, std::string>> words;  // port → endpoint, word
  for (const auto& [name, endpoint] : service.provides) {
    TRYV(check_ranges(endpoint.find("access"), fmt::format("{}.provides.{}.access", path, name)));
    if (endpoint.find("port") == nullptr) {
      if (endpoint.find("access") == nullptr) continue;
      return fail(ErrorCode::invalid_input,
                  fmt::format("{}.provides.{}.access: an endpoint without a port has no access",
                              path, name))
          .hint("give its port, or take access out");
    }
    const Json* mode = access_word(site, service, endpoint);
    const std::string word = mode == nullptr ? "off" : mode->as_string();
    const auto [it, made] = words.try_emplace(endpoint.int_or("port"), std::pair(name, word));
    if (!made && it->second.second != word)
      return fail(
                 ErrorCode::invalid_input,
                 fmt::format("{}.provides: {} and {} share port {}, but access to one is {} and to "
                             "the other {}",
                             path, it->second.first, name, it->first, it->second.second, word))
          .hint("one port is guarded one way: give both the same mode");
  }
  if (!service.access.is_null() && words.empty())
    return fail(ErrorCode::invalid_input,
                fmt::format("{}.access: the service provides nothing that could be reached", path))
        .hint("declare its ports: provides: { http: { port: 8080 } }");
  return {};
}

Status check_cycles(const Site& site) {
  enum class Mark : std::uint8_t { fresh, open, closed };
  std::map<std::string, Mark> marks;
  std::vector<std::string> path;
  const std::function<Status(const std::string&)> visit = [&](const std::string& name) -> Status {
    if (marks[name] == Mark::closed) return {};
    if (marks[name] == Mark::open) {
      std::vector<std::string> cycle(std::find(path.begin(), path.end(), name), path.end());
      cycle.push_back(name);
      return fail(ErrorCode::invalid_input,
                  fmt::format("services need each other in a circle: {}", join(cycle, " → ")))
          .hint(
              "make one of these edges soft: move it from 'needs' to 'uses' (parameters without "
              "order), or leave an 'after' away");
    }
    marks[name] = Mark::open;
    path.push_back(name);
    const Service& service = site.services.at(name);
    for (const auto& [edge, need] : service.needs) TRYV(visit(need.service));
    for (const std::string& other : service.after) TRYV(visit(other));
    path.pop_back();
    marks[name] = Mark::closed;
    return {};
  };
  for (const auto& [name, service] : site.services) TRYV(visit(name));
  return {};
}

Status check_service(const Site& site, const Service& service,
                     const std::set<std::string>& broken) {
  const std::string path = "services." + service.name;
  if (!site.host_classes.contains(service.on))
    return unknown(path + ".on", "host class", service.on,
                   did_you_mean(service.on, site.host_classes));
  for (const auto& [edge, need] : service.needs) {
    if (!broken.contains(need.service))
      TRYV(check_need(site, fmt::format("{}.needs.{}", path, edge), need));
  }
  for (const auto& [edge, need] : service.uses) {
    if (!broken.contains(need.service))
      TRYV(check_need(site, fmt::format("{}.uses.{}", path, edge), need));
    if (service.needs.contains(edge))
      return fail(ErrorCode::invalid_input,
                  fmt::format("{}: '{}' is both in needs and in uses", path, edge))
          .hint("give one of them another name");
  }
  for (const std::string& other : service.after) {
    if (!site.services.contains(other))
      return unknown(path + ".after", "service", other, did_you_mean(other, site.services));
  }
  TRYV(check_access(site, service, path));
  if (service.replicas && *service.replicas == 0)
    return fail(ErrorCode::invalid_input, path + ".replicas: 0 replicas run nowhere")
        .hint("remove the service instead");
  if (!service.when.empty()) {
    if (auto selector = Selector::parse(service.when); !selector)
      return fail(std::move(selector).error().context(fmt::format("in {}.when", path)));
  }
  return {};
}

}  // namespace

std::vector<Error> reference_mistakes(const Site& site, const std::set<std::string>& broken) {
  std::vector<Error> out;
  if (auto status = check_ranges(&site.access, "access"); !status)
    out.push_back(std::move(status).error());
  for (const auto& [name, service] : site.services) {
    if (broken.contains(name)) continue;
    if (auto status = check_service(site, service, broken); !status)
      out.push_back(std::move(status).error());
  }
  // A circle is one of services that exist.
  if (out.empty()) {
    if (auto status = check_cycles(site); !status) out.push_back(std::move(status).error());
  }
  return out;
}

}  // namespace consort::site
