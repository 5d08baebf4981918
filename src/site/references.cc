// Checks across services.
#include <fmt/format.h>

#include <algorithm>
#include <functional>

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
              "order)");
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
