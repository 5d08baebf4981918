#include "access/identify.h"

#include <fmt/format.h>

#include <algorithm>

#include "access/registry_keys.h"
#include "crypto/random.h"

namespace consort::access {
namespace {

constexpr Duration kUseGrain = hours(1);

bool believed(const std::vector<IssuedCertificate>& certificates, const std::string& serial,
              Instant now) {
  return std::any_of(certificates.begin(), certificates.end(), [&](const IssuedCertificate& c) {
    return c.serial == serial && c.valid_until > now;
  });
}

std::string certificate_brief(const std::string& serial) {
  return fmt::format("certificate {}", serial.substr(0, 12));
}

Failure not_believed(std::string_view kind, const ShownCertificate& shown) {
  return fail(ErrorCode::unauthenticated,
              fmt::format("the {} of {} '{}' is not valid here: it was revoked or replaced",
                          certificate_brief(shown.serial), kind, shown.name.substr(0, 80)))
      .hint(kind == "host" ? "let the host join again: consort token create"
                           : "an admin makes a token: consort operator token NAME");
}

Known known(Principal::Kind kind, std::string name, std::string partition, std::string how,
            const std::string& address) {
  return {{kind, std::move(name), std::move(partition), std::move(how), bounded(address)}};
}

}  // namespace

std::string token_brief(std::string_view id) { return fmt::format("token {}", id); }

Result<Known> identify_host(const Registry& registry, const ShownCertificate& shown,
                            const std::string& address, Instant now) {
  const auto it = registry.hosts.find(shown.name);
  if (it == registry.hosts.end())
    return fail(ErrorCode::unauthenticated,
                fmt::format("no host '{}' has joined here, or it was removed",
                            shown.name.substr(0, 80)))
        .hint("let the host join: consort token create");
  if (it->second.state != HostState::approved)
    return fail(ErrorCode::unauthenticated,
                fmt::format("host '{}' is {}", shown.name, host_state_name(it->second.state)))
        .hint(fmt::format("an admin says: consort host approve {}", shown.name));
  if (!believed(it->second.certificates, shown.serial, now)) return not_believed("host", shown);
  return known(Principal::Kind::host, shown.name, shown.partition, certificate_brief(shown.serial),
               address);
}

Result<Known> identify_operator(const Registry& registry, const ShownCertificate& shown,
                                const std::string& address, Instant now) {
  const auto it = registry.operators.find(shown.name);
  if (it == registry.operators.end())
    return fail(ErrorCode::unauthenticated,
                fmt::format("there is no operator '{}', or it was removed",
                            shown.name.substr(0, 80)))
        .hint("an admin makes one: consort operator create NAME");
  if (!believed(it->second.certificates, shown.serial, now)) return not_believed("operator", shown);
  Known out = known(Principal::Kind::operator_, shown.name, shown.partition,
                    certificate_brief(shown.serial), address);
  out.grants = it->second.grants;
  for (const IssuedCertificate& certificate : it->second.certificates) {
    if (certificate.serial != shown.serial) continue;
    if (certificate.last) out.ends = certificate.expires;
    out.token = certificate.token;
  }
  return out;
}

Result<Known> identify_bearer(const Registry& registry, std::string_view header,
                              const std::string& address, Instant now) {
  constexpr std::string_view scheme = "Bearer ";
  if (!header.starts_with(scheme))
    return fail(ErrorCode::unauthenticated, "the Authorization header is no bearer token")
        .hint("Authorization: Bearer cop1.ID.SECRET");
  header.remove_prefix(scheme.size());
  if (header.starts_with("cj1.")) {
    const JoinTokenText text = TRY(JoinTokenText::parse(header));
    const auto it = registry.join_tokens.find(text.id);
    static const JoinToken nobody{"", Digest().str()};
    TRYV(
        check_secret(it == registry.join_tokens.end() ? nobody : it->second, text.secret.reveal()));
    return known(Principal::Kind::joining, text.id, "", token_brief(text.id), address);
  }
  const OperatorTokenText text = TRY(OperatorTokenText::parse(header));
  const auto it = registry.operator_tokens.find(text.id);
  static const OperatorToken nobody{"", Digest().str(), ""};
  const OperatorToken& token = it == registry.operator_tokens.end() ? nobody : it->second;
  TRYV(verify(token, text.secret.reveal(), now));
  const auto who = registry.operators.find(token.operator_name);
  if (who == registry.operators.end())
    return fail(ErrorCode::unauthenticated,
                fmt::format("there is no operator '{}' any more", token.operator_name))
        .hint("an admin makes one: consort operator create NAME");
  Known out = known(Principal::Kind::operator_, who->first, "", token_brief(text.id), address);
  out.grants = who->second.grants;
  out.ends = token.expires;
  out.token = text.id;
  return out;
}

namespace {

bool is_noted(const std::optional<Instant>& last_used, Instant now) {
  return last_used && now - *last_used < kUseGrain;
}

}  // namespace

Writes note_use(const Registry& registry, const std::string& id, Instant now) {
  const auto it = registry.operator_tokens.find(id);
  if (it == registry.operator_tokens.end() || is_noted(it->second.last_used, now)) return {};
  OperatorToken next = it->second;
  next.last_used = now;
  Writes out;
  put(out, next);
  return out;
}

Writes note_certificate_use(const Registry& registry, const ShownCertificate& shown, Instant now) {
  Writes out;
  const auto it = registry.operators.find(shown.name);
  if (it == registry.operators.end()) return out;
  for (std::size_t i = 0; i < it->second.certificates.size(); ++i) {
    const IssuedCertificate& certificate = it->second.certificates[i];
    if (certificate.serial != shown.serial || is_noted(certificate.last_used, now)) continue;
    Operator next = it->second;
    next.certificates[i].last_used = now;
    put(out, next);
    break;
  }
  return out;
}

}  // namespace consort::access
