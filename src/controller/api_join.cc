// How machines get in, and everybody gets a new certificate: the authority's certificate, joining,
// renewal. ADR 0010.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/log.h"
#include "base/text.h"
#include "controller/access_bodies.h"
#include "controller/renewal_limit.h"
#include "controller/shell.h"
#include "controller/telling_limits.h"
#include "crypto/certificates.h"

namespace consort::controller {
namespace {

constexpr std::size_t kJoinBytes = 64U << 10U;
// A host that never got its new certificate asks again with the old one.
constexpr Duration kOverlap = hours(24);

Result<const AuthorityFolder*> authority_of(const Shell& shell) {
  TRYV(shell.writable());
  if (shell.authority() != nullptr) return shell.authority();
  return fail(ErrorCode::unsupported, "this controller runs with --insecure: nobody joins it")
      .hint("agents of it say --controller http://…, and need no token");
}

Result<SignedRequest> read_request(const http::Request& request) {
  return signed_request_from_json(TRY(request.json()));
}

access::IssuedCertificate issued(const crypto::Certificate& certificate, const Digest& key) {
  return {certificate.serial(), key, certificate.not_after(), certificate.not_after()};
}

Json certificate_record(const AuthorityFolder& folder, const crypto::Certificate& certificate) {
  return Json::object({{"certificate", folder.authority().chain_pem_for(certificate)},
                       {"authority", folder.trust_pem()},
                       {"partition", folder.partition()},
                       {"expires", format_instant(certificate.not_after())}});
}

// The certificate of a host that is let in, and what the registry keeps of it.
struct Issue {
  crypto::Certificate certificate;
  access::Writes writes;
};
// `host`: its name, or what it will be in the registry.
template <class Host>
Result<Issue> issue_for_host(const Shell& shell, const AuthorityFolder& folder,
                             const std::string& name, const crypto::PublicKey& key, Host&& host) {
  const crypto::Certificate certificate = TRY(folder.authority().issue(
      {key, {crypto::IdentityKind::host, folder.partition(), name}, {}, kHostLifetime},
      shell.now()));
  auto writes =
      TRY(access::add_host_certificate(shell.registry(), std::forward<Host>(host),
                                       issued(certificate, key.id()), kOverlap, shell.now()));
  return Issue{certificate, std::move(writes)};
}
Result<Issue> issue_for_host(const Shell& shell, const AuthorityFolder& folder,
                             const std::string& name, const crypto::PublicKey& key) {
  return issue_for_host(shell, folder, name, key, name);
}

// Of who joins: their place and their certificate are one change, or none.
Result<Issue> issue_for_newcomer(const Shell& shell, const AuthorityFolder& folder,
                                 access::JoinOutcome& outcome, const crypto::PublicKey& key,
                                 RenewalLimit& limit) {
  const std::string name = outcome.host.value().name;
  // The same host may ask as often as it likes, but is not given as much.
  TRYV(limit.take("host " + name, shell.now()));
  Issue made = TRY(issue_for_host(shell, folder, name, key, *outcome.host));
  for (auto& [record, value] : made.writes)
    outcome.writes.insert_or_assign(record, std::move(value));
  made.writes.clear();
  return made;
}

// "Bearer cj1.…", which the gate has believed.
Result<access::JoinTokenText> token_of(const http::Request& request) {
  return access::JoinTokenText::parse(request.bearer_token().value_or(""));
}

// A claim to what is somebody else's is kept and told once a minute of each token and host: they
// cost no use of the token. True: nothing is kept of this one.
bool is_too_many(OnceAMinute& claims, const access::JoinOutcome& outcome,
                 const access::JoinTokenText& token, const std::string& name, Instant now) {
  if (outcome.verdict != access::JoinOutcome::Verdict::refused) return false;
  if (outcome.writes.empty() && outcome.findings.empty()) return false;
  const bool of_other = !outcome.findings.empty() && !outcome.findings.front().other.empty();
  return !claims.take(token.id + " " + (of_other ? outcome.findings.front().other : name), now);
}

void join(Shell& shell, RenewalLimit& limit, OnceAMinute& claims, const http::Request& request,
          const http::Responder& responder, const Asker& asker) {
  const auto folder = authority_of(shell);
  const auto token = token_of(request);
  auto signed_request = read_request(request);
  if (!folder || !token || !signed_request) {
    responder.send(!folder ? folder.error() : !token ? token.error() : signed_request.error());
    return;
  }
  const std::string& name = signed_request->certificate.identity.name;
  if (!is_name(name)) {
    responder.send(Error(fail(ErrorCode::invalid_input,
                              fmt::format("'{}' is no name for a host", name.substr(0, 80)))
                             .hint("letters, digits, '.', '_', '-'; at most 63")));
    return;
  }
  const crypto::PublicKey& key = signed_request->certificate.key;
  auto outcome = access::join(
      shell.registry(),
      {token->id, token->secret, name, key.id(), signed_request->machine, request.peer.address},
      shell.now());
  if (!outcome) {
    responder.send(outcome.error());
    return;
  }
  using Verdict = access::JoinOutcome::Verdict;
  if (is_too_many(claims, *outcome, *token, name, shell.now())) {
    outcome->writes.clear();
    outcome->findings.clear();
  }
  access::AuditNote note = note_of(asker.known, access::Action::join_fleet, name, shell.now());
  for (const access::Finding& finding : outcome->findings) {
    log_warn("{}", finding.text);
    note.reason += (note.reason.empty() ? "" : "; ") + finding.text;
  }
  http::Response answer;
  if (outcome->verdict == Verdict::approved) {
    const auto made = issue_for_newcomer(shell, **folder, *outcome, key, limit);
    if (!made) {
      responder.send(made.error());
      return;
    }
    note.after = "certificate " + made->certificate.serial();
    answer = http::Response::json(certificate_record(**folder, made->certificate));
  } else if (outcome->verdict == Verdict::pending) {
    note.after = "waits for an admin";
    answer = http::Response::json(Json::object({{"state", "pending"}}), 202);
  } else {
    note.outcome = access::AuditNote::Outcome::refused;
    answer = http::Response::error(outcome->refusal.value());
  }
  // A host that waits asks again and again: that is told once.
  const bool news = !outcome->writes.empty() || !outcome->findings.empty();
  shell.change_access(std::move(outcome->writes),
                      news ? std::optional(std::move(note)) : std::nullopt,
                      [responder, answer = std::move(answer)](const Status& status) {
                        responder.send(status ? answer : http::Response::error(status.error()));
                      });
}

// A credential that ends, such as a token of CI, is not made longer by what one gets with it.
Result<Issue> issue_for_operator(const Shell& shell, const AuthorityFolder& folder,
                                 const access::Known& who, const crypto::PublicKey& key) {
  const std::string& name = who.principal.name;
  const Duration lifetime =
      who.ends ? std::min(kOperatorLifetime, *who.ends - shell.now()) : kOperatorLifetime;
  if (lifetime < minutes(1))
    return fail(ErrorCode::forbidden, "the credential that asks ends within a minute")
        .hint(fmt::format("an admin makes another token: consort operator token {}", name));
  const crypto::Certificate certificate = TRY(folder.authority().issue(
      {key, {crypto::IdentityKind::operator_, folder.partition(), name}, {}, lifetime},
      shell.now()));
  access::IssuedCertificate record = issued(certificate, key.id());
  record.last = who.ends.has_value();
  record.token = who.token;
  auto writes = TRY(access::add_operator_certificate(shell.registry(), name, record, shell.now()));
  return Issue{certificate, std::move(writes)};
}

// A host whose certificate has expired, or was replaced: its request is signed with the key that it
// is known by, which nobody else has.
Status check_known_key(const Shell& shell, const crypto::CertificateRequest& request) {
  const auto it = shell.registry().hosts.find(request.identity.name);
  const bool known =
      request.identity.kind == crypto::IdentityKind::host && it != shell.registry().hosts.end() &&
      it->second.state == access::HostState::approved && it->second.key == request.key.id();
  if (known) return {};
  return fail(ErrorCode::unauthenticated,
              fmt::format("no host '{}' is known by this key", request.identity.name))
      .hint(
          "show the certificate that is to be renewed; or join anew: remove the folder identity in "
          "the agent's data, and give it a token of: consort token create");
}

Result<Issue> renewed(const Shell& shell, const AuthorityFolder& folder, const access::Known& who,
                      const http::Request& request, const crypto::CertificateRequest& asked,
                      RenewalLimit& limit) {
  using Kind = access::Principal::Kind;
  const access::Principal& principal = who.principal;
  if (principal.kind == Kind::operator_) {
    TRYV(limit.take("operator " + principal.name, shell.now()));
    return issue_for_operator(shell, folder, who, asked.key);
  }
  if (principal.kind == Kind::host) {
    TRYV(access::check_renewal(shell.registry(), principal.name, request.peer.serial,
                               asked.key.id(), shell.now()));
    TRYV(limit.take("host " + principal.name, shell.now()));
    return issue_for_host(shell, folder, principal.name, asked.key);
  }
  // POST /v1/rejoin: nobody in particular asks.
  TRYV(check_known_key(shell, asked));
  TRYV(limit.take("host " + asked.identity.name, shell.now()));
  return issue_for_host(shell, folder, asked.identity.name, asked.key);
}

// For the audit log: who has shown no certificate and got one is the host whose key signed.
access::Known known_by_key(access::Known who, const crypto::Identity& identity) {
  if (who.principal.kind != access::Principal::Kind::anonymous) return who;
  who.principal.kind = access::Principal::Kind::host;
  who.principal.name = identity.name;
  who.principal.partition = identity.partition;
  who.principal.how = "by its key";
  return who;
}

void renew(Shell& shell, RenewalLimit& limit, const http::Request& request,
           const http::Responder& responder, const Asker& asker) {
  const auto folder = authority_of(shell);
  const auto asked = read_request(request);
  if (!folder || !asked) {
    responder.send(!folder ? folder.error() : asked.error());
    return;
  }
  auto made = renewed(shell, **folder, asker.known, request, asked->certificate, limit);
  if (!made) {
    responder.send(made.error());
    return;
  }
  const auto identity = made->certificate.identity();
  access::AuditNote note =
      note_of(identity ? known_by_key(asker.known, *identity) : asker.known,
              access::Action::renew_certificate, identity ? identity->uri() : "", shell.now());
  note.before = request.peer.serial.empty() ? "" : "certificate " + request.peer.serial;
  note.after = "certificate " + made->certificate.serial();
  shell.change_access(
      std::move(made->writes), std::move(note),
      [responder, answer = certificate_record(**folder, made->certificate)](const Status& status) {
        responder.send(status ? http::Response::json(answer)
                              : http::Response::error(status.error()));
      });
}

}  // namespace

void add_join_routes(Gate& gate, Shell& shell) {
  gate.route("GET", "/v1/ca", [&shell](const http::Request&, const http::Responder& responder) {
    const auto folder = authority_of(shell);
    if (!folder) {
      responder.send(folder.error());
      return;
    }
    responder.send(http::Response::json(
        Json::object({{"certificate", (*folder)->trust_pem()},
                      {"fingerprint", (*folder)->authority().certificate().fingerprint().str()},
                      {"partition", (*folder)->partition()}})));
  });
  // Of all ways together.
  const auto limit = std::make_shared<RenewalLimit>();
  gate.route("POST", "/v1/join",
             [&shell, limit, claims = std::make_shared<OnceAMinute>()](
                 const http::Request& request, const http::Responder& responder,
                 const Asker& asker) { join(shell, *limit, *claims, request, responder, asker); },
             {kJoinBytes});
  gate.route(
      "POST", "/v1/renew",
      [&shell, limit](const http::Request& request, const http::Responder& responder,
                      const Asker& asker) { renew(shell, *limit, request, responder, asker); },
      {kJoinBytes});
  gate.route("POST", "/v1/rejoin",
             [&shell, limit](const http::Request& request, const http::Responder& responder,
                             const Asker& asker) {
               // Whoever asks is known by the key alone; whatever else they show does not count.
               Asker nobody;
               nobody.known.principal.address = asker.known.principal.address;
               renew(shell, *limit, request, responder, nobody);
             },
             {kJoinBytes});
}

}  // namespace consort::controller
