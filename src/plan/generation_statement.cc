#include "plan/generation_statement.h"

namespace consort::plan {

StatedService stated_service(const Generation& generation, const ServiceRecord& service) {
  StatedService out{service.manifest, {}};
  for (const std::string& host : service.hosts)
    out.hosts.emplace(host, wanted_state(generation, service, host).host);
  return out;
}

std::vector<std::string> held_services(const Plan& plan) {
  std::set<std::string> held;
  for (const Step& step : plan.steps) {
    for (const auto& state : {step.from, step.to}) {
      if (state && state->mode != Mode::running) held.insert(step.service);
    }
  }
  return {held.begin(), held.end()};
}

Statement statement_of(const Generation& generation, const Plan& plan, std::uint64_t sequence,
                       const Digest& previous) {
  Statement out;
  out.site = generation.site;
  out.sequence = sequence;
  out.previous = previous;
  out.held = held_services(plan);
  for (const auto& [host, record] : generation.hosts) out.hosts.insert(host);
  for (const auto& [name, service] : generation.services)
    out.services.emplace(name, stated_service(generation, service));
  return out;
}

}  // namespace consort::plan
