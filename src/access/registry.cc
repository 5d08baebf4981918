// The registry as a whole: how it is read, changed and swept.
#include "access/registry.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "access/records.h"
#include "access/registry_keys.h"
#include "base/text.h"

namespace consort::access {
namespace {

// A secret may be sealed to ten thousand hosts.
constexpr JsonLimits kRecordLimits = {32U << 20U, 16};

template <class Record>
Status keep(std::map<std::string, Record>& records, Result<Record> record, const std::string& key,
            std::string_view name, std::string Record::*own_name) {
  if (!record) return fail(std::move(record).error());
  if ((*record).*own_name != name)
    return fail(ErrorCode::invalid_input,
                fmt::format("the record at {} is of '{}'", key, (*record).*own_name));
  records.insert_or_assign(std::string(name), std::move(*record));
  return {};
}

std::optional<std::string_view> behind(std::string_view key, std::string_view prefix) {
  if (!key.starts_with(prefix)) return std::nullopt;
  return key.substr(prefix.size());
}

Status load_json(Registry& out, const std::string& key, const std::string& value) {
  const auto read = [&](auto& records, auto from_json, auto own_name,
                        std::string_view name) -> Status {
    const Json json = TRY(parse_json(value, key, kRecordLimits));
    return keep(records, from_json(json), key, name, own_name);
  };
  if (const auto name = behind(key, kOperatorKeys))
    return read(out.operators, operator_from_json, &Operator::name, *name);
  if (const auto id = behind(key, kOperatorTokenKeys))
    return read(out.operator_tokens, operator_token_from_json, &OperatorToken::id, *id);
  if (const auto id = behind(key, kJoinTokenKeys))
    return read(out.join_tokens, join_token_from_json, &JoinToken::id, *id);
  if (const auto name = behind(key, kHostKeys))
    return read(out.hosts, host_identity_from_json, &HostIdentity::name, *name);
  if (const auto serial = behind(key, kRevokedKeys))
    return read(out.revoked, revoked_from_json, &RevokedCertificate::serial, *serial);
  if (const auto name = behind(key, kSecretKeys))
    return read(out.secrets, secret_record_from_json, &SecretRecord::name, *name);
  return {};
}

Status load(Registry& out, const std::string& key, const std::string& value) {
  const Status status = load_json(out, key, value);
  if (status) return {};
  return fail(ErrorCode::corrupt,
              fmt::format("the record {} is damaged: {}", key, status.error().message()))
      .hint("restore the store from a backup");
}

void forget(Registry& out, const std::string& key) {
  if (const auto name = behind(key, kOperatorKeys)) out.operators.erase(std::string(*name));
  if (const auto id = behind(key, kOperatorTokenKeys)) out.operator_tokens.erase(std::string(*id));
  if (const auto id = behind(key, kJoinTokenKeys)) out.join_tokens.erase(std::string(*id));
  if (const auto name = behind(key, kHostKeys)) out.hosts.erase(std::string(*name));
  if (const auto serial = behind(key, kRevokedKeys)) out.revoked.erase(std::string(*serial));
  if (const auto name = behind(key, kSecretKeys)) out.secrets.erase(std::string(*name));
}

template <class Record>
void take_over(std::map<std::string, Record>& into, std::map<std::string, Record>& from) {
  for (auto& [name, record] : from) into.insert_or_assign(name, std::move(record));
}

}  // namespace

Result<Registry> Registry::restore(const Store& store) {
  Registry out;
  for (auto it = store.lower_bound("access/");
       it != store.end() && it->first.starts_with("access/"); ++it)
    TRYV(load(out, it->first, it->second));
  return out;
}

Status Registry::apply(const Writes& writes) {
  Registry fresh;
  for (const auto& [key, value] : writes) {
    if (value) TRYV(load(fresh, key, *value));
  }
  for (const auto& [key, value] : writes) {
    if (!value) forget(*this, key);
  }
  take_over(operators, fresh.operators);
  take_over(operator_tokens, fresh.operator_tokens);
  take_over(join_tokens, fresh.join_tokens);
  take_over(hosts, fresh.hosts);
  take_over(revoked, fresh.revoked);
  take_over(secrets, fresh.secrets);
  return {};
}

Writes prune(const Registry& registry, Instant now) {
  Writes writes;
  std::set<std::string> awaited;
  for (const auto& [name, host] : registry.hosts) {
    if (host.state == HostState::pending) awaited.insert(host.token);
    if (host.rival) awaited.insert(host.rival->token);
  }
  for (const auto& [id, token] : registry.join_tokens) {
    if (token.expires <= now && !awaited.contains(id)) erase(writes, kJoinTokenKeys, id);
  }
  for (const auto& [id, token] : registry.operator_tokens) {
    if (token.expires && *token.expires <= now) erase(writes, kOperatorTokenKeys, id);
  }
  for (const auto& [serial, record] : registry.revoked) {
    if (record.expires <= now) erase(writes, kRevokedKeys, serial);
  }
  const auto over = [&](const IssuedCertificate& c) { return c.valid_until <= now; };
  for (auto record : registry.operators) {
    if (std::erase_if(record.second.certificates, over) > 0) put(writes, record.second);
  }
  for (const auto& [name, host] : registry.hosts) {
    if (std::none_of(host.certificates.begin(), host.certificates.end(), over)) continue;
    HostIdentity next = host;
    std::erase_if(next.certificates, over);
    put(writes, next);
  }
  return writes;
}

// --- shared steps ---

namespace {
void put_json(Writes& writes, std::string_view keys, const std::string& name, const Json& json) {
  writes[std::string(keys) + name] = json.dump();
}
}  // namespace

void put(Writes& writes, const Operator& record) {
  put_json(writes, kOperatorKeys, record.name, operator_to_json(record));
}
void put(Writes& writes, const OperatorToken& record) {
  put_json(writes, kOperatorTokenKeys, record.id, operator_token_to_json(record));
}
void put(Writes& writes, const JoinToken& record) {
  put_json(writes, kJoinTokenKeys, record.id, join_token_to_json(record));
}
void put(Writes& writes, const HostIdentity& record) {
  put_json(writes, kHostKeys, record.name, host_identity_to_json(record));
}
void put(Writes& writes, const RevokedCertificate& record) {
  put_json(writes, kRevokedKeys, record.serial, revoked_to_json(record));
}
void put(Writes& writes, const SecretRecord& record) {
  put_json(writes, kSecretKeys, record.name, secret_record_to_json(record));
}
void erase(Writes& writes, std::string_view keys, std::string_view name) {
  writes[std::string(keys) + std::string(name)] = std::nullopt;
}

void revoke_all(Writes& writes, const std::vector<IssuedCertificate>& certificates,
                const std::string& owner, const std::string& by, Instant now) {
  for (const IssuedCertificate& certificate : certificates) {
    if (certificate.expires > now)
      put(writes,
          RevokedCertificate{certificate.serial, certificate.expires, owner, bounded(by), now});
  }
}

bool serial_known(const Registry& registry, std::string_view serial) {
  const auto has = [&](const auto& records) {
    return std::any_of(records.begin(), records.end(), [&](const auto& record) {
      const auto& list = record.second.certificates;
      return std::any_of(list.begin(), list.end(),
                         [&](const auto& c) { return c.serial == serial; });
    });
  };
  return registry.revoked.contains(std::string(serial)) || has(registry.operators) ||
         has(registry.hosts);
}

Status add_certificate(Writes& writes, std::vector<IssuedCertificate>& certificates,
                       const Registry& registry, const IssuedCertificate& certificate,
                       const std::string& owner, Instant now) {
  if (!is_serial(certificate.serial) || certificate.valid_until > certificate.expires)
    return fail(ErrorCode::invalid_input,
                fmt::format("not a certificate to issue: serial '{}'", certificate.serial));
  if (serial_known(registry, certificate.serial))
    return fail(ErrorCode::conflict,
                fmt::format("a certificate {} was issued before", certificate.serial))
        .hint("is another controller issuing with the same authority?");
  std::erase_if(certificates, [&](const IssuedCertificate& c) { return c.valid_until <= now; });
  while (certificates.size() >= kMaxCertificates) {
    revoke_all(writes, {certificates.front()}, owner, "its successors", now);
    certificates.erase(certificates.begin());
  }
  certificates.push_back(certificate);
  return {};
}

std::string bounded(std::string_view text) {
  std::string out(text.substr(0, kMaxTextBytes));
  while (!out.empty() && !is_utf8(out)) out.pop_back();
  return out;
}

}  // namespace consort::access
