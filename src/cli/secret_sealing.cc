#include "cli/secret_sealing.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "cli/credentials.h"
#include "cli/partition.h"
#include "cli/seen.h"
#include "cli/sign.h"
#include "crypto/seal.h"
#include "signing/sealed_secret.h"

namespace consort::cli {
namespace {

std::vector<std::string> strings_of(const Json* list) {
  std::vector<std::string> out;
  if (list == nullptr || !list->is_array()) return out;
  for (const Json& item : list->as_array())
    if (item.is_string()) out.push_back(item.as_string());
  return out;
}

std::set<std::string> set_of(const Json* list) {
  const std::vector<std::string> items = strings_of(list);
  return {items.begin(), items.end()};
}

}  // namespace

std::string secret_path(const std::string& name) { return "/v1/secrets/" + url_encode(name); }

Status check_secret_name(const std::string& name) {
  if (is_name(name)) return {};
  return fail(ErrorCode::usage, fmt::format("'{}' is no name for a secret", name.substr(0, 80)))
      .hint("letters, digits, '.', '_', '-'; at most 63");
}

Result<SecretFacts> ask_secret(http::Client& client, const std::string& name) {
  TRYV(check_secret_name(name));
  const Json answer = TRY(client.get_json(secret_path(name)));
  SecretFacts out;
  out.name = name;
  out.partition = answer.string_or("partition");
  out.site = answer.string_or("site");
  out.last = static_cast<std::uint64_t>(answer.int_or("last"));
  // An older controller does not say.
  out.next =
      static_cast<std::uint64_t>(answer.int_or("next", static_cast<std::int64_t>(out.last) + 1));
  if (const Json* hosts = answer.find("hosts"); hosts != nullptr && hosts->is_object()) {
    for (const auto& [host, key] : hosts->as_object())
      if (key.is_string()) out.keys.emplace(host, key.as_string());
  }
  out.revoked = set_of(answer.find("revoked"));
  const Json* secret = answer.find("secret");
  if (secret == nullptr || !secret->is_object()) return out;
  out.version = static_cast<std::uint64_t>(secret->int_or("version"));
  out.services = set_of(secret->find("services"));
  out.hosts = set_of(secret->find("hosts"));
  out.recovery = strings_of(secret->find("recovery"));
  return out;
}

Result<NewestSecret> open_newest(http::Client& client, const SecretFacts& facts,
                                 const crypto::PrivateKey& recovery) {
  const Json answer = TRY(client.get_json(secret_path(facts.name) + "/sealed"));
  const auto version = static_cast<std::uint64_t>(answer.int_or("version"));
  if (version != facts.version)
    return fail(ErrorCode::conflict, fmt::format("'{}' has version {} by now: somebody else has "
                                                 "changed it",
                                                 facts.name, version))
        .hint("try again");
  NewestSecret out;
  out.sealed.name = facts.name;
  out.sealed.version = version;
  out.sealed.sealed = answer.string_or("sealed");
  JsonReader reader(answer, "");
  out.sealed.signatures = access::read_signatures(reader);
  TRYV(reader.finish(UnknownMembers::ignore));
  out.value = TRY(crypto::open(out.sealed.sealed, recovery,
                               access::secret_context(facts.partition, facts.name, version)));
  return out;
}

Result<SecretUses> secret_uses(http::Client& client, const Prepared* site) {
  SecretUses out;
  out.placements.push_back(TRY(previous_placement(&client)));
  if (site == nullptr) return out;
  out.site = site->compiled.generation.site;
  out.placements.push_back(site->placement);
  for (const auto& [service, record] : site->compiled.generation.services) {
    for (const auto& [name, version] : site->compiled.manifests.at(record.manifest).secrets)
      out.services[name].insert(service);
  }
  for (const auto& [service, error] : site->compiled.broken) out.broken.insert(service);
  return out;
}

SecretUsers secret_users(const Arguments& arguments, const SecretUses& uses,
                         const SecretFacts& facts) {
  SecretUsers out;
  out.site = uses.site.value_or(facts.site);
  for (std::string& service : arguments.values("--service")) out.services.insert(service);
  for (std::string& host : arguments.values("--host")) out.hosts.insert(host);
  if (const auto it = uses.services.find(facts.name); it != uses.services.end())
    out.services.insert(it->second.begin(), it->second.end());
  for (const std::string& service : facts.services) {
    if (!uses.site || uses.broken.contains(service)) out.services.insert(service);
  }
  for (const fleet::Placement& placement : uses.placements) {
    for (const std::string& service : out.services) {
      if (const auto it = placement.find(service); it != placement.end())
        out.hosts.insert(it->second.begin(), it->second.end());
    }
  }
  return out;
}

Result<fs::path> recovery_file() { return TRY(config_folder()) / "recovery.pem"; }

namespace {

// nullopt: there is none yet.
Result<std::optional<crypto::PrivateKey>> kept_recovery_key(const fs::path& file) {
  auto text = read_file(file, crypto::kPemLimit);
  if (!text && text.error().code() == ErrorCode::not_found) return std::nullopt;
  if (!text) return fail(std::move(text).error());
  auto key = crypto::PrivateKey::from_pem(*text);
  crypto::wipe(*text);
  if (!key) return fail(std::move(key).error().context("reading " + file.string()));
  return std::optional(std::move(*key));
}

}  // namespace

Result<crypto::PrivateKey> recovery_key() {
  const fs::path file = TRY(recovery_file());
  if (auto kept = TRY(kept_recovery_key(file))) return *kept;
  crypto::PrivateKey key = crypto::PrivateKey::generate(crypto::KeyKind::x25519);
  TRYV(make_folders(file.parent_path(), 0700));
  remove_leftovers_of(file, kLeftoverAge);
  auto status = write_new_file(file, key.to_pem().reveal(), 0600);
  if (status) return key;
  // Another command of the same operator was faster: what is sealed to this key nobody could open.
  if (status.error().code() == ErrorCode::conflict) {
    if (auto kept = TRY(kept_recovery_key(file))) return *kept;
  }
  return fail(std::move(status).error());
}

Result<std::vector<std::string>> recovery_keys(const Arguments& arguments,
                                               const crypto::PrivateKey& own,
                                               const std::vector<std::string>& kept) {
  std::vector<std::string> out = {own.public_key().to_text()};
  const auto add = [&](const std::string& key) {
    if (std::find(out.begin(), out.end(), key) == out.end()) out.push_back(key);
  };
  if (!arguments.has("--drop-recipients")) {
    for (const std::string& key : kept) add(key);
  }
  for (const std::string& key : arguments.values("--recipient")) {
    if (!access::check_seal_key(key))
      return fail(ErrorCode::usage,
                  fmt::format("--recipient {}: not the recovery key of an operator",
                              key.substr(0, 80)))
          .hint("they show it with: consort secret key (x25519:…)");
    add(key);
  }
  if (out.size() > access::kMaxRecoveryKeys)
    return fail(ErrorCode::too_large, fmt::format("that are the recovery keys of {} operators, and "
                                                  "{} is the most",
                                                  out.size(), access::kMaxRecoveryKeys))
        .hint("leave out those of before with --drop-recipients, and name who stays: --recipient");
  return out;
}

Result<SecretSigners> secret_signers(const std::string& site, const std::string& partition) {
  SecretSigners out;
  if (site.empty()) return out;
  out.list = TRY(own_trust_list(site));
  if (out.list) TRYV(check_partition(*out.list, partition));
  if (out.list) out.keys = TRY(trusted_keys(*out.list));
  return out;
}

Status check_newest(const SecretSigners& signers, const SecretFacts& facts,
                    const NewestSecret& newest) {
  if (!signers.list) return {};
  auto status = signing::check_secret(*signers.list, facts.partition, newest.sealed);
  if (status) return status;
  return fail(ErrorCode::forbidden,
              fmt::format("version {} of '{}' is not signed by a key that the trust list of {} "
                          "names: its value may be anybody's",
                          newest.sealed.version, facts.name, signers.list->site))
      .hint(fmt::format("give the value again: consort secret set {}", facts.name));
}

Result<std::uint64_t> next_version(const SecretSigners& signers, const SecretFacts& facts) {
  if (!signers.list) return facts.next;
  return std::max(facts.next, TRY(last_seen_secret(*signers.list, facts.name)) + 1);
}

Status check_stays_signed(const SecretSigners& signers, const NewestSecret& newest) {
  if (newest.sealed.signatures.empty() || !signers.keys.empty()) return {};
  return fail(ErrorCode::forbidden,
              fmt::format("version {} of '{}' is signed, and you have {}: sealed anew it would be "
                          "unsigned, and hosts with a trust list would refuse it",
                          newest.sealed.version, newest.sealed.name,
                          signers.list ? "no key that the trust list of the site names"
                                       : "no trust list of the site to sign by"))
      .hint(signers.list
                ? "let somebody do it whose key is on the list; or put yours on it: consort key "
                  "trust"
                : "take over the list of the other operators: consort key trust --site-name SITE "
                  "KEY…; or let one of them do it");
}

Result<Sent> seal_and_send(http::Client& client, const SecretFacts& facts, const SecretUsers& users,
                           const std::vector<std::string>& recovery, const SecretSigners& signers,
                           const crypto::SecretBytes& value, std::uint64_t version,
                           Sending sending) {
  if (users.services.empty())
    return fail(ErrorCode::usage, fmt::format("who uses the secret '{}'?", facts.name))
        .hint(fmt::format("write ${{secret.{}}} into a file of the site and say this beside it "
                          "(or with --site); or name the services: --service NAME",
                          facts.name));
  Sent out;
  out.secret.name = facts.name;
  out.secret.version = version;
  out.secret.before = facts.last;
  out.secret.services.assign(users.services.begin(), users.services.end());
  out.secret.recovery = recovery;
  std::vector<crypto::PublicKey> recipients;
  for (const std::string& key : recovery)
    recipients.push_back(TRY(crypto::PublicKey::from_text(key)));
  for (const std::string& host : users.hosts) {
    const auto key = facts.keys.find(host);
    if (key == facts.keys.end()) {
      (facts.revoked.contains(host) ? out.revoked : out.missing).push_back(host);
      continue;
    }
    out.secret.hosts.emplace(host, key->second);
    recipients.push_back(TRY(crypto::PublicKey::from_text(key->second)));
  }
  out.secret.sealed = TRY(crypto::seal(
      value, recipients, access::secret_context(facts.partition, facts.name, version)));
  for (const crypto::PrivateKey& key : signers.keys)
    TRYV(signing::add_signature(key, *signers.list, facts.partition, out.secret));
  const bool rotates = sending == Sending::rotate;
  TRYV(client.send_json(rotates ? "POST" : "PUT",
                        secret_path(facts.name) + (rotates ? "/rotate" : ""),
                        access::sealed_secret_to_json(out.secret)));
  // Not before: what was refused was never the newest.
  if (!out.secret.signatures.empty())
    TRYV(remember_secret_versions(*signers.list, {{facts.name, version}}));
  return out;
}

Json sent_to_json(const Sent& sent) {
  Json hosts = Json::array();
  for (const auto& [host, key] : sent.secret.hosts) hosts.push_back(host);
  return Json::object({{"name", sent.secret.name},
                       {"version", sent.secret.version},
                       {"services", Json::array_of(sent.secret.services)},
                       {"hosts", hosts},
                       {"recovery", Json::array_of(sent.secret.recovery)},
                       {"missing", Json::array_of(sent.missing)},
                       {"revoked", Json::array_of(sent.revoked)},
                       {"signed", !sent.secret.signatures.empty()}});
}

std::string unsealed_text(const std::string& secret, const std::vector<std::string>& missing,
                          const std::vector<std::string>& revoked, std::string_view indent) {
  std::string out;
  if (!missing.empty())
    out += fmt::format(
        "{}not for {}, which {} not joined with a key yet; later: consort secret reseal {}\n",
        indent, join(missing, ", "), missing.size() == 1 ? "has" : "have", secret);
  if (!revoked.empty())
    out += fmt::format(
        "{}not for {}, which {} revoked: out of the inventory with {}, or let it come back with "
        "consort host approve NAME --key KEY (consort host show NAME names the key)\n",
        indent, join(revoked, ", "), revoked.size() == 1 ? "was" : "were",
        revoked.size() == 1 ? "it" : "them");
  return out;
}

const Option& recipient_option() {
  static const Option out{
      "--recipient", "KEY",
      "Another operator's recovery key, x25519:…, as `consort secret key` shows "
      "it to them.",
      true};
  return out;
}

}  // namespace consort::cli
