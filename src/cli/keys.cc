#include "cli/keys.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>

#include "base/text.h"
#include "cli/credentials.h"
#include "cli/terminal.h"

namespace consort::cli {
namespace {

Result<fs::path> key_file(const std::string& name) {
  if (!is_name(name))
    return fail(ErrorCode::invalid_input,
                fmt::format("'{}' is no name for a key", name.substr(0, 80)))
        .hint("letters, digits, '.', '_', '-'; at most 63");
  return TRY(config_folder()) / "keys" / (name + ".pem");
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

}  // namespace

std::string file_name_of(const std::string& name) {
  return is_name(name) ? name : Digest::of(name).brief();
}

Status check_key_is_free(const std::string& name) {
  std::error_code ec;
  if (!fs::exists(TRY(key_file(name)), ec)) return {};
  return fail(ErrorCode::conflict, fmt::format("there is a key '{}' already", name))
      .hint("choose another name; what it signed is worth nothing without it");
}

Result<KeyName> create_key(const std::string& name, const crypto::SecretText* passphrase) {
  const fs::path file = TRY(key_file(name));
  TRYV(make_folders(file.parent_path(), 0700));
  // Two at once would leave the one's key beside the other's public key.
  const FileLock lock = TRY(FileLock::acquire(file.parent_path() / ".lock", "the folder of keys"));
  TRYV(check_key_is_free(name));
  remove_leftovers_of(file, kLeftoverAge);
  const auto key = crypto::PrivateKey::generate(crypto::KeyKind::ed25519);
  // First: a key that is there can be shown, and what was ended before it can be said again.
  fs::path pub = file;
  pub.replace_extension(".pub");
  TRYV(write_file_atomic(pub, key.public_key().to_text() + "\n", 0644));
  if (passphrase != nullptr) {
    TRYV(write_new_file(file, TRY(key.to_encrypted_pem(*passphrase)), 0600));
  } else {
    TRYV(write_new_file(file, key.to_pem().reveal(), 0600));
  }
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
  TRYV(check_private(file, "take the key off all trust lists if they might have read it"));
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
  const bool absent = !text && text.error().code() == ErrorCode::not_found;
  // The private key tells it, too.
  std::error_code ec;
  if (absent && !is_path(what) && fs::exists(TRY(key_file(what)), ec))
    return TRY(load_key(what)).public_key();
  if (absent)
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

}  // namespace consort::cli
