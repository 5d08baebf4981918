// How tokens are written.
#include <fmt/format.h>

#include <algorithm>

#include "access/tokens.h"
#include "base/text.h"
#include "crypto/random.h"

namespace consort::access {
namespace {

constexpr std::size_t kShortestSecret = 22;  // 128 bits
constexpr std::size_t kLongestSecret = 128;
constexpr std::size_t kFewestId = 6;
constexpr std::size_t kMostId = 32;
constexpr std::size_t kMadeId = 10;

Failure malformed(std::string_view what, std::string_view form, std::string_view why) {
  return fail(ErrorCode::invalid_input, fmt::format("this is no {} token: {}", what, why))
      .hint(fmt::format("it looks like {}; copy all of it, on one line", form));
}

bool is_secret(std::string_view text) {
  return text.size() >= kShortestSecret && text.size() <= kLongestSecret &&
         std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  c == '-' || c == '_';
         });
}

struct Parts {
  std::string_view id;
  std::string_view secret;
  std::string_view rest;  // behind the secret's dot
};

// "<prefix>.<id>.<secret>" and, where wanted, a rest.
Result<Parts> parts_of(std::string_view text, std::string_view prefix, std::size_t count,
                       std::string_view what, std::string_view form) {
  text = trim(text);
  if (text.size() > kMaxTokenBytes) return malformed(what, form, "it is too long");
  if (!text.starts_with(prefix) || text.size() <= prefix.size() || text[prefix.size()] != '.')
    return malformed(what, form, fmt::format("it does not begin with '{}.'", prefix));
  if (static_cast<std::size_t>(std::count(text.begin(), text.end(), '.')) + 1 != count)
    return malformed(what, form, fmt::format("it does not have {} parts", count));
  Parts out;
  text.remove_prefix(prefix.size() + 1);
  std::size_t dot = text.find('.');
  out.id = text.substr(0, dot);
  text.remove_prefix(dot + 1);
  dot = text.find('.');
  out.secret = text.substr(0, dot);
  if (dot != std::string_view::npos) out.rest = text.substr(dot + 1);
  if (!is_token_id(out.id)) return malformed(what, form, "its id is malformed");
  if (!is_secret(out.secret)) return malformed(what, form, "its secret is malformed");
  return out;
}

constexpr std::string_view kJoinForm = "cj1.ID.SECRET.FINGERPRINT";
constexpr std::string_view kOperatorForm = "cop1.ID.SECRET.FINGERPRINT";

crypto::SecretText made(std::string_view prefix, std::string_view id,
                        const crypto::SecretText& secret, const Digest& ca) {
  const std::string_view bytes(reinterpret_cast<const char*>(ca.bytes().data()), ca.bytes().size());
  return crypto::SecretText::take(
      fmt::format("{}.{}.{}.{}", prefix, id, secret.reveal(), crypto::to_base64url(bytes)));
}

Result<Digest> fingerprint_of(std::string_view text, std::string_view what, std::string_view form) {
  const auto read = crypto::from_base64url(text);
  std::array<std::uint8_t, 32> bytes{};
  if (!read || read->size() != bytes.size())
    return malformed(what, form, "the fingerprint of the CA at its end is malformed");
  std::copy(read->begin(), read->end(), bytes.begin());
  return Digest(bytes);
}

}  // namespace

std::string token_id(std::string_view random) {
  std::string out(random.substr(0, kMadeId));
  std::transform(out.begin(), out.end(), out.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  return out;
}

bool is_token_id(std::string_view text) {
  return text.size() >= kFewestId && text.size() <= kMostId &&
         std::all_of(text.begin(), text.end(),
                     [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); });
}

crypto::SecretText JoinTokenText::text() const { return made("cj1", id, secret, ca); }

Result<JoinTokenText> JoinTokenText::parse(std::string_view text) {
  const Parts parts = TRY(parts_of(text, "cj1", 4, "join", kJoinForm));
  Digest ca = TRY(fingerprint_of(parts.rest, "join", kJoinForm));
  return JoinTokenText{std::string(parts.id), crypto::SecretText(parts.secret), ca};
}

crypto::SecretText OperatorTokenText::text() const { return made("cop1", id, secret, ca); }

Result<OperatorTokenText> OperatorTokenText::parse(std::string_view text) {
  const Parts parts = TRY(parts_of(text, "cop1", 4, "operator", kOperatorForm));
  Digest ca = TRY(fingerprint_of(parts.rest, "operator", kOperatorForm));
  return OperatorTokenText{std::string(parts.id), crypto::SecretText(parts.secret), ca};
}

}  // namespace consort::access
