#include "controller/authority.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include "base/json_reader.h"
#include "base/text.h"
#include "crypto/random.h"

namespace consort::controller {
namespace {

constexpr std::size_t kPassphraseBytes = 1024;

fs::path folder_of(const fs::path& data) { return data / "authority"; }

bool has_authority(const fs::path& data) {
  std::error_code ec;
  return fs::exists(folder_of(data) / "names.json", ec);
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

Status check_private(const fs::path& file) {
  struct stat info {};
  if (::stat(file.c_str(), &info) != 0 || (info.st_mode & 077U) == 0) return {};
  return fail(ErrorCode::refused, fmt::format("{} can be read by others (mode {:04o})",
                                              file.string(), info.st_mode & 07777U))
      .hint(fmt::format("chmod 600 {}", file.string()));
}

Json names_to_json(const std::string& partition, const std::string& controller,
                   const crypto::ExtraNames& names) {
  return Json::object({{"partition", partition},
                       {"controller", controller},
                       {"dns", Json::array_of(names.dns)},
                       {"ips", Json::array_of(names.ips)}});
}

Result<crypto::Authority> new_authority(const AuthorityOptions& options, Instant now) {
  if (options.chain.empty() && options.key.empty())
    return crypto::Authority::create(options.partition,
                                     crypto::PrivateKey::generate(crypto::KeyKind::ecdsa_p256),
                                     kRootLifetime, now);
  if (options.chain.empty() || options.key.empty())
    return fail(ErrorCode::usage, "an external authority is a certificate and its key")
        .hint("say both --authority-certificate FILE and --authority-key FILE");
  const std::string chain = TRY(read_file(options.chain, crypto::kPemLimit));
  std::string key = TRY(read_file(options.key, crypto::kPemLimit));
  auto out = crypto::Authority::load(options.partition, chain, key);
  crypto::wipe(key);
  return out;
}

}  // namespace

Status AuthorityFolder::check_absent(const fs::path& data) {
  if (!has_authority(data)) return {};
  return fail(ErrorCode::conflict,
              fmt::format("{} holds an authority already", folder_of(data).string()))
      .hint(
          "a second one would know none of the hosts that have joined; if that is what you want, "
          "remove the folder first");
}

Result<AuthorityFolder> AuthorityFolder::create(const fs::path& data,
                                                const AuthorityOptions& options, Instant now) {
  const fs::path folder = folder_of(data);
  TRYV(check_absent(data));
  crypto::Authority authority = TRY(new_authority(options, now));
  TRYV(make_folders(data, 0700));
  TRYV(make_folders(folder, 0700));
  crypto::SecretText passphrase;
  if (options.unlock.empty()) {
    passphrase = crypto::random_token(256);
    TRYV(write_file_atomic(folder / "unlock", passphrase.reveal(), 0600));
  } else {
    passphrase = TRY(read_passphrase(options.unlock));
  }
  TRYV(write_file_atomic(folder / "key.pem", TRY(authority.key().to_encrypted_pem(passphrase)),
                         0600));
  TRYV(write_file_atomic(folder / "certificate.pem", crypto::certificates_to_pem(authority.chain()),
                         0644));
  AuthorityFolder out(std::move(authority), options.controller, options.names);
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
  if (!has_authority(data))
    return fail(ErrorCode::not_found, fmt::format("{} holds no authority", data.string()))
        .hint(fmt::format("make one, once: consort controller init --data {}; or, to try things "
                          "on loopback only, say --insecure",
                          data.string()));
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
