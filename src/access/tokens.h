// Tokens: what lets a host join and an operator speak. Texts go to people and files; records, which
// hold a hash of the secret only, go to the store. Nothing here draws random numbers: who makes a
// token passes in what crypto::random_token() gave. Thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "base/digest.h"
#include "base/json.h"
#include "base/time.h"
#include "crypto/secret.h"

namespace consort::access {

inline constexpr std::size_t kMaxTokenBytes = 256;

// The name of a token, which is no secret: 6 to 32 of [a-z0-9]. `random`: crockford text of
// crypto::random_token(); its first ten characters are taken, in lower case.
[[nodiscard]] std::string token_id(std::string_view random);
[[nodiscard]] bool is_token_id(std::string_view text);

// "cj1.<id>.<secret>.<SHA-256 of the CA's certificate, base64url>": with the fingerprint a host
// knows its controller before it says anything secret.
struct JoinTokenText {
  std::string id;
  crypto::SecretText secret;
  Digest ca;
  [[nodiscard]] crypto::SecretText text() const;
  // Strict: each token has one text; blanks around it are allowed. Error: invalid_input, which
  // never repeats the text.
  [[nodiscard]] static Result<JoinTokenText> parse(std::string_view text);
};

// "cop1.<id>.<secret>.<the same fingerprint>"
struct OperatorTokenText {
  std::string id;
  crypto::SecretText secret;
  Digest ca;
  [[nodiscard]] crypto::SecretText text() const;
  [[nodiscard]] static Result<OperatorTokenText> parse(std::string_view text);
};

inline constexpr std::int64_t kMaxTokenUses = 100'000;

struct JoinToken {
  std::string id;
  std::string hash;         // crypto::hash_token() of the secret
  std::string names = "*";  // a glob: which names the hosts that join may claim
  std::string host_class{};
  std::map<std::string, std::string> labels{};  // that its hosts get
  Instant expires{};
  std::int64_t uses_left = 1;
  bool auto_approve = false;
  std::string by{};
  Instant created{};
  friend bool operator==(const JoinToken&, const JoinToken&) = default;
};

struct OperatorToken {
  std::string id;
  std::string hash;
  std::string operator_name;
  std::optional<Instant> expires{};
  std::string by{};
  Instant created{};
  std::optional<Instant> last_used{};  // to the hour
  friend bool operator==(const OperatorToken&, const OperatorToken&) = default;
};

// One use of the token: the record to store instead. The secret is compared first, in constant
// time: who does not have it learns nothing. Errors: unauthenticated (wrong secret), forbidden
// (expired, used up).
[[nodiscard]] Result<JoinToken> redeem(const JoinToken& token, std::string_view secret,
                                       Instant now);
// The secret alone: a host that has redeemed the token asks how it stands.
[[nodiscard]] Status check_secret(const JoinToken& token, std::string_view secret);
// Errors: unauthenticated (wrong secret, expired).
[[nodiscard]] Status verify(const OperatorToken& token, std::string_view secret, Instant now);

[[nodiscard]] Json join_token_to_json(const JoinToken& token);
[[nodiscard]] Result<JoinToken> join_token_from_json(const Json& json);  // strict, as all of these
[[nodiscard]] Json operator_token_to_json(const OperatorToken& token);
[[nodiscard]] Result<OperatorToken> operator_token_from_json(const Json& json);

}  // namespace consort::access
