// The controller's authority on disk, DATA/authority: certificate.pem (the issuing one first),
// key.pem (encrypted), names.json (partition, the controller's name, under which names and
// addresses it is reached) and, unless the operator keeps it elsewhere, `unlock`, the passphrase of
// the key.
#pragma once

#include <optional>
#include <string>

#include "base/files.h"
#include "base/time.h"
#include "crypto/authority.h"
#include "http/tls.h"

namespace consort::controller {

inline constexpr Duration kRootLifetime = hours(24 * 3650);
inline constexpr Duration kControllerLifetime = hours(24 * 90);
inline constexpr Duration kHostLifetime = hours(24 * 30);
inline constexpr Duration kOperatorLifetime = hours(24 * 365);

// Whether the store may know hosts and operators already, of an authority that is gone.
enum class Succession : std::uint8_t { first, replaces_lost };

struct AuthorityOptions {
  std::string partition = "main";
  std::string controller;    // its name, for its certificate
  crypto::ExtraNames names;  // DNS names and addresses under which it is reached
  // The passphrase of the key, read from here; empty: one is made and kept in
  // DATA/authority/unlock.
  fs::path unlock;
  // An external authority's intermediate in place of an own root: both or none.
  fs::path chain;
  fs::path key;
  Succession succession = Succession::first;
};

// Which of its files are there. What cannot be looked at counts as there: it is not written over.
struct AuthorityParts {
  bool key = false;
  bool certificate = false;
  bool names = false;
  [[nodiscard]] bool complete() const { return key && certificate && names; }
  [[nodiscard]] bool none() const { return !key && !certificate && !names; }
};
[[nodiscard]] AuthorityParts authority_parts(const fs::path& data);

class AuthorityFolder {
 public:
  // Makes what is not there yet of it: a folder that was left half made is completed. A key or
  // certificate that is there stays; whether one may be gone on with is for who calls to know
  // (init.h). Errors: conflict (what is there is of another partition or authority), not_found (its
  // key is lost), refused (the passphrase), invalid_input (names, an external chain), io.
  [[nodiscard]] static Result<AuthorityFolder> create(const fs::path& data,
                                                      const AuthorityOptions& options, Instant now);
  // `unlock` as in AuthorityOptions. Errors: not_found (with what makes one, or brings back what is
  // missing), refused (a wrong passphrase, a key that others can read), corrupt.
  [[nodiscard]] static Result<AuthorityFolder> open(const fs::path& data, const fs::path& unlock);

  [[nodiscard]] const crypto::Authority& authority() const { return authority_; }
  [[nodiscard]] const std::string& partition() const { return authority_.partition(); }
  // What peers are told to believe: the certificate that issues, and nothing else of an external
  // authority.
  [[nodiscard]] std::string trust_pem() const { return authority_.certificate().to_pem(); }
  // A certificate for the controller itself, with a key that exists in memory only.
  [[nodiscard]] Result<http::TlsIdentity> server_identity(Instant now) const;

 private:
  AuthorityFolder(crypto::Authority authority, std::string controller, crypto::ExtraNames names)
      : authority_(std::move(authority)),
        controller_(std::move(controller)),
        names_(std::move(names)) {}
  crypto::Authority authority_;
  std::string controller_;
  crypto::ExtraNames names_;
};

}  // namespace consort::controller
