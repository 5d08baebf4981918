// The pure state of all credentials: operators, tokens, hosts, revoked certificates. Every
// operation looks at a Registry and answers with the writes that would make it so; who owns the
// registry makes them durable first, and then calls apply(). Not thread-safe while it is applied
// to.
//
// Keys: access/operators/NAME, access/operator-tokens/ID, access/join-tokens/ID,
// access/hosts/NAME, access/revoked/SERIAL, access/secrets/NAME. Values are JSON.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "access/principal.h"
#include "access/secrets.h"
#include "access/tokens.h"
#include "base/digest.h"
#include "base/time.h"

namespace consort::access {

using Store = std::map<std::string, std::string>;
// nullopt erases the key.
using Writes = std::map<std::string, std::optional<std::string>>;

// A certificate that was issued to somebody and is believed until `valid_until`, which is at most
// `expires`: a renewed one goes earlier.
struct IssuedCertificate {
  std::string serial;  // lower-case hex
  Digest key;          // fingerprint of its public key
  Instant expires{};
  Instant valid_until{};
  // No certificate that was got with this one outlives it: it comes of a token that ends.
  bool last = false;
  // The operator's token that it was got with, at first or by way of others; "": none. They are
  // revoked together.
  std::string token{};
  std::optional<Instant> last_used{};  // an operator's: to the hour
  friend bool operator==(const IssuedCertificate&, const IssuedCertificate&) = default;
};

struct Operator {
  std::string name;
  std::vector<Grant> grants;
  std::vector<IssuedCertificate> certificates{};
  std::string by{};
  Instant created{};
  friend bool operator==(const Operator&, const Operator&) = default;
};

// Another machine that claims a host's name. An admin chooses between them by key.
struct Rival {
  Digest key;
  std::string machine_id;
  std::string address;
  std::string token;
  Instant at{};
  friend bool operator==(const Rival&, const Rival&) = default;
};

enum class HostState : std::uint8_t { pending, approved, revoked };
[[nodiscard]] std::string_view host_state_name(HostState state);

struct HostIdentity {
  std::string name;
  HostState state = HostState::pending;
  Digest key;              // of its last certificate, or of what it asked with
  std::string machine_id;  // /etc/machine-id; "" when it told none
  std::string address;     // where it asked from
  std::string token;       // id of the join token that it came with
  std::string host_class{};
  std::map<std::string, std::string> labels{};
  Instant joined{};
  std::string decided_by{};  // who approved or revoked it last
  std::optional<Instant> decided{};
  std::vector<IssuedCertificate> certificates{};
  std::optional<Rival> rival{};
  std::string seal_key{};  // "x25519:…": what secrets are sealed to; "" until it has told one
  friend bool operator==(const HostIdentity&, const HostIdentity&) = default;
};

// What its join token gave it; the class is the label "class" unless that was given, too.
[[nodiscard]] std::map<std::string, std::string> labels_of(const HostIdentity& host);

// Kept until the certificate would have expired by itself.
struct RevokedCertificate {
  std::string serial;
  Instant expires{};
  std::string owner;  // "host web1", "operator ann"
  std::string by;
  Instant at{};
  friend bool operator==(const RevokedCertificate&, const RevokedCertificate&) = default;
};

struct Registry {
  std::map<std::string, Operator> operators;
  std::map<std::string, OperatorToken> operator_tokens;
  std::map<std::string, JoinToken> join_tokens;
  std::map<std::string, HostIdentity> hosts;
  std::map<std::string, RevokedCertificate> revoked;
  std::map<std::string, SecretRecord> secrets;

  // Of everything below "access/" that has one of the keys above. Errors: corrupt, with the key.
  [[nodiscard]] static Result<Registry> restore(const Store& store);
  // Other keys are ignored. Errors: corrupt, with the key; nothing has changed then.
  [[nodiscard]] Status apply(const Writes& writes);
  friend bool operator==(const Registry&, const Registry&) = default;
};

inline constexpr std::size_t kMaxOperators = 10'000;  // and as many tokens of each kind
inline constexpr std::size_t kMaxHosts = 200'000;
inline constexpr std::size_t kMaxCertificates = 8;  // of one host or operator; the oldest go

// --- operators. `by`: principal_text() of who does it. ---
// Errors: invalid_input, conflict (there is one), too_large.
[[nodiscard]] Result<Writes> create_operator(const Registry& registry, const std::string& name,
                                             const std::vector<Grant>& grants,
                                             const std::string& by, Instant now);
// Errors: not_found, invalid_input; refused when no admin would be left.
[[nodiscard]] Result<Writes> grant_operator(const Registry& registry, const std::string& name,
                                            const std::vector<Grant>& grants);
// With all its tokens and certificates. Errors: not_found; refused when no admin would be left.
[[nodiscard]] Result<Writes> remove_operator(const Registry& registry, const std::string& name,
                                             const std::string& by, Instant now);
// Errors: not_found (no such operator), conflict (the id), invalid_input, too_large.
[[nodiscard]] Result<Writes> add_operator_token(const Registry& registry,
                                                const OperatorToken& token);
// With the certificates that were got with it. Error not_found.
[[nodiscard]] Result<Writes> revoke_operator_token(const Registry& registry, const std::string& id,
                                                   const std::string& by, Instant now);
// Those it has stay valid. Errors: not_found, conflict (the serial is known).
[[nodiscard]] Result<Writes> add_operator_certificate(const Registry& registry,
                                                      const std::string& name,
                                                      const IssuedCertificate& certificate,
                                                      Instant now);
// Of a host or an operator. Error not_found when nobody has this serial.
[[nodiscard]] Result<Writes> revoke_certificate(const Registry& registry, const std::string& serial,
                                                const std::string& by, Instant now);

// --- join tokens ---
// Errors: invalid_input, conflict, too_large.
[[nodiscard]] Result<Writes> create_join_token(const Registry& registry, const JoinToken& token,
                                               Instant now);
[[nodiscard]] Result<Writes> revoke_join_token(const Registry& registry, const std::string& id);

// --- hosts ---
// What an operator should know of: for the log and the audit log. The same may come again.
struct Finding {
  enum class Kind : std::uint8_t {
    cloned_machine,  // the same machine id under two names, or two under one
    cloned_key,      // the same key under two names
    name_taken       // another key for a name that is somebody's
  };
  Kind kind = Kind::cloned_machine;
  std::string host;
  std::string other;  // the other host; "" for name_taken
  std::string text;
};

struct JoinRequest {
  std::string token_id;
  crypto::SecretText secret;
  std::string host;        // the name that its certificate request claims
  Digest key;              // fingerprint of the request's public key: its holder was verified
  std::string machine_id;  // "" when it tells none
  std::string address;
};
struct JoinOutcome {
  enum class Verdict : std::uint8_t {
    approved,  // issue the certificate, then add_host_certificate() to `host`
    pending,   // an admin has to approve; the host asks again
    refused    // `refusal` says why; the writes keep the claim for an admin to see
  };
  Verdict verdict = Verdict::pending;
  Writes writes;
  std::optional<Error> refusal{};
  std::vector<Finding> findings{};
  std::optional<HostIdentity> host{};  // as these writes leave it; of those that are approved
};
// A host comes with a join token. A name belongs to the first key that claimed it: another key is
// refused and remembered as a rival until an admin approves it. A machine that is known under
// another name waits for an admin even when the token approves by itself. The same host with the
// same key and token may ask as often as it likes: that takes no further use.
// Errors: unauthenticated, forbidden (token), invalid_input, too_large.
[[nodiscard]] Result<JoinOutcome> join(const Registry& registry, const JoinRequest& request,
                                       Instant now);
// `key`: which of those that claim the name; needed when there is a rival, or when the host was
// revoked. Approving a rival revokes what the host before had.
// Errors: not_found, refused (say which key), conflict (another host has this key).
[[nodiscard]] Result<Writes> approve_host(const Registry& registry, const std::string& name,
                                          const std::optional<Digest>& key, const std::string& by,
                                          Instant now);
// Its name stays taken. Error not_found.
[[nodiscard]] Result<Writes> revoke_host(const Registry& registry, const std::string& name,
                                         const std::string& by, Instant now);
// Its name is free again. Error not_found.
[[nodiscard]] Result<Writes> remove_host(const Registry& registry, const std::string& name,
                                         const std::string& by, Instant now);
// Whether this host, which shows the certificate `serial`, may have a new one for `key`: its own
// key or a fresh one. Errors: unauthenticated, forbidden, conflict (another host's key).
[[nodiscard]] Status check_renewal(const Registry& registry, const std::string& name,
                                   const std::string& serial, const Digest& key, Instant now);
// Those before stay valid for `overlap` at most: a host that never got the new one can ask again.
// Errors: not_found, forbidden (not approved), conflict (the serial is known).
[[nodiscard]] Result<Writes> add_host_certificate(const Registry& registry, const std::string& name,
                                                  const IssuedCertificate& certificate,
                                                  Duration overlap, Instant now);
// The same for a host that is not in the registry yet, or not as it will be: one that joins.
[[nodiscard]] Result<Writes> add_host_certificate(const Registry& registry, HostIdentity host,
                                                  const IssuedCertificate& certificate,
                                                  Duration overlap, Instant now);
// An approved host says which machine it is (in a report): another one than it joined as means that
// its disk, key included, was copied. The machine id of a host that never told one is not compared.
[[nodiscard]] std::optional<Finding> check_machine(const Registry& registry,
                                                   const std::string& name,
                                                   const std::string& machine_id);

// An approved host tells the key that secrets are sealed to for it. No writes when it is known.
// Errors: not_found, forbidden (not approved), invalid_input (no x25519 key).
[[nodiscard]] Result<Writes> tell_seal_key(const Registry& registry, const std::string& name,
                                           const std::string& key);

// --- secrets (ADR 0012) ---
// The number of the next new value: above the last one and `above`, as numbers of a life of the
// store that is lost are still on hosts.
[[nodiscard]] std::uint64_t next_version(const Registry& registry, const std::string& name,
                                         std::uint64_t above);
// With next_version() or more it is a new value; with the last number the same value sealed anew
// for other hosts. Errors: invalid_input; conflict (another version is the last, or a host has told
// another key meanwhile); refused (sealed anew without a signature, where there was one); not_found
// (a host); too_large.
[[nodiscard]] Result<Writes> put_secret(const Registry& registry, const SealedSecret& secret,
                                        std::uint64_t above, const std::string& by, Instant now);
// Forgets all values; the number of the last version stays, so that it never comes again. Error
// not_found.
[[nodiscard]] Result<Writes> remove_secret(const Registry& registry, const std::string& name);
// Error not_found, also when it was removed.
[[nodiscard]] Result<const SecretRecord*> find_secret(const Registry& registry,
                                                      const std::string& name);
// Those of its hosts that can open this version now, sorted.
[[nodiscard]] std::vector<std::string> readers_of(const Registry& registry,
                                                  const SecretVersion& version);

// Erases what time has made useless: expired tokens, certificates that are no longer believed,
// revocations of expired ones. A join token with hosts that still wait is kept.
[[nodiscard]] Writes prune(const Registry& registry, Instant now);

// --- codecs ---
[[nodiscard]] Json operator_to_json(const Operator& record);
[[nodiscard]] Result<Operator> operator_from_json(const Json& json);
[[nodiscard]] Json host_identity_to_json(const HostIdentity& record);
[[nodiscard]] Result<HostIdentity> host_identity_from_json(const Json& json);
[[nodiscard]] Json revoked_to_json(const RevokedCertificate& record);
[[nodiscard]] Result<RevokedCertificate> revoked_from_json(const Json& json);
[[nodiscard]] bool is_serial(std::string_view text);  // 1 to 64 lower-case hex digits

}  // namespace consort::access
