#include "controller/host_texts.h"

#include <fmt/format.h>

namespace consort::controller {
namespace {

void tame_text(std::string& text, std::size_t most = kMostHostText) {
  text = beginning_of(printable(std::move(text), Lines::one), most);
}

void tame_outcome(plan::Outcome& outcome) {
  tame_text(outcome.attempt, kMostHostName);
  tame_text(outcome.step, kMostHostName);
  tame_text(outcome.message);
  outcome.tail = end_of(printable(std::move(outcome.tail), Lines::many), kMostHostTail);
  tame_text(outcome.lost);
}

void tame_facts(plan::HostReport& report) {
  std::map<std::string, std::string> facts;
  for (auto& [key, value] : report.facts) {
    if (facts.size() == kMostFacts) break;
    std::string name = key;
    tame_text(name, kMostHostName);
    tame_text(value);
    facts.emplace(std::move(name), std::move(value));
  }
  report.facts = std::move(facts);
}

// What is larger is none of the inventory's, so the instance is another one than is wanted all the
// same.
void cut_values(plan::InstanceState& state) {
  std::size_t size = 0;
  std::erase_if(state.host, [&](const auto& value) {
    size += value.first.size() + value.second.size();
    return size > kMostHostValues;
  });
}

void tame_instance(plan::InstanceReport& instance) {
  if (instance.applied) cut_values(*instance.applied);
  tame_text(instance.health_reason);
  tame_text(instance.step, kMostHostName);
  if (instance.outcome) tame_outcome(*instance.outcome);
  std::size_t duties = 0;
  std::erase_if(instance.duties, [&](const auto& duty) {
    return duty.first.size() > kMostHostName || ++duties > kMostDuties;
  });
  for (auto& [token, outcome] : instance.duties) tame_outcome(outcome);
}

}  // namespace

void tame(plan::HostReport& report) {
  tame_text(report.boot_id, kMostHostName);
  tame_text(report.untrusted);
  tame_facts(report);
  if (report.access) tame_text(report.access->problem);
  for (auto& [service, instance] : report.instances) tame_instance(instance);
}

Status check_extent(const plan::HostReport& report) {
  if (report.instances.size() > kMostInstances)
    return fail(ErrorCode::too_large, fmt::format("report.instances: {} instances; at most {}",
                                                  report.instances.size(), kMostInstances));
  constexpr std::size_t kBesides = 64U << 10U;  // what the record has besides the report
  plan::HostReport said = report;
  said.events.clear();
  const std::size_t size = plan::host_report_to_json(said).dump().size();
  if (size > kMostHostRecord - kBesides)
    return fail(ErrorCode::too_large, fmt::format("the report has {} bytes without its events; at "
                                                  "most {}",
                                                  size, kMostHostRecord - kBesides));
  std::size_t bytes = 0;
  for (const Json& event : report.events) bytes += event.dump().size();
  if (report.events.size() > kMostEvents || bytes > kMostEventBytes)
    return fail(ErrorCode::too_large,
                fmt::format("report.events: {} events of {} bytes together; at most {} of {}",
                            report.events.size(), bytes, kMostEvents, kMostEventBytes));
  return {};
}

}  // namespace consort::controller
