#include "controller/gate.h"

#include <fmt/format.h>

#include <stdexcept>

#include "base/log.h"
#include "controller/own_pages.h"
#include "controller/shell.h"
#include "crypto/identity.h"

namespace consort::controller {
namespace {

using access::ActionRow;

constexpr std::size_t kRefusalsKept = 10'000;

const ActionRow& row_of(access::Action action) {
  return access::action_table()[static_cast<std::size_t>(action)];
}

// Who has a join token only is still a stranger: many may have it, and a request to join is small.
bool is_of_the_site(const access::Principal& principal) {
  return principal.kind != access::Principal::Kind::anonymous &&
         principal.kind != access::Principal::Kind::joining;
}

std::string address_of(const http::Peer& peer) {
  return fmt::format("{}:{}", peer.address, peer.port);
}

// The same for all tokens of one operator, which share what one peer may have of the server.
std::string identity_of(const access::Principal& who) {
  switch (who.kind) {
    case access::Principal::Kind::host:
      return "host " + who.name;
    case access::Principal::Kind::operator_:
      return "operator " + who.name;
    default:
      return "local";
  }
}

// "token ab12" → "ab12"
std::string token_of(const access::Principal& principal) {
  const std::size_t space = principal.how.find(' ');
  return space == std::string::npos ? "" : principal.how.substr(space + 1);
}

// An answer to somebody who is not believed ends the connection: the next one may show another
// certificate.
http::Response refusal(const Error& error) {
  http::Response out = http::Response::error(error);
  if (error.code() == ErrorCode::unauthenticated) {
    out.headers.set("WWW-Authenticate", "Bearer");
    out.headers.set("Connection", "close");
  }
  return out;
}

}  // namespace

access::AuditNote note_of(const access::Known& who, access::Action action, std::string subject,
                          Instant now) {
  access::AuditNote note;
  note.at = now;
  note.who = access::principal_text(who.principal);
  note.from = who.principal.address;
  note.action = access::action_name(action);
  note.subject = std::move(subject);
  return note;
}

void Gate::route(std::string_view method, std::string_view pattern, Handler handler,
                 const http::RouteOptions& options) {
  const auto action = access::action_of_route(method, pattern);
  if (!action)
    throw std::logic_error(fmt::format("access/actions.def does not name {} {}", method, pattern));
  server_.route(method, pattern,
                [this, action = *action, handler = std::move(handler)](
                    const http::Request& request, const http::Responder& responder) {
                  handle(action, handler, request, responder);
                },
                {options.body_limit, [this](const http::Request& head) {
                   const auto known = identify(head);
                   return known && is_of_the_site(known->principal);
                 }});
}

Result<access::Known> Gate::identify(const http::Request& request) const {
  const std::string address = address_of(request.peer);
  if (protection_ == Protection::none) {
    TRYV(check_no_foreign_page(request.headers));
    access::Known local;
    local.principal.kind = access::Principal::Kind::local;
    local.principal.address = address;
    return local;
  }
  const Instant now = shell_.now();
  if (const auto header = request.headers.get("Authorization"))
    return access::identify_bearer(shell_.registry(), *header, address, now);
  if (request.peer.identity.empty()) {
    access::Known nobody;
    nobody.principal.address = address;
    return nobody;
  }
  const crypto::Identity identity = TRY(crypto::identity_from_uri(request.peer.identity));
  const access::ShownCertificate shown{identity.name, identity.partition, request.peer.serial};
  if (identity.partition != partition_)
    return fail(ErrorCode::unauthenticated,
                fmt::format("the certificate is of the partition '{}', this is '{}'",
                            identity.partition, partition_));
  if (identity.kind == crypto::IdentityKind::host)
    return access::identify_host(shell_.registry(), shown, address, now);
  if (identity.kind == crypto::IdentityKind::operator_)
    return access::identify_operator(shell_.registry(), shown, address, now);
  return fail(ErrorCode::unauthenticated, "a controller is nobody's client here");
}

// When an operator's credential was used: to the hour, so that a question costs no write.
void Gate::note_use(const access::Principal& who, const http::Request& request) {
  if (who.kind != access::Principal::Kind::operator_ || !shell_.ready()) return;
  access::Writes used =
      request.headers.has("Authorization")
          ? access::note_use(shell_.registry(), token_of(who), shell_.now())
          : access::note_certificate_use(
                shell_.registry(), {who.name, who.partition, request.peer.serial}, shell_.now());
  if (!used.empty()) shell_.change_access(std::move(used), std::nullopt);
}

void Gate::handle(access::Action action, const Handler& handler, const http::Request& request,
                  const http::Responder& responder) {
  const ActionRow& row = row_of(action);
  auto known = identify(request);
  if (!known) {
    if (row.least != ActionRow::Least::anyone) {
      log_info("{} {} from {}: {}", request.method, request.path, address_of(request.peer),
               known.error().message());
      responder.send(refusal(known.error()));
      return;
    }
    known = access::Known{};
    known->principal.address = address_of(request.peer);
  }
  if (is_of_the_site(known->principal)) responder.believe(identity_of(known->principal));
  access::Subject subject;
  subject.name = row.on == ActionRow::On::self ? known->principal.name : request.param("name");
  subject.partition = partition_;
  // Which services it is about is the handler's to find out.
  subject.services_are_known = access::Subject::When::later;
  const access::Decision decision =
      access::decide(known->principal, known->grants, action, subject);
  if (!decision.allowed) {
    log_info("{} {} by {}: {}", request.method, request.path,
             access::principal_text(known->principal), decision.reason);
    note_refusal(*known, action, subject.name, decision.reason);
    responder.send(refusal(decision.status().error()));
    return;
  }
  note_use(known->principal, request);
  Asker asker{std::move(*known), {}};
  asker.still_believed =
      [this, peer = request.peer,
       header = request.headers.get("Authorization").has_value()
                    ? std::optional(std::string(*request.headers.get("Authorization")))
                    : std::nullopt] {
        http::Request again;
        again.peer = peer;
        if (header) again.headers.set("Authorization", *header);
        return identify(again).has_value();
      };
  handler(request, responder, asker);
}

Status Gate::permits(const access::Known& who, access::Action action, access::Subject subject) {
  subject.partition = partition_;
  const access::Decision decision = access::decide(who.principal, who.grants, action, subject);
  if (decision.allowed) return {};
  note_refusal(who, action, subject.name, decision.reason);
  return decision.status();
}

void Gate::note_refusal(const access::Known& who, access::Action action, const std::string& subject,
                        const std::string& reason) {
  // Strangers have no name that would tell anything; the log of the controller has their address.
  if (who.principal.kind == access::Principal::Kind::anonymous || !shell_.ready()) return;
  const Instant now = shell_.now();
  if (refused_.size() >= kRefusalsKept)
    std::erase_if(refused_, [&](const auto& past) { return now - past.second >= kRefusalGrain; });
  if (refused_.size() >= kRefusalsKept) return;
  const std::string what =
      fmt::format("{} {}", access::action_name(action), access::principal_text(who.principal));
  const auto [it, first] = refused_.try_emplace(what, now);
  if (!first && now - it->second < kRefusalGrain) return;
  it->second = now;
  access::AuditNote note = note_of(who, action, subject, now);
  note.outcome = access::AuditNote::Outcome::refused;
  note.reason = reason;
  shell_.carry_out({}, std::move(note), {});
}

}  // namespace consort::controller
