// What requests about access say, read from their JSON: strict, bounded, pure. Everything here
// comes from the network. Errors: invalid_input, with the place.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "access/principal.h"
#include "base/digest.h"
#include "base/json.h"
#include "base/time.h"
#include "crypto/certificates.h"

namespace consort::controller {

inline constexpr Duration kShortestTtl = minutes(1);
inline constexpr Duration kLongestTtl = hours(24 * 365);

struct JoinTokenOrder {
  std::string names;
  std::string host_class;
  std::map<std::string, std::string> labels;
  Duration ttl{};
  std::int64_t uses = 1;
  bool approve = true;
};
[[nodiscard]] Result<JoinTokenOrder> join_token_order_from_json(const Json& json);

struct OperatorOrder {
  std::string name;
  std::vector<access::Grant> grants;
};
[[nodiscard]] Result<OperatorOrder> operator_order_from_json(const Json& json);
[[nodiscard]] Result<std::vector<access::Grant>> grants_order_from_json(const Json& json);
// nullopt: it does not expire.
[[nodiscard]] Result<std::optional<Duration>> operator_token_ttl_from_json(const Json& json);
// The key that is meant, if any.
[[nodiscard]] Result<std::optional<Digest>> approval_from_json(const Json& json);

// Of a host that joins, and of whoever wants a new certificate.
struct SignedRequest {
  crypto::CertificateRequest certificate;  // its signature is verified
  std::string machine;
};
[[nodiscard]] Result<SignedRequest> signed_request_from_json(const Json& json);

}  // namespace consort::controller
