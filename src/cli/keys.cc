#include "cli/keys.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstdlib>

#include "base/text.h"
#include "cli/credentials.h"
#include "cli/terminal.h"

namespace consort::cli {
namespace {

constexpr std::size_t kSeenBytes = 4U << 20U;

Result<fs::path> key_file(const std::string& name) {
  if (!is_name(name))
    return fail(ErrorCode::invalid_input,
                fmt::format("'{}' is no name for a key", name.substr(0, 80)))
        .hint("letters, digits, '.', '_', '-'; at most 63");
  return TRY(config_folder()) / "keys" / (name + ".pem");
}

Status check_mode(const fs::path& file) {
  struct stat info {};
  if (::stat(file.c_str(), &info) != 0 || (info.st_mode & 077U) == 0) return {};
  return fail(ErrorCode::refused, fmt::format("{} can be read by others (mode {:04o})",
                                              file.string(), info.st_mode & 07777U))
      .hint(fmt::format("chmod 600 {}; and take the key off all trust lists if they might have "
                        "read it",
                        file.string()));
}

Result<crypto::SecretText> ask_passphrase(const fs::path& file) {
  if (const char* path = std::getenv("CONSORT_KEY_PASSPHRASE_FILE");
      path != nullptr && *path != '\0') {
    auto text = read_file(path, 4096);
    if (!text) return fail(std::move(text).error().context("reading CONSORT_KEY_PASSPHRASE_FILE"));
    crypto::SecretText out(trim(*text));
    crypto::wipe(*text);
    return out;
  }
  if (!stdin_is_terminal())
    return fail(ErrorCode::refused, fmt::format("{} wants a passphrase", file.string()))
        .hint(
            "run this on a terminal, or name the file that has it in "
            "CONSORT_KEY_PASSPHRASE_FILE");
  print_to_stderr(fmt::format("passphrase of {} (it is not shown): ", file.string()));
  std::string line = TRY(read_secret_line());
  return crypto::SecretText::take(line);
}

bool is_path(const std::string& text) { return text.find('/') != std::string::npos; }

// A site's name may be anything; a file's not.
std::string file_name_of(const std::string& site) {
  return is_name(site) ? site : Digest::of(site).brief();
}

Result<fs::path> seen_file(const signing::TrustList& list) {
  return TRY(config_folder()) / "seen" /
         (file_name_of(list.site) + "@" + file_name_of(list.partition));
}

}  // namespace

Status check_key_is_free(const std::string& name) {
  std::error_code ec;
  if (!fs::exists(TRY(key_file(name)), ec)) return {};
  return fail(ErrorCode::conflict, fmt::format("there is a key '{}' already", name))
      .hint("choose another name; what it signed is worth nothing without it");
}

Result<KeyName> create_key(const std::string& name, const crypto::SecretText* passphrase) {
  TRYV(check_key_is_free(name));
  const fs::path file = TRY(key_file(name));
  const auto key = crypto::PrivateKey::generate(crypto::KeyKind::ed25519);
  TRYV(make_folders(file.parent_path(), 0700));
  if (passphrase != nullptr) {
    TRYV(write_file_atomic(file, TRY(key.to_encrypted_pem(*passphrase)), 0600));
  } else {
    TRYV(write_file_atomic(file, key.to_pem().reveal(), 0600));
  }
  fs::path pub = file;
  pub.replace_extension(".pub");
  TRYV(write_file_atomic(pub, key.public_key().to_text() + "\n", 0644));
  return KeyName{name, key.public_key()};
}

Result<std::vector<KeyName>> own_keys() {
  std::vector<KeyName> out;
  std::error_code ec;
  for (const auto& entry : fs::directory_iterator(TRY(config_folder()) / "keys", ec)) {
    if (entry.path().extension() == ".pub")
      out.push_back({entry.path().stem().string(), TRY(public_key_of(entry.path().string()))});
  }
  std::sort(out.begin(), out.end(),
            [](const KeyName& a, const KeyName& b) { return a.name < b.name; });
  return out;
}

Result<crypto::PrivateKey> load_key(const std::string& name_or_path) {
  const fs::path file =
      is_path(name_or_path) ? fs::path(name_or_path) : TRY(key_file(name_or_path));
  auto pem = read_file(file, crypto::kPemLimit);
  if (!pem && pem.error().code() == ErrorCode::not_found && !is_path(name_or_path))
    return fail(ErrorCode::not_found, fmt::format("there is no key '{}'", name_or_path))
        .hint("see them: consort key list; make one: consort key create NAME");
  if (!pem) return fail(std::move(pem).error());
  TRYV(check_mode(file));
  const bool encrypted = pem->find("ENCRYPTED PRIVATE KEY") != std::string::npos;
  Result<crypto::PrivateKey> key = fail(ErrorCode::internal, "no key");
  if (encrypted) {
    const crypto::SecretText passphrase = TRY(ask_passphrase(file));
    key = crypto::PrivateKey::from_pem(*pem, &passphrase);
  } else {
    key = crypto::PrivateKey::from_pem(*pem);
  }
  crypto::wipe(*pem);
  if (!key) return fail(std::move(key).error().context("in " + file.string()));
  if (key->kind() != crypto::KeyKind::ed25519)
    return fail(ErrorCode::invalid_input,
                fmt::format("{} holds no Ed25519 key, so it cannot sign", file.string()))
        .hint("make one with: consort key create NAME");
  return key;
}

Result<crypto::PublicKey> public_key_of(const std::string& what) {
  if (what.starts_with("ed25519:")) return crypto::PublicKey::from_text(what);
  fs::path file = what;
  if (!is_path(what)) {
    file = TRY(key_file(what));
    file.replace_extension(".pub");
  }
  const auto text = read_file(file, crypto::kPemLimit);
  if (!text && text.error().code() == ErrorCode::not_found)
    return fail(ErrorCode::not_found, fmt::format("there is no key '{}'", what))
        .hint(
            "a key's name (consort key list), the path of its .pub file (with a '/'), or its "
            "text: ed25519:…");
  if (!text) return fail(text.error());
  const std::string line(trim(*text));
  auto key = line.starts_with("-----") ? crypto::PublicKey::from_pem(line)
                                       : crypto::PublicKey::from_text(line);
  if (!key) return fail(std::move(key).error().context("in " + file.string()));
  return key;
}

Result<signing::TrustList> read_trust_list(const fs::path& file) {
  auto list = signing::trust_list_from_text(TRY(read_file(file, signing::kTrustListBytes)));
  if (!list) return fail(std::move(list).error().context("in " + file.string()));
  return list;
}

Status save_trust_list(const signing::TrustList& list) {
  const fs::path folder = TRY(config_folder()) / "trust";
  TRYV(make_folders(folder, 0700));
  return write_file_atomic(folder / (file_name_of(list.site) + ".json"),
                           signing::trust_list_to_json(list).pretty() + "\n", 0600);
}

Result<std::optional<signing::TrustList>> own_trust_list(const std::string& site) {
  const auto folder = config_folder();
  if (!folder) return std::nullopt;
  auto list = read_trust_list(*folder / "trust" / (file_name_of(site) + ".json"));
  if (list) return std::optional(std::move(*list));
  if (list.error().code() == ErrorCode::not_found) return std::nullopt;
  return fail(std::move(list).error());
}

Result<std::uint64_t> last_seen_statement(const signing::TrustList& list) {
  const fs::path file = TRY(seen_file(list));
  const auto text = read_file(file, 64);
  if (!text && text.error().code() == ErrorCode::not_found) return 0;
  if (!text) return fail(text.error());
  const std::string number(trim(*text));
  if (number.empty() || number.size() > 16 ||
      number.find_first_not_of("0123456789") != std::string::npos)
    return fail(ErrorCode::corrupt, fmt::format("{} holds no number", file.string()));
  return std::stoull(number);
}

Status remember_statement(const signing::TrustList& list, std::uint64_t sequence) {
  if (sequence <= TRY(last_seen_statement(list))) return {};
  const fs::path file = TRY(seen_file(list));
  TRYV(make_folders(file.parent_path(), 0700));
  return write_file_atomic(file, std::to_string(sequence) + "\n", 0600);
}

namespace {

Result<fs::path> secrets_file(const signing::TrustList& list) {
  fs::path file = TRY(seen_file(list));
  return file += ".secrets";
}

Result<std::map<std::string, std::uint64_t>> seen_secrets(const signing::TrustList& list) {
  const fs::path file = TRY(secrets_file(list));
  std::map<std::string, std::uint64_t> out;
  const auto text = read_file(file, kSeenBytes);
  if (!text && text.error().code() == ErrorCode::not_found) return out;
  if (!text) return fail(text.error());
  const Json json = TRY(parse_json(*text, file.string()));
  if (!json.is_object())
    return fail(ErrorCode::corrupt, fmt::format("{} holds no versions", file.string()));
  for (const auto& [name, version] : json.as_object()) {
    if (version.is_int() && version.as_int() > 0)
      out.emplace(name, static_cast<std::uint64_t>(version.as_int()));
  }
  return out;
}

}  // namespace

Status check_secret_versions(const signing::TrustList& list,
                             const std::map<std::string, std::uint64_t>& versions) {
  const auto seen = TRY(seen_secrets(list));
  for (const auto& [name, version] : versions) {
    const auto it = seen.find(name);
    if (it == seen.end() || version >= it->second) continue;
    return fail(ErrorCode::forbidden,
                fmt::format("the controller says that version {} of the secret '{}' is the newest; "
                            "you have signed for version {}",
                            version, name, it->second))
        .hint(fmt::format("if its store was restored from an older backup, set the value again: "
                          "consort secret set {}; and remove {}",
                          name, TRY(secrets_file(list)).string()));
  }
  return {};
}

Status remember_secret_versions(const signing::TrustList& list,
                                const std::map<std::string, std::uint64_t>& versions) {
  auto seen = TRY(seen_secrets(list));
  const auto before = seen;
  for (const auto& [name, version] : versions) seen[name] = std::max(seen[name], version);
  if (seen == before) return {};
  Json::Object out;
  for (const auto& [name, version] : seen) out.emplace(name, version);
  const fs::path file = TRY(secrets_file(list));
  TRYV(make_folders(file.parent_path(), 0700));
  return write_file_atomic(file, Json(std::move(out)).dump() + "\n", 0600);
}

}  // namespace consort::cli
