#include "controller/access_bodies.h"

#include <fmt/format.h>

#include "access/tokens.h"
#include "base/json_reader.h"

namespace consort::controller {
namespace {

Result<Duration> ttl_in(JsonReader& reader, std::string_view otherwise) {
  const std::string text = reader.string("ttl", otherwise);
  const Duration ttl = TRY(parse_duration(text));
  if (ttl < kShortestTtl || ttl > kLongestTtl)
    return fail(ErrorCode::invalid_input,
                fmt::format("ttl: {} is not between a minute and a year", text.substr(0, 40)));
  return ttl;
}

}  // namespace

Result<JoinTokenOrder> join_token_order_from_json(const Json& json) {
  JsonReader reader(json, "");
  JoinTokenOrder out;
  out.names = reader.string("names", "*");
  out.host_class = reader.string("hostClass", "");
  for (const auto& [key, value] : reader.object("labels")) {
    if (!value.is_string())
      return fail(ErrorCode::invalid_input,
                  fmt::format("labels.{}: expected a string", key.substr(0, 80)));
    out.labels[key] = value.as_string();
  }
  out.ttl = TRY(ttl_in(reader, "1h"));
  out.uses = reader.integer("uses", 1, 1, access::kMaxTokenUses);
  out.approve = reader.boolean("approve", true);
  TRYV(reader.finish());
  return out;
}

Result<OperatorOrder> operator_order_from_json(const Json& json) {
  JsonReader reader(json, "");
  OperatorOrder out;
  out.name = reader.string("name");
  out.grants = TRY(access::grants_from_json(reader.array("grants"), "grants"));
  TRYV(reader.finish());
  return out;
}

Result<std::vector<access::Grant>> grants_order_from_json(const Json& json) {
  JsonReader reader(json, "");
  auto grants = TRY(access::grants_from_json(reader.array("grants"), "grants"));
  TRYV(reader.finish());
  return grants;
}

Result<std::optional<Duration>> operator_token_ttl_from_json(const Json& json) {
  JsonReader reader(json, "");
  std::optional<Duration> ttl;
  if (json.find("ttl") != nullptr) ttl = TRY(ttl_in(reader, ""));
  TRYV(reader.finish());
  return ttl;
}

Result<std::optional<Digest>> approval_from_json(const Json& json) {
  JsonReader reader(json, "");
  std::optional<Digest> key;
  if (const auto text = reader.optional_string("key")) key = TRY(Digest::parse(*text));
  TRYV(reader.finish());
  return key;
}

Result<SignedRequest> signed_request_from_json(const Json& json) {
  JsonReader reader(json, "");
  const std::string pem = reader.string("request");
  const std::string machine = reader.string("machine", "");
  TRYV(reader.finish(UnknownMembers::ignore));
  return SignedRequest{TRY(crypto::parse_request(pem)), machine};
}

}  // namespace consort::controller
