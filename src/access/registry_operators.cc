// Operators, their credentials, and join tokens.
#include <fmt/format.h>

#include <algorithm>

#include "access/registry.h"
#include "access/registry_keys.h"
#include "base/text.h"

namespace consort::access {
namespace {

bool is_admin(const std::vector<Grant>& grants) {
  return std::any_of(grants.begin(), grants.end(),
                     [](const Grant& grant) { return grant.role == Role::admin; });
}

// Without an admin nobody could ever make one again.
Status check_admin_left(const Registry& registry, const std::string& without) {
  const bool left = std::any_of(
      registry.operators.begin(), registry.operators.end(),
      [&](const auto& item) { return item.first != without && is_admin(item.second.grants); });
  if (left || !is_admin(registry.operators.at(without).grants)) return {};
  return fail(ErrorCode::refused, fmt::format("operator '{}' is the last admin", without))
      .hint("make another admin first: consort operator create NAME --role admin");
}

Failure no_operator(const Registry& registry, const std::string& name) {
  const std::string guess = did_you_mean(name, registry.operators);
  return fail(ErrorCode::not_found, fmt::format("no operator '{}'", name.substr(0, 80)))
      .hint(guess.empty() ? "see them with: consort operator list"
                          : fmt::format("did you mean '{}'?", guess));
}

Failure too_many(std::string_view what) {
  return fail(ErrorCode::too_large, fmt::format("there are {} {} already", kMaxOperators, what))
      .hint("revoke those that nobody needs");
}

}  // namespace

Result<Writes> create_operator(const Registry& registry, const std::string& name,
                               const std::vector<Grant>& grants, const std::string& by,
                               Instant now) {
  if (!is_name(name))
    return fail(ErrorCode::invalid_input,
                fmt::format("'{}' is not a good name", name.substr(0, 80)))
        .hint("use letters, digits, '-', '_' and '.', at most 63");
  TRYV(check_grants(grants));
  if (registry.operators.contains(name))
    return fail(ErrorCode::conflict, fmt::format("there is an operator '{}' already", name))
        .hint(fmt::format("change what it may do: consort operator grant {}", name));
  if (registry.operators.size() >= kMaxOperators) return too_many("operators");
  Writes out;
  put(out, Operator{name, grants, {}, bounded(by), now});
  return out;
}

Result<Writes> grant_operator(const Registry& registry, const std::string& name,
                              const std::vector<Grant>& grants) {
  const auto it = registry.operators.find(name);
  if (it == registry.operators.end()) return no_operator(registry, name);
  TRYV(check_grants(grants));
  if (!is_admin(grants)) TRYV(check_admin_left(registry, name));
  Operator next = it->second;
  next.grants = grants;
  Writes out;
  put(out, next);
  return out;
}

Result<Writes> remove_operator(const Registry& registry, const std::string& name,
                               const std::string& by, Instant now) {
  const auto it = registry.operators.find(name);
  if (it == registry.operators.end()) return no_operator(registry, name);
  TRYV(check_admin_left(registry, name));
  Writes out;
  revoke_all(out, it->second.certificates, "operator " + name, by, now);
  for (const auto& [id, token] : registry.operator_tokens) {
    if (token.operator_name == name) erase(out, kOperatorTokenKeys, id);
  }
  erase(out, kOperatorKeys, name);
  return out;
}

Result<Writes> add_operator_token(const Registry& registry, const OperatorToken& token) {
  if (!registry.operators.contains(token.operator_name))
    return no_operator(registry, token.operator_name);
  if (registry.operator_tokens.contains(token.id))
    return fail(ErrorCode::conflict, fmt::format("there is a token {} already", token.id))
        .hint("try again");
  if (registry.operator_tokens.size() >= kMaxOperators) return too_many("tokens of operators");
  static_cast<void>(TRY(operator_token_from_json(operator_token_to_json(token))));
  Writes out;
  put(out, token);
  return out;
}

Result<Writes> revoke_operator_token(const Registry& registry, const std::string& id,
                                     const std::string& by, Instant now) {
  if (!registry.operator_tokens.contains(id))
    return fail(ErrorCode::not_found, fmt::format("no token '{}'", id.substr(0, 80)))
        .hint("see them with: consort operator list");
  Writes out;
  erase(out, kOperatorTokenKeys, id);
  const auto it = registry.operators.find(registry.operator_tokens.at(id).operator_name);
  if (it == registry.operators.end()) return out;
  Operator next = it->second;
  const auto of_token = [&](const IssuedCertificate& c) { return c.token == id; };
  std::vector<IssuedCertificate> over;
  std::copy_if(next.certificates.begin(), next.certificates.end(), std::back_inserter(over),
               of_token);
  if (over.empty()) return out;
  revoke_all(out, over, "operator " + next.name, by, now);
  std::erase_if(next.certificates, of_token);
  put(out, next);
  return out;
}

Result<Writes> add_operator_certificate(const Registry& registry, const std::string& name,
                                        const IssuedCertificate& certificate, Instant now) {
  const auto it = registry.operators.find(name);
  if (it == registry.operators.end()) return no_operator(registry, name);
  Operator next = it->second;
  Writes out;
  TRYV(add_certificate(out, next.certificates, registry, certificate, "operator " + name, now));
  put(out, next);
  return out;
}

Result<Writes> revoke_certificate(const Registry& registry, const std::string& serial,
                                  const std::string& by, Instant now) {
  Writes out;
  const auto take = [&](const auto& records, std::string_view kind) {
    for (const auto& [name, record] : records) {
      const auto it = std::find_if(record.certificates.begin(), record.certificates.end(),
                                   [&](const IssuedCertificate& c) { return c.serial == serial; });
      if (it == record.certificates.end()) continue;
      revoke_all(out, {*it}, fmt::format("{} {}", kind, name), by, now);
      auto next = record;
      std::erase_if(next.certificates,
                    [&](const IssuedCertificate& c) { return c.serial == serial; });
      put(out, next);
      return true;
    }
    return false;
  };
  if (take(registry.operators, "operator") || take(registry.hosts, "host")) return out;
  if (registry.revoked.contains(serial)) return out;
  return fail(ErrorCode::not_found,
              fmt::format("nobody has a certificate '{}'", serial.substr(0, 80)))
      .hint("see them with: consort host list, consort operator list");
}

Result<Writes> create_join_token(const Registry& registry, const JoinToken& token, Instant now) {
  static_cast<void>(TRY(join_token_from_json(join_token_to_json(token))));
  if (token.uses_left < 1 || token.expires <= now)
    return fail(ErrorCode::invalid_input, "a join token needs a use and a time to live")
        .hint("consort token create --uses 1 --ttl 1h");
  if (registry.join_tokens.contains(token.id))
    return fail(ErrorCode::conflict, fmt::format("there is a token {} already", token.id))
        .hint("try again");
  if (registry.join_tokens.size() >= kMaxOperators) return too_many("join tokens");
  Writes out;
  put(out, token);
  return out;
}

Result<Writes> revoke_join_token(const Registry& registry, const std::string& id) {
  if (!registry.join_tokens.contains(id))
    return fail(ErrorCode::not_found, fmt::format("no join token '{}'", id.substr(0, 80)))
        .hint("see them with: consort token list");
  Writes out;
  erase(out, kJoinTokenKeys, id);
  return out;
}

}  // namespace consort::access
