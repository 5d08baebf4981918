#include "access/secrets.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "access/records.h"
#include "access/registry.h"
#include "access/registry_keys.h"
#include "base/text.h"
#include "crypto/keys.h"
#include "crypto/seal.h"

namespace consort::access {
namespace {

constexpr std::string_view kSealedBegin = "sealed.v1.";

bool is_service(std::string_view name) {
  if (name.starts_with("class:")) name.remove_prefix(6);
  return is_name(name);
}

std::uint64_t read_version(JsonReader& reader, std::string_view key) {
  return static_cast<std::uint64_t>(
      reader.integer(key, std::nullopt, 1, static_cast<std::int64_t>(kMaxSecretVersion)));
}

std::map<std::string, std::string> read_hosts(JsonReader& reader) {
  std::map<std::string, std::string> out;
  const Json::Object& hosts = reader.object("hosts");
  if (hosts.size() > kMaxSecretHosts)
    reader.note(fail(ErrorCode::too_large, fmt::format("{}: more than {} hosts",
                                                       reader.path_of("hosts"), kMaxSecretHosts)));
  for (const auto& [name, key] : hosts) {
    if (!is_name(name) || !key.is_string() || !check_seal_key(key.as_string())) {
      reader.note(fail(ErrorCode::invalid_input,
                       fmt::format("{}: expected names of hosts with their x25519 keys",
                                   reader.path_of("hosts"))));
      break;
    }
    out.emplace(name, key.as_string());
  }
  return out;
}

std::vector<std::string> read_keys(JsonReader& reader) {
  std::vector<std::string> out = reader.strings("recovery");
  const bool good = out.size() <= kMaxRecoveryKeys &&
                    std::all_of(out.begin(), out.end(), [](const std::string& key) {
                      return check_seal_key(key).has_value();
                    });
  if (!good)
    reader.note(
        fail(ErrorCode::invalid_input, fmt::format("{}: expected at most {} x25519 keys",
                                                   reader.path_of("recovery"), kMaxRecoveryKeys)));
  return out;
}

std::vector<std::string> read_services(JsonReader& reader) {
  std::vector<std::string> out = reader.strings("services");
  const bool good = !out.empty() && out.size() <= kMaxSecretServices &&
                    std::all_of(out.begin(), out.end(),
                                [](const std::string& name) { return is_service(name); }) &&
                    std::is_sorted(out.begin(), out.end()) &&
                    std::adjacent_find(out.begin(), out.end()) == out.end();
  if (!good)
    reader.note(fail(ErrorCode::invalid_input,
                     fmt::format("{}: expected names of services, sorted, each once, 1 to {}",
                                 reader.path_of("services"), kMaxSecretServices)));
  return out;
}

std::string read_sealed(JsonReader& reader) {
  std::string out = reader.string("sealed");
  const bool good = out.starts_with(kSealedBegin) && out.size() <= crypto::kSealedLimit &&
                    std::all_of(out.begin(), out.end(), [](char c) { return c > ' ' && c < 127; });
  if (!good)
    reader.note(fail(ErrorCode::invalid_input,
                     fmt::format("{}: not a sealed value", reader.path_of("sealed"))));
  return out;
}

Json texts_to_json(const std::map<std::string, std::string>& texts) {
  Json out = Json::object();
  for (const auto& [key, value] : texts) out[key] = value;
  return out;
}

Failure no_secret(const Registry& registry, const std::string& name) {
  std::vector<std::string> names;
  for (const auto& [known, record] : registry.secrets) {
    if (!record.versions.empty()) names.push_back(known);  // else it was removed
  }
  const std::string guess = did_you_mean(name, names);
  return fail(ErrorCode::not_found, fmt::format("there is no secret '{}'", name.substr(0, 80)))
      .hint(guess.empty() ? "make it with: consort secret set NAME"
                          : fmt::format("did you mean '{}'?", guess));
}

// Whether it comes after the last version, or is that one sealed anew.
Status check_order(const SecretRecord& record, const SealedSecret& secret, std::uint64_t next) {
  const bool anew = secret.version == record.last && !record.versions.empty();
  const bool follows = secret.before ? secret.version >= next : secret.version == next;
  const bool knows = !secret.before || *secret.before == record.last;
  if (!knows || (!anew && !follows))
    return fail(ErrorCode::conflict,
                fmt::format("the last version of '{}' is {}, and the next is {}: somebody else has "
                            "changed it, or the controller's store was restored",
                            secret.name, record.last, next))
        .hint("look at it with `consort secret list`, and try again");
  if (!anew && secret.version - next > kSecretVersionLead)
    return fail(ErrorCode::invalid_input,
                fmt::format("version: {} is too far from the next one of '{}', {}", secret.version,
                            secret.name, next));
  if (anew && secret.signatures.empty() && !record.versions.back().signatures.empty())
    return fail(ErrorCode::refused,
                fmt::format("version {} of '{}' is signed, and what would take its place is not: "
                            "hosts with a trust list would refuse it",
                            secret.version, secret.name))
        .hint(fmt::format("let somebody reseal it whose key is on the trust list, and who has that "
                          "list; or give the value again: consort secret set {}",
                          secret.name));
  return {};
}

}  // namespace

const SecretVersion* SecretRecord::version(std::uint64_t number) const {
  const auto it = std::find_if(versions.begin(), versions.end(),
                               [&](const SecretVersion& v) { return v.number == number; });
  return it == versions.end() ? nullptr : &*it;
}

std::string secret_context(std::string_view partition, std::string_view name,
                           std::uint64_t version) {
  return fmt::format("{}/{}/{}", partition, name, version);
}

Json signatures_to_json(const std::map<std::string, std::string>& signatures) {
  return texts_to_json(signatures);
}

std::map<std::string, std::string> read_signatures(JsonReader& reader) {
  std::map<std::string, std::string> out;
  const Json* signatures = reader.any("signatures");
  if (signatures == nullptr) return out;
  const bool good = signatures->is_object() &&
                    signatures->as_object().size() <= kMaxSecretSignatures &&
                    std::all_of(signatures->as_object().begin(), signatures->as_object().end(),
                                [](const auto& item) {
                                  return item.first.size() <= 256 && item.second.is_string() &&
                                         item.second.as_string().size() <= 256;
                                });
  if (!good) {
    reader.note(fail(ErrorCode::invalid_input,
                     fmt::format("{}: expected at most {} signatures by key",
                                 reader.path_of("signatures"), kMaxSecretSignatures)));
    return out;
  }
  for (const auto& [key, signature] : signatures->as_object())
    out.emplace(key, signature.as_string());
  return out;
}

Status check_seal_key(std::string_view text) {
  const auto key = crypto::PublicKey::from_text(text);
  if (key && key->kind() == crypto::KeyKind::x25519) return {};
  return fail(ErrorCode::invalid_input, "not an x25519 public key (x25519:…)");
}

Json secret_record_to_json(const SecretRecord& record) {
  Json::Array versions;
  for (const SecretVersion& version : record.versions)
    versions.push_back(Json::object({{"version", version.number},
                                     {"hosts", texts_to_json(version.hosts)},
                                     {"recovery", Json::array_of(version.recovery)},
                                     {"by", version.by},
                                     {"at", format_instant(version.at)},
                                     {"services", Json::array_of(version.services)},
                                     {"sealed", version.sealed},
                                     {"signatures", signatures_to_json(version.signatures)}}));
  return Json::object({{"name", record.name},
                       {"last", record.last},
                       {"services", Json::array_of(record.services)},
                       {"versions", versions}});
}

Result<SecretRecord> secret_record_from_json(const Json& json) {
  JsonReader reader(json, "secret");
  SecretRecord out;
  out.name = read_name(reader, "name");
  out.last = read_version(reader, "last");
  out.services = read_services(reader);
  const Json::Array& versions = reader.array("versions");
  TRYV(reader.finish());
  if (versions.size() > kKeptSecretVersions)
    return fail(ErrorCode::too_large, "secret.versions: too many");
  for (const Json& item : versions) {
    JsonReader one(item, fmt::format("secret.versions[{}]", out.versions.size()));
    SecretVersion version;
    version.number = read_version(one, "version");
    version.hosts = read_hosts(one);
    version.recovery = read_keys(one);
    version.by = read_text(one, "by");
    version.at = read_instant(one, "at");
    version.services = one.any("services") != nullptr ? read_services(one) : out.services;
    version.sealed = read_sealed(one);
    version.signatures = read_signatures(one);
    TRYV(one.finish());
    const std::uint64_t before = out.versions.empty() ? 0 : out.versions.back().number;
    if (version.number <= before || version.number > out.last)
      return fail(ErrorCode::invalid_input, "secret.versions: not in order");
    out.versions.push_back(std::move(version));
  }
  return out;
}

Json sealed_secret_to_json(const SealedSecret& secret) {
  return Json::object({{"name", secret.name},
                       {"version", secret.version},
                       {"services", Json::array_of(secret.services)},
                       {"hosts", texts_to_json(secret.hosts)},
                       {"recovery", Json::array_of(secret.recovery)},
                       {"sealed", secret.sealed},
                       {"signatures", signatures_to_json(secret.signatures)},
                       {"before", secret.before ? Json(*secret.before) : Json()}});
}

Result<SealedSecret> sealed_secret_from_json(const Json& json) {
  JsonReader reader(json, "");
  SealedSecret out;
  out.name = read_name(reader, "name");
  out.version = read_version(reader, "version");
  out.services = read_services(reader);
  out.hosts = read_hosts(reader);
  out.recovery = read_keys(reader);
  out.sealed = read_sealed(reader);
  out.signatures = read_signatures(reader);
  if (const Json* before = reader.any("before"); before != nullptr && !before->is_null())
    out.before = static_cast<std::uint64_t>(
        reader.integer("before", std::nullopt, 0, static_cast<std::int64_t>(kMaxSecretVersion)));
  TRYV(reader.finish());
  return out;
}

// --- of the registry ---

Result<Writes> tell_seal_key(const Registry& registry, const std::string& name,
                             const std::string& key) {
  TRYV(check_seal_key(key));
  const auto it = registry.hosts.find(name);
  if (it == registry.hosts.end())
    return fail(ErrorCode::not_found,
                fmt::format("no host '{}' has asked to join", name.substr(0, 80)));
  if (it->second.state != HostState::approved)
    return fail(ErrorCode::forbidden,
                fmt::format("host '{}' is {}", name, host_state_name(it->second.state)));
  Writes out;
  if (it->second.seal_key == key) return out;
  HostIdentity next = it->second;
  next.seal_key = key;
  put(out, next);
  return out;
}

Result<const SecretRecord*> find_secret(const Registry& registry, const std::string& name) {
  const auto it = registry.secrets.find(name);
  if (it == registry.secrets.end() || it->second.versions.empty()) return no_secret(registry, name);
  return &it->second;
}

std::uint64_t next_version(const Registry& registry, const std::string& name, std::uint64_t above) {
  const auto it = registry.secrets.find(name);
  return std::max(it == registry.secrets.end() ? 0 : it->second.last, above) + 1;
}

Result<Writes> put_secret(const Registry& registry, const SealedSecret& secret, std::uint64_t above,
                          const std::string& by, Instant now) {
  const auto it = registry.secrets.find(secret.name);
  if (it == registry.secrets.end() && registry.secrets.size() >= kMaxSecrets)
    return fail(ErrorCode::too_large, fmt::format("there are {} secrets already", kMaxSecrets));
  SecretRecord next =
      it == registry.secrets.end() ? SecretRecord{secret.name, 0, {}, {}} : it->second;
  const bool anew = secret.version == next.last && !next.versions.empty();
  TRYV(check_order(next, secret, next_version(registry, secret.name, above)));
  for (const auto& [name, key] : secret.hosts) {
    const auto host = registry.hosts.find(name);
    if (host == registry.hosts.end() || host->second.state != HostState::approved)
      return fail(ErrorCode::not_found, fmt::format("'{}' is no host that was let in", name))
          .hint("see them with: consort host list");
    if (host->second.seal_key != key)
      return fail(ErrorCode::conflict, fmt::format("host '{}' has another key now", name))
          .hint("try again: what is sealed must be sealed to the new one");
  }
  const SecretVersion version{secret.version,    secret.sealed, secret.hosts, secret.recovery,
                              secret.signatures, bounded(by),   now,          secret.services};
  if (anew) {
    next.versions.back() = version;
  } else {
    next.versions.push_back(version);
  }
  while (next.versions.size() > kKeptSecretVersions) next.versions.erase(next.versions.begin());
  next.last = secret.version;
  next.services = secret.services;
  Writes out;
  put(out, next);
  return out;
}

Result<Writes> remove_secret(const Registry& registry, const std::string& name) {
  SecretRecord next = *TRY(find_secret(registry, name));
  next.versions.clear();
  Writes out;
  put(out, next);
  return out;
}

std::vector<std::string> readers_of(const Registry& registry, const SecretVersion& version) {
  std::vector<std::string> out;
  for (const auto& [name, key] : version.hosts) {
    const auto host = registry.hosts.find(name);
    if (host != registry.hosts.end() && host->second.seal_key == key &&
        host->second.state == HostState::approved)
      out.push_back(name);
  }
  return out;
}

}  // namespace consort::access
