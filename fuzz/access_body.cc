// The bodies of all requests about access: joining, renewing, tokens, operators, approvals. Some
// come from machines of which nothing is known yet.
#include "controller/access_bodies.h"

#include "fuzz/input.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace consort;
  const auto json = parse_json(fuzz::text_of(data, size));
  if (!json) return 0;
  if (const auto order = controller::join_token_order_from_json(*json)) {
    fuzz::require(order->ttl >= controller::kShortestTtl && order->ttl <= controller::kLongestTtl,
                  "a join token has a bounded life");
    fuzz::require(order->uses >= 1, "a join token can be used");
  }
  if (const auto order = controller::operator_order_from_json(*json))
    fuzz::require(access::check_grants(order->grants).has_value(), "grants are within the limits");
  static_cast<void>(controller::grants_order_from_json(*json).has_value());
  static_cast<void>(controller::operator_token_ttl_from_json(*json).has_value());
  static_cast<void>(controller::approval_from_json(*json).has_value());
  static_cast<void>(controller::signed_request_from_json(*json).has_value());
  return 0;
}
