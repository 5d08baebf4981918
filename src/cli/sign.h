// Signing what a deploy brings: the statement comes from the controller, and is believed only as
// far as it agrees with what was compiled here and with what was signed before.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "cli/command.h"
#include "cli/keys.h"
#include "http/client.h"
#include "plan/compile.h"
#include "plan/plan.h"
#include "signing/review.h"

namespace consort::cli {

// What is passed round until enough have signed it.
struct Proposal {
  plan::SignedStatement proposed;
  std::optional<plan::SignedStatement> before;  // in force
  std::optional<plan::SignedStatement> then;    // which a rollback brings back
};
[[nodiscard]] Json proposal_to_json(const Proposal& proposal);
[[nodiscard]] Result<Proposal> proposal_from_json(const Json& json);
[[nodiscard]] Result<Proposal> read_proposal(const fs::path& file);
[[nodiscard]] Status write_proposal(const Proposal& proposal, const fs::path& file);

// Of a site: --trust, or the operator's own list; nullopt: nothing is signed. Error usage when
// --key or --propose is given and there is no list.
[[nodiscard]] Result<std::optional<signing::TrustList>> chosen_trust(const Arguments& arguments,
                                                                     const std::string& site);
// The same, for what the client's controller would be sent. Error refused as well: the list is for
// another partition (partition.h).
[[nodiscard]] Result<std::optional<signing::TrustList>> chosen_trust_for(http::Client& client,
                                                                         const Arguments& arguments,
                                                                         const std::string& site);
// Of the secrets that the site uses, by what the controller has called the newest.
[[nodiscard]] std::map<std::string, std::uint64_t> secret_versions(const plan::Compiled& compiled);
// Of the controller's answer to a plan. Errors: unsupported (it has no statement), refused (the
// list is for another partition).
[[nodiscard]] Result<Proposal> proposal_of(const Json& answer, const signing::TrustList& list);
// Whether it may be signed. `compiled`: null for a rollback that was asked for. Of the options:
// --only, --except, --allow-outage, --new-chain, --as-of. Returns the services that stay as they
// were signed before. Error forbidden.
[[nodiscard]] Result<std::vector<std::string>> review_proposal(const Arguments& arguments,
                                                               const Proposal& proposal,
                                                               const signing::TrustList& list,
                                                               const plan::Generation* compiled);
// Of a plan that is to be signed: hosts stop a service for a while only where a signature says so,
// and operators sign that only on purpose, also where the controller asks for no word. `compiled`
// as above; without what allows it the plan gets a need.
void ask_for_outage(plan::Plan& plan, const Arguments& arguments, const plan::Generation* compiled);
// The operator's own keys that the list names, opened.
[[nodiscard]] Result<std::vector<crypto::PrivateKey>> trusted_keys(const signing::TrustList& list);
// With the keys of --key, or all own keys that the list names; and the signatures that others have
// put into the files of --signatures. Errors: invalid_input (another statement).
[[nodiscard]] Status sign_proposal(const Arguments& arguments, const signing::TrustList& list,
                                   Proposal& proposal);

// --key, --trust, --signatures, --propose, --new-chain, --as-of, --unsigned
[[nodiscard]] const std::vector<Option>& signing_options();
// Those of them that say whether something is signed, and by whom: --trust, --unsigned.
[[nodiscard]] std::vector<Option> trust_options();

}  // namespace consort::cli
