// The host's secrets: its key pair, and what is sealed to it, in DATA/secrets (mode 0700):
//
//   key.pem               X25519, made at the first start; its public half is told to the
//   controller NAME.VERSION.json     { partition, services, sealed }: opens without the controller
//   tainted.json          paths of files that have held a secret: nothing keeps a copy of them
//
// Values are opened when a file is compared or written and are kept nowhere. ADR 0012. Thread-safe.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "agent/secret_source.h"
#include "agent/upstream.h"
#include "base/files.h"
#include "crypto/keys.h"
#include "signing/trust_list.h"

namespace consort::agent {

class Secrets final : public SecretSource {
 public:
  // Makes the key if there is none. A damaged one is put aside and replaced: secrets must be sealed
  // anew for this host then. With an upstream without TLS nothing is ever asked for. With a trust
  // list only what one of its keys has signed is taken from the controller. Errors: io.
  [[nodiscard]] static Result<std::unique_ptr<Secrets>> open(
      const fs::path& folder, const Upstream& upstream, std::string host,
      std::optional<signing::TrustList> trust = std::nullopt);

  // Brings it here unless it is. Errors as value(), and timeout.
  [[nodiscard]] Status fetch(const SecretReference& reference);
  [[nodiscard]] Result<crypto::SecretBytes> value(const SecretReference& reference) override;
  [[nodiscard]] Status taint(const std::string& path) override;
  [[nodiscard]] bool is_tainted(const std::string& path) const override;
  // Removes what none of these needs.
  void keep_only(const std::set<std::pair<std::string, std::uint64_t>>& needed);
  // Tells the controller the public key, once in this agent's life; blocking. What goes wrong is
  // told in the log and tried again at the next call.
  void tell_key();
  [[nodiscard]] const crypto::PublicKey& public_key() const { return key_.public_key(); }
  // What is under way ends.
  void cancel();

 private:
  Secrets(fs::path folder, std::string host, crypto::PrivateKey key,
          std::optional<signing::TrustList> trust)
      : folder_(std::move(folder)),
        host_(std::move(host)),
        key_(std::move(key)),
        trust_(std::move(trust)) {}
  [[nodiscard]] fs::path file_of(const SecretReference& reference) const;
  [[nodiscard]] Result<crypto::SecretBytes> open_stored(const SecretReference& reference) const;
  [[nodiscard]] Status download(const SecretReference& reference);
  [[nodiscard]] Status load_taints();

  fs::path folder_;
  std::string host_;
  crypto::PrivateKey key_;
  std::optional<signing::TrustList> trust_;
  std::unique_ptr<http::Client> client_;  // null: no controller, or one without TLS
  bool told_ = false;                     // on the thread that polls alone
  std::string complaint_;
  mutable std::mutex mutex_;
  std::set<std::string> tainted_;
};

}  // namespace consort::agent
