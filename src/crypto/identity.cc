#include "crypto/identity.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>

#include "base/text.h"

namespace consort::crypto {
namespace {

constexpr std::string_view kScheme = "consort://";
constexpr std::size_t kPartLimit = 253;  // as of a domain name
constexpr std::array kKinds = {IdentityKind::host, IdentityKind::operator_,
                               IdentityKind::controller};

bool is_unreserved(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
         c == '_' || c == '~' || c == '-';
}

std::string percent_encode(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (is_unreserved(c)) {
      out += c;
    } else {
      out += fmt::format("%{:02X}", static_cast<unsigned char>(c));
    }
  }
  return out;
}

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

std::optional<std::string> percent_decode(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    if (i + 2 >= text.size()) return std::nullopt;
    const int high = hex_value(text[i + 1]);
    const int low = hex_value(text[i + 2]);
    if (high < 0 || low < 0) return std::nullopt;
    out += static_cast<char>(high * 16 + low);
    i += 2;
  }
  return out;
}

Status validate_part(std::string_view part, std::string_view what) {
  const auto is_control = [](char c) { return static_cast<unsigned char>(c) < 32 || c == 127; };
  const auto bad = [&](std::string_view why) {
    return fail(ErrorCode::invalid_input, fmt::format("the {} of an identity {}", what, why))
        .hint("use 1 to 253 bytes of text without control characters");
  };
  if (part.empty()) return bad("is empty");
  if (part.size() > kPartLimit) return bad("is longer than 253 bytes");
  if (std::any_of(part.begin(), part.end(), is_control)) return bad("has a control character");
  if (!is_utf8(part)) return bad("is not UTF-8");
  if (part == "." || part == "..") return bad("is '.' or '..', which have a meaning in URIs");
  return {};
}

}  // namespace

std::string_view identity_kind_name(IdentityKind kind) {
  switch (kind) {
    case IdentityKind::host:
      return "host";
    case IdentityKind::operator_:
      return "operator";
    case IdentityKind::controller:
      return "controller";
  }
  return "";
}

std::string Identity::uri() const {
  return fmt::format("{}{}/{}/{}", kScheme, percent_encode(partition), identity_kind_name(kind),
                     percent_encode(name));
}

Status validate_identity(const Identity& identity) {
  TRYV(validate_part(identity.partition, "partition"));
  return validate_part(identity.name, "name");
}

Result<Identity> identity_from_uri(std::string_view uri) {
  const auto bad = [](std::string_view why) {
    return fail(ErrorCode::invalid_input, fmt::format("not an identity: {}", why))
        .hint("identities are written consort://PARTITION/KIND/NAME");
  };
  // Each byte can take three characters.
  if (uri.size() > kScheme.size() + 2 * 3 * kPartLimit + 16) return bad("it is too long");
  if (!uri.starts_with(kScheme)) return bad("it does not begin with consort://");
  const auto parts = split(uri.substr(kScheme.size()), '/');
  if (parts.size() != 3) return bad("it has not three parts");
  const auto kind = std::find_if(kKinds.begin(), kKinds.end(), [&](IdentityKind candidate) {
    return identity_kind_name(candidate) == parts[1];
  });
  if (kind == kKinds.end()) return bad("its kind is not host, operator or controller");
  const auto partition = percent_decode(parts[0]);
  const auto name = percent_decode(parts[2]);
  if (!partition || !name) return bad("a '%' is not followed by two digits 0-9, A-F");
  Identity identity{*kind, *partition, *name};
  TRYV(validate_identity(identity));
  if (identity.uri() != uri) return bad("it is not percent-encoded as Consort does it");
  return identity;
}

}  // namespace consort::crypto
