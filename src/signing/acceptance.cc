#include "signing/acceptance.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/json_reader.h"

namespace consort::signing {
namespace {

using plan::InstanceState;

// "shop migrate up sha256:…"
std::string duty_name(const std::string& service, const plan::Duty& duty) {
  return fmt::format("{} {} {} {}", service, duty.hook, duty.direction, duty.owner.str());
}

class Judge {
 public:
  Judge(const plan::Attestation& attestation, const Accepted& accepted)
      : current_(attestation.current),
        previous_(attestation.previous ? &*attestation.previous : nullptr),
        accepted_(accepted) {}

  [[nodiscard]] Status check(const std::string& service, const plan::TargetEntry& entry) const {
    if (entry.duty) TRYV(check_duty(service, *entry.duty));
    if (entry.wanted ? may_be(service, *entry.wanted) : may_be_absent(service)) return {};
    return fail(ErrorCode::forbidden,
                entry.wanted
                    ? fmt::format("statement {} does not want {} of {} here",
                                  current_.head.sequence, entry.wanted->manifest.brief(), service)
                    : fmt::format("statement {} does not say that {} goes", current_.head.sequence,
                                  service));
  }

 private:
  // In the newest statement, in the one before, or what ran when the newest one came.
  [[nodiscard]] bool may_be(const std::string& service, const InstanceState& wanted) const {
    const auto ran = accepted_.ran.find(service);
    if (ran != accepted_.ran.end() && ran->second == wanted) return true;
    if (wanted.mode != plan::Mode::running &&
        !std::binary_search(current_.head.held.begin(), current_.head.held.end(), service))
      return false;
    for (const plan::HostPart* part : {&current_, previous_}) {
      if (part == nullptr) continue;
      const auto it = part->share.find(service);
      if (it != part->share.end() && it->second.manifest == wanted.manifest &&
          it->second.host == wanted.host)
        return true;
    }
    return ran != accepted_.ran.end() && plan::same_version(ran->second, wanted);
  }

  [[nodiscard]] bool may_be_absent(const std::string& service) const {
    return !current_.share.contains(service) ||
           (previous_ != nullptr && !previous_->share.contains(service)) ||
           !accepted_.ran.contains(service);
  }

  [[nodiscard]] bool is_known(const std::string& service, const Digest& manifest) const {
    if (manifest.is_none()) return true;
    for (const plan::HostPart* part : {&current_, previous_}) {
      if (part == nullptr) continue;
      const auto it = part->share.find(service);
      if (it != part->share.end() && it->second.manifest == manifest) return true;
    }
    const auto ran = accepted_.ran.find(service);
    return ran != accepted_.ran.end() && ran->second.manifest == manifest;
  }

  [[nodiscard]] Status check_duty(const std::string& service, const plan::Duty& duty) const {
    for (const Digest& digest : {duty.owner, duty.from, duty.to}) {
      if (!is_known(service, digest))
        return fail(ErrorCode::forbidden,
                    fmt::format("the hook '{}' of {} comes from {}, which statement {} does not "
                                "want here",
                                duty.hook, service, digest.brief(), current_.head.sequence));
    }
    // Its token makes "once" true, and the controller chooses the token.
    const auto done = accepted_.duties.find(duty_name(service, duty));
    if (done == accepted_.duties.end() || done->second == duty.token) return {};
    return fail(ErrorCode::forbidden,
                fmt::format("the hook '{}' of {} was done under statement {} already", duty.hook,
                            service, current_.head.sequence));
  }

  const plan::HostPart& current_;
  const plan::HostPart* previous_;
  const Accepted& accepted_;
};

Status check_attestation(const TrustList& list, const Accepted& before, const std::string& host,
                         const plan::Attestation& attestation) {
  const plan::StatementHead& head = attestation.current.head;
  TRYV(check_signed(list, head, attestation.signatures));
  TRYV(plan::check_part(attestation.current, host));
  if (attestation.previous) {
    if (plan::head_digest(attestation.previous->head) != head.previous)
      return fail(ErrorCode::forbidden,
                  fmt::format("statement {} does not follow the one that is said to be before it",
                              head.sequence));
    TRYV(plan::check_part(*attestation.previous, host));
  }
  if (head.sequence < before.sequence)
    return fail(ErrorCode::forbidden,
                fmt::format("statement {} is older than {}, which this host has seen",
                            head.sequence, before.sequence));
  if (head.sequence == before.sequence && plan::head_digest(head) != before.head)
    return fail(ErrorCode::forbidden,
                fmt::format("there are two statements with the number {}", head.sequence));
  return {};
}

Result<Accepted> accept_signed(const TrustList& list, const Accepted& before, const HostNow& now,
                               const plan::Target& target) {
  if (!target.attestation)
    return fail(ErrorCode::forbidden, "what the controller wants here is not signed");
  TRYV(check_attestation(list, before, now.host, *target.attestation));
  Accepted out = before;
  const plan::StatementHead& head = target.attestation->current.head;
  if (head.sequence > before.sequence) {
    out = {head.sequence, plan::head_digest(head), {}, {}};
    for (const auto& [service, present] : now.services) {
      if (present.applied) out.ran.emplace(service, *present.applied);
    }
  }
  const Judge judge(*target.attestation, out);
  for (const auto& [service, entry] : target.instances) {
    if (changes_something(now, service, entry)) TRYV(judge.check(service, entry));
  }
  for (const auto& [service, entry] : target.instances) {
    if (entry.duty && changes_something(now, service, entry))
      out.duties.emplace(duty_name(service, *entry.duty), entry.duty->token);
  }
  return out;
}

}  // namespace

Json accepted_to_json(const Accepted& accepted) {
  Json::Object ran, duties;
  for (const auto& [service, state] : accepted.ran)
    ran.emplace(service, plan::instance_state_to_json(state));
  for (const auto& [duty, token] : accepted.duties) duties.emplace(duty, token);
  return Json::object({{"sequence", accepted.sequence},
                       {"head", accepted.head.str()},
                       {"ran", std::move(ran)},
                       {"duties", std::move(duties)}});
}

Result<Accepted> accepted_from_json(const Json& json) {
  JsonReader reader(json, "accepted");
  Accepted out;
  out.sequence = static_cast<std::uint64_t>(reader.integer("sequence", {}, 0));
  const std::string head = reader.string("head");
  const Json::Object& ran = reader.object("ran");
  const Json::Object& duties = reader.object("duties");
  TRYV(reader.finish());
  out.head = TRY(Digest::parse(head));
  for (const auto& [service, state] : ran)
    out.ran.emplace(service, TRY(plan::instance_state_from_json(state, "accepted.ran." + service)));
  for (const auto& [duty, token] : duties) {
    if (!token.is_string())
      return fail(ErrorCode::invalid_input, "accepted.duties: expected tokens");
    out.duties.emplace(duty, token.as_string());
  }
  return out;
}

bool changes_something(const HostNow& now, const std::string& service,
                       const plan::TargetEntry& entry) {
  if (now.held != nullptr) {
    const auto held = now.held->instances.find(service);
    if (held != now.held->instances.end() && held->second == entry) return false;
  }
  if (entry.duty) return true;
  const auto present = now.services.find(service);
  if (present == now.services.end()) return entry.wanted.has_value();
  return present->second.changing || present->second.applied != entry.wanted;
}

bool changes_something(const HostNow& now, const plan::Target& target) {
  return std::any_of(target.instances.begin(), target.instances.end(), [&](const auto& item) {
    return changes_something(now, item.first, item.second);
  });
}

Result<Accepted> accept(const TrustList& list, const Accepted& before, const HostNow& now,
                        const plan::Target& target) {
  auto accepted = accept_signed(list, before, now, target);
  // What changes nothing needs nobody's word.
  if (!accepted && !changes_something(now, target)) return before;
  return accepted;
}

}  // namespace consort::signing
