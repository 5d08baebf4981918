// Hosts: joining, who may have which name, certificates and their renewal.
#include <fmt/format.h>

#include <algorithm>

#include "access/records.h"
#include "access/registry.h"
#include "access/registry_keys.h"
#include "base/text.h"

namespace consort::access {
namespace {

using Verdict = JoinOutcome::Verdict;

Failure no_host(const Registry& registry, const std::string& name) {
  const std::string guess = did_you_mean(name, registry.hosts);
  return fail(ErrorCode::not_found,
              fmt::format("no host '{}' has asked to join", name.substr(0, 80)))
      .hint(guess.empty() ? "see them with: consort host list"
                          : fmt::format("did you mean '{}'?", guess));
}

// Another host that is this one by `same`. Revoked ones, too: they do not come back by another
// name.
template <class Same>
const HostIdentity* other_host(const Registry& registry, const std::string& name, Same same) {
  for (const auto& [other, host] : registry.hosts) {
    if (other != name && same(host)) return &host;
  }
  return nullptr;
}

const HostIdentity* with_key(const Registry& registry, const std::string& name, const Digest& key) {
  // Also by the keys of certificates that are still good: after a renewal both are the host's.
  return other_host(registry, name, [&](const HostIdentity& host) {
    return host.key == key || std::any_of(host.certificates.begin(), host.certificates.end(),
                                          [&](const IssuedCertificate& c) { return c.key == key; });
  });
}

Error key_of_another(const std::string& name, const HostIdentity& other) {
  return fail(
             ErrorCode::conflict,
             fmt::format("the key that '{}' shows is that of host '{}': the machine was copied, or "
                         "renamed",
                         name, other.name))
      .hint("remove the agent's identity on the machine that is not meant, and join again");
}

JoinOutcome refused(Error error) {
  JoinOutcome out;
  out.verdict = Verdict::refused;
  out.refusal = std::move(error);
  return out;
}

Status check_request(const JoinRequest& request) {
  if (!is_name(request.host))
    return fail(ErrorCode::invalid_input,
                fmt::format("'{}' is not a good host name", request.host.substr(0, 80)))
        .hint("use letters, digits, '-', '_' and '.', at most 63");
  for (const std::string* text : {&request.machine_id, &request.address}) {
    if (text->size() > kMaxTextBytes || !is_utf8(*text))
      return fail(ErrorCode::invalid_input,
                  "the machine id or the address is too long or no UTF-8");
  }
  if (request.key.is_none()) return fail(ErrorCode::invalid_input, "a host without a key");
  return {};
}

// The name is somebody's with another key.
JoinOutcome claim_again(const HostIdentity& host, const JoinRequest& request, Instant now) {
  const bool same_machine = !host.machine_id.empty() && host.machine_id == request.machine_id;
  const std::string approve =
      fmt::format("consort host approve {} --key {}", host.name, request.key.str());
  JoinOutcome out =
      refused(fail(ErrorCode::conflict,
                   fmt::format("the name '{}' belongs to {} with another key{}", host.name,
                               same_machine ? "this machine" : "another machine",
                               same_machine ? "; was it installed anew?" : ""))
                  .hint(fmt::format("if this machine is meant, an admin says: {}", approve)));
  const bool told = host.rival && host.rival->key == request.key &&
                    host.rival->token == request.token_id && host.rival->address == request.address;
  if (told) return out;
  HostIdentity next = host;
  next.rival = Rival{request.key, request.machine_id, request.address, request.token_id, now};
  put(out.writes, next);
  out.findings.push_back(
      {Finding::Kind::name_taken, host.name, "",
       fmt::format("a machine at {} claims the name of host {} with another key ({})",
                   request.address.empty() ? "an unknown address" : request.address, host.name,
                   request.key.brief())});
  return out;
}

JoinOutcome was_revoked(const HostIdentity& host) {
  return refused(fail(ErrorCode::forbidden, fmt::format("host '{}' was revoked", host.name))
                     .hint(fmt::format("if it shall come back, an admin says: consort host approve "
                                       "{} --key {}",
                                       host.name, host.key.str())));
}

// A host that is known by name and key.
Result<JoinOutcome> again(const JoinToken& token, const HostIdentity& host,
                          const JoinRequest& request, Instant now) {
  if (host.state == HostState::revoked) return was_revoked(host);
  JoinOutcome out;
  out.verdict = host.state == HostState::approved ? Verdict::approved : Verdict::pending;
  out.host = host;
  if (host.token == token.id) return out;
  put(out.writes, TRY(redeem(token, request.secret.reveal(), now)));
  out.host->token = token.id;
  out.host->address = request.address;
  put(out.writes, *out.host);
  return out;
}

Result<JoinOutcome> first_time(const Registry& registry, const JoinToken& token,
                               const JoinRequest& request, Instant now) {
  const JoinToken left = TRY(redeem(token, request.secret.reveal(), now));
  if (registry.hosts.size() >= kMaxHosts)
    return fail(ErrorCode::too_large, fmt::format("there are {} hosts already", kMaxHosts))
        .hint("remove those that are gone: consort host remove");
  JoinOutcome out;
  HostIdentity host;
  host.name = request.host;
  host.key = request.key;
  host.machine_id = request.machine_id;
  host.address = request.address;
  host.token = token.id;
  host.host_class = token.host_class;
  host.labels = token.labels;
  host.joined = now;
  const HostIdentity* twin = other_host(registry, request.host, [&](const HostIdentity& other) {
    return !request.machine_id.empty() && other.machine_id == request.machine_id;
  });
  if (twin != nullptr) {
    out.findings.push_back({Finding::Kind::cloned_machine, request.host, twin->name,
                            fmt::format("{} and {} have the same machine id: a copied disk, or a "
                                        "machine that was renamed",
                                        request.host, twin->name)});
  } else if (token.auto_approve) {
    host.state = HostState::approved;
    host.decided_by = "join token " + token.id;
    host.decided = now;
    out.verdict = Verdict::approved;
  }
  put(out.writes, left);
  put(out.writes, host);
  out.host = std::move(host);
  return out;
}

}  // namespace

Result<JoinOutcome> join(const Registry& registry, const JoinRequest& request, Instant now) {
  TRYV(check_request(request));
  const auto found = registry.join_tokens.find(request.token_id);
  // As long as a wrong secret takes: ids are not for guessing either.
  static const JoinToken nobody{"", Digest().str()};
  const JoinToken& token = found == registry.join_tokens.end() ? nobody : found->second;
  TRYV(check_secret(token, request.secret.reveal()));
  if (!glob_match(token.names, request.host))
    return fail(ErrorCode::forbidden, fmt::format("the join token {} is for hosts named '{}', not "
                                                  "for '{}'",
                                                  token.id, token.names, request.host))
        .hint("make a token for it: consort token create --names PATTERN");
  if (const HostIdentity* other = with_key(registry, request.host, request.key)) {
    Error error = key_of_another(request.host, *other);
    JoinOutcome out = refused(error);
    out.findings.push_back({Finding::Kind::cloned_key, request.host, other->name, error.message()});
    return out;
  }
  const auto host = registry.hosts.find(request.host);
  if (host == registry.hosts.end()) return first_time(registry, token, request, now);
  if (host->second.key == request.key) return again(token, host->second, request, now);
  // A claim, too, is only for who could join: a token that is over makes no rivals. One that came
  // while the token was good may be asked about later.
  const bool told = host->second.rival && host->second.rival->key == request.key;
  if (!told) static_cast<void>(TRY(redeem(token, request.secret.reveal(), now)));
  return claim_again(host->second, request, now);
}

Result<Writes> approve_host(const Registry& registry, const std::string& name,
                            const std::optional<Digest>& key, const std::string& by, Instant now) {
  const auto it = registry.hosts.find(name);
  if (it == registry.hosts.end()) return no_host(registry, name);
  HostIdentity next = it->second;
  if (!key && (next.rival || next.state == HostState::revoked)) {
    return fail(ErrorCode::refused,
                next.rival
                    ? fmt::format("two keys claim the name '{}': {} since {}, and {} from {}", name,
                                  next.key.str(), format_instant(next.joined),
                                  next.rival->key.str(), next.rival->address)
                    : fmt::format("host '{}' was revoked; its key is {}", name, next.key.str()))
        .hint(fmt::format("say which one is meant: consort host approve {} --key sha256:…", name));
  }
  Writes out;
  const Digest chosen = key.value_or(next.key);
  const bool rival = next.rival && next.rival->key == chosen && next.key != chosen;
  if (!rival && next.key != chosen)
    return fail(ErrorCode::not_found,
                fmt::format("no machine with the key {} claims the name '{}'", chosen.str(), name))
        .hint(fmt::format("see who does with: consort host show {}", name));
  if (const HostIdentity* other = with_key(registry, name, chosen))
    return fail(key_of_another(name, *other));
  if (next.state == HostState::approved && !rival && !next.rival) return out;
  if (rival) {
    revoke_all(out, next.certificates, "host " + name, by, now);
    next.certificates.clear();
    next.seal_key.clear();  // another machine: what was sealed for the one before is not for it
    next.key = chosen;
    next.machine_id = next.rival->machine_id;
    next.address = next.rival->address;
    next.token = next.rival->token;
    next.joined = now;
  }
  next.rival.reset();
  next.state = HostState::approved;
  next.decided_by = bounded(by);
  next.decided = now;
  put(out, next);
  return out;
}

Result<Writes> revoke_host(const Registry& registry, const std::string& name, const std::string& by,
                           Instant now) {
  const auto it = registry.hosts.find(name);
  if (it == registry.hosts.end()) return no_host(registry, name);
  Writes out;
  revoke_all(out, it->second.certificates, "host " + name, by, now);
  HostIdentity next = it->second;
  next.certificates.clear();
  next.state = HostState::revoked;
  next.decided_by = bounded(by);
  next.decided = now;
  put(out, next);
  return out;
}

std::map<std::string, std::string> labels_of(const HostIdentity& host) {
  std::map<std::string, std::string> out = host.labels;
  if (!host.host_class.empty()) out.try_emplace("class", host.host_class);
  return out;
}

Result<Writes> remove_host(const Registry& registry, const std::string& name, const std::string& by,
                           Instant now) {
  const auto it = registry.hosts.find(name);
  if (it == registry.hosts.end()) return no_host(registry, name);
  Writes out;
  revoke_all(out, it->second.certificates, "host " + name, by, now);
  erase(out, kHostKeys, name);
  return out;
}

Status check_renewal(const Registry& registry, const std::string& name, const std::string& serial,
                     const Digest& key, Instant now) {
  const auto it = registry.hosts.find(name);
  if (it == registry.hosts.end()) return no_host(registry, name);
  const HostIdentity& host = it->second;
  if (host.state != HostState::approved)
    return fail(ErrorCode::forbidden,
                fmt::format("host '{}' is {}", name, host_state_name(host.state)))
        .hint(fmt::format("an admin says: consort host approve {}", name));
  const bool shown = std::any_of(
      host.certificates.begin(), host.certificates.end(),
      [&](const IssuedCertificate& c) { return c.serial == serial && c.valid_until > now; });
  if (!shown)
    return fail(ErrorCode::unauthenticated,
                fmt::format("the certificate {} of host '{}' is over or was revoked",
                            serial.substr(0, 64), name))
        .hint("let it join again with a token: consort token create");
  if (const HostIdentity* other = with_key(registry, name, key))
    return fail(key_of_another(name, *other));
  return {};
}

Result<Writes> add_host_certificate(const Registry& registry, const std::string& name,
                                    const IssuedCertificate& certificate, Duration overlap,
                                    Instant now) {
  const auto it = registry.hosts.find(name);
  if (it == registry.hosts.end()) return no_host(registry, name);
  return add_host_certificate(registry, it->second, certificate, overlap, now);
}

Result<Writes> add_host_certificate(const Registry& registry, HostIdentity next,
                                    const IssuedCertificate& certificate, Duration overlap,
                                    Instant now) {
  if (next.state != HostState::approved)
    return fail(ErrorCode::forbidden,
                fmt::format("host '{}' is {}", next.name, host_state_name(next.state)))
        .hint(fmt::format("an admin says: consort host approve {}", next.name));
  for (IssuedCertificate& before : next.certificates)
    before.valid_until = std::min(before.valid_until, now + overlap);
  Writes out;
  TRYV(add_certificate(out, next.certificates, registry, certificate, "host " + next.name, now));
  next.key = certificate.key;
  put(out, next);
  return out;
}

std::optional<Finding> check_machine(const Registry& registry, const std::string& name,
                                     const std::string& machine_id) {
  const auto it = registry.hosts.find(name);
  if (it == registry.hosts.end() || machine_id.empty() || it->second.machine_id.empty() ||
      it->second.machine_id == machine_id)
    return std::nullopt;
  return Finding{Finding::Kind::cloned_machine, name, "",
                 fmt::format("host {} joined as the machine {} and speaks now as {}: its key was "
                             "copied, or its disk put into another machine",
                             name, bounded(it->second.machine_id.substr(0, 8)),
                             bounded(machine_id.substr(0, 8)))};
}

}  // namespace consort::access
