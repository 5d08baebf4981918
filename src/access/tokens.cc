#include "access/tokens.h"

#include <fmt/format.h>

#include "access/principal.h"
#include "access/records.h"
#include "base/text.h"
#include "crypto/random.h"

namespace consort::access {
namespace {

bool holds(const std::string& hash, std::string_view secret) {
  return crypto::equal_in_constant_time(hash, crypto::hash_token(secret));
}

std::string read_token_id(JsonReader& reader, std::string_view key) {
  std::string id = reader.string(key);
  if (!is_token_id(id))
    reader.note(fail(ErrorCode::invalid_input,
                     fmt::format("{}: not the id of a token", reader.path_of(key))));
  return id;
}

std::string read_hash(JsonReader& reader, std::string_view key) {
  return read_digest(reader, key).str();
}

}  // namespace

Status check_secret(const JoinToken& token, std::string_view secret) {
  if (holds(token.hash, secret)) return {};
  return fail(ErrorCode::unauthenticated, "this join token is not known here, or was revoked")
      .hint("make another one: consort token create");
}

Result<JoinToken> redeem(const JoinToken& token, std::string_view secret, Instant now) {
  TRYV(check_secret(token, secret));
  if (now >= token.expires)
    return fail(ErrorCode::forbidden, fmt::format("the join token {} expired at {}", token.id,
                                                  format_instant(token.expires)))
        .hint("make another one: consort token create");
  if (token.uses_left <= 0)
    return fail(ErrorCode::forbidden, fmt::format("the join token {} has been used up", token.id))
        .hint("make another one: consort token create --uses N");
  JoinToken out = token;
  --out.uses_left;
  return out;
}

Status verify(const OperatorToken& token, std::string_view secret, Instant now) {
  if (!holds(token.hash, secret))
    return fail(ErrorCode::unauthenticated, "this token is not known here, or was revoked")
        .hint("an admin makes another one with: consort operator token NAME");
  if (token.expires && now >= *token.expires)
    return fail(ErrorCode::unauthenticated,
                fmt::format("the token {} expired at {}", token.id, format_instant(*token.expires)))
        .hint(fmt::format("an admin makes another one with: consort operator token {}",
                          token.operator_name));
  return {};
}

Json join_token_to_json(const JoinToken& token) {
  Json labels = Json::object();
  for (const auto& [key, value] : token.labels) labels[key] = value;
  return Json::object({{"id", token.id},
                       {"hash", token.hash},
                       {"names", token.names},
                       {"hostClass", token.host_class},
                       {"labels", labels},
                       {"expires", format_instant(token.expires)},
                       {"usesLeft", token.uses_left},
                       {"autoApprove", token.auto_approve},
                       {"by", token.by},
                       {"created", format_instant(token.created)}});
}

Result<JoinToken> join_token_from_json(const Json& json) {
  JsonReader reader(json, "token");
  JoinToken out;
  out.id = read_token_id(reader, "id");
  out.hash = read_hash(reader, "hash");
  out.names = reader.string("names");
  if (!is_pattern(out.names))
    reader.note(fail(ErrorCode::invalid_input,
                     fmt::format("{}: not a pattern of names", reader.path_of("names"))));
  out.host_class = read_text(reader, "hostClass");
  out.labels = read_labels(reader, "labels");
  out.expires = read_instant(reader, "expires");
  out.uses_left = reader.integer("usesLeft", std::nullopt, 0, kMaxTokenUses);
  out.auto_approve = reader.boolean("autoApprove", false);
  out.by = read_text(reader, "by");
  out.created = read_instant(reader, "created");
  TRYV(reader.finish());
  return out;
}

Json operator_token_to_json(const OperatorToken& token) {
  return Json::object({{"id", token.id},
                       {"hash", token.hash},
                       {"operator", token.operator_name},
                       {"expires", optional_instant(token.expires)},
                       {"by", token.by},
                       {"created", format_instant(token.created)},
                       {"lastUsed", optional_instant(token.last_used)}});
}

Result<OperatorToken> operator_token_from_json(const Json& json) {
  JsonReader reader(json, "token");
  OperatorToken out;
  out.id = read_token_id(reader, "id");
  out.hash = read_hash(reader, "hash");
  out.operator_name = read_name(reader, "operator");
  out.expires = read_optional_instant(reader, "expires");
  out.by = read_text(reader, "by");
  out.created = read_instant(reader, "created");
  out.last_used = read_optional_instant(reader, "lastUsed");
  TRYV(reader.finish());
  return out;
}

}  // namespace consort::access
