#include "plan/stated.h"

namespace consort::plan {

StatedService stated_service(const Generation& generation, const ServiceRecord& service) {
  StatedService out{service.manifest, {}};
  for (const std::string& host : service.hosts)
    out.hosts.emplace(host, wanted_state(generation, service, host).host);
  return out;
}

Statement statement_of(const Generation& generation, const Plan& plan, std::uint64_t sequence,
                       const Digest& previous) {
  Statement out;
  out.site = generation.site;
  out.sequence = sequence;
  out.previous = previous;
  std::set<std::string> held;
  for (const Step& step : plan.steps) {
    for (const auto& state : {step.from, step.to}) {
      if (state && state->mode != Mode::running) held.insert(step.service);
    }
  }
  out.held.assign(held.begin(), held.end());
  for (const auto& [host, record] : generation.hosts) out.hosts.insert(host);
  for (const auto& [name, service] : generation.services)
    out.services.emplace(name, stated_service(generation, service));
  return out;
}

}  // namespace consort::plan
