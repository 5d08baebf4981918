// The embedded certificate authority of a partition, or an external authority's intermediate in
// its place. An immutable value; safe to use from several threads.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/time.h"
#include "crypto/certificates.h"

namespace consort::crypto {

// Clocks of hosts differ: certificates begin to be valid this long before they are made.
inline constexpr Duration kClockTolerance = minutes(5);

struct CertificateOrder {
  PublicKey key;  // ECDSA P-256
  Identity identity;
  ExtraNames names = {};  // only for controllers
  Duration lifetime{};
};

class Authority {
 public:
  // A new self-signed root for `key` (ECDSA P-256), which signs end certificates only. Errors:
  // invalid_input (partition, kind of key, lifetime not from a minute to 100 years).
  [[nodiscard]] static Result<Authority> create(std::string_view partition, const PrivateKey& key,
                                                Duration lifetime, Instant now);
  // `chain_pem`: the certificate of `key_pem` first, then what issued it, in order; the root may be
  // absent. For a root made by create() it is that alone. Errors: invalid_input (malformed, not in
  // order, not an authority, not this key's), refused (passphrase missing or wrong), unsupported (a
  // key that is not ECDSA P-256), too_large.
  [[nodiscard]] static Result<Authority> load(std::string_view partition,
                                              std::string_view chain_pem, std::string_view key_pem,
                                              const SecretText* passphrase = nullptr);

  // Hosts and operators: clientAuth; controllers: clientAuth, serverAuth and the extra names. The
  // serial is of 128 random bits. It ends with the authority's own certificate at the latest.
  // Errors: invalid_input (identity, names, kind of key, lifetime not from a minute to 100 years),
  // refused (another partition; names for what is no controller; this authority has expired).
  [[nodiscard]] Result<Certificate> issue(const CertificateOrder& order, Instant now) const;

  [[nodiscard]] const std::string& partition() const { return partition_; }
  // The certificate that issues.
  [[nodiscard]] const Certificate& certificate() const { return chain_.front(); }
  // That certificate and what issued it, as loaded.
  [[nodiscard]] const std::vector<Certificate>& chain() const { return chain_; }
  // What peers are told to believe: the last of the chain.
  [[nodiscard]] const Certificate& trust_anchor() const { return chain_.back(); }
  // What a holder of `certificate` must send: it, and the chain without self-signed roots.
  [[nodiscard]] std::string chain_pem_for(const Certificate& certificate) const;
  // For storage.
  [[nodiscard]] const PrivateKey& key() const { return key_; }

 private:
  Authority(std::string partition, PrivateKey key, std::vector<Certificate> chain)
      : partition_(std::move(partition)), key_(std::move(key)), chain_(std::move(chain)) {}
  std::string partition_;
  PrivateKey key_;
  std::vector<Certificate> chain_;
};

}  // namespace consort::crypto
