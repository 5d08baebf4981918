#include "controller/authority.h"

#include <fmt/format.h>

#include <optional>

#include "base/json_reader.h"
#include "base/text.h"
#include "crypto/random.h"

namespace consort::controller {
namespace {

constexpr std::size_t kPassphraseBytes = 1024;

fs::path folder_of(const fs::path& data) { return data / "authority"; }

bool is_there(const fs::path& file) {
  std::error_code ec;
  return fs::symlink_status(file, ec).type() != fs::file_type::not_found;
}

Result<crypto::SecretText> read_passphrase(const fs::path& file) {
  std::string text = TRY(read_file(file, kPassphraseBytes + 2));
  // An editor ends the last line; that is not part of it.
  const std::string_view line = std::string_view(text).substr(0, text.find_last_not_of("\r\n") + 1);
  crypto::SecretText out(line);
  crypto::wipe(text);
  if (out.empty())
    return fail(ErrorCode::invalid_input, fmt::format("{} holds no passphrase", file.string()));
  return out;
}

Json names_to_json(const std::string& partition, const std::string& controller,
                   const crypto::ExtraNames& names) {
  return Json::object({{"partition", partition},
                       {"controller", controller},
                       {"dns", Json::array_of(names.dns)},
                       {"ips", Json::array_of(names.ips)}});
}

// With `key`, when there is one already.
Result<crypto::Authority> new_authority(const AuthorityOptions& options, Instant now,
                                        const std::optional<crypto::PrivateKey>& key = {}) {
  if (options.chain.empty() && options.key.empty())
    return crypto::Authority::create(
        options.partition, key ? *key : crypto::PrivateKey::generate(crypto::KeyKind::ecdsa_p256),
        kRootLifetime, now);
  if (options.chain.empty() || options.key.empty())
    return fail(ErrorCode::usage, "an external authority is a certificate and its key")
        .hint("say both --authority-certificate FILE and --authority-key FILE");
  const std::string chain = TRY(read_file(options.chain, crypto::kPemLimit));
  std::string pem = TRY(read_file(options.key, crypto::kPemLimit));
  auto out = crypto::Authority::load(options.partition, chain, pem);
  crypto::wipe(pem);
  return out;
}

Failure another_authority(const fs::path& folder) {
  return fail(ErrorCode::conflict,
              fmt::format("{} holds the key of another authority", folder.string()))
      .hint(
          "say the same --authority-certificate and --authority-key as at first; or, if nobody has "
          "joined yet, move that folder away");
}

// An own root's subject names its partition; an external authority's does not.
Status check_partition(const crypto::Authority& there, const AuthorityOptions& options,
                       Instant now) {
  const std::string& subject = there.certificate().subject();
  if (there.chain().size() != 1 || !subject.starts_with("O=Consort,OU=authority,")) return {};
  const crypto::Authority same =
      TRY(crypto::Authority::create(options.partition, there.key(), kRootLifetime, now));
  if (same.certificate().subject() == subject) return {};
  return fail(ErrorCode::conflict,
              fmt::format("the authority that is there, {}, is not of the partition {}", subject,
                          options.partition))
      .hint("say --partition NAME: it is in the authority's CN, before the space");
}

// What the key that is there makes whole again.
Result<crypto::Authority> complete(const fs::path& folder, const AuthorityParts& there,
                                   const AuthorityOptions& options,
                                   const crypto::SecretText& passphrase, Instant now) {
  TRYV(check_private(folder / "key.pem"));
  const std::string pem = TRY(read_file(folder / "key.pem", crypto::kPemLimit));
  auto key = crypto::PrivateKey::from_pem(pem, &passphrase);
  if (!key) return fail(std::move(key).error().context("in " + folder.string()));
  if (!there.certificate || !options.chain.empty()) {
    auto authority = TRY(new_authority(options, now, *key));
    if (authority.key().public_key() != key->public_key()) return another_authority(folder);
    if (!there.certificate) return authority;
  }
  auto authority = crypto::Authority::load(
      options.partition, TRY(read_file(folder / "certificate.pem", crypto::kPemLimit)), pem,
      &passphrase);
  if (!authority) return fail(std::move(authority).error().context("in " + folder.string()));
  TRYV(check_partition(*authority, options, now));
  return authority;
}

// One that is there is used: what it unlocks may come back from a backup.
Result<crypto::SecretText> passphrase_for(const fs::path& folder, const fs::path& unlock,
                                          const AuthorityParts& there) {
  auto kept = read_passphrase(unlock.empty() ? folder / "unlock" : unlock);
  if (!kept && there.key)
    return fail(std::move(kept).error().context("the authority's key is locked"))
        .hint("name the file with its passphrase: --unlock FILE");
  if (kept || !unlock.empty()) return kept;
  crypto::SecretText out = crypto::random_token(256);
  TRYV(write_file_atomic(folder / "unlock", out.reveal(), 0600));
  return out;
}

Failure key_lost(const fs::path& folder) {
  return fail(ErrorCode::not_found,
              fmt::format("{} is missing: without it the authority can issue nothing",
                          (folder / "key.pem").string()))
      .hint(
          fmt::format("bring it back from a backup; only if it is lost for good, move {} away and "
                      "say: consort controller init --new-authority (then all hosts and "
                      "operators join anew)",
                      folder.string()));
}

Failure certificate_lost(const fs::path& folder) {
  return fail(ErrorCode::not_found,
              fmt::format("{} is missing", (folder / "certificate.pem").string()))
      .hint(
          "bring it back from a backup; it is no secret: of an own authority each host has it, too "
          "(identity/authority.pem below its agent's folder), and each operator's context "
          "(\"authority\")");
}

// Key and certificate are there.
Failure names_lost(const fs::path& data) {
  return fail(ErrorCode::not_found,
              fmt::format("{} is missing", (folder_of(data) / "names.json").string()))
      .hint(fmt::format(
          "bring it back from a backup; or let it be made anew, with all names and addresses under "
          "which the controller is reached: consort controller init --data {} --address ADDRESS "
          "(and --partition NAME, if it is not main). Key and certificate stay, and so does "
          "everybody who has joined",
          data.string()));
}

}  // namespace

AuthorityParts authority_parts(const fs::path& data) {
  const fs::path folder = folder_of(data);
  return {is_there(folder / "key.pem"), is_there(folder / "certificate.pem"),
          is_there(folder / "names.json")};
}

Result<AuthorityFolder> AuthorityFolder::create(const fs::path& data,
                                                const AuthorityOptions& options, Instant now) {
  const fs::path folder = folder_of(data);
  const AuthorityParts there = authority_parts(data);
  if (!there.key && !there.none()) return key_lost(folder);
  std::optional<crypto::Authority> authority;
  if (!there.key) authority.emplace(TRY(new_authority(options, now)));
  TRYV(make_folders(data, 0700));
  TRYV(make_folders(folder, 0700));
  const crypto::SecretText passphrase = TRY(passphrase_for(folder, options.unlock, there));
  if (there.key) authority.emplace(TRY(complete(folder, there, options, passphrase, now)));
  if (!there.key)
    TRYV(write_file_atomic(folder / "key.pem", TRY(authority->key().to_encrypted_pem(passphrase)),
                           0600));
  if (!there.certificate)
    TRYV(write_file_atomic(folder / "certificate.pem",
                           crypto::certificates_to_pem(authority->chain()), 0644));
  AuthorityFolder out(std::move(*authority), options.controller, options.names);
  // Tried before it is believed: a name that no certificate can carry would show at the first
  // start.
  TRYV(out.server_identity(now).map([](const http::TlsIdentity&) {}));
  // Last: a folder with it is complete.
  TRYV(write_file_atomic(
      folder / "names.json",
      names_to_json(options.partition, options.controller, options.names).dump() + "\n", 0644));
  return out;
}

Result<AuthorityFolder> AuthorityFolder::open(const fs::path& data, const fs::path& unlock) {
  const fs::path folder = folder_of(data);
  const AuthorityParts there = authority_parts(data);
  if (there.none())
    return fail(ErrorCode::not_found, fmt::format("{} holds no authority", data.string()))
        .hint(fmt::format("make one, once: consort controller init --data {}; or, to try things "
                          "on loopback only, say --insecure",
                          data.string()));
  if (!there.key) return key_lost(folder);
  if (!there.certificate) return certificate_lost(folder);
  if (!there.names) return names_lost(data);
  TRYV(check_private(folder / "key.pem"));
  const fs::path passphrase_file = unlock.empty() ? folder / "unlock" : unlock;
  auto passphrase = read_passphrase(passphrase_file);
  if (!passphrase)
    return fail(std::move(passphrase).error().context("the authority's key is locked"))
        .hint("name the file with its passphrase: --unlock FILE");
  const Json json = TRY(parse_json(TRY(read_file(folder / "names.json", 64U << 10U)),
                                   (folder / "names.json").string()));
  JsonReader reader(json, "");
  const std::string partition = reader.string("partition");
  const std::string controller = reader.string("controller");
  crypto::ExtraNames names;
  names.dns = reader.strings("dns");
  names.ips = reader.strings("ips");
  TRYV(reader.finish());
  auto authority = crypto::Authority::load(
      partition, TRY(read_file(folder / "certificate.pem", crypto::kPemLimit)),
      TRY(read_file(folder / "key.pem", crypto::kPemLimit)), &*passphrase);
  if (!authority) return fail(std::move(authority).error().context("in " + folder.string()));
  return AuthorityFolder(std::move(*authority), controller, std::move(names));
}

Result<http::TlsIdentity> AuthorityFolder::server_identity(Instant now) const {
  const crypto::PrivateKey key = crypto::PrivateKey::generate(crypto::KeyKind::ecdsa_p256);
  crypto::CertificateOrder order{key.public_key(),
                                 {crypto::IdentityKind::controller, partition(), controller_},
                                 names_,
                                 kControllerLifetime};
  const crypto::Certificate certificate = TRY(authority_.issue(order, now));
  return http::TlsIdentity{authority_.chain_pem_for(certificate), key.to_pem()};
}

}  // namespace consort::controller
