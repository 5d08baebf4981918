// Whose signatures count: k of these keys, for one site in one partition. Operators keep it, and
// put it on hosts by hand; a controller never sends one.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/json.h"
#include "crypto/keys.h"
#include "plan/statement.h"

namespace consort::signing {

inline constexpr std::size_t kTrustListBytes = 64U << 10U;
inline constexpr std::size_t kMostKeys = 64;

struct TrustList {
  std::string site;
  std::string partition = "main";
  std::vector<crypto::PublicKey> keys;  // Ed25519; sorted, each once
  std::int64_t needed = 1;              // so many of them must have signed
  friend bool operator==(const TrustList&, const TrustList&) = default;
};
[[nodiscard]] Json trust_list_to_json(const TrustList& list);
// Strict. Errors: invalid_input, too_large.
[[nodiscard]] Result<TrustList> trust_list_from_json(const Json& json);
[[nodiscard]] Result<TrustList> trust_list_from_text(std::string_view text);

// Adds this key's signature over the head. Error invalid_input (another kind of key).
[[nodiscard]] Status add_signature(const crypto::PrivateKey& key, const plan::StatementHead& head,
                                   plan::Signatures& signatures);
// How many keys of the list have signed it. Signatures of other keys, and those that do not hold,
// count nothing.
[[nodiscard]] std::int64_t signatures_of(const TrustList& list, const plan::StatementHead& head,
                                         const plan::Signatures& signatures);
// Error forbidden: another site or partition, or too few signatures.
[[nodiscard]] Status check_signed(const TrustList& list, const plan::StatementHead& head,
                                  const plan::Signatures& signatures);

}  // namespace consort::signing
