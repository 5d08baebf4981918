#include "signing/review.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "plan/generation_statement.h"

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
  if (statement.sequence <= last || statement.sequence > last + plan::kSequenceLead)
    return fail(ErrorCode::forbidden,
                fmt::format("statement {} cannot follow statement {}", statement.sequence, last));
  return {};
}

// A number that a host has seen is good for nothing else. So who shows an older statement as the
// one in force has to skip those after it, and what stays would be signed as of then. Rollouts that
// went back leave such gaps, too: only operators know which it is.
Status review_gap(const Statement& statement, const Evidence& evidence,
                  const std::vector<std::string>& stay) {
  const Statement* previous = evidence.previous;
  if (previous == nullptr || stay.empty() || statement.sequence == previous->sequence + 1 ||
      evidence.as_of == previous->sequence)
    return {};
  std::vector<std::string> manifests;
  for (const std::string& name : stay)
    manifests.push_back(fmt::format("{} {}", name, statement.services.at(name).manifest.brief()));
  return fail(ErrorCode::forbidden,
              fmt::format("statement {} would follow statement {}, as of which would stay: {}; the "
                          "controller does not show what was signed between the two",
                          statement.sequence, previous->sequence, join(manifests, ", ")))
      .hint(
          fmt::format("rollouts that went back leave such gaps, and so does who hides what others "
                      "have deployed: ask them. If nobody has deployed anything that came to its "
                      "end since, say the same command with --as-of {}; else deploy the whole "
                      "site from its newest sources",
                      previous->sequence));
}

// Last of all: nobody is told to allow anything while something else speaks against signing.
Status review_outage(const Statement& statement, const Evidence& evidence) {
  if (statement.held.empty() || evidence.outage) return {};
  return fail(ErrorCode::forbidden,
              fmt::format("it would be signed that {} may be stopped for a while",
                          join(statement.held, ", ")))
      .hint(evidence.compiled == nullptr
                ? "if you want that, say the same command with --allow-outage; what is rolled back "
                  "to has no policy that you could have signed"
                : "if you want that, say the same command with --allow-outage, or put policy: { "
                  "allowOutage: true } into the site");
}

// Not asked for, or broken: the deploy leaves it as it is.
bool is_left_out(const std::string& name, const Evidence& evidence) {
  return evidence.except.contains(name) || evidence.compiled->broken.contains(name) ||
         (!evidence.only.empty() && !evidence.only.contains(name));
}

bool is_as_compiled(const std::string& name, const plan::StatedService& service,
                    const plan::Generation& compiled) {
  const auto it = compiled.services.find(name);
  return it != compiled.services.end() && plan::stated_service(compiled, it->second) == service;
}

// As it was signed, where the inventory of today still has its hosts, and with what the inventory
// says of them: a host that has left is no place for anything, and addresses change.
bool is_as_before(const plan::StatedService& service, const plan::StatedService& before,
                  const plan::Generation& compiled) {
  plan::ServiceRecord record;
  record.manifest = before.manifest;
  for (const auto& [host, values] : before.hosts) {
    if (compiled.hosts.contains(host)) record.hosts.push_back(host);
  }
  std::set<std::string> names;
  for (const auto* hosts : {&before.hosts, &service.hosts}) {
    for (const auto& [host, values] : *hosts) {
      for (const auto& [name, value] : values) names.insert(name);
    }
  }
  record.host_values.assign(names.begin(), names.end());
  return plan::stated_service(compiled, record) == service;
}

// What the sources want and the statement does not have could be taken away.
Status review_missing(const Statement& statement, const Evidence& evidence) {
  if (evidence.compiled == nullptr) return {};
  if (evidence.previous == nullptr && !evidence.compiled->broken.empty()) {
    const std::string& name = evidence.compiled->broken.begin()->first;
    return fail(ErrorCode::forbidden,
                fmt::format("{} is broken, and without a signed statement in force nothing says "
                            "what of it should stay",
                            name))
        .hint(
            "mend it first, or take it out of the sources: what begins a chain of statements is "
            "the whole site");
  }
  for (const auto& [name, service] : evidence.compiled->services) {
    if (statement.services.contains(name)) continue;
    const bool left_out = is_left_out(name, evidence);
    if (left_out && evidence.previous != nullptr && stated(evidence.previous, name) == nullptr)
      continue;
    return fail(ErrorCode::forbidden,
                fmt::format("what the controller wants signed does not have {}", name))
        .hint(left_out && evidence.previous == nullptr
                  ? "the first signed deploy is of the whole site, so that nothing that runs is "
                    "left without a signature: without --only and --except"
                  : "sign nothing; find out who has written to the controller: consort audit");
  }
  return {};
}

// What was signed before and is not any more must be what the operator takes away.
Status review_gone(const Statement& statement, const Evidence& evidence) {
  if (evidence.previous == nullptr) return {};
  const plan::Generation* compiled = evidence.compiled;
  for (const auto& [name, service] : evidence.previous->services) {
    if (statement.services.contains(name)) continue;
    const bool wanted =
        compiled != nullptr
            ? compiled->services.contains(name) || is_left_out(name, evidence)
            : evidence.earlier == nullptr || stated(evidence.earlier, name) != nullptr;
    if (!wanted) continue;
    return fail(ErrorCode::forbidden,
                fmt::format("the controller wants {} signed away, which is still wanted", name))
        .hint("sign nothing; find out who has written to the controller: consort audit");
  }
  return {};
}

enum class Found : std::uint8_t { wanted, stays, neither };

Found judge(const std::string& name, const plan::StatedService& service, const Evidence& evidence) {
  const plan::StatedService* before = stated(evidence.previous, name);
  if (evidence.compiled == nullptr) {
    // A controller may show any earlier statement: only who rolls back has asked for one.
    if (is_brought_back(name, service, evidence)) return Found::wanted;
    return before != nullptr && *before == service ? Found::stays : Found::neither;
  }
  const bool own = is_as_compiled(name, service, *evidence.compiled);
  const bool stays = before != nullptr && is_as_before(service, *before, *evidence.compiled);
  // Left out is left as it is, whatever the sources would make of it now.
  const bool must_stay = evidence.previous != nullptr && is_left_out(name, evidence);
  if (own && (stays || !must_stay)) return Found::wanted;
  return stays ? Found::stays : Found::neither;
}

Error refusal(const std::string& name, const plan::StatedService& service,
              const Evidence& evidence) {
  const bool left_out =
      evidence.compiled != nullptr && evidence.previous != nullptr && is_left_out(name, evidence);
  return Error(
      fail(ErrorCode::forbidden,
           fmt::format("the controller wants {} of {} signed, which is {}",
                       service.manifest.brief(), name,
                       left_out ? "left out of this deploy, and not as it was signed before"
                                : "neither what these sources make nor what was signed before"))
          .hint(evidence.previous == nullptr && is_left_out(name, evidence)
                    ? "the first signed deploy is of the whole site, so that nothing that runs is "
                      "left without a signature: without --only and --except"
                    : "are your sources and your inventory of the same revision as those that are "
                      "deployed? if they are, sign nothing, and find out who has written to the "
                      "controller: consort audit"));
}

}  // namespace

Result<std::vector<std::string>> review(const Statement& statement, const Evidence& evidence) {
  TRYV(review_frame(statement, evidence));
  TRYV(review_missing(statement, evidence));
  std::vector<std::string> stay;
  for (const auto& [name, service] : statement.services) {
    const Found found = judge(name, service, evidence);
    if (found == Found::neither) return fail(refusal(name, service, evidence));
    if (found == Found::stays) stay.push_back(name);
  }
  TRYV(review_gone(statement, evidence));
  TRYV(review_gap(statement, evidence, stay));
  TRYV(review_outage(statement, evidence));
  return stay;
}

}  // namespace consort::signing
