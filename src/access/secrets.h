// Secrets as the controller knows them: names, versions, who may use them, and sealed texts that it
// cannot open (ADR 0012). Values. The operations are with the others of the registry.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/json.h"
#include "base/json_reader.h"
#include "base/time.h"

namespace consort::access {

inline constexpr std::size_t kMaxSecretBytes = 64U << 10U;  // of a value
inline constexpr std::size_t kMaxSecretHosts = 9'000;       // of one secret
inline constexpr std::size_t kMaxSecretServices = 1'000;    // of one secret
inline constexpr std::size_t kMaxRecoveryKeys = 16;
inline constexpr std::size_t kMaxSecretSignatures = 16;
inline constexpr std::size_t kKeptSecretVersions = 3;
inline constexpr std::size_t kMaxSecrets = 10'000;
inline constexpr std::uint64_t kMaxSecretVersion = std::uint64_t{1} << 52U;
// An operator's program may ask for a number so far above the next one, as it has seen a life of
// the store that is lost. Further would use them up.
inline constexpr std::uint64_t kSecretVersionLead = std::uint64_t{1} << 40U;

struct SecretVersion {
  std::uint64_t number = 0;
  std::string sealed;                        // crypto/seal.h, in secret_context()
  std::map<std::string, std::string> hosts;  // name → the key that it was sealed to
  std::vector<std::string> recovery;         // keys of operators that it was sealed to as well
  // By operators, over what is sealed (signing/sealed_secret.h); hosts check them.
  std::map<std::string, std::string> signatures;
  std::string by;
  Instant at{};
  // That may use it, sorted: a generation that goes back to it has the services of then.
  std::vector<std::string> services{};
  friend bool operator==(const SecretVersion&, const SecretVersion&) = default;
};

struct SecretRecord {
  std::string name;
  std::uint64_t last = 0;               // the newest number ever given
  std::vector<std::string> services;    // those of the newest version, also when it was removed
  std::vector<SecretVersion> versions;  // the newest last; empty: it was removed
  friend bool operator==(const SecretRecord&, const SecretRecord&) = default;

  [[nodiscard]] const SecretVersion* version(std::uint64_t number) const;
};

// What an operator's program sends.
struct SealedSecret {
  std::string name;
  std::uint64_t version = 0;
  std::vector<std::string> services;
  std::map<std::string, std::string> hosts;
  std::vector<std::string> recovery;
  std::string sealed;
  std::map<std::string, std::string> signatures{};
  // The last number that it knew of, so that nobody overwrites what they have not seen; nullopt, of
  // older programs: that before `version`, or `version` itself.
  std::optional<std::uint64_t> before{};
  friend bool operator==(const SealedSecret&, const SealedSecret&) = default;
};

// "PARTITION/NAME/VERSION"
[[nodiscard]] std::string secret_context(std::string_view partition, std::string_view name,
                                         std::uint64_t version);
[[nodiscard]] Json signatures_to_json(const std::map<std::string, std::string>& signatures);
// The member "signatures"; none where it is missing. Whether they hold is not looked at.
[[nodiscard]] std::map<std::string, std::string> read_signatures(JsonReader& reader);
// Error invalid_input: not the text of an X25519 public key.
[[nodiscard]] Status check_seal_key(std::string_view text);

// Strict. Errors: invalid_input with the path, too_large. Versions of records that were written
// before each had its own services get the record's.
[[nodiscard]] Json secret_record_to_json(const SecretRecord& record);
[[nodiscard]] Result<SecretRecord> secret_record_from_json(const Json& json);
[[nodiscard]] Json sealed_secret_to_json(const SealedSecret& secret);
[[nodiscard]] Result<SealedSecret> sealed_secret_from_json(const Json& json);

}  // namespace consort::access
