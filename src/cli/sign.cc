#include "cli/sign.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "base/json_reader.h"
#include "base/text.h"
#include "cli/partition.h"
#include "cli/seen.h"
#include "plan/generation_statement.h"

namespace consort::cli {
namespace {

constexpr std::size_t kProposalBytes = 64U << 20U;

Json or_null(const std::optional<plan::SignedStatement>& statement) {
  return statement ? plan::signed_statement_to_json(*statement) : Json();
}

Result<std::optional<plan::SignedStatement>> optional_statement(const Json* json,
                                                                const std::string& path) {
  if (json == nullptr || json->is_null()) return std::nullopt;
  return std::optional(TRY(plan::signed_statement_from_json(*json, path)));
}

plan::StatementHead head_of(const plan::Statement& statement) {
  return plan::ShareTree(statement).head();
}

bool names(const signing::TrustList& list, const crypto::PublicKey& key) {
  return std::find(list.keys.begin(), list.keys.end(), key) != list.keys.end();
}

// Whether the list believes a statement of earlier.
Status check_shown(const plan::SignedStatement& shown, const signing::TrustList& list,
                   const std::string& what, const std::string& hint) {
  auto status = signing::check_signed(list, head_of(shown.statement), shown.signatures);
  if (status) return {};
  return fail(std::move(status).error().context(what)).hint(hint);
}

Result<std::vector<crypto::PrivateKey>> chosen_keys(const Arguments& arguments,
                                                    const signing::TrustList& list) {
  std::vector<crypto::PrivateKey> out;
  for (const std::string& name : arguments.values("--key")) {
    out.push_back(TRY(load_key(name)));
    if (!names(list, out.back().public_key()))
      return fail(ErrorCode::forbidden,
                  fmt::format("the trust list of {} does not name the key {}", list.site, name))
          .hint("see whom it names: consort key list");
  }
  return arguments.has("--key") ? std::move(out) : trusted_keys(list);
}

// 0 where it is not given.
Result<std::uint64_t> as_of(const Arguments& arguments) {
  const std::string text = arguments.value("--as-of", "0");
  std::uint64_t out = 0;
  const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), out);
  if (ec != std::errc() || end != text.data() + text.size())
    return fail(ErrorCode::usage, fmt::format("--as-of {}: not the number of a statement", text));
  return out;
}

// A rollback has no sources that could say it.
bool outage_is_allowed(const Arguments& arguments, const plan::Generation* compiled) {
  return arguments.has("--allow-outage") || (compiled != nullptr && compiled->policy.allow_outage);
}

}  // namespace

Json proposal_to_json(const Proposal& proposal) {
  return Json::object({{"proposed", plan::signed_statement_to_json(proposal.proposed)},
                       {"before", or_null(proposal.before)},
                       {"then", or_null(proposal.then)}});
}

Result<Proposal> proposal_from_json(const Json& json) {
  JsonReader reader(json, "");
  static const Json none = Json();
  const Json* proposed = reader.any("proposed");
  const Json* before = reader.any("before");
  const Json* then = reader.any("then");
  TRYV(reader.finish());
  return Proposal{
      TRY(plan::signed_statement_from_json(proposed == nullptr ? none : *proposed, "proposed")),
      TRY(optional_statement(before, "before")), TRY(optional_statement(then, "then"))};
}

Result<Proposal> read_proposal(const fs::path& file) {
  const auto text = read_file(file, kProposalBytes);
  if (!text)
    return fail(Error(text.error()))
        .hint("a proposal is written by: consort deploy --propose FILE");
  const auto read = [&]() -> Result<Proposal> {
    return proposal_from_json(TRY(parse_json(*text, file.string())));
  };
  auto proposal = read();
  if (!proposal) return fail(std::move(proposal).error().context("in " + file.string()));
  return proposal;
}

Status write_proposal(const Proposal& proposal, const fs::path& file) {
  return write_file_atomic(file, proposal_to_json(proposal).pretty() + "\n");
}

Result<std::optional<signing::TrustList>> chosen_trust(const Arguments& arguments,
                                                       const std::string& site) {
  if (arguments.has("--unsigned")) return std::nullopt;
  std::optional<signing::TrustList> list;
  if (arguments.has("--trust")) {
    list = TRY(read_trust_list(arguments.value("--trust")));
  } else {
    list = TRY(own_trust_list(site));
  }
  if (list && list->site != site)
    return fail(ErrorCode::usage,
                fmt::format("the trust list is of site {}, not of {}", list->site, site))
        .hint("name the right one: --trust FILE");
  const bool wanted =
      arguments.has("--key") || arguments.has("--propose") || arguments.has("--signatures");
  if (!list && wanted)
    return fail(ErrorCode::usage, fmt::format("there is no trust list of site {}", site))
        .hint(fmt::format("make one: consort key trust --site-name {} KEY; or name it: --trust "
                          "FILE",
                          site));
  return list;
}

Result<std::optional<signing::TrustList>> chosen_trust_for(http::Client& client,
                                                           const Arguments& arguments,
                                                           const std::string& site) {
  auto list = TRY(chosen_trust(arguments, site));
  if (list) TRYV(check_partition(*list, TRY(controller_partition(client))));
  return list;
}

std::map<std::string, std::uint64_t> secret_versions(const plan::Compiled& compiled) {
  std::map<std::string, std::uint64_t> out;
  for (const auto& [service, record] : compiled.generation.services) {
    const auto manifest = compiled.manifests.find(record.manifest);
    if (manifest == compiled.manifests.end()) continue;
    for (const auto& [name, version] : manifest->second.secrets)
      out[name] = std::max(out[name], version);
  }
  return out;
}

Result<Proposal> proposal_of(const Json& answer, const signing::TrustList& list) {
  const Json* statement = answer.find("statement");
  if (statement == nullptr || statement->is_null())
    return fail(ErrorCode::unsupported, "this controller knows nothing of signed generations")
        .hint("upgrade the controller");
  Proposal out;
  out.proposed.statement = TRY(plan::statement_from_json(*statement, "statement"));
  TRYV(check_partition(list, out.proposed.statement.partition));
  // Of a controller with --insecure, which is of none, it is the list's.
  out.proposed.statement.partition = list.partition;
  out.before = TRY(optional_statement(answer.find("statementBefore"), "statementBefore"));
  out.then = TRY(optional_statement(answer.find("statementThen"), "statementThen"));
  return out;
}

Result<std::vector<std::string>> review_proposal(const Arguments& arguments,
                                                 const Proposal& proposal,
                                                 const signing::TrustList& list,
                                                 const plan::Generation* compiled) {
  const plan::Statement& statement = proposal.proposed.statement;
  if (statement.site != list.site || statement.partition != list.partition)
    return fail(ErrorCode::forbidden,
                fmt::format("the statement is for site {} in {}, and the "
                            "trust list for {} in {}",
                            statement.site, statement.partition, list.site, list.partition))
        .hint(
            "name the list of that site and partition: --trust FILE; or make one: consort key "
            "trust --partition NAME");
  signing::Evidence evidence;
  evidence.compiled = compiled;
  for (std::string& name : arguments.values("--only")) evidence.only.insert(std::move(name));
  for (std::string& name : arguments.values("--except")) evidence.except.insert(std::move(name));
  evidence.outage = outage_is_allowed(arguments, compiled);
  evidence.as_of = TRY(as_of(arguments));
  if (arguments.has("--new-chain") && proposal.before)
    return fail(ErrorCode::forbidden, "the controller has not begun a new chain of statements");
  // First what --new-chain does not help with.
  if (proposal.then)
    TRYV(check_shown(*proposal.then, list, "what the controller shows as signed then",
                     "if the trust list has changed since, nothing brings that generation back "
                     "but its sources: consort deploy"));
  if (proposal.before)
    TRYV(check_shown(*proposal.before, list, "what the controller shows as signed before",
                     "if the trust list has changed meanwhile: --new-chain signs the whole site "
                     "anew"));
  if (proposal.before) evidence.previous = &proposal.before->statement;
  if (proposal.then) evidence.earlier = &proposal.then->statement;
  evidence.seen = TRY(last_seen_statement(list));
  const std::uint64_t shown = proposal.before ? proposal.before->statement.sequence : 0;
  if (shown < evidence.seen && !arguments.has("--new-chain"))
    return fail(ErrorCode::forbidden,
                fmt::format("the controller says that statement {} is in force; you have seen {}",
                            shown, evidence.seen))
        .hint(
            "if its store was restored from an older backup, or somebody has deployed with "
            "--unsigned: --new-chain signs the whole site anew");
  return signing::review(statement, evidence);
}

void ask_for_outage(plan::Plan& plan, const Arguments& arguments,
                    const plan::Generation* compiled) {
  constexpr std::string_view option = "--allow-outage";
  const std::vector<std::string> held = plan::held_services(plan);
  const bool asked = std::any_of(plan.needs.begin(), plan.needs.end(),
                                 [&](const plan::Need& need) { return need.option == option; });
  if (held.empty() || asked || outage_is_allowed(arguments, compiled)) return;
  plan.needs.push_back(
      {std::string(option),
       fmt::format("it would be signed that {} may be stopped for a while", join(held, ", ")),
       compiled == nullptr
           ? "allow it with --allow-outage: in a rollback no policy says it for you"
           : "allow it once with --allow-outage, or for good with policy: { allowOutage: true }"});
}

Result<std::vector<crypto::PrivateKey>> trusted_keys(const signing::TrustList& list) {
  std::vector<crypto::PrivateKey> out;
  for (const KeyName& own : TRY(own_keys())) {
    if (names(list, own.key)) out.push_back(TRY(load_key(own.name)));
  }
  return out;
}

Status sign_proposal(const Arguments& arguments, const signing::TrustList& list,
                     Proposal& proposal) {
  const plan::StatementHead head = head_of(proposal.proposed.statement);
  for (const std::string& file : arguments.values("--signatures")) {
    const Proposal other = TRY(read_proposal(file));
    if (other.proposed.statement != proposal.proposed.statement)
      return fail(
                 ErrorCode::stale,
                 fmt::format("{} is about another statement than what would be deployed now", file))
          .hint("something has changed since: propose it again with --propose FILE");
    proposal.proposed.signatures.insert(other.proposed.signatures.begin(),
                                        other.proposed.signatures.end());
  }
  for (const crypto::PrivateKey& key : TRY(chosen_keys(arguments, list)))
    TRYV(signing::add_signature(key, head, proposal.proposed.signatures));
  return {};
}

const std::vector<Option>& signing_options() {
  static const std::vector<Option> options = {
      {"--key", "NAME",
       "Sign with this key (a name, or a path with a '/'); default all own keys that the trust "
       "list names.",
       true},
      {"--trust", "FILE", "The trust list; default the one of `consort key trust`."},
      {"--signatures", "FILE", "Take the signatures that others have put into this file.", true},
      {"--propose", "FILE",
       "Write what would be signed, with the signatures so far, and change nothing."},
      {"--new-chain", "",
       "Follow no statement: sign the whole site anew, after a deploy with --unsigned, a lost "
       "store "
       "or another trust list."},
      {"--as-of", "NUMBER",
       "What stays may stay as this statement says, although numbers after it are skipped."},
      {"--unsigned", "", "Deploy without signatures although a trust list is there."}};
  return options;
}

std::vector<Option> trust_options() {
  std::vector<Option> out;
  for (const Option& option : signing_options()) {
    if (option.name == "--trust" || option.name == "--unsigned") out.push_back(option);
  }
  return out;
}

}  // namespace consort::cli
