#include "signing/sealed_secret.h"

#include <fmt/format.h>

#include <algorithm>

#include "crypto/signature.h"

namespace consort::signing {
namespace {

constexpr std::string_view kDomain = "secret";

// The name of a site may be anything.
std::string signed_bytes(const TrustList& list, const access::SealedSecret& secret) {
  return fmt::format("{} {} {}",
                     access::secret_context(list.partition, secret.name, secret.version),
                     Digest::of(secret.sealed).str(), list.site);
}

Status check_partition(const TrustList& list, const std::string& partition,
                       const access::SealedSecret& secret) {
  if (partition == list.partition) return {};
  return fail(ErrorCode::forbidden,
              fmt::format("version {} of the secret '{}' is for partition {}, not for {}",
                          secret.version, secret.name, partition, list.partition))
      .hint(
          fmt::format("the trust list names another partition than the controller's: make one for "
                      "it with consort key trust --site-name {} --partition {} KEY…",
                      list.site, partition));
}

}  // namespace

Status add_signature(const crypto::PrivateKey& key, const TrustList& list,
                     const std::string& partition, access::SealedSecret& secret) {
  TRYV(check_partition(list, partition, secret));
  secret.signatures.insert_or_assign(key.public_key().to_text(),
                                     TRY(crypto::sign(key, kDomain, signed_bytes(list, secret))));
  return {};
}

Status check_secret(const TrustList& list, const std::string& partition,
                    const access::SealedSecret& secret) {
  TRYV(check_partition(list, partition, secret));
  const std::string bytes = signed_bytes(list, secret);
  const bool known =
      std::any_of(list.keys.begin(), list.keys.end(), [&](const crypto::PublicKey& key) {
        const auto it = secret.signatures.find(key.to_text());
        return it != secret.signatures.end() &&
               crypto::verify_signature(key, kDomain, bytes, it->second).has_value();
      });
  if (known) return {};
  return fail(ErrorCode::forbidden,
              fmt::format("no key that this host trusts has signed version {} of the secret '{}'",
                          secret.version, secret.name))
      .hint(fmt::format("an operator whose key is on the trust list seals it anew: consort secret "
                        "reseal {}",
                        secret.name));
}

}  // namespace consort::signing
