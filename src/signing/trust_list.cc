#include "signing/trust_list.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/json_reader.h"
#include "crypto/signature.h"

namespace consort::signing {
namespace {

constexpr std::string_view kDomain = "generation";

}  // namespace

Json trust_list_to_json(const TrustList& list) {
  Json::Array keys;
  for (const crypto::PublicKey& key : list.keys) keys.emplace_back(key.to_text());
  return Json::object({{"site", list.site},
                       {"partition", list.partition},
                       {"keys", std::move(keys)},
                       {"needed", list.needed}});
}

Result<TrustList> trust_list_from_json(const Json& json) {
  JsonReader reader(json, "trust");
  TrustList out;
  out.site = reader.string("site");
  out.partition = reader.string("partition", "main");
  const auto keys = reader.strings("keys");
  out.needed = reader.integer("needed", 1, 1, static_cast<std::int64_t>(kMostKeys));
  TRYV(reader.finish());
  if (keys.size() > kMostKeys)
    return fail(ErrorCode::too_large, fmt::format("trust.keys: more than {} keys", kMostKeys));
  for (const std::string& text : keys) {
    out.keys.push_back(TRY(crypto::PublicKey::from_text(text)));
    if (out.keys.back().kind() != crypto::KeyKind::ed25519)
      return fail(ErrorCode::invalid_input,
                  fmt::format("trust.keys: {} cannot sign generations", text))
          .hint("make one with: consort key create NAME");
  }
  std::sort(out.keys.begin(), out.keys.end());
  if (std::adjacent_find(out.keys.begin(), out.keys.end()) != out.keys.end())
    return fail(ErrorCode::invalid_input, "trust.keys: a key is named twice");
  if (static_cast<std::int64_t>(out.keys.size()) < out.needed)
    return fail(ErrorCode::invalid_input,
                fmt::format("trust.needed: {} signatures of {} keys", out.needed, out.keys.size()))
        .hint("name more keys, or ask for fewer signatures");
  if (out.site.empty()) return fail(ErrorCode::invalid_input, "trust.site is empty");
  return out;
}

Result<TrustList> trust_list_from_text(std::string_view text) {
  if (text.size() > kTrustListBytes)
    return fail(ErrorCode::too_large, "the trust list is too long to be one");
  return trust_list_from_json(TRY(parse_json(text, "the trust list")));
}

Status add_signature(const crypto::PrivateKey& key, const plan::StatementHead& head,
                     plan::Signatures& signatures) {
  signatures.insert_or_assign(key.public_key().to_text(),
                              TRY(crypto::sign(key, kDomain, plan::head_bytes(head))));
  return {};
}

std::int64_t signatures_of(const TrustList& list, const plan::StatementHead& head,
                           const plan::Signatures& signatures) {
  const std::string bytes = plan::head_bytes(head);
  return std::count_if(list.keys.begin(), list.keys.end(), [&](const crypto::PublicKey& key) {
    const auto it = signatures.find(key.to_text());
    return it != signatures.end() &&
           crypto::verify_signature(key, kDomain, bytes, it->second).has_value();
  });
}

Status check_signed(const TrustList& list, const plan::StatementHead& head,
                    const plan::Signatures& signatures) {
  if (head.site != list.site || head.partition != list.partition)
    return fail(ErrorCode::forbidden,
                fmt::format("statement {} is for site {} in {}, not for {} in {}", head.sequence,
                            head.site, head.partition, list.site, list.partition));
  const std::int64_t found = signatures_of(list, head, signatures);
  if (found >= list.needed) return {};
  return fail(ErrorCode::forbidden,
              fmt::format("statement {} has {} of {} needed signatures by keys that are trusted",
                          head.sequence, found, list.needed))
      .hint("have it signed by others, too: --propose FILE, then: consort key sign FILE");
}

}  // namespace consort::signing
