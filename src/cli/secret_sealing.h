// Sealing values of secrets to those who may read them, and sending that to the controller
// (ADR 0012): what `secret set`, `rotate`, `reseal` and `sync` have in common. Not thread-safe.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "access/secrets.h"
#include "cli/command.h"
#include "cli/context.h"
#include "crypto/keys.h"
#include "signing/trust_list.h"

namespace consort::cli {

// What the controller says that one needs to seal.
struct SecretFacts {
  std::string name;
  std::string partition;
  std::string site;                         // that is deployed; "": none yet
  std::uint64_t last = 0;                   // the newest number ever given
  std::uint64_t next = 1;                   // which the controller gives the next value
  std::map<std::string, std::string> keys;  // of all hosts that have told one
  // Of the newest version, when there is one.
  std::optional<std::uint64_t> version;
  std::set<std::string> services;
  std::set<std::string> hosts;  // that can open it with the key that they have now
  std::vector<std::string> recovery;
  std::set<std::string> revoked;  // hosts for which nothing is sealed
};
// Errors: usage (no name), the client's.
[[nodiscard]] Result<SecretFacts> ask_secret(http::Client& client, const std::string& name);
[[nodiscard]] Status check_secret_name(const std::string& name);  // error usage
// "/v1/secrets/NAME"
[[nodiscard]] std::string secret_path(const std::string& name);
struct NewestSecret {
  access::SealedSecret sealed;  // name, version, sealed and signatures
  crypto::SecretBytes value;
};
// Errors: refused (it is not sealed for this key), conflict (there is another version by now),
// corrupt, the client's.
[[nodiscard]] Result<NewestSecret> open_newest(http::Client& client, const SecretFacts& facts,
                                               const crypto::PrivateKey& recovery);

// Who uses which secrets by the site, and where services run.
struct SecretUses {
  std::optional<std::string> site;                        // its name; nullopt: there is no site
  std::map<std::string, std::set<std::string>> services;  // by the secret's name
  std::set<std::string> broken;                           // services of which it does not tell
  std::vector<fleet::Placement> placements;               // now, and by the site
};
// `site`: null where there is none.
[[nodiscard]] Result<SecretUses> secret_uses(http::Client& client, const Prepared* site);

// Who may use one of them, and where that is; --service and --host add to it.
struct SecretUsers {
  std::string site;  // by whose trust list it is signed
  std::set<std::string> services;
  std::set<std::string> hosts;
};
[[nodiscard]] SecretUsers secret_users(const Arguments& arguments, const SecretUses& uses,
                                       const SecretFacts& facts);

// ${XDG_CONFIG_HOME:-~/.config}/consort/recovery.pem: with it the operator can open what they have
// set, to seal it for hosts that come later. It is made when it is asked for the first time,
// once: commands that ask at the same time get the same.
[[nodiscard]] Result<fs::path> recovery_file();
[[nodiscard]] Result<crypto::PrivateKey> recovery_key();
// The operators' keys that a value is sealed to: the own one, `kept` (unless --drop-recipients),
// those of --recipient; each once. Errors: usage, too_large.
[[nodiscard]] Result<std::vector<std::string>> recovery_keys(const Arguments& arguments,
                                                             const crypto::PrivateKey& own,
                                                             const std::vector<std::string>& kept);

// The operator's own trust list of a site, if there is one, and the own keys that it names.
struct SecretSigners {
  std::optional<signing::TrustList> list;
  std::vector<crypto::PrivateKey> keys;
};
[[nodiscard]] Result<SecretSigners> secret_signers(const std::string& site,
                                                   const std::string& partition);
// Anybody can seal a value to a recovery key: what is there already is signed once more only when a
// key of the list has signed it. Error forbidden.
[[nodiscard]] Status check_newest(const SecretSigners& signers, const SecretFacts& facts,
                                  const NewestSecret& newest);

// The number of a new value: the controller's next, but above all that this operator has signed. A
// store that was restored does not know those, and hosts that have one would not ask for it again.
[[nodiscard]] Result<std::uint64_t> next_version(const SecretSigners& signers,
                                                 const SecretFacts& facts);
// Sealing a version anew must not take its signature away: hosts that ask for one would refuse it.
// Error forbidden: it is signed, and there is no own key on the list, or no list.
[[nodiscard]] Status check_stays_signed(const SecretSigners& signers, const NewestSecret& newest);

enum class Sending : std::uint8_t { set, rotate, reseal };
struct Sent {
  access::SealedSecret secret;
  std::vector<std::string> missing;  // hosts that have told no key yet
  std::vector<std::string> revoked;  // hosts that the controller has revoked
};
// Seals, signs with `signers`, sends, and remembers the version that was signed. Errors: conflict
// (somebody else was faster), the client's.
[[nodiscard]] Result<Sent> seal_and_send(http::Client& client, const SecretFacts& facts,
                                         const SecretUsers& users,
                                         const std::vector<std::string>& recovery,
                                         const SecretSigners& signers,
                                         const crypto::SecretBytes& value, std::uint64_t version,
                                         Sending sending);
// { name, version, services, hosts, recovery, missing, revoked, signed }
[[nodiscard]] Json sent_to_json(const Sent& sent);
// For whom of its users a secret was not sealed, and what helps: a line each, with `indent` before
// it; "": for all.
[[nodiscard]] std::string unsealed_text(const std::string& secret,
                                        const std::vector<std::string>& missing,
                                        const std::vector<std::string>& revoked,
                                        std::string_view indent);

// --recipient
[[nodiscard]] const Option& recipient_option();

}  // namespace consort::cli
