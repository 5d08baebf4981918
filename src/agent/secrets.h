// The host's secrets: its key pair, and what is sealed to it, in DATA/secrets (mode 0700):
//
// clang-format off
//   key.pem             X25519, made at the first start; the controller is told its public half
//   NAME.VERSION.json   { partition, services, sealed }: opens without the controller. Signatures
//                       are checked when it comes and are not kept
//   tainted.json        paths of files that have held a secret: nothing keeps a copy of them
//   *.damaged           what could not be read of these
// clang-format on
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
#include "base/time.h"
#include "crypto/keys.h"
#include "signing/trust_list.h"

namespace consort::agent {

class Secrets final : public SecretSource {
 public:
  // Makes the key if there is none. A damaged one is put aside and replaced: secrets must be sealed
  // anew for this host then. With an upstream without TLS nothing is ever asked for. With a trust
  // list only what one of its keys has signed is taken from the controller. A damaged tainted.json
  // is put aside, too. Errors: io.
  [[nodiscard]] static Result<std::unique_ptr<Secrets>> open(
      const fs::path& folder, const Upstream& upstream, std::string host,
      std::optional<signing::TrustList> trust = std::nullopt);

  // Brings it here unless it is; keep_only() spares it for the grace from now on. Errors as
  // value(), and timeout.
  [[nodiscard]] Status fetch(const SecretReference& reference);
  [[nodiscard]] Result<crypto::SecretBytes> value(const SecretReference& reference) override;
  [[nodiscard]] Status taint(const std::string& path) override;
  [[nodiscard]] bool is_tainted(const std::string& path) const override;
  // Forgets the paths below those folders in `folder` that are gone.
  void forget_below_removed(const fs::path& folder);
  // Removes what none of these needs and nobody has fetched within the grace: who fetches may need
  // it for a manifest that is not in use yet.
  void keep_only(const std::set<std::pair<std::string, std::uint64_t>>& needed, Duration grace);
  // Tells the controller the public key, until it has it; blocking. What goes wrong is told in
  // the log and tried again at the next call.
  void tell_key();
  // The controller answers (again): it may be another one now, or have an older store, so it is
  // told once more. On the thread of tell_key().
  void on_connected();
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
  [[nodiscard]] Status write_taints() const;

  fs::path folder_;
  std::string host_;
  crypto::PrivateKey key_;
  std::optional<signing::TrustList> trust_;
  std::unique_ptr<http::Client> client_;  // null: no controller, or one without TLS
  bool told_ = false;                     // these two: on the thread that polls alone
  std::string complaint_;
  std::mutex stored_mutex_;  // what is fetched is not just being removed
  mutable std::mutex mutex_;
  std::set<std::string> tainted_;
};

}  // namespace consort::agent
