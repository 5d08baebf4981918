// What this host shows to be let in, kept in DATA/identity: host.pem (its key and its certificate
// chain, one atomic file), authority.pem (whom it believes), joined.json (where and as whom) and,
// while a renewal is under way, next.pem (the key that was asked for). ADR 0010.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "base/files.h"
#include "base/time.h"
#include "crypto/keys.h"
#include "http/tls.h"

namespace consort::agent {

struct JoinOrder {
  crypto::SecretText token;  // "cj1.…", of `consort token create`
  std::string controller;    // "https://10.0.0.1:8440"
  std::string name;          // that this host claims
  std::string machine_id;
};

// Thread-safe.
class Identity {
 public:
  // A joined.json that is damaged or gone is made anew from the certificate and `controller` ("":
  // not known). Errors: not_found when this host has not joined; corrupt with the file.
  [[nodiscard]] static Result<std::shared_ptr<Identity>> open(const fs::path& folder,
                                                              const std::string& controller = "");
  // Asks the controller, whose authority must be the token's, for a certificate; waits while an
  // admin has to approve it, and while the controller cannot be reached, until `stopped` says so.
  // Errors: invalid_input (the token), forbidden and unauthenticated as the controller says,
  // interrupted.
  [[nodiscard]] static Result<std::shared_ptr<Identity>> join(
      const fs::path& folder, const JoinOrder& order, const std::function<bool(Duration)>& stopped);

  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] const std::string& controller() const { return controller_; }
  // Shared by all clients of this agent; goes with renewals.
  [[nodiscard]] const std::shared_ptr<http::ClientTls>& tls() const { return tls_; }
  // At two thirds of the certificate's life.
  [[nodiscard]] Instant renew_at() const;
  // Blocking. With a certificate that is still believed a new key is asked for; after it has
  // expired, or was taken for another reason, the old key proves who asks. Errors as the client's,
  // and what the controller says.
  [[nodiscard]] Status renew(Instant now);

 private:
  Identity(fs::path folder, std::string name, std::string controller)
      : folder_(std::move(folder)), name_(std::move(name)), controller_(std::move(controller)) {}
  [[nodiscard]] Status load();
  [[nodiscard]] Status take(const crypto::PrivateKey& key, const std::string& chain_pem);

  fs::path folder_;
  std::string name_;
  std::string controller_;
  std::string partition_;
  std::shared_ptr<http::ClientTls> tls_;
  mutable std::mutex mutex_;
  std::string authority_pem_;  // guarded, as what follows
  std::optional<crypto::PrivateKey> key_;
  Instant not_before_{};
  Instant not_after_{};
};

}  // namespace consort::agent
