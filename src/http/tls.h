// TLS 1.3 for servers and clients (RFC 8446), with certificates on both sides where asked for.
// Older versions are not spoken, so there is nothing to renegotiate; no early data. A handshake
// costs the server about 0.4 ms; clients that come again resume theirs with a ticket, which costs
// half of it.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "base/digest.h"
#include "base/error.h"
#include "crypto/secret.h"

namespace consort::http {

// Who this side is.
struct TlsIdentity {
  std::string certificate_chain_pem;  // its own certificate first, then those that lead to the root
  crypto::SecretText private_key_pem;  // not encrypted
};

// Whose certificates are believed.
struct TlsTrust {
  std::string roots_pem;  // one or more certificates of authorities
};

// Clients are always asked for one. A certificate that is shown must be sound under both: signed by
// the roots, within its time, made for clients (clientAuth); else the handshake is refused, and the
// log says why and for whom.
enum class ClientCertificates : std::uint8_t { optional, required };

struct TlsServerSettings;  // defined inside this room

// What servers speak TLS with. Thread-safe.
class ServerTls {
 public:
  // The chain that is shown ends in the root when `trust` has it, so that a client that knows but
  // the root's fingerprint can check it. Errors: invalid_input (no PEM, a key of another
  // certificate, no roots).
  [[nodiscard]] static Result<std::shared_ptr<ServerTls>> create(const TlsIdentity& identity,
                                                                 const TlsTrust& trust,
                                                                 ClientCertificates clients);
  // From now on for new connections; those that are open stay. Tickets of before are worth nothing
  // any more. Errors as create(): then nothing is replaced.
  [[nodiscard]] Status replace(const TlsIdentity& identity, const TlsTrust& trust);

  // For one connection, which keeps it.
  [[nodiscard]] std::shared_ptr<const TlsServerSettings> settings() const;

 private:
  ServerTls(std::shared_ptr<const TlsServerSettings> settings, ClientCertificates clients)
      : clients_(clients), settings_(std::move(settings)) {}
  const ClientCertificates clients_;
  mutable std::mutex mutex_;
  std::shared_ptr<const TlsServerSettings> settings_;  // guarded
};

// Whom a client wants to talk to, beside a certificate that is sound.
enum class ServerCheck : std::uint8_t {
  controller,  // one whose name (URI) is consort://PARTITION/controller/NAME
  host_name,   // one that is made out to the host of the URL (its DNS name or address)
};

struct ClientTlsOptions {
  // One of the two. The pinned root is the SHA-256 of the authority's certificate (DER), which the
  // server must show: for those who have no file of roots yet.
  TlsTrust trust = {};
  std::optional<Digest> pinned_root = {};
  std::optional<TlsIdentity> identity = {};  // shown when the server asks
  ServerCheck expect = ServerCheck::controller;
  std::string partition = {};   // with ServerCheck::controller: of this partition; "" is any
  std::string controller = {};  // with ServerCheck::controller: of this name; "" is any
};

struct TlsClientSettings;  // defined inside this room

// What clients speak TLS with; remembers one session for each server, to resume it. Share one among
// the clients of a process. Thread-safe.
class ClientTls {
 public:
  // Errors: invalid_input (no PEM, a key of another certificate, neither roots nor a pinned one).
  [[nodiscard]] static Result<std::shared_ptr<ClientTls>> create(const ClientTlsOptions& options);
  // Trusts the authorities that this machine trusts, and checks host names: what a client without
  // settings of its own gets.
  [[nodiscard]] static Result<std::shared_ptr<ClientTls>> of_this_machine();
  // From now on for new connections; sessions of before are forgotten. Errors as create().
  [[nodiscard]] Status replace(const ClientTlsOptions& options);

  [[nodiscard]] std::shared_ptr<TlsClientSettings> settings() const;

 private:
  explicit ClientTls(std::shared_ptr<TlsClientSettings> settings)
      : settings_(std::move(settings)) {}
  mutable std::mutex mutex_;
  std::shared_ptr<TlsClientSettings> settings_;  // guarded
};

}  // namespace consort::http
