// Signed statements: which one a deploy would have to be signed with, what of it each host is sent.
#include <fmt/format.h>

#include <algorithm>

#include "controller/core.h"
#include "plan/generation_statement.h"

namespace consort::controller {
namespace {

std::string statement_key(std::uint64_t sequence) {
  return fmt::format("statements/{:016}", sequence);
}

}  // namespace

const plan::SignedStatement* Core::statement(std::uint64_t sequence) const {
  const auto it = statements_.find(sequence);
  return it == statements_.end() ? nullptr : &it->second;
}

// A generation that was deployed on purpose without signatures ends the chain.
const plan::SignedStatement* Core::statement_in_force() const {
  const plan::Generation* generation = current();
  return generation == nullptr ? nullptr : statement(generation->statement);
}

// A store that was restored from a backup learns from its hosts how far it had come. What a plan
// has said is kept: a host that tells another number meanwhile would make every deploy stale.
std::uint64_t Core::next_sequence(const DeployRequest& request) const {
  const std::uint64_t stored = statements_.empty() ? 0 : statements_.rbegin()->first;
  const std::uint64_t limit = stored + plan::kReportedLead;
  if (request.statement) {
    const std::uint64_t planned = request.statement->statement.sequence;
    if (planned > stored && planned <= limit + 1) return planned;
  }
  std::uint64_t last = stored;
  for (const auto& [name, host] : hosts_) {
    if (host.report.statement <= limit) last = std::max(last, host.report.statement);
  }
  return last + 1;
}

plan::Statement Core::statement_for(const DeployRequest& request, const plan::Plan& plan) const {
  const bool follows_none =
      request.statement ? request.statement->statement.previous.is_none() : request.new_chain;
  const plan::SignedStatement* before = follows_none ? nullptr : statement_in_force();
  const plan::Generation generation =
      merged(plan::confined(request.candidate, current(), request.only, request.except), plan.base,
             plan.services());
  plan::Statement out = plan::statement_of(
      generation, plan, next_sequence(request),
      before == nullptr ? Digest() : plan::head_digest(plan::ShareTree(before->statement).head()));
  out.partition = request.partition;
  return out;
}

std::uint64_t Core::statement_of_rollout(const std::string& rollout) const {
  const plan::Generation* candidate = candidate_of(rollout);
  return candidate == nullptr ? 0 : candidate->statement;
}

// One at a time: a statement says all that shall be, so it must know what the others bring.
Status Core::check_signing(const DeployRequest& request, const plan::Plan& plan) const {
  for (const auto& [id, rollout] : rollouts_) {
    if (rollout.result != rollout::Result::open) continue;
    const plan::Generation* candidate = candidate_of(id);
    if (!request.statement && (candidate == nullptr || candidate->statement == 0)) continue;
    return fail(ErrorCode::locked,
                fmt::format("rollout {} of {} is under way, and signed generations are rolled out "
                            "one after the other",
                            id, rollout.by.empty() ? "somebody" : rollout.by))
        .hint(fmt::format("watch it: consort status; wait for it: --wait; stop it: consort rollout "
                          "abort {}",
                          id));
  }
  if (!request.statement) {
    if (statements_.empty() || request.without_signature) return {};
    return fail(ErrorCode::refused, "the generations of this site are signed, and this one is not")
        .hint(
            "sign it with your key and trust list (docs/signing.md); or, to give signing up: "
            "--unsigned");
  }
  const plan::Statement& shown = request.statement->statement;
  plan::Statement own = statement_for(request, plan);
  if (own.partition.empty()) own.partition = shown.partition;
  if (shown.site != own.site || shown.partition != own.partition)
    return fail(ErrorCode::refused,
                fmt::format("what was signed is for site {} in the partition {}, and this would be "
                            "deployed: site {} in {}",
                            shown.site, shown.partition, own.site, own.partition))
        .hint(
            "sign it by a trust list of this site and partition: consort key trust --partition; "
            "or deploy it where it belongs: --context NAME");
  if (own == shown) return {};
  return fail(ErrorCode::stale, "what was signed is not what would be deployed now")
      .hint("look at the difference, and sign again: consort plan");
}

void Core::keep_statement(const plan::SignedStatement& statement, Output& out) {
  const std::uint64_t sequence = statement.statement.sequence;
  out.writes[statement_key(sequence)] = plan::signed_statement_to_json(statement).dump();
  statements_.insert_or_assign(sequence, statement);
}

Status Core::load_statement(const std::string& value) {
  auto read = TRY(plan::signed_statement_from_json(TRY(parse_json(value)), "statement"));
  const std::uint64_t sequence = read.statement.sequence;
  statements_.emplace(sequence, std::move(read));
  return {};
}

const plan::ShareTree* Core::tree_of(std::uint64_t sequence) {
  const auto known = trees_.find(sequence);
  if (known != trees_.end()) return &known->second;
  const plan::SignedStatement* signed_one = statement(sequence);
  if (signed_one == nullptr) return nullptr;
  // The one in use, the one in force and the one before it.
  if (trees_.size() > 3) trees_.clear();
  return &trees_.emplace(sequence, plan::ShareTree(signed_one->statement)).first->second;
}

// What is in the target already and newer stays: a host never goes back to an older statement.
void Core::attest(const std::string& host, std::uint64_t sequence, plan::Target& target) {
  if (sequence == 0 ||
      (target.attestation && target.attestation->current.head.sequence >= sequence))
    return;
  const plan::ShareTree* tree = tree_of(sequence);
  if (tree == nullptr) return;
  auto current = tree->part(host);
  if (!current) return;
  plan::Attestation out{std::move(*current), std::nullopt, statement(sequence)->signatures};
  const Digest previous = out.current.head.previous;
  for (auto it = statements_.lower_bound(sequence);
       !previous.is_none() && it != statements_.begin();) {
    --it;
    const plan::ShareTree* before = tree_of(it->first);
    if (plan::head_digest(before->head()) != previous) continue;
    out.previous = before->part(host);
    break;
  }
  target.attestation = std::move(out);
}

}  // namespace consort::controller
