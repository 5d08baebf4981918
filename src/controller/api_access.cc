// Who is let in, and who did what: tokens, operators, hosts' places, the audit log.
#include <fmt/format.h>

#include <algorithm>

#include <utility>

#include "access/tokens.h"
#include "controller/access_bodies.h"
#include "controller/shell.h"
#include "crypto/random.h"

namespace consort::controller {
namespace {

constexpr std::size_t kTokenBits = 160;
constexpr std::size_t kMostEntries = 1000;

// What a handler of this file works with.
struct Call {
  Shell& shell;
  const http::Request& request;
  const http::Responder& responder;
  const access::Known& who;

  [[nodiscard]] std::string by() const { return access::principal_text(who.principal); }
  [[nodiscard]] access::AuditNote note(access::Action action, std::string subject) const {
    return note_of(who, action, std::move(subject), shell.now());
  }
  // Makes it durable and answers with `body`; or with the error.
  void change(Result<access::Writes> writes, access::AuditNote note, Json body) const {
    if (!writes) {
      responder.send(writes.error());
      return;
    }
    shell.change_access(std::move(*writes), std::move(note),
                        [responder = responder, body = std::move(body)](const Status& status) {
                          responder.send(status ? http::Response::json(body)
                                                : http::Response::error(status.error()));
                        });
  }
};

// Adds a route whose handler may only run while the store can be written; errors are answered.
void add(Gate& gate, Shell& shell, std::string_view method, std::string_view pattern,
         std::function<Status(const Call&)> handler) {
  gate.route(
      method, pattern,
      [&shell, handler = std::move(handler)](const http::Request& request,
                                             const http::Responder& responder, const Asker& asker) {
        Status status = shell.writable();
        if (status) status = handler({shell, request, responder, asker.known});
        if (!status) responder.send(status.error());
      });
}

Json json_of(const std::optional<Instant>& instant) {
  return instant ? Json(format_instant(*instant)) : Json();
}

// --- join tokens ---

Json join_token_record(const access::JoinToken& token) {
  Json labels = Json::object();
  for (const auto& [key, value] : token.labels) labels[key] = value;
  return Json::object({{"id", token.id},
                       {"names", token.names},
                       {"hostClass", token.host_class.empty() ? Json() : Json(token.host_class)},
                       {"labels", labels},
                       {"usesLeft", token.uses_left},
                       {"expires", format_instant(token.expires)},
                       {"approve", token.auto_approve},
                       {"by", token.by},
                       {"created", format_instant(token.created)}});
}

Status create_join_token(const Call& call) {
  const AuthorityFolder* folder = call.shell.authority();
  if (folder == nullptr)
    return fail(ErrorCode::unsupported, "this controller runs with --insecure: nobody joins it");
  const JoinTokenOrder order = TRY(join_token_order_from_json(TRY(call.request.json())));
  access::JoinToken token;
  const crypto::SecretText id = crypto::random_token(128, crypto::TokenAlphabet::crockford);
  const crypto::SecretText secret = crypto::random_token(kTokenBits);
  token.id = access::token_id(id.reveal());
  token.hash = crypto::hash_token(secret.reveal());
  token.names = order.names;
  token.host_class = order.host_class;
  token.labels = order.labels;
  token.expires = call.shell.now() + order.ttl;
  token.uses_left = order.uses;
  token.auto_approve = order.approve;
  token.by = call.by();
  token.created = call.shell.now();
  const access::JoinTokenText text{token.id, secret,
                                   folder->authority().certificate().fingerprint()};
  Json record = join_token_record(token);
  record["token"] = std::string(text.text().reveal());
  access::AuditNote note = call.note(access::Action::create_join_token, "token " + token.id);
  note.after = fmt::format("{} uses until {}", token.uses_left, format_instant(token.expires));
  call.change(access::create_join_token(call.shell.registry(), token, call.shell.now()),
              std::move(note), std::move(record));
  return {};
}

Status list_join_tokens(const Call& call) {
  Json::Array out;
  for (const auto& [id, token] : call.shell.registry().join_tokens) {
    if (token.expires > call.shell.now() && token.uses_left > 0)
      out.push_back(join_token_record(token));
  }
  call.responder.send(http::Response::json(Json::object({{"tokens", out}})));
  return {};
}

Status revoke_join_token(const Call& call) {
  const std::string id = call.request.param("id");
  call.change(access::revoke_join_token(call.shell.registry(), id),
              call.note(access::Action::revoke_join_token, "token " + id),
              Json::object({{"revoked", id}}));
  return {};
}

// --- operators ---

Json operator_record(const access::Registry& registry, const access::Operator& record) {
  Json::Array credentials;
  for (const auto& [id, token] : registry.operator_tokens) {
    if (token.operator_name != record.name) continue;
    credentials.push_back(Json::object({{"kind", "token"},
                                        {"id", id},
                                        {"lastUsed", json_of(token.last_used)},
                                        {"expires", json_of(token.expires)},
                                        {"by", token.by}}));
  }
  for (const access::IssuedCertificate& certificate : record.certificates) {
    if (registry.revoked.contains(certificate.serial)) continue;
    credentials.push_back(Json::object({{"kind", "certificate"},
                                        {"id", certificate.serial},
                                        {"lastUsed", json_of(certificate.last_used)},
                                        {"expires", format_instant(certificate.valid_until)},
                                        {"by", nullptr}}));
  }
  return Json::object({{"name", record.name},
                       {"may", access::grants_text(record.grants)},
                       {"grants", access::grants_to_json(record.grants)},
                       {"created", format_instant(record.created)},
                       {"by", record.by},
                       {"credentials", credentials}});
}

Status create_operator(const Call& call) {
  const auto [name, grants] = TRY(operator_order_from_json(TRY(call.request.json())));
  access::AuditNote note = call.note(access::Action::create_operator, "operator " + name);
  note.after = access::grants_text(grants);
  call.change(
      access::create_operator(call.shell.registry(), name, grants, call.by(), call.shell.now()),
      std::move(note), Json::object({{"name", name}, {"may", access::grants_text(grants)}}));
  return {};
}

Status list_operators(const Call& call) {
  Json::Array out;
  for (const auto& [name, record] : call.shell.registry().operators)
    out.push_back(operator_record(call.shell.registry(), record));
  call.responder.send(http::Response::json(Json::object({{"operators", out}})));
  return {};
}

Status grant_operator(const Call& call) {
  const std::string name = call.request.param("name");
  const auto grants = TRY(grants_order_from_json(TRY(call.request.json())));
  access::AuditNote note = call.note(access::Action::grant_operator, "operator " + name);
  const auto& operators = call.shell.registry().operators;
  if (const auto it = operators.find(name); it != operators.end())
    note.before = access::grants_text(it->second.grants);
  note.after = access::grants_text(grants);
  call.change(access::grant_operator(call.shell.registry(), name, grants), std::move(note),
              Json::object({{"name", name}, {"may", access::grants_text(grants)}}));
  return {};
}

Status remove_operator(const Call& call) {
  const std::string name = call.request.param("name");
  call.change(access::remove_operator(call.shell.registry(), name, call.by(), call.shell.now()),
              call.note(access::Action::revoke_operator, "operator " + name),
              Json::object({{"revoked", name}}));
  return {};
}

Status create_operator_token(const Call& call) {
  const auto ttl = TRY(operator_token_ttl_from_json(TRY(call.request.json())));
  const crypto::SecretText id = crypto::random_token(128, crypto::TokenAlphabet::crockford);
  const crypto::SecretText secret = crypto::random_token(kTokenBits);
  access::OperatorToken token;
  token.id = access::token_id(id.reveal());
  token.hash = crypto::hash_token(secret.reveal());
  token.operator_name = call.request.param("name");
  if (ttl) token.expires = call.shell.now() + *ttl;
  token.by = call.by();
  token.created = call.shell.now();
  const access::OperatorTokenText text{
      token.id, secret,
      call.shell.authority() == nullptr
          ? Digest{}
          : call.shell.authority()->authority().certificate().fingerprint()};
  access::AuditNote note = call.note(access::Action::issue_credential,
                                     fmt::format("token {} of {}", token.id, token.operator_name));
  note.after = token.expires ? "until " + format_instant(*token.expires) : "for ever";
  call.change(access::add_operator_token(call.shell.registry(), token), std::move(note),
              Json::object({{"name", token.operator_name},
                            {"id", token.id},
                            {"token", std::string(text.text().reveal())},
                            {"expires", json_of(token.expires)}}));
  return {};
}

Status revoke_operator_token(const Call& call) {
  const std::string id = call.request.param("id");
  const std::string name = call.request.param("name");
  const auto& tokens = call.shell.registry().operator_tokens;
  const auto it = tokens.find(id);
  if (it == tokens.end() || it->second.operator_name != name)
    return fail(ErrorCode::not_found, fmt::format("{} has no token '{}'", name, id))
        .hint("see them with: consort operator list");
  call.change(access::revoke_operator_token(call.shell.registry(), id, call.by(), call.shell.now()),
              call.note(access::Action::revoke_credential, fmt::format("token {} of {}", id, name)),
              Json::object({{"revoked", id}}));
  return {};
}

Status revoke_operator_certificate(const Call& call) {
  const std::string serial = call.request.param("serial");
  const std::string name = call.request.param("name");
  const auto it = call.shell.registry().operators.find(name);
  const bool own = it != call.shell.registry().operators.end() &&
                   std::any_of(it->second.certificates.begin(), it->second.certificates.end(),
                               [&](const auto& one) { return one.serial == serial; });
  if (!own)
    return fail(ErrorCode::not_found,
                fmt::format("{} has no certificate '{}'", name, serial.substr(0, 80)))
        .hint("see them with: consort operator list");
  call.change(
      access::revoke_certificate(call.shell.registry(), serial, call.by(), call.shell.now()),
      call.note(access::Action::revoke_credential,
                fmt::format("certificate {} of {}", serial, name)),
      Json::object({{"revoked", serial}}));
  return {};
}

// --- hosts ---

Status approve_host(const Call& call) {
  const std::string name = call.request.param("name");
  const auto key = TRY(approval_from_json(TRY(call.request.json())));
  access::AuditNote note = call.note(access::Action::approve_host, name);
  note.after = "approved";
  call.change(access::approve_host(call.shell.registry(), name, key, call.by(), call.shell.now()),
              std::move(note), Json::object({{"name", name}, {"state", "approved"}}));
  return {};
}

Status revoke_host(const Call& call) {
  const std::string name = call.request.param("name");
  access::AuditNote note = call.note(access::Action::revoke_host, name);
  note.after = "revoked";
  call.change(access::revoke_host(call.shell.registry(), name, call.by(), call.shell.now()),
              std::move(note), Json::object({{"name", name}, {"state", "revoked"}}));
  return {};
}

// --- who and what ---

Status who_am_i(const Call& call) {
  const access::Principal& principal = call.who.principal;
  const bool local = principal.kind == access::Principal::Kind::local;
  call.responder.send(http::Response::json(
      Json::object({{"principal", access::principal_text(principal)},
                    {"name", local ? "local" : principal.name},
                    {"may", local ? "everything: this controller runs with --insecure"
                            : principal.kind == access::Principal::Kind::host
                                ? "a host"
                                : access::grants_text(call.who.grants)},
                    {"how", principal.how.empty() ? "no credential" : principal.how},
                    {"address", principal.address},
                    {"partition", principal.partition}})));
  return {};
}

Result<std::uint64_t> number_of(const http::Request& request, std::string_view name,
                                std::string_view otherwise) {
  const std::string text = request.query_value(name).value_or(std::string(otherwise));
  if (text.empty() || text.size() > 15 || text.find_first_not_of("0123456789") != std::string::npos)
    return fail(ErrorCode::invalid_input,
                fmt::format("{}: '{}' is not a number", name, text.substr(0, 40)));
  return std::stoull(text);
}

Status read_audit(const Call& call) {
  const std::uint64_t after = TRY(number_of(call.request, "after", "0"));
  const std::uint64_t limit = TRY(number_of(call.request, "limit", "100"));
  const auto entries = TRY(call.shell.audit(after, std::min<std::size_t>(limit, kMostEntries)));
  Json::Array out;
  for (const access::AuditEntry& entry : entries) out.push_back(access::audit_entry_to_json(entry));
  const access::AuditHead& head = call.shell.audit_head();
  call.responder.send(http::Response::json(Json::object(
      {{"entries", out},
       {"head", Json::object({{"number", head.number}, {"hash", head.hash.str()}})}})));
  return {};
}

}  // namespace

void add_access_routes(Gate& gate, Shell& shell) {
  add(gate, shell, "GET", "/v1/whoami", who_am_i);
  add(gate, shell, "POST", "/v1/tokens", create_join_token);
  add(gate, shell, "GET", "/v1/tokens", list_join_tokens);
  add(gate, shell, "DELETE", "/v1/tokens/{id}", revoke_join_token);
  add(gate, shell, "POST", "/v1/operators", create_operator);
  add(gate, shell, "GET", "/v1/operators", list_operators);
  add(gate, shell, "PUT", "/v1/operators/{name}", grant_operator);
  add(gate, shell, "DELETE", "/v1/operators/{name}", remove_operator);
  add(gate, shell, "POST", "/v1/operators/{name}/tokens", create_operator_token);
  add(gate, shell, "DELETE", "/v1/operators/{name}/tokens/{id}", revoke_operator_token);
  add(gate, shell, "DELETE", "/v1/operators/{name}/certificates/{serial}",
      revoke_operator_certificate);
  add(gate, shell, "POST", "/v1/hosts/{name}/approve", approve_host);
  add(gate, shell, "POST", "/v1/hosts/{name}/revoke", revoke_host);
  add(gate, shell, "GET", "/v1/audit", read_audit);
}

}  // namespace consort::controller
