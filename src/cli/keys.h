// The operator's signing keys and trust lists: below ${XDG_CONFIG_HOME:-~/.config}/consort, keys in
// keys/NAME.pem (mode 0600, encrypted where a passphrase was given) with keys/NAME.pub, trust lists
// in trust/SITE.json. What was seen of a site is in seen.h. Not thread-safe.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/files.h"
#include "crypto/keys.h"
#include "signing/trust_list.h"

namespace consort::cli {

struct KeyName {
  std::string name;
  crypto::PublicKey key;
};

// `passphrase`: null for a key in the clear. Errors: conflict (there is one of that name),
// invalid_input (name, passphrase).
[[nodiscard]] Status check_key_is_free(const std::string& name);  // errors as the next
[[nodiscard]] Result<KeyName> create_key(const std::string& name,
                                         const crypto::SecretText* passphrase);
[[nodiscard]] Result<std::vector<KeyName>> own_keys();  // sorted by name
// A name, or the path of a PEM file. Asks for the passphrase on a terminal where it needs one, or
// reads it from the file that CONSORT_KEY_PASSPHRASE_FILE names. Errors: not_found, refused (others
// may read it; a wrong passphrase), invalid_input.
[[nodiscard]] Result<crypto::PrivateKey> load_key(const std::string& name_or_path);

// The public key of a name (of its NAME.pem where NAME.pub is lost), of a .pub or PEM file, or as
// text ("ed25519:…").
[[nodiscard]] Result<crypto::PublicKey> public_key_of(const std::string& what);

[[nodiscard]] Status save_trust_list(const signing::TrustList& list);
[[nodiscard]] Result<signing::TrustList> read_trust_list(const fs::path& file);
// The operator's own list of that site; nullopt: there is none.
[[nodiscard]] Result<std::optional<signing::TrustList>> own_trust_list(const std::string& site);

// For what is kept of a site or a partition, whose names may be anything: the name of a file.
[[nodiscard]] std::string file_name_of(const std::string& name);

}  // namespace consort::cli
