#include "crypto/alternative_names.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace consort::crypto {
namespace {

constexpr std::size_t kCommonNameLimit = 64;  // RFC 5280, appendix A: ub-common-name

Status validate_dns_name(std::string_view name) {
  const auto is_allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.';
  };
  if (!name.empty() && name.size() <= 253 && name.front() != '.' && name.back() != '.' &&
      name.find("..") == std::string_view::npos &&
      std::all_of(name.begin(), name.end(), is_allowed))
    return {};
  return fail(ErrorCode::invalid_input, fmt::format("'{}' is not a DNS name", name.substr(0, 100)))
      .hint("write names as 'consort.example.org', without wildcards and a dot at the end");
}

// The bytes of the address as X.509 has them: 4 or 16.
Result<std::string> address_bytes(const std::string& text) {
  std::array<char, 16> bytes{};
  if (inet_pton(AF_INET, text.c_str(), bytes.data()) == 1) return std::string(bytes.data(), 4);
  if (inet_pton(AF_INET6, text.c_str(), bytes.data()) == 1) return std::string(bytes.data(), 16);
  return fail(ErrorCode::invalid_input,
              fmt::format("'{}' is not an IP address", text.substr(0, 100)))
      .hint("write addresses as '10.0.0.1' or '2001:db8::1'");
}

void add_name(GENERAL_NAMES* names, int type, int string_type, std::string_view bytes) {
  GENERAL_NAME* name = GENERAL_NAME_new();
  ASN1_STRING* value = ASN1_STRING_type_new(string_type);
  must(name != nullptr && value != nullptr, "make a name");
  must(ASN1_STRING_set(value, bytes.data(), static_cast<int>(bytes.size())) == 1, "make a name");
  GENERAL_NAME_set0_value(name, type, value);
  must(sk_GENERAL_NAME_push(names, name) > 0, "make a name");
}

Result<std::string> text_of(const ASN1_STRING* value) {
  const std::string text(reinterpret_cast<const char*>(ASN1_STRING_get0_data(value)),
                         static_cast<std::size_t>(ASN1_STRING_length(value)));
  const auto is_control = [](char c) { return static_cast<unsigned char>(c) < 32 || c == 127; };
  if (std::any_of(text.begin(), text.end(), is_control))
    return fail(ErrorCode::invalid_input,
                "a certificate or request with control characters in a name")
        .hint("somebody may be trying to pass for another: do not use it");
  return text;
}

Status add_uri(AlternativeNames& found, int& uris, const ASN1_STRING* value) {
  const std::string uri = TRY(text_of(value));
  if (++uris > 1)
    return fail(ErrorCode::invalid_input, "a certificate or request with several URI names")
        .hint("a certificate speaks for one identity: make one for each");
  if (uri.starts_with("consort:")) found.identity = TRY(identity_from_uri(uri));
  return {};
}

void add_address(AlternativeNames& found, const ASN1_STRING* value) {
  const int size = ASN1_STRING_length(value);
  if (size != 4 && size != 16) return;
  std::array<char, INET6_ADDRSTRLEN> text{};
  inet_ntop(size == 4 ? AF_INET : AF_INET6, ASN1_STRING_get0_data(value), text.data(), text.size());
  found.extra.ips.emplace_back(text.data());
}

}  // namespace

Result<GeneralNames> make_alternative_names(const Identity& identity, const ExtraNames& extra) {
  TRYV(validate_identity(identity));
  if (extra.dns.size() + extra.ips.size() > kExtraNameLimit)
    return fail(ErrorCode::invalid_input,
                fmt::format("a certificate has at most {} further names", kExtraNameLimit));
  GeneralNames names(GENERAL_NAMES_new());
  must(names != nullptr, "make names");
  add_name(names.get(), GEN_URI, V_ASN1_IA5STRING, identity.uri());
  for (const std::string& name : extra.dns) {
    TRYV(validate_dns_name(name));
    add_name(names.get(), GEN_DNS, V_ASN1_IA5STRING, name);
  }
  for (const std::string& address : extra.ips)
    add_name(names.get(), GEN_IPADD, V_ASN1_OCTET_STRING, TRY(address_bytes(address)));
  return names;
}

Result<AlternativeNames> read_alternative_names(const GENERAL_NAMES& names) {
  AlternativeNames found;
  int uris = 0;
  for (int i = 0; i < sk_GENERAL_NAME_num(&names); ++i) {
    int type = 0;
    const auto* value = static_cast<const ASN1_STRING*>(
        GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(&names, i), &type));
    if (type == GEN_URI) TRYV(add_uri(found, uris, value));
    if (type == GEN_DNS) found.extra.dns.push_back(TRY(text_of(value)));
    if (type == GEN_EMAIL) static_cast<void>(TRY(text_of(value)));
    if (type == GEN_IPADD) add_address(found, value);
  }
  return found;
}

void set_subject(X509_NAME* subject, std::string_view unit, std::string_view common_name) {
  const auto add = [&](int field, std::string_view value) {
    must(X509_NAME_add_entry_by_NID(subject, field, MBSTRING_UTF8, octets(value),
                                    static_cast<int>(value.size()), -1, 0) == 1,
         "make a subject");
  };
  add(NID_organizationName, "Consort");
  add(NID_organizationalUnitName, unit);
  if (common_name.size() <= kCommonNameLimit) add(NID_commonName, common_name);
}

}  // namespace consort::crypto
