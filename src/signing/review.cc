#include "signing/review.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "plan/stated.h"

namespace consort::signing {
namespace {

using plan::Statement;

const plan::StatedService* stated(const Statement* statement, const std::string& name) {
  if (statement == nullptr) return nullptr;
  const auto it = statement->services.find(name);
  return it == statement->services.end() ? nullptr : &it->second;
}

// Whether one of the statements says these values of the host, in whatever service.
bool is_known_of(const std::string& host, const std::map<std::string, std::string>& values,
                 std::initializer_list<const Statement*> statements) {
  for (const auto& [key, value] : values) {
    bool known = false;
    for (const Statement* statement : statements) {
      if (statement == nullptr) continue;
      for (const auto& [name, service] : statement->services) {
        const auto its = service.hosts.find(host);
        if (its == service.hosts.end()) continue;
        const auto it = its->second.find(key);
        known = known || (it != its->second.end() && it->second == value);
      }
    }
    if (!known) return false;
  }
  return true;
}

// The version of then, on hosts that operators have signed for: it is placed on the fleet of today.
bool is_brought_back(const std::string& name, const plan::StatedService& service,
                     const Evidence& evidence) {
  const plan::StatedService* then = stated(evidence.earlier, name);
  if (then == nullptr || then->manifest != service.manifest) return false;
  for (const auto& [host, values] : service.hosts) {
    const bool known = evidence.earlier->hosts.contains(host) ||
                       (evidence.previous != nullptr && evidence.previous->hosts.contains(host));
    if (!known || !is_known_of(host, values, {evidence.earlier, evidence.previous})) return false;
  }
  return true;
}

Status review_frame(const Statement& statement, const Evidence& evidence) {
  const Statement* previous = evidence.previous;
  const std::uint64_t last = std::max(evidence.seen, previous == nullptr ? 0 : previous->sequence);
  const Digest before =
      previous == nullptr ? Digest() : plan::head_digest(plan::ShareTree(*previous).head());
  if (statement.previous != before)
    return fail(ErrorCode::forbidden, "the statement does not follow the one that is in force");
  if (statement.sequence <= last || statement.sequence > last + kSequenceLead)
    return fail(ErrorCode::forbidden,
                fmt::format("statement {} cannot follow statement {}", statement.sequence, last));
  if (!statement.held.empty() && !evidence.outage)
    return fail(ErrorCode::forbidden,
                fmt::format("the controller wants it signed that {} may be stopped for a while",
                            join(statement.held, ", ")))
        .hint("if the plan's joint outage is meant: --allow-outage, or policy.allowOutage");
  return {};
}

// What the sources want and the statement does not have could be taken away.
Status review_missing(const Statement& statement, const Evidence& evidence) {
  if (evidence.compiled == nullptr) return {};
  for (const auto& [name, service] : evidence.compiled->services) {
    if (statement.services.contains(name) || evidence.compiled->broken.contains(name)) continue;
    const bool left_out =
        evidence.except.contains(name) || (!evidence.only.empty() && !evidence.only.contains(name));
    if (left_out && evidence.previous != nullptr && stated(evidence.previous, name) == nullptr)
      continue;
    return fail(ErrorCode::forbidden,
                fmt::format("what the controller wants signed does not have {}", name))
        .hint(left_out ? "the first signed deploy is of the whole site, so that nothing that runs "
                         "is left without a signature: without --only and --except"
                       : "sign nothing; find out who has written to the controller: consort audit");
  }
  return {};
}

}  // namespace

Result<std::vector<std::string>> review(const Statement& statement, const Evidence& evidence) {
  TRYV(review_frame(statement, evidence));
  TRYV(review_missing(statement, evidence));
  std::vector<std::string> stay;
  const auto* compiled = evidence.compiled;
  for (const auto& [name, service] : statement.services) {
    bool own = false;
    if (compiled != nullptr) {
      const auto it = compiled->services.find(name);
      own =
          it != compiled->services.end() && plan::stated_service(*compiled, it->second) == service;
    }
    // A controller may show any earlier statement: only who rolls back has asked for one.
    if (own || (compiled == nullptr && is_brought_back(name, service, evidence))) continue;
    const plan::StatedService* before = stated(evidence.previous, name);
    if (before == nullptr || *before != service)
      return fail(ErrorCode::forbidden,
                  fmt::format("the controller wants {} of {} signed, which is neither what these "
                              "sources make nor what was signed before",
                              service.manifest.brief(), name))
          .hint(
              "are your sources of the same revision as those that are deployed? if they are, sign "
              "nothing, and find out who has written to the controller: consort audit");
    stay.push_back(name);
  }
  if (evidence.previous == nullptr) return stay;
  for (const auto& [name, service] : evidence.previous->services) {
    if (statement.services.contains(name)) continue;
    const bool wanted = compiled != nullptr
                            ? compiled->services.contains(name) || compiled->broken.contains(name)
                            : stated(evidence.earlier, name) != nullptr;
    if (wanted || (compiled == nullptr && evidence.earlier == nullptr))
      return fail(ErrorCode::forbidden,
                  fmt::format("the controller wants {} signed away, which is still wanted", name))
          .hint("sign nothing; find out who has written to the controller: consort audit");
  }
  return stay;
}

}  // namespace consort::signing
