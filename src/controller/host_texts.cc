#include "controller/host_texts.h"

namespace consort::controller {
namespace {

void clean(std::string& text, Lines lines = Lines::one) {
  text = printable(std::move(text), lines);
}

void clean(plan::Outcome& outcome) {
  clean(outcome.attempt);
  clean(outcome.step);
  clean(outcome.message);
  clean(outcome.tail, Lines::many);
  clean(outcome.lost);
}

}  // namespace

void make_printable(plan::HostReport& report) {
  clean(report.boot_id);
  clean(report.untrusted);
  std::map<std::string, std::string> facts;
  for (const auto& [key, value] : report.facts)
    facts.emplace(printable(key, Lines::one), printable(value, Lines::one));
  report.facts = std::move(facts);
  if (report.access) clean(report.access->problem);
  for (auto& [service, instance] : report.instances) {
    clean(instance.health_reason);
    clean(instance.step);
    if (instance.outcome) clean(*instance.outcome);
    for (auto& [token, outcome] : instance.duties) clean(outcome);
  }
}

}  // namespace consort::controller
